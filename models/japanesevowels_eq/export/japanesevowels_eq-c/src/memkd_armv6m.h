/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memkd_armv6m.h: layers on Cortex-M0, M0+ and M1, each as one function in assembly. Only eight registers are
 * reached by most instructions, and compilers move values between these and the others more often than need
 * be.
 *
 * MEMKD_ARMV6M_LSTM and MEMKD_ARMV6M_DENSE define the functions. Sizes and shifts become part of the text:
 * they are plain numbers, a shift from 17 to 47, an LSTM's columns 60 at most, as far as its loop can branch.
 */
#ifndef MEMKD_ARMV6M_H
#define MEMKD_ARMV6M_H

#include "memkd_port.h"

/* A line is a step. */
/* clang-format off */
#define MEMKD_LINES_2(a, b) a "\n\t" b "\n\t"
#define MEMKD_LINES_3(a, b, c) MEMKD_LINES_2(a, b) c "\n\t"
#define MEMKD_LINES_4(a, b, c, d) MEMKD_LINES_2(a, b) MEMKD_LINES_2(c, d)

/* ---- sums: r4 the weights, r5 a column ---- */

/* Add a row's weight at r4 + memkd_weight + byte, times the column. */
#define MEMKD_PRODUCT(byte, sum)                                                                             \
    MEMKD_LINES_3("ldrb r6, [r4, #memkd_weight + " #byte "]", "muls r6, r5", "adds " sum ", " sum ", r6")

/* Go on by a pair of columns; r4 follows where an offset would be too large. */
#define MEMKD_NEXT_PAIR(bytes)                                                                               \
    ".set memkd_weight, memkd_weight + " #bytes "\n\t"                                                       \
    MEMKD_LINES_4(".if memkd_weight == 32", "adds r4, #32", ".set memkd_weight, 0", ".endif")
#define MEMKD_LAST_PAIR MEMKD_LINES_3(".if memkd_weight", "adds r4, #memkd_weight", ".endif")

/* n columns in pairs; the last one of an odd number is paired with zeros. */
#define MEMKD_PAIRWISE(n, even, odd, next)                                                                   \
    ".rept (" n ") / 2\n\t" even odd next ".endr\n\t.if (" n ") & 1\n\t" even next ".endif\n\t"

/* ---- one value v; r5 and r6 change ---- */

#define MEMKD_CLAMP(v)                                                                                       \
    MEMKD_LINES_3("sxth r6, " v, "cmp r6, " v, "beq 7f")                                                     \
    MEMKD_LINES_4("asrs r6, " v ", #31", "ldr " v ", =0x7fff", "eors " v ", r6", "7:")

/* memkd_scale(), the multiplier in m */
#define MEMKD_SCALE(v, m, shift)                                                                             \
    MEMKD_LINES_3("uxth r6, " v, "muls r6, " m, "lsrs r6, r6, #16")                                          \
    MEMKD_LINES_3("asrs " v ", " v ", #16", "muls " v ", " m, "adds " v ", " v ", r6")                       \
    MEMKD_LINES_3(".if (" shift ") <= 24", "adds " v ", #1 << ((" shift ") - 17)", ".else")                  \
    MEMKD_LINES_3("ldr r6, =1 << ((" shift ") - 17)", "adds " v ", " v ", r6", ".endif")                     \
    "asrs " v ", " v ", #(" shift ") - 16\n\t"

/* Nine times a pre-activation, its sum in v, the multiplier in r7. */
#define MEMKD_NINE(v, shift)                                                                                 \
    MEMKD_SCALE(v, "r7", shift) MEMKD_LINES_2("lsls r6, " v ", #3", "adds " v ", " v ", r6")

/* memkd_curve() */
#define MEMKD_CURVE(v)                                                                                       \
    MEMKD_LINES_4("mov r6, r8", "adds r6, r6, " v, "lsrs r5, r6, #18", "beq 6f")                             \
    MEMKD_LINES_4("asrs r6, " v ", #31", "mvns r6, r6", "lsrs r6, r6, #14", "6:")                            \
    MEMKD_LINES_4("lsrs r6, r6, #9", "lsls r6, r6, #3", "add r6, r9", "ldmia r6, {r5, r6}")                  \
    MEMKD_LINES_2("muls " v ", r6", "adds " v ", " v ", r5")
#define MEMKD_SIGMOID(v) MEMKD_CURVE(v) "asrs " v ", " v ", #16\n\t"
#define MEMKD_TANH(v) MEMKD_CURVE(v) MEMKD_LINES_2("add " v ", r10", "asrs " v ", " v ", #15")

/* (v + 2^(shift-1) + 1 - 2 [v < 0]) >> shift */
#define MEMKD_ROUND(v, shift)                                                                                \
    MEMKD_LINES_3("asrs r6, " v ", #31", "adds " v ", " v ", r6", "adds " v ", " v ", r6")                   \
    MEMKD_LINES_2("ldr r6, =(1 << ((" shift ") - 1)) + 1", "adds " v ", " v ", r6")                          \
    "asrs " v ", " v ", #" shift "\n\t"

/* ---- an LSTM layer ---- */

/* i * g at the cell's scale, in r0, from the product r0 and g, r3: see memkd_cell(). */
#define MEMKD_ADDED(cell_shift)                                                                              \
    MEMKD_LINES_3("asrs r3, r3, #31", "lsrs r5, r3, #11", "adds r5, r5, r0")                                 \
    MEMKD_LINES_4("ldr r6, =0xfffff", "adds r5, r5, r6", "asrs r5, r5, #22", "subs r0, r0, r5")              \
    MEMKD_LINES_3("adds r0, r0, r3", "ldr r6, =3 << (17 + (" cell_shift "))", "adds r0, r0, r6")             \
    MEMKD_LINES_3("asrs r0, r0, #18 + (" cell_shift ")", "ldr r6, =21845", "muls r0, r6")                    \
    MEMKD_LINES_3("ldr r6, =10000", "adds r0, r0, r6", "asrs r0, r0, #16")

/* Twice the argument of tanh for the cell r0. */
#define MEMKD_ARGUMENT(cell_shift)                                                                           \
    MEMKD_LINES_3("lsls r6, r0, #3", "adds r0, r0, r6", ".if (" cell_shift ") < 0")                          \
    MEMKD_LINES_2("adds r0, #(1 << -(" cell_shift ")) >> 1", "asrs r0, r0, #-(" cell_shift ")")              \
    MEMKD_LINES_4("lsls r0, r0, #1", ".else", "lsls r0, r0, #1 + (" cell_shift ")", ".endif")

/* Put n values at `from` on the stack, 32 bits each, and add them to r7. */
#define MEMKD_GATHER(n, from)                                                                                \
    MEMKD_LINES_2(".set memkd_value, 0", ".rept " n)                                                         \
    MEMKD_LINES_2("movs r6, #memkd_value", "ldrsh r5, [" from ", r6]")                                       \
    MEMKD_LINES_2("str r5, [sp, #memkd_column]", "adds r7, r7, r5")                                          \
    MEMKD_LINES_2(".set memkd_value, memkd_value + 2", ".set memkd_column, memkd_column + 4") ".endr\n\t"

/* A column from the stack, times the weights of input, forget, output and candidate. */
#define MEMKD_GATES(i, f, o, g)                                                                              \
    MEMKD_LINES_2("ldr r5, [sp, #memkd_column]", ".set memkd_column, memkd_column + 4")                      \
    MEMKD_PRODUCT(i, "r0") MEMKD_PRODUCT(f, "r1") MEMKD_PRODUCT(o, "r2") MEMKD_PRODUCT(g, "r3")
#define MEMKD_COLUMNS(n)                                                                                     \
    MEMKD_PAIRWISE(n, MEMKD_GATES(0, 1, 4, 5), MEMKD_GATES(2, 3, 6, 7), MEMKD_NEXT_PAIR(8))

/* r8 2^17, r9 the table, r10 what tanh adds, r11 h, r12 the columns' excess, lr the end of the weights */
#define MEMKD_ARMV6M_LSTM_TEXT(inputs, hidden, multiplier, shift, cell_shift, hidden_shift, cells)    \
    MEMKD_LINES_2(".syntax unified", "push {r4, r5, r6, r7, lr}")                                            \
    MEMKD_LINES_4("mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11")                                  \
    MEMKD_LINES_2("push {r4, r5, r6, r7}", "sub sp, #4 * (" inputs " + " hidden ")")                         \
    MEMKD_LINES_4("mov r11, r1", "movs r4, r2", "mov r9, r3", "movs r7, #0") ".set memkd_column, 0\n\t"      \
    MEMKD_GATHER(inputs, "r0") MEMKD_GATHER(hidden, "r1")                                                    \
    MEMKD_LINES_4("lsls r7, r7, #7", "mov r12, r7", "movs r5, #1", "lsls r5, r5, #17")                       \
    MEMKD_LINES_4("mov r8, r5", "ldr r5, 8f", "mov r10, r5", "movs r5, #" hidden)                            \
    MEMKD_LINES_3("movs r6, #4 + (" inputs " + 1) / 2 * 2 + (" hidden " + 1) / 2 * 2", "muls r5, r6",        \
                  "lsls r5, r5, #2")                                                                         \
    MEMKD_LINES_4("adds r5, r5, r4", "mov lr, r5", "b 1f", ".balign 4")                                      \
    MEMKD_LINES_2("8:", ".word -0x40004000")                                                                 \
    MEMKD_LINES_3("1:", "ldmia r4!, {r0, r1, r2, r3}", "mov r7, r12")                                        \
    MEMKD_LINES_4("subs r0, r0, r7", "subs r1, r1, r7", "subs r2, r2, r7", "subs r3, r3, r7")                \
    MEMKD_LINES_2(".set memkd_column, 0", ".set memkd_weight, 0")                                            \
    MEMKD_COLUMNS(inputs) MEMKD_COLUMNS(hidden) MEMKD_LAST_PAIR "ldr r7, =" multiplier "\n\t"                \
    MEMKD_NINE("r3", shift) "lsls r3, r3, #1\n\t" MEMKD_TANH("r3")                                    \
    MEMKD_NINE("r0", shift) MEMKD_SIGMOID("r0") "muls r0, r3\n\t" MEMKD_ADDED(cell_shift)             \
    MEMKD_NINE("r1", shift) MEMKD_SIGMOID("r1") MEMKD_NINE("r2", shift) MEMKD_SIGMOID("r2")    \
    MEMKD_LINES_4(".if (" cells ") < 256", "movs r5, #" cells, ".else", "ldr r5, =" cells)                   \
    MEMKD_LINES_4(".endif", "mov r7, r11", "ldrsh r6, [r7, r5]", "muls r1, r6")                              \
    MEMKD_ROUND("r1", "15") "adds r0, r0, r1\n\t" MEMKD_CLAMP("r0") "strh r0, [r7, r5]\n\t"                  \
    MEMKD_ARGUMENT(cell_shift) MEMKD_TANH("r0") "muls r2, r0\n\t" MEMKD_ROUND("r2", hidden_shift)            \
    MEMKD_LINES_3("strh r2, [r7]", "adds r7, #2", "mov r11, r7")                                             \
    MEMKD_LINES_4("cmp r4, lr", "beq 2f", "b 1b", "2:") "add sp, #4 * (" inputs " + " hidden ")\n\t"         \
    MEMKD_LINES_4("pop {r4, r5, r6, r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6")                         \
    MEMKD_LINES_3("mov r11, r7", "pop {r4, r5, r6, r7, pc}", ".ltorg")

/* ---- a dense layer ---- */

/* A column from r3, added to r2, times the weights of two rows. */
#define MEMKD_ROWS(a, b)                                                                                     \
    MEMKD_LINES_3("movs r6, #memkd_value", "ldrsh r5, [r3, r6]", "adds r2, r2, r5")                          \
    ".set memkd_value, memkd_value + 2\n\t" MEMKD_PRODUCT(a, "r0") MEMKD_PRODUCT(b, "r1")

/* r3 the values, r7 where the results go, lr the end of the weights */
#define MEMKD_ARMV6M_DENSE_TEXT(n, rows, multiplier, shift)                                                  \
    MEMKD_LINES_4(".syntax unified", "push {r4, r5, r6, r7, lr}", "movs r3, r0", "movs r4, r1")              \
    MEMKD_LINES_4("movs r7, r2", "movs r5, #(" rows " + 1) / 2", "movs r6, #2 + (" n " + 1) / 2",            \
                  "muls r5, r6")                                                                             \
    MEMKD_LINES_3("lsls r5, r5, #2", "adds r5, r5, r4", "mov lr, r5")                                        \
    MEMKD_LINES_3("1:", "ldmia r4!, {r0, r1}", "movs r2, #0")                                                \
    MEMKD_LINES_2(".set memkd_value, 0", ".set memkd_weight, 0")                                             \
    MEMKD_PAIRWISE(n, MEMKD_ROWS(0, 1), MEMKD_ROWS(2, 3), MEMKD_NEXT_PAIR(4)) MEMKD_LAST_PAIR                \
    MEMKD_LINES_4("lsls r2, r2, #7", "subs r0, r0, r2", "subs r1, r1, r2", "ldr r5, =" multiplier)           \
    MEMKD_SCALE("r0", "r5", shift) MEMKD_CLAMP("r0") "strh r0, [r7]\n\t"                                     \
    MEMKD_LINES_4(".if (" rows ") & 1", "cmp r4, lr", "beq 2f", ".endif")                                    \
    MEMKD_SCALE("r1", "r5", shift) MEMKD_CLAMP("r1") MEMKD_LINES_2("strh r1, [r7, #2]", "adds r7, #4")       \
    MEMKD_LINES_4("cmp r4, lr", "beq 2f", "b 1b", "2:") MEMKD_LINES_2("pop {r4, r5, r6, r7, pc}", ".ltorg")

/* ---- the functions ---- */
/* clang-format on */

/* "used": else compilers that see no use of arguments and registers would change how a function is called. */
#define MEMKD_ARMV6M_FUNCTION __attribute__((naked, noinline, used)) static void
#define MEMKD_ARMV6M_BODY(text) __asm__ volatile(text : : : "r0", "r1", "r2", "r3", "r12", "cc", "memory")
#define MEMKD_READ_BELOW __attribute__((unused))

/* One step; the cells lie `cells` bytes behind h, and both are read and written. */
#define MEMKD_ARMV6M_LSTM(name, inputs, hidden, multiplier, shift, cell_shift, hidden_shift, cells)          \
    MEMKD_ARMV6M_FUNCTION name(MEMKD_READ_BELOW const int16_t *x, MEMKD_READ_BELOW int16_t *h,               \
                               MEMKD_READ_BELOW const uint32_t *weights,                                     \
                               MEMKD_READ_BELOW memkd_table_t table) {                                       \
        MEMKD_ARMV6M_BODY(MEMKD_ARMV6M_LSTM_TEXT(#inputs, #hidden, #multiplier, #shift, #cell_shift,         \
                                                 #hidden_shift, #cells));                                    \
    }

#define MEMKD_ARMV6M_DENSE(name, n, rows, multiplier, shift)                                                 \
    MEMKD_ARMV6M_FUNCTION name(MEMKD_READ_BELOW const int16_t *values,                                       \
                               MEMKD_READ_BELOW const uint32_t *weights, MEMKD_READ_BELOW int16_t *out) {    \
        MEMKD_ARMV6M_BODY(MEMKD_ARMV6M_DENSE_TEXT(#n, #rows, #multiplier, #shift));                          \
    }

/* The texts are longer than C99 asks of compilers. */
#pragma GCC diagnostic ignored "-Woverlength-strings"

#endif
