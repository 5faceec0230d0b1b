/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memkd_port.h: what differs from core to core: how weights are stored, and the primitives that the cells of
 * memkd_lstm.h are written with. Every core gives the same bits, those of SPEC.md. With vectors whole layers
 * differ: memkd_helium.h.
 *
 * Builds, chosen by the core and by macros:
 * - fast, the default: vectors on Cortex-M55 (Helium), dual 16-bit multiplies on M4, M7 and M33, some
 * instructions of M3, of M0 and M0+ and of 32-bit RISC-V, plain C99 elsewhere;
 * - MEMKD_MEDIUM: the weights and loops of the fast form, a table of 512 bytes instead of 4096;
 * - MEMKD_SMALL: that table, 8-bit weights, less unrolled: the least flash, the most instructions;
 * - MEMKD_PORTABLE: plain C99 on every core.
 *
 * The primitives, each defined once in plain C at the end of this file:
 *
 *     memkd_saturate16(v)                      sat16
 *     memkd_scale(v, m, s)                     (v * m + 2^(s-1)) >> s
 *     memkd_table(), memkd_curve(table, t)     the logistic curve
 *     memkd_product(curve, v)                  its sigmoid times v
 *     memkd_gated(curve, v, s)                 that, rescaled: what a gate lets through
 *     memkd_cell(f, c, product, g, k)          f * c + product, which is i * g, at the cell's scale
 *     memkd_gather(columns, values, n)         a layer's input, two columns in one
 *     memkd_excess(columns, pairs)             what the offset of stored weights adds to a row
 *     memkd_biases(weights, excess, sums)      where the sums of a unit's four rows begin
 *     memkd_block(weights, x, row0, row1)      two rows over two columns
 *     memkd_blocks(weights, x, sums)           the four rows of a unit over two columns
 *     memkd_sums(weights, ..., units, sums)    the four rows of so many units over all columns
 *
 * A core that has a better way defines the function in a section of its own, and the macro of the same name,
 * which leaves the plain one out. For a new core: a macro that tells it, and its section.
 *
 * Right shifts of negative numbers are arithmetic and conversions to narrower signed types wrap, as with
 * every compiler for these targets; int may have 16 bits. Assembly reads constant tables and weights only, so
 * it declares no memory operands.
 */
#ifndef MEMKD_PORT_H
#define MEMKD_PORT_H

#include <stdint.h>
#include <string.h>

/* ---- the core ---- */

#if defined(MEMKD_MEDIUM) && defined(MEMKD_SMALL)
#error "MEMKD_MEDIUM or MEMKD_SMALL, not both"
#endif

/* AVR keeps constants in RAM, which seldom holds the large table. */
#if defined(__AVR__) && !defined(MEMKD_MEDIUM) && !defined(MEMKD_SMALL)
#define MEMKD_SMALL
#endif

/* The table of 512 bytes. */
#if defined(MEMKD_MEDIUM) || defined(MEMKD_SMALL)
#define MEMKD_SMALL_TABLE 1
#else
#define MEMKD_SMALL_TABLE 0
#endif

#if defined(MEMKD_PORTABLE) || !defined(__GNUC__) || defined(__ARM_BIG_ENDIAN)
#define MEMKD_ASSEMBLY 0
#else
#define MEMKD_ASSEMBLY 1
#endif

/* Cortex-M3 and better: saturation, loads of two words, long products. */
#if MEMKD_ASSEMBLY && defined(__thumb2__)
#define MEMKD_V7M 1
#else
#define MEMKD_V7M 0
#endif

/* Cortex-M55 and better, with vectors of integers. */
#if MEMKD_V7M && defined(__ARM_FEATURE_MVE) && !MEMKD_SMALL_TABLE
#define MEMKD_HELIUM 1
#else
#define MEMKD_HELIUM 0
#endif

/* Cortex-M4 and better: dual multiplies of 16 bits, too. */
#if MEMKD_V7M && defined(__ARM_FEATURE_DSP) && !MEMKD_HELIUM
#define MEMKD_DSP 1
#else
#define MEMKD_DSP 0
#endif

/* Cortex-M0, M0+ and M1: no dual multiply, and eight registers that most instructions reach. */
#if MEMKD_ASSEMBLY && defined(__ARM_ARCH_6M__)
#define MEMKD_V6M 1
#else
#define MEMKD_V6M 0
#endif

/* There, with the large table, whole layers in assembly: memkd_armv6m.h. */
#if MEMKD_V6M && !MEMKD_SMALL_TABLE
#define MEMKD_ARMV6M 1
#else
#define MEMKD_ARMV6M 0
#endif

/* RISC-V with 32 bits and multiplication: loads extend the sign for nothing, and registers suffice for eight
 * sums. */
#if MEMKD_ASSEMBLY && defined(__riscv_mul) && __riscv_xlen == 32
#define MEMKD_RV32 1
#else
#define MEMKD_RV32 0
#endif

/* Weights widened to 16 bits, ready for the dual multiply; otherwise 8 bits each. */
#if MEMKD_DSP && !defined(MEMKD_SMALL)
#define MEMKD_WIDE 1
#else
#define MEMKD_WIDE 0
#endif

