/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cortex_m.c: where an emulated Cortex-M starts. The rest of the start-up is newlib's for semihosting
 * (rdimon), which also gives stream.c its stdin and stdout. The machine has 4 MiB of memory at 0, code and
 * data alike.
 */
extern void _start(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {
    (const void *)0x400000, /* initial stack pointer */
    (const void *)_start,
};
