/* SPDX-License-Identifier: Apache-2.0 */
/* What the runner needs from a machine: five functions. One port exists per kind of machine; runner.c is the
 * same everywhere. */
#ifndef MEMKD_BENCH_PORT_H
#define MEMKD_BENCH_PORT_H

#include <stdint.h>

/* Fill the unused part of the stack with a pattern. */
void port_paint_stack(void);

/* Bytes of stack used below the caller of port_paint_stack() since that call. */
uint32_t port_stack_used(void);

/* Start the counter of port_ticks(): who started up or set the clock may have used or stopped it. */
void port_start_ticks(void);

/* A free-running counter; a difference of two readings is modulo PORT_TICKS_MASK + 1. */
uint32_t port_ticks(void);

/* Send text, which may be part of a line. */
void port_output(const char *text);

#define PORT_STACK_PATTERN 0xA5A5A5A5u

#if defined(__arm__) && !defined(PORT_TICKS_DWT)
#define PORT_TICKS_MASK 0x00FFFFFFu /* SysTick has 24 bits */
#else
#define PORT_TICKS_MASK 0xFFFFFFFFu
#endif

/* The measurement itself (runner.c), called once by the port after start-up. */
void bench_run(void);

#endif