/* Units whose sums are taken together. */
#if MEMKD_RV32 && !defined(MEMKD_SMALL)
#define MEMKD_TOGETHER 2
#else
#define MEMKD_TOGETHER 1
#endif

/* ---- the compiler ---- */

#if defined(__GNUC__)
#define MEMKD_INLINE static inline __attribute__((always_inline))
#define MEMKD_COPY __builtin_memcpy /* one load or store, with -ffreestanding, too */
#else
#define MEMKD_INLINE static inline
#define MEMKD_COPY memcpy
#endif

/* Keeps GCC from making a call to memset out of a loop: a small program may do without the library. */
#if defined(__GNUC__) && !defined(__clang__)
#define MEMKD_NO_LIBRARY __attribute__((optimize("no-tree-loop-distribute-patterns")))
#else
#define MEMKD_NO_LIBRARY
#endif

#define MEMKD_PRAGMA(text) _Pragma(#text)
#if defined(MEMKD_SMALL) && !MEMKD_DSP
#define MEMKD_UNROLL(count)
#elif defined(__clang__)
#define MEMKD_UNROLL(count) MEMKD_PRAGMA(unroll count)
#elif defined(__GNUC__) && __GNUC__ >= 8 /* older ones, as Debian's for AVR, warn of it */
#define MEMKD_UNROLL(count) MEMKD_PRAGMA(GCC unroll count)
#else
#define MEMKD_UNROLL(count)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- weights, columns, tables ---- */

/*
 * Weights. A model's matrix is an array of 32-bit words, blocks of two rows over two columns:
 * MEMKD_WEIGHTS(a, b, c, d) holds a, c of the first row and b, d of the second. The gates of a unit are two
 * such pairs of rows. (memkd_helium.h has an order of its own.)
 */
#define MEMKD_HALVES(low, high) (((uint32_t)(low) & 0xFFFFu) | (uint32_t)(high) << 16)
#if MEMKD_RV32 || MEMKD_HELIUM
#define MEMKD_BYTE(weight, place) (((uint32_t)(weight) & 0xFFu) << (place))
#else
#define MEMKD_BYTE(weight, place) (((uint32_t)(weight) + 128u) << (place))
#endif
#if MEMKD_WIDE
#define MEMKD_WEIGHTS(a, b, c, d) MEMKD_HALVES(a, c), MEMKD_HALVES(b, d)
#define MEMKD_BLOCK_WORDS 2
#else
/* Bytes hold weight + 128, so that they load without sign extension; memkd_excess() makes up for it. On
 * RISC-V and with vectors they hold the weight. */
#define MEMKD_WEIGHTS(a, b, c, d) MEMKD_BYTE(a, 0) | MEMKD_BYTE(b, 8) | MEMKD_BYTE(c, 16) | MEMKD_BYTE(d, 24)
#define MEMKD_BLOCK_WORDS 1
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define MEMKD_PLACE(byte) (3 - (byte))
#else
#define MEMKD_PLACE(byte) (byte)
#endif
#endif

/*
 * A bias, as it is stored. half: 2^(shift-1) of the layer, or 0. Where MEMKD_ROUNDED is 1 the bias holds it,
 * too, and memkd_scale_rounded() scales the sum v + half: with an odd multiplier m, (v + half) * m is
 * v * m + half and (m - 1) / 2 times 2^shift, which is taken off again.
 */
#if MEMKD_RV32
#define MEMKD_ROUNDED 1
#define MEMKD_BIAS(bias, half) ((bias) + (half))
#else
#define MEMKD_ROUNDED 0
#define MEMKD_BIAS(bias, half) (bias)
#endif

/* Two columns of a layer's input. */
#if MEMKD_DSP
typedef uint32_t memkd_columns_t;
#elif MEMKD_RV32
typedef struct {
    int16_t even, odd;
} memkd_columns_t;
#else
typedef struct {
    int32_t even, odd;
} memkd_columns_t;
#endif

/* Number of column pairs of n values. */
#define MEMKD_PAIRS(n) (((n) + 1) / 2)

/* What a step has on the stack: a layer's columns, with vectors the pre-activations of its units. */
#if MEMKD_HELIUM
typedef int16_t memkd_scratch_t;

#define MEMKD_UNITS(hidden) (((hidden) + 3) / 4 * 4)
#define MEMKD_SCRATCH(pairs, hidden) (4 * MEMKD_UNITS(hidden))
#else
typedef memkd_columns_t memkd_scratch_t;

#define MEMKD_SCRATCH(pairs, hidden) (pairs)
#endif

/*
 * A dense layer: z = sat16((sum * multiplier + 2^(shift-1)) >> shift). weights: for each pair of rows (gates:
 * each unit) the biases, then blocks over the column pairs. clamp: 1 if z may exceed what the activations
 * take. rounded: 1 if the biases may hold 2^(shift-1), too (see MEMKD_BIAS).
 */
typedef struct {
    const uint32_t *weights;
    int16_t multiplier;
    int8_t shift;
    int8_t clamp;
    int8_t rounded;
} memkd_dense_t;

