/* SPDX-License-Identifier: Apache-2.0 */
/* Text through Arm semihosting: to QEMU's standard output, or to a debugger. */
#include <stdint.h>

#include "port_cortex_m.h"

enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18 };
enum { STOPPED_APPLICATION_EXIT = 0x20026 };

static void semihosting_call(uint32_t operation, uint32_t argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register uint32_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
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
