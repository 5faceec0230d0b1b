/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port for 32-bit RISC-V microcontrollers, in machine mode: start-up, painted stack and ticks. Text leaves
 * through output_write(), as on Cortex-M. Ticks: the counter mcycle.
 */
#include "output.h"
#include "port.h"

#ifdef __riscv /* a folder of firmware has the ports of both architectures */

#define READ_STACK_POINTER(into) __asm__ volatile("mv %0, sp" : "=r"(into))
#include "port_stack.h"

/* Defined by riscv.ld. */
extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[];

void start(void);

void port_start_ticks(void) {
    /* mcycle runs, or output_start() let it: cores differ in how. */
}

uint32_t port_ticks(void) {
    uint32_t ticks;
    __asm__ volatile("csrr %0, mcycle" : "=r"(ticks));
    return ticks;
}

void port_output(const char *text) {
    output_write(text);
}

__attribute__((interrupt, aligned(64))) static void fault_handler(void) {
    output_write("fault=1\n");
    output_end();
}

void start(void) {
    __asm__ volatile("csrw mtvec, %0" : : "r"(fault_handler));
    const volatile uint32_t *from = data_load;
    for (volatile uint32_t *to = data_start; (uint32_t)to < (uint32_t)data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = bss_start; (uint32_t)to < (uint32_t)bss_end; to++) {
        *to = 0;
    }
    output_start();
    bench_run();
    output_end();
}

/* gp first: the linker shortens addresses near it. */
__asm__(".section .reset, \"ax\"\n"
        ".globl reset_handler\n"
        "reset_handler:\n\t"
        ".option push\n\t"
        ".option norelax\n\t"
        "la gp, __global_pointer$\n\t"
        ".option pop\n\t"
        "la sp, stack_top\n\t"
        "la tp, bss_start\n\t"
        "j start\n\t"
        ".text\n");

#endif
