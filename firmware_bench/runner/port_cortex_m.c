/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port for Cortex-M, ARMv6-M to ARMv8.1-M: vectors, start-up, painted stack and ticks. Text leaves through
 * output_write(), of which output_semihosting.c and output_cmsdk_uart.c are two; a real board adds its own
 * UART as a third.
 *
 * Ticks: SysTick (24 bits, at the processor's clock); with PORT_TICKS_DWT the cycle counter of M3 and up.
 */
#include "output.h"

#include "port.h"

#ifdef __arm__ /* a folder of firmware has the ports of both architectures */

#define READ_STACK_POINTER(into) __asm__ volatile("mov %0, sp" : "=r"(into))
#include "port_stack.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define CPACR REGISTER(0xE000ED88u)
#define DEBUG_CONTROL REGISTER(0xE000EDFCu)
#define DWT_CONTROL REGISTER(0xE0001000u)
#define DWT_CYCLES REGISTER(0xE0001004u)

/* Defined by cortex_m.ld. */
extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];

void reset_handler(void);

void port_start_ticks(void) {
#ifdef PORT_TICKS_DWT
    DEBUG_CONTROL |= 1u << 24;
    DWT_CONTROL |= 1u;
#else
    SYSTICK_RELOAD = PORT_TICKS_MASK;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* processor clock, no interrupt */
    for (uint32_t tries = 0; SYSTICK_VALUE == 0 && tries < PORT_TICKS_MASK / 16; tries++) {
        /* It reloads with the next tick, under emulation later; some cores have none. */
    }
#endif
}

uint32_t port_ticks(void) {
#ifdef PORT_TICKS_DWT
    return DWT_CYCLES;
#else
    return (0u - SYSTICK_VALUE) & PORT_TICKS_MASK; /* SysTick counts down */
#endif
}

void port_output(const char *text) {
    output_write(text);
}

static void fault_handler(void) {
    output_write("fault=1\n");
    output_end();
}

void reset_handler(void) {
    const volatile uint32_t *from = data_load;
    for (volatile uint32_t *to = data_start; (uint32_t)to < (uint32_t)data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = bss_start; (uint32_t)to < (uint32_t)bss_end; to++) {
        *to = 0;
    }
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= 0xFu << 20; /* coprocessors 10 and 11: the FPU and, on ARMv8.1-M, Helium */
    __asm__ volatile("dsb\n\tisb");
#endif
    output_start();
    bench_run();
    output_end();
}

typedef void (*handler_t)(void);

typedef struct {
    uint32_t *initial_stack;
    handler_t handlers[15]; /* reset, NMI, HardFault, MemManage, BusFault, UsageFault, reserved, SVCall, …,
                               SysTick */
} vector_table_t;

__attribute__((section(".vectors"), used)) static const vector_table_t vectors = {
    stack_top,
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, 0, 0, 0, 0,
     fault_handler, fault_handler, 0, fault_handler, fault_handler},
};

#endif
