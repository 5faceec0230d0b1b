/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port for Linux: ticks are nanoseconds, text goes to standard output, and the measurement has a thread with
 * a stack we own, on one CPU where that is allowed. It adds a line `rss=`: peak resident memory in bytes.
 */
#define _GNU_SOURCE
#include "port.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STACK_BYTES (256u << 10)

#if defined(__x86_64__)
#define READ_STACK_POINTER(variable) __asm__ volatile("mov %%rsp, %0" : "=r"(variable))
#define RED_ZONE_BYTES 128u /* a leaf function may use these without moving the stack pointer */
#elif defined(__aarch64__)
#define READ_STACK_POINTER(variable) __asm__ volatile("mov %0, sp" : "=r"(variable))
#define RED_ZONE_BYTES 0u
#else
#error "port_linux.c knows x86-64 and aarch64"
#endif

static uint32_t *stack_bottom;
static uint32_t *painted_to;

__attribute__((noinline)) void port_paint_stack(void) {
    uintptr_t here;
    READ_STACK_POINTER(here);
    painted_to = (uint32_t *)(here - RED_ZONE_BYTES);
    for (volatile uint32_t *word = stack_bottom; word < painted_to; word++) {
        *word = PORT_STACK_PATTERN;
    }
}

__attribute__((noinline)) uint32_t port_stack_used(void) {
    const volatile uint32_t *word = stack_bottom;
    while (word < painted_to && *word == PORT_STACK_PATTERN) {
        word++;
    }
    return (uint32_t)((uintptr_t)painted_to - (uintptr_t)word);
}

void port_start_ticks(void) {
    /* The clock runs. */
}

uint32_t port_ticks(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

void port_output(const char *text) {
    fputs(text, stdout);
}

static void *run(void *unused) {
    (void)unused;
    bench_run();
    return NULL;
}

static void stay_on_one_cpu(void) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    size_t cpu = CPU_SETSIZE - 1;
    while (cpu > 0 && !CPU_ISSET(cpu, &allowed)) {
        cpu--;
    }
    CPU_ZERO(&allowed);
    CPU_SET(cpu, &allowed);
    (void)sched_setaffinity(0, sizeof allowed, &allowed); /* refused: the scheduler may move us */
}

static void report_peak_memory(void) {
    char line[128];
    unsigned long kilobytes;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (sscanf(line, "VmHWM: %lu", &kilobytes) == 1) {
            printf("rss=%lu\n", kilobytes * 1024);
        }
    }
}

int main(void) {
    stay_on_one_cpu();
    pthread_attr_t attributes;
    pthread_t thread;
    void *stack = NULL;
    if (posix_memalign(&stack, 4096, STACK_BYTES) != 0 || pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstack(&attributes, stack, STACK_BYTES) != 0) {
        return 1;
    }
    stack_bottom = stack;
    if (pthread_create(&thread, &attributes, run, NULL) != 0 || pthread_join(thread, NULL) != 0) {
        return 1;
    }
    report_peak_memory();
    return fflush(stdout) == 0 ? 0 : 1;
}
