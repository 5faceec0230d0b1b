/* SPDX-License-Identifier: Apache-2.0 */
/* Text through the CMSDK UART 0 of Arm's MPS2 boards (AN385, AN386, AN500): the model for a real board's own
 * output file. */
#include <stdint.h>

#include "output.h"

typedef struct {
    volatile uint32_t data;
    volatile uint32_t state;   /* bit 0: the transmit buffer is full */
    volatile uint32_t control; /* bit 0: transmitter on */
    volatile uint32_t interrupt;
    volatile uint32_t clock_divider; /* at least 16 */
} cmsdk_uart_t;

#define UART0 ((cmsdk_uart_t *)0x40004000u)

void output_start(void) {
    UART0->clock_divider = 217; /* 115200 baud at 25 MHz */
    UART0->control = 1;
}

void output_write(const char *text) {
    for (; *text != '\0'; text++) {
        while ((UART0->state & 1u) != 0) {
        }
        UART0->data = (uint8_t)*text;
    }
}

void output_end(void) {
    for (;;) {
    }
}
