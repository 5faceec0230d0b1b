/* SPDX-License-Identifier: Apache-2.0 */
/* Where a microcontroller's text goes: three functions that a board implements. */
#ifndef MEMKD_BENCH_OUTPUT_H
#define MEMKD_BENCH_OUTPUT_H

/* Prepare the output, once, after start-up. */
void output_start(void);

/* Write text, and return when it is on its way. */
void output_write(const char *text);

/* The measurement is over, or a fault struck and was reported. Does not return. */
__attribute__((noreturn)) void output_end(void);

#endif
