/* SPDX-License-Identifier: Apache-2.0 */
/*
 * riscv.c: where a 32-bit RISC-V program starts under qemu-riscv32, QEMU's user mode, and stdin and stdout
 * for picolibc, which stream.c takes: Debian has no C library of Linux for it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { LINUX_READ = 63, LINUX_WRITE = 64, LINUX_EXIT = 93 };

static uint8_t input[4096], output[4096];
static int input_size, input_at, output_size;

int main(void);
void start(void);

static int linux_call(int call, int file, const void *data, int size) {
    register int a0 __asm__("a0") = file;
    register const void *a1 __asm__("a1") = data;
    register int a2 __asm__("a2") = size;
    register int a7 __asm__("a7") = call;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
    return a0;
}

static int get(FILE *file) {
    (void)file;
    if (input_at == input_size) {
        input_size = linux_call(LINUX_READ, 0, input, sizeof input);
        input_at = 0;
        if (input_size <= 0) {
            input_size = 0;
            return _FDEV_EOF;
        }
    }
    return input[input_at++];
}

static int flush(FILE *file) {
    (void)file;
    for (int at = 0; at < output_size;) {
        const int written = linux_call(LINUX_WRITE, 1, output + at, output_size - at);
        if (written <= 0) {
            return EOF;
        }
        at += written;
    }
    output_size = 0;
    return 0;
}

static int put(char value, FILE *file) {
    if (output_size == sizeof output && flush(file) != 0) {
        return EOF;
    }
    output[output_size++] = (uint8_t)value;
    return 0;
}

static FILE standard = FDEV_SETUP_STREAM(put, get, flush, _FDEV_SETUP_RW);
FILE *const stdin = &standard;
FILE *const stdout = &standard;

void start(void) {
    const int result = main();
    const int flushed = flush(stdout);
    for (;;) {
        linux_call(LINUX_EXIT, result != 0 ? result : flushed, NULL, 0);
    }
}

__asm__(".globl _start\n"
        "_start:\n\t"
        ".option push\n\t"
        ".option norelax\n\t"
        "la gp, __global_pointer$\n\t"
        ".option pop\n\t"
        "la tp, thread_start\n\t" /* variables of the thread, such as errno */
        "j start\n");
