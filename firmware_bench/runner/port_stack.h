/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The painted stack of a microcontroller, which grows down to the linker script's stack_bottom. A port
 * includes it once, after READ_STACK_POINTER.
 */
#ifndef PORT_STACK_H
#define PORT_STACK_H

#include "port.h"

extern uint32_t stack_bottom[];

static uint32_t painted_to;

__attribute__((noinline)) void port_paint_stack(void) {
    uint32_t here;
    READ_STACK_POINTER(here);
    volatile uint32_t *word = stack_bottom;
    while ((uint32_t)word < here) {
        *word++ = PORT_STACK_PATTERN;
    }
    painted_to = here;
}

__attribute__((noinline)) uint32_t port_stack_used(void) {
    const volatile uint32_t *word = stack_bottom;
    while ((uint32_t)word < painted_to && *word == PORT_STACK_PATTERN) {
        word++;
    }
    return painted_to - (uint32_t)word;
}

#endif