/*
 * Two forms of the logistic curve at argument / 12288, a line between two of 256 nodes that are 512 apart.
 * Both carry all bits of the interpolation; what a caller adds and shifts off rounds them to scale 2^-15:
 * - sigmoid: (curve + MEMKD_SIGMOID_OFFSET) >> MEMKD_SIGMOID_SHIFT;
 * - tanh of half the argument: (curve + MEMKD_TANH_OFFSET) >> MEMKD_TANH_SHIFT.
 */
#if MEMKD_SMALL_TABLE
#define MEMKD_SIGMOID_OFFSET (((int32_t)1 << 24) + 512)
#define MEMKD_SIGMOID_SHIFT 10
#define MEMKD_TANH_OFFSET 256
#define MEMKD_TANH_SHIFT 9

extern const uint16_t memkd_sigmoid_table[256];
#define memkd_table_damaged memkd_sigmoid_table_damaged

typedef const uint16_t *memkd_table_t;
#else
#define MEMKD_SIGMOID_OFFSET 0
#define MEMKD_SIGMOID_SHIFT 16
#define MEMKD_TANH_OFFSET (-0x40004000)
#define MEMKD_TANH_SHIFT 15

typedef struct {
    uint32_t offset, slope; /* curve = offset + argument * slope, modulo 2^32 */
} memkd_segment_t;

#if !MEMKD_HELIUM
extern const memkd_segment_t memkd_segment_table[512];
#endif
#define memkd_table_damaged memkd_segment_table_damaged

typedef const memkd_segment_t *memkd_table_t;
#endif

/*
 * 1 if the table is not the one that this file was written for, by its CRC-32; for self-tests. Each table has
 * its own, so that libraries of several forms link into one firmware.
 */
int memkd_table_damaged(void);

/* -1 for a negative value, otherwise 0. */
MEMKD_INLINE int32_t memkd_sign(int32_t value) {
    return value < 0 ? -1 : 0;
}

/* (value * multiplier + 2^(shift-1)) >> shift, multiplier < 2^15; a small shift clamps to 16 bits. A core may
 * have a better way for some shifts only. */
MEMKD_INLINE int32_t memkd_scale_plain(int32_t value, int32_t multiplier, int shift) {
    if (shift >= 17) {
        const int32_t high = (value >> 16) * multiplier;
        const int32_t low = (int32_t)(((uint32_t)value & 0xFFFFu) * (uint32_t)multiplier >> 16);
        return (high + low + ((int32_t)1 << (shift - 17))) >> (shift - 16);
    }
    const int64_t scaled = ((int64_t)value * multiplier + ((int64_t)1 << (shift - 1))) >> shift;
    return scaled < -32768 ? -32768 : scaled > 32767 ? 32767 : (int32_t)scaled;
}

/* ---- Armv7-M and Armv8-M: Cortex-M3 and better ---- */

#if MEMKD_V7M
#define memkd_saturate16 memkd_saturate16
MEMKD_INLINE int32_t memkd_saturate16(int32_t value) {
    int32_t result;
    __asm__("ssat %0, #16, %1" : "=r"(result) : "r"(value));
    return result;
}

/* Load two words and advance. */
MEMKD_INLINE const uint32_t *memkd_load2(const uint32_t *words, uint32_t *first, uint32_t *second) {
    __asm__("ldrd %0, %1, [%2], #8" : "=&r"(*first), "=&r"(*second), "+r"(words));
    return words;
}

#if !MEMKD_SMALL_TABLE && !MEMKD_HELIUM
#define memkd_table memkd_table
MEMKD_INLINE memkd_table_t memkd_table(void) {
    /* The middle, where argument 0 is, as a value that compilers do not take apart again. */
    memkd_table_t table = memkd_segment_table + 256;
    __asm__("" : "+r"(table));
    return table;
}

#define memkd_curve memkd_curve
MEMKD_INLINE int32_t memkd_curve(memkd_table_t table, int32_t argument) {
    int32_t index;
    uint32_t offset, slope;
    __asm__("ssat %0, #9, %1, asr #9" : "=r"(index) : "r"(argument));
    __asm__("ldrd %0, %1, [%2]" : "=r"(offset), "=r"(slope) : "r"(table + index));
    return (int32_t)(offset + (uint32_t)argument * slope);
}
#endif

#if !MEMKD_DSP
#define memkd_scale memkd_scale
MEMKD_INLINE int32_t memkd_scale(int32_t value, int32_t multiplier, int shift) {
    if (shift >= 17 && shift <= 32) { /* the upper word of a long product that begins with a half */
        uint32_t low = 0x80000000u;
        int32_t high = 0;
        __asm__("smlal %0, %1, %2, %3" : "+r"(low), "+r"(high) : "r"(value), "r"(multiplier << (32 - shift)));
        return high;
    }
    return memkd_scale_plain(value, multiplier, shift);
}
#endif
#endif

/* ---- Armv7E-M and Armv8-M with the DSP extension: Cortex-M4, M7, M33, M55 ---- */

