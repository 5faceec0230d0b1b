/* SPDX-License-Identifier: Apache-2.0 */
/* Text through semihosting, of Arm or RISC-V: to QEMU's standard output, or to a debugger. */
#include <stdint.h>

#include "output.h"

enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18 };
enum { STOPPED_APPLICATION_EXIT = 0x20026 };

static void semihosting_call(uint32_t operation, uint32_t argument) {
#ifdef __riscv
    register uint32_t a0 __asm__("a0") = operation;
    register uint32_t a1 __asm__("a1") = argument;
    __asm__ volatile(".balign 16\n\t" /* the three on one page */
                     ".option push\n\t"
                     ".option norvc\n\t"
                     "slli x0, x0, 0x1f\n\t"
                     "ebreak\n\t"
                     "srai x0, x0, 7\n\t"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
#else
    register uint32_t r0 __asm__("r0") = operation;
    register uint32_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
#endif
}

void output_start(void) {
}

void output_write(const char *text) {
    semihosting_call(SYS_WRITE0, (uint32_t)text);
}

void output_end(void) {
    semihosting_call(SYS_EXIT, STOPPED_APPLICATION_EXIT);
    for (;;) {
    }
}