#if MEMKD_DSP
MEMKD_INLINE int32_t memkd_smlad(uint32_t a, uint32_t b, int32_t sum) {
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

MEMKD_INLINE int32_t memkd_smmulr(int32_t a, int32_t b) {
    int32_t result;
    __asm__("smmulr %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

MEMKD_INLINE int32_t memkd_smmlar(int32_t a, int32_t b, int32_t sum) {
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

MEMKD_INLINE uint32_t memkd_uxtb16(uint32_t bytes) {
    uint32_t result;
    __asm__("uxtb16 %0, %1" : "=r"(result) : "r"(bytes));
    return result;
}

MEMKD_INLINE uint32_t memkd_uxtb16_odd(uint32_t bytes) {
    uint32_t result;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(result) : "r"(bytes));
    return result;
}

#define memkd_scale memkd_scale
MEMKD_INLINE int32_t memkd_scale(int32_t value, int32_t multiplier, int shift) {
    if (shift >= 17 && shift <= 32) {
        return memkd_smmulr(value, multiplier << (32 - shift));
    }
    return memkd_scale_plain(value, multiplier, shift);
}

#if MEMKD_SMALL_TABLE
#define memkd_curve memkd_curve
MEMKD_INLINE int32_t memkd_curve(memkd_table_t table, int32_t argument) {
    __asm__("" : "+r"(argument)); /* a sum that compilers do not take apart again */
    const int32_t sign = memkd_sign(argument);
    const uint32_t magnitude = (uint32_t)((argument ^ sign) - sign), last = 255u * 512u - 1;
    const uint32_t place = magnitude < last ? magnitude : last; /* there the curve is as high as it gets */
    const int32_t fraction = (int32_t)(place & 511u);
    uint32_t nodes; /* as signed halves they are 2^16 too small */
    MEMKD_COPY(&nodes, table + (place >> 9), 4);
    const int32_t value = memkd_smlad(nodes, (uint32_t)((fraction << 16) + 512 - fraction), 1 << 24);
    return value ^ sign;
}
#else

#define memkd_product memkd_product
MEMKD_INLINE int32_t memkd_product(int32_t curve, int32_t factor) {
    int32_t result;
    __asm__("smultb %0, %1, %2" : "=r"(result) : "r"(curve), "r"(factor));
    return result;
}
#endif

#define MEMKD_TEXT(value) #value
#define MEMKD_TEXT_OF(value) MEMKD_TEXT(value)

/* The upper half of `upper` over the sigmoid of `curve`. */
MEMKD_INLINE uint32_t memkd_pack(uint32_t upper, int32_t curve) {
    uint32_t result;
    __asm__("pkhtb %0, %1, %2, asr #" MEMKD_TEXT_OF(MEMKD_SIGMOID_SHIFT)
            : "=r"(result)
            : "r"(upper), "r"(curve));
    return result;
}

#define memkd_gated memkd_gated
MEMKD_INLINE int32_t memkd_gated(int32_t curve, int32_t factor, int shift) {
    /* A factor 2 in the upper half makes smlad add twice the sign of the other factor. */
    const int32_t round = ((int32_t)1 << (shift - 1)) + 1;
    return memkd_smlad(memkd_pack(0x00024001u, curve), (uint32_t)factor, round) >> shift;
}

#define memkd_cell memkd_cell
MEMKD_INLINE int32_t memkd_cell(int32_t forget, int32_t cell, int32_t product, int32_t candidate,
                                int cell_shift) {
    /*
     * memkd_gated() by hand: the word whose upper half is the factor 2 serves as the rounding, too, which
     * makes the sum 4 too large; the rounding of the other product takes it back.
     */
    const uint32_t two = 0x00024001u;
    const int32_t kept = memkd_smlad(memkd_pack(two, forget), (uint32_t)cell, (int32_t)two) >> 15;
    const int32_t round = (1 << (18 + cell_shift)) - (4 << (19 + cell_shift));
    return kept +
           ((memkd_smmlar(2 * product, 0x55555400, round) + memkd_sign(candidate)) >> (19 + cell_shift));
}

#define memkd_gather memkd_gather
MEMKD_INLINE void memkd_gather(memkd_columns_t *columns, const int16_t *values, int n) {
    MEMKD_UNROLL(16)
    for (int p = 0; p < n / 2; p++) {
        MEMKD_COPY(&columns[p], &values[2 * p], 4);
    }
    if (n % 2 != 0) {
        columns[n / 2] = (uint16_t)values[n - 1];
    }
}

#if MEMKD_WIDE
#define memkd_excess memkd_excess
MEMKD_INLINE uint32_t memkd_excess(const memkd_columns_t *columns, int pairs) {
    (void)columns;
    (void)pairs;
    return 0;
}

#define memkd_biases memkd_biases
MEMKD_INLINE const uint32_t *memkd_biases(const uint32_t *weights, uint32_t excess, uint32_t sums[4]) {
    (void)excess;
    weights = memkd_load2(weights, &sums[0], &sums[1]);
    return memkd_load2(weights, &sums[2], &sums[3]);
}

#define memkd_block memkd_block
MEMKD_INLINE const uint32_t *memkd_block(const uint32_t *weights, memkd_columns_t x, uint32_t *row0,
                                         uint32_t *row1) {
    uint32_t w0, w1;
    weights = memkd_load2(weights, &w0, &w1);
    *row0 = (uint32_t)memkd_smlad(w0, x, (int32_t)*row0);
    *row1 = (uint32_t)memkd_smlad(w1, x, (int32_t)*row1);
    return weights;
}

#define memkd_blocks memkd_blocks
MEMKD_INLINE const uint32_t *memkd_blocks(const uint32_t *weights, memkd_columns_t x, uint32_t sums[4]) {
    uint32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    /* High registers: with low ones GCC 12 runs out of registers in some combinations of its options. */
    __asm__("ldmia %[weights]!, {r8, r9, r10, r12}\n\t"
            "smlad %[a], r8, %[x], %[a]\n\t"
            "smlad %[b], r9, %[x], %[b]\n\t"
            "smlad %[c], r10, %[x], %[c]\n\t"
            "smlad %[d], r12, %[x], %[d]"
            : [weights] "+r"(weights), [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d)
            : [x] "r"(x)
            : "r8", "r9", "r10", "r12");
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    return weights;
}
#else
#define memkd_excess memkd_excess
MEMKD_INLINE uint32_t memkd_excess(const memkd_columns_t *columns, int pairs) {
    int32_t sum = 0;
    MEMKD_UNROLL(16)
    for (int p = 0; p < pairs; p++) {
        sum = memkd_smlad(columns[p], 0x00010001u, sum);
    }
    return 128u * (uint32_t)sum;
}

#define memkd_block memkd_block
MEMKD_INLINE const uint32_t *memkd_block(const uint32_t *weights, memkd_columns_t x, uint32_t *row0,
                                         uint32_t *row1) {
    *row0 = (uint32_t)memkd_smlad(memkd_uxtb16(*weights), x, (int32_t)*row0);
    *row1 = (uint32_t)memkd_smlad(memkd_uxtb16_odd(*weights), x, (int32_t)*row1);
    return weights + 1;
}

#define memkd_blocks memkd_blocks
MEMKD_INLINE const uint32_t *memkd_blocks(const uint32_t *weights, memkd_columns_t x, uint32_t sums[4]) {
    uint32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    uint32_t bytes0, bytes1, halves;
    __asm__("ldrd %[bytes0], %[bytes1], [%[weights]], #8\n\t"
            "uxtb16 %[halves], %[bytes0]\n\t"
            "smlad %[a], %[halves], %[x], %[a]\n\t"
            "uxtb16 %[halves], %[bytes0], ror #8\n\t"
            "smlad %[b], %[halves], %[x], %[b]\n\t"
            "uxtb16 %[halves], %[bytes1]\n\t"
            "smlad %[c], %[halves], %[x], %[c]\n\t"
            "uxtb16 %[halves], %[bytes1], ror #8\n\t"
            "smlad %[d], %[halves], %[x], %[d]"
            : [weights] "+r"(weights), [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d),
              [bytes0] "=&r"(bytes0), [bytes1] "=&r"(bytes1), [halves] "=&r"(halves)
            : [x] "r"(x));
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    return weights;
}
#endif
#endif

/* ---- Armv6-M: Cortex-M0, M0+, M1 ---- */

#if MEMKD_V6M
#if !MEMKD_SMALL_TABLE
#define memkd_curve memkd_curve
MEMKD_INLINE int32_t memkd_curve(memkd_table_t table, int32_t argument) {
    uint32_t curve, slope; /* the plain C, without moves between low and high registers */
    __asm__(".syntax unified\n\t"
            "movs %[curve], #1\n\t"
            "lsls %[curve], %[curve], #17\n\t"
            "adds %[curve], %[curve], %[argument]\n\t"
            "lsrs %[slope], %[curve], #18\n\t"
            "beq 1f\n\t"
            "asrs %[curve], %[argument], #31\n\t"
            "mvns %[curve], %[curve]\n\t"
            "lsrs %[curve], %[curve], #14\n"
            "1:\tlsrs %[curve], %[curve], #9\n\t"
            "lsls %[curve], %[curve], #3\n\t"
            "add %[curve], %[table]\n\t"
            "ldr %[slope], [%[curve], #4]\n\t"
            "ldr %[curve], [%[curve]]\n\t"
            "muls %[slope], %[argument]\n\t"
            "adds %[curve], %[curve], %[slope]"
            : [curve] "=&l"(curve), [slope] "=&l"(slope)
            : [argument] "l"(argument), [table] "r"(table)
            : "cc");
    return (int32_t)curve;
}
#endif

#define memkd_blocks memkd_blocks
MEMKD_INLINE const uint32_t *memkd_blocks(const uint32_t *weights, memkd_columns_t x, uint32_t sums[4]) {
    uint32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    const uint8_t *bytes = (const uint8_t *)weights;
    uint32_t product;
#define MEMKD_MAC(sum, byte)                                                                                 \
    "ldrb %[product], [%[bytes], #" #byte "]\n\tmuls %[product], %[x]\n\tadd %[" #sum "], %[product]\n\t"
    __asm__(".syntax unified\n\t" MEMKD_MAC(a, 0) MEMKD_MAC(b, 1) MEMKD_MAC(c, 4) MEMKD_MAC(d, 5)
            : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [product] "=&l"(product)
            : [bytes] "l"(bytes), [x] "l"(x.even)
            : "cc");
    if (!(__builtin_constant_p(x.odd) && x.odd == 0)) { /* a lone column is paired with a constant 0 */
        __asm__(".syntax unified\n\t" MEMKD_MAC(a, 2) MEMKD_MAC(b, 3) MEMKD_MAC(c, 6) MEMKD_MAC(d, 7)
                : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [product] "=&l"(product)
                : [bytes] "l"(bytes), [x] "l"(x.odd)
                : "cc");
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    return weights + 2;
}
#endif

/* ---- RISC-V: rv32im and more ---- */

#if MEMKD_RV32
/* The upper word of a product. */
MEMKD_INLINE int32_t memkd_mulh(int32_t a, int32_t b) {
    return (int32_t)((int64_t)a * b >> 32);
}

MEMKD_INLINE int32_t memkd_scale_rounded(int32_t value, int32_t multiplier, int shift) {
    return memkd_mulh(value, multiplier << (32 - shift)) - multiplier / 2;
}

#ifndef __riscv_zbb
#define memkd_saturate16 memkd_saturate16
MEMKD_INLINE int32_t memkd_saturate16(int32_t value) {
    if (__builtin_expect((uint32_t)value + 0x8000u >= 0x10000u, 0)) { /* one comparison, for what is seldom */
        value = 0x7FFF ^ memkd_sign(value);
    }
    return value;
}
#endif

#if !MEMKD_SMALL_TABLE
#define memkd_curve memkd_curve
MEMKD_INLINE int32_t memkd_curve(memkd_table_t table, int32_t argument) {
    uint32_t place = (uint32_t)argument + 256u * 512u;
    if (__builtin_expect(place >= 512u * 512u, 0)) {
        place = (uint32_t)~memkd_sign(argument) >> 14;
    }
    const memkd_table_t segment = table + (place >> 9);
    return (int32_t)(segment->offset + (uint32_t)argument * segment->slope);
}
#endif

#define memkd_gated memkd_gated
MEMKD_INLINE int32_t memkd_gated(int32_t curve, int32_t factor, int shift) {
    const int32_t product = (curve >> MEMKD_SIGMOID_SHIFT) * factor;
    return (product + (memkd_sign(factor) | 1) + (1 << (shift - 1))) >> shift;
}

#define memkd_cell memkd_cell
MEMKD_INLINE int32_t memkd_cell(int32_t forget, int32_t cell, int32_t product, int32_t candidate,
                                int cell_shift) {
    /* 0x55555400 / 2^31 is 0x155555 / 2^21, an odd multiplier: rounded as memkd_scale_rounded() does. */
    const int32_t round = (1 << (18 + cell_shift)) - 0x155555 / 2;
    int32_t third;
    __asm__("mulhsu %0, %1, %2" : "=r"(third) : "r"(product + (1 << 20)), "r"(0x155555u << 11));
    return memkd_gated(forget, cell, 15) + ((third + memkd_sign(candidate) + round) >> (19 + cell_shift));
}

#define memkd_excess memkd_excess
MEMKD_INLINE uint32_t memkd_excess(const memkd_columns_t *columns, int pairs) {
    (void)columns;
    (void)pairs;
    return 0;
}

/* Four weights, times the columns x0, x0, x1, x1, added to four sums. Loads stand apart from their use. */
#define MEMKD_FOUR(w0, w1, w2, w3, x0, x1, s0, s1, s2, s3)                                                   \
    "lb %[a], %[" w0 "]\n\tlb %[b], %[" w1 "]\n\tlb %[c], %[" w2 "]\n\tlb %[d], %[" w3 "]\n\t"               \
    "mul %[a], %[a], %[" x0 "]\n\tmul %[b], %[b], %[" x0 "]\n\t"                                             \
    "mul %[c], %[c], %[" x1 "]\n\tmul %[d], %[d], %[" x1 "]\n\t"                                             \
    "add %[" s0 "], %[" s0 "], %[a]\n\tadd %[" s1 "], %[" s1 "], %[b]\n\t"                                   \
    "add %[" s2 "], %[" s2 "], %[c]\n\tadd %[" s3 "], %[" s3 "], %[d]\n\t"

#define memkd_block memkd_block
MEMKD_INLINE const uint32_t *memkd_block(const uint32_t *weights, memkd_columns_t x, uint32_t *row0,
                                         uint32_t *row1) {
    const int8_t *const w = (const int8_t *)weights;
    const int32_t even = x.even, odd = x.odd;
    int32_t a, b, c, d;
    __asm__(
        MEMKD_FOUR("w0", "w1", "w2", "w3", "even", "odd", "row0", "row1", "row0", "row1")
        : [row0] "+r"(*row0), [row1] "+r"(*row1), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d)
        : [even] "r"(even), [odd] "r"(odd), [w0] "m"(w[0]), [w1] "m"(w[1]), [w2] "m"(w[2]), [w3] "m"(w[3]));
    return weights + 1;
}

#if MEMKD_TOGETHER == 2
/* The four rows of a unit over a column, or of two units whose weights are `stride` bytes apart. */
MEMKD_INLINE void memkd_column(const int8_t *weights, int32_t x, int units, int stride, uint32_t sums[]) {
    const int8_t *const w = weights, *const v = weights + stride;
    int32_t a, b, c, d;
    if (units == 1) {
        __asm__(MEMKD_FOUR("w0", "w1", "w4", "w5", "x", "x", "s0", "s1", "s2", "s3")
                : [s0] "+r"(sums[0]), [s1] "+r"(sums[1]), [s2] "+r"(sums[2]), [s3] "+r"(sums[3]),
                  [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d)
                : [x] "r"(x), [w0] "m"(w[0]), [w1] "m"(w[1]), [w4] "m"(w[4]), [w5] "m"(w[5]));
    } else {
        __asm__(MEMKD_FOUR("w0", "w1", "w4", "w5", "x", "x", "s0", "s1", "s2", "s3")
                    MEMKD_FOUR("v0", "v1", "v4", "v5", "x", "x", "s4", "s5", "s6", "s7")
                : [s0] "+r"(sums[0]), [s1] "+r"(sums[1]), [s2] "+r"(sums[2]), [s3] "+r"(sums[3]),
                  [s4] "+r"(sums[4]), [s5] "+r"(sums[5]), [s6] "+r"(sums[6]), [s7] "+r"(sums[7]),
                  [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d)
                : [x] "r"(x), [w0] "m"(w[0]), [w1] "m"(w[1]), [w4] "m"(w[4]), [w5] "m"(w[5]), [v0] "m"(v[0]),
                  [v1] "m"(v[1]), [v4] "m"(v[4]), [v5] "m"(v[5]));
    }
}

/* The same over n columns. */
MEMKD_INLINE const int8_t *memkd_part(const int8_t *weights, const memkd_columns_t *columns, int n, int units,
                                      int stride, uint32_t sums[]) {
    MEMKD_UNROLL(16)
    for (int p = 0; p < n / 2; p++) {
        memkd_column(weights, columns[p].even, units, stride, sums);
        memkd_column(weights + 2, columns[p].odd, units, stride, sums);
        weights += 8;
    }
    if (n % 2 != 0) {
        memkd_column(weights, columns[n / 2].even, units, stride, sums);
        weights += 8;
    }
    return weights;
}

#define memkd_sums memkd_sums
MEMKD_INLINE const uint32_t *memkd_sums(const uint32_t *weights, uint32_t excess,
                                        const memkd_columns_t *columns, int inputs, int hidden, int units,
                                        uint32_t sums[]) {
    (void)excess;
    const int words = 4 + 2 * (MEMKD_PAIRS(inputs) + MEMKD_PAIRS(hidden));
    MEMKD_UNROLL(8)
    for (int k = 0; k < 4 * units; k++) {
        sums[k] = weights[k / 4 * words + k % 4];
    }
    const int8_t *bytes = (const int8_t *)(weights + 4);
    bytes = memkd_part(bytes, columns, inputs, units, 4 * words, sums);
    memkd_part(bytes, columns + MEMKD_PAIRS(inputs), hidden, units, 4 * words, sums);
    return weights + units * words;
}
#endif
#endif

/* ---- plain C: what no section above defines ---- */

#ifndef memkd_saturate16
/* Clamp to 16 bits. */
MEMKD_INLINE int32_t memkd_saturate16(int32_t value) {
    return value < -32768 ? -32768 : value > 32767 ? 32767 : value;
}
#endif

/* What follows is for one unit after the other. */
#if !MEMKD_HELIUM
#ifndef memkd_scale
#define memkd_scale memkd_scale_plain
#endif

#ifndef memkd_table
/* What memkd_curve takes. */
MEMKD_INLINE memkd_table_t memkd_table(void) {
#if MEMKD_SMALL_TABLE
    return memkd_sigmoid_table;
#else
    return memkd_segment_table;
#endif
}
#endif

#ifndef memkd_curve
#if MEMKD_SMALL_TABLE
/* The right half of the curve above 1/2, mirrored for negative arguments. */
MEMKD_INLINE int32_t memkd_curve(memkd_table_t table, int32_t argument) {
    const int32_t sign = memkd_sign(argument);
    const uint32_t magnitude = (uint32_t)((argument ^ sign) - sign);
    int32_t value = ((int32_t)1 << 24) - 640;
    if (magnitude < (uint32_t)255 * 512) {
        const memkd_table_t node = table + (magnitude >> 9);
        const int32_t fraction = (int32_t)(magnitude & 511u);
        value = ((int32_t)node[0] - 32768) * 512 + fraction * ((int32_t)node[1] - (int32_t)node[0]);
    }
    return value ^ sign;
}
#else
/* The line over the argument; the first and the last one go on for ever. */
MEMKD_INLINE int32_t memkd_curve(memkd_table_t table, int32_t argument) {
    uint32_t place = (uint32_t)argument + (uint32_t)256 * 512;
    if (place >> 18 != 0) {
        place = argument < 0 ? 0u : (uint32_t)511 * 512;
    }
    const memkd_table_t segment = table + (place >> 9);
    return (int32_t)(segment->offset + (uint32_t)argument * segment->slope);
}
#endif
#endif

#ifndef memkd_product
/* The product of a curve's sigmoid and a factor at scale 2^-15. */
MEMKD_INLINE int32_t memkd_product(int32_t curve, int32_t factor) {
    return (curve >> MEMKD_SIGMOID_SHIFT) * factor;
}
#endif

#ifndef memkd_gated
/* (sigmoid at scale 2^-15) * factor / 2^shift, rounded: what a gate lets through. */
MEMKD_INLINE int32_t memkd_gated(int32_t curve, int32_t factor, int shift) {
    const int32_t round = ((int32_t)1 << (shift - 1)) + 1;
    return (memkd_product(curve, factor) + round + 2 * memkd_sign(factor)) >> shift;
}
#endif

#ifndef memkd_cell
/* f * c + i * g at the cell's scale: f as a curve, product = i * g and candidate = g at scales 2^-30, 2^-15.
 */
MEMKD_INLINE int32_t memkd_cell(int32_t forget, int32_t cell, int32_t product, int32_t candidate,
                                int cell_shift) {
    /* 0x55555400 / 2^50 = (1 - 2^-22) / (3 * 2^18): take off the 2^22nd part, then divide by 3. */
    const int32_t sign = memkd_sign(candidate);
    const int32_t kept = memkd_gated(forget, cell, 15);
    const int32_t part = (product + 0xFFFFF + (int32_t)((uint32_t)sign >> 11)) >> 22;
    const int32_t half = (int32_t)3 << (17 + cell_shift);
    const int32_t added = (((product - part + half + sign) >> (18 + cell_shift)) * 21845 + 10000) >> 16;
    return kept + added;
}
#endif

#ifndef memkd_gather
/* Put n values into pairs of columns; the last one alone is paired with 0. */
MEMKD_INLINE void memkd_gather(memkd_columns_t *columns, const int16_t *values, int n) {
    MEMKD_UNROLL(16)
    for (int p = 0; p < n / 2; p++) {
        columns[p].even = values[2 * p];
        columns[p].odd = values[2 * p + 1];
    }
    if (n % 2 != 0) {
        columns[n / 2].even = values[n - 1];
        columns[n / 2].odd = 0;
    }
}
#endif

#ifndef memkd_excess
/* What the weights' offset adds to each row: 128 times the sum of the columns. */
MEMKD_INLINE uint32_t memkd_excess(const memkd_columns_t *columns, int pairs) {
    int32_t sum = 0;
    MEMKD_UNROLL(16)
    for (int p = 0; p < pairs; p++) {
        sum += columns[p].even + columns[p].odd;
    }
    return 128u * (uint32_t)sum;
}
#endif

#ifndef memkd_biases
/* Load what the sums of a unit's four rows begin with: the biases, less the excess. */
MEMKD_INLINE const uint32_t *memkd_biases(const uint32_t *weights, uint32_t excess, uint32_t sums[4]) {
    sums[0] = weights[0] - excess;
    sums[1] = weights[1] - excess;
    sums[2] = weights[2] - excess;
    sums[3] = weights[3] - excess;
    return weights + 4;
}
#endif

#ifndef memkd_block
/*
 * Add a block, two rows over two columns, to the sums of its rows. Sums are modulo 2^32, so that they may
 * overflow on the way; complete ones fit an int32_t.
 */
MEMKD_INLINE const uint32_t *memkd_block(const uint32_t *weights, memkd_columns_t x, uint32_t *row0,
                                         uint32_t *row1) {
    const uint8_t *bytes = (const uint8_t *)weights;
    *row0 += bytes[MEMKD_PLACE(0)] * (uint32_t)x.even + bytes[MEMKD_PLACE(2)] * (uint32_t)x.odd;
    *row1 += bytes[MEMKD_PLACE(1)] * (uint32_t)x.even + bytes[MEMKD_PLACE(3)] * (uint32_t)x.odd;
    return weights + 1;
}
#endif

#ifndef memkd_blocks
/* Two blocks: the four rows of a unit. */
MEMKD_INLINE const uint32_t *memkd_blocks(const uint32_t *weights, memkd_columns_t x, uint32_t sums[4]) {
    weights = memkd_block(weights, x, &sums[0], &sums[1]);
    return memkd_block(weights, x, &sums[2], &sums[3]);
}
#endif

#ifndef memkd_sums
/* The sums of a unit's four rows; MEMKD_TOGETHER units at most. Weights of other units follow. */
MEMKD_INLINE const uint32_t *memkd_sums(const uint32_t *weights, uint32_t excess,
                                        const memkd_columns_t *columns, int inputs, int hidden, int units,
                                        uint32_t sums[]) {
    (void)units;
    weights = memkd_biases(weights, excess, sums);
    MEMKD_UNROLL(16)
    for (int p = 0; p < MEMKD_PAIRS(inputs) + MEMKD_PAIRS(hidden); p++) {
        weights = memkd_blocks(weights, columns[p], sums);
    }
    return weights;
}
#endif
#endif

#ifdef __cplusplus
}
#endif

#endif
