/*
 * memkd_lstm.h: integer LSTM and GRU kernels for the models that memkd-edge generates.
 *
 * A generated <name>.c includes this file; an application includes <name>.h only. Everything here is inline,
 * so that a model's sizes are constants where its loops run. Nothing allocates, nothing is global but
 * constant tables, and the arithmetic is exact: every build gives the same bits, those of SPEC.md.
 *
 * Builds, chosen by the core and by macros:
 * - fast, the default: dual 16-bit multiplies on Cortex-M4, M7, M33 and M55, ARMv6-M assembly on M0 and M0+,
 *   plain C99 elsewhere;
 * - MEMKD_SMALL: 8-bit weights, a table of 512 bytes instead of 4096: less flash, more instructions;
 * - MEMKD_PORTABLE: plain C99 on every core.
 *
 * Right shifts of negative numbers are arithmetic and conversions to narrower signed types wrap, as with
 * every compiler for these targets. Assembly reads constant tables and weights only, so it declares no memory
 * operands.
 */
#ifndef MEMKD_LSTM_H
#define MEMKD_LSTM_H

#include <stdint.h>
#include <string.h>

#if defined(MEMKD_PORTABLE) || !defined(__GNUC__) || defined(__ARM_BIG_ENDIAN)
#define MEMKD_ASSEMBLY 0
#else
#define MEMKD_ASSEMBLY 1
#endif

#if MEMKD_ASSEMBLY && defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
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

/* Weights widened to 16 bits, ready for the dual multiply; otherwise 8 bits each. */
#if MEMKD_DSP && !defined(MEMKD_SMALL)
#define MEMKD_WIDE 1
#else
#define MEMKD_WIDE 0
#endif

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
#elif defined(__GNUC__)
#define MEMKD_UNROLL(count) MEMKD_PRAGMA(GCC unroll count)
#else
#define MEMKD_UNROLL(count)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Weights. A model's matrix is an array of 32-bit words, blocks of two rows over two columns:
 * MEMKD_WEIGHTS(a, b, c, d) holds a, c of the first row and b, d of the second. The gates of a unit are two
 * such pairs of rows.
 */
#define MEMKD_HALVES(low, high) (((uint32_t)(low) & 0xFFFFu) | (uint32_t)(high) << 16)
#define MEMKD_BYTE(weight, place) (((uint32_t)(weight) + 128u) << (place))
#if MEMKD_WIDE
#define MEMKD_WEIGHTS(a, b, c, d) MEMKD_HALVES(a, c), MEMKD_HALVES(b, d)
#define MEMKD_BLOCK_WORDS 2
#else
/* Bytes hold weight + 128, so that they load without sign extension; memkd_excess() makes up for it. */
#define MEMKD_WEIGHTS(a, b, c, d) MEMKD_BYTE(a, 0) | MEMKD_BYTE(b, 8) | MEMKD_BYTE(c, 16) | MEMKD_BYTE(d, 24)
#define MEMKD_BLOCK_WORDS 1
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define MEMKD_PLACE(byte) (3 - (byte))
#else
#define MEMKD_PLACE(byte) (byte)
#endif
#endif

/*
 * A dense layer: z = sat16((sum * multiplier + 2^(shift-1)) >> shift). weights: for each pair of rows (gates:
 * each unit) the biases, then blocks over the column pairs. clamp: 1 if z may exceed what the activations
 * take.
 */
typedef struct {
    const uint32_t *weights;
    int16_t multiplier;
    int8_t shift;
    int8_t clamp;
} memkd_dense_t;

/* Two columns of a layer's input. */
#if MEMKD_DSP
typedef uint32_t memkd_columns_t;
#else
typedef struct {
    int32_t even, odd;
} memkd_columns_t;
#endif

/* Number of column pairs of n values. */
#define MEMKD_PAIRS(n) (((n) + 1) / 2)

/* ---- exact primitives ---- */

MEMKD_INLINE int32_t memkd_saturate16(int32_t value) {
#if MEMKD_DSP
    int32_t result;
    __asm__("ssat %0, #16, %1" : "=r"(result) : "r"(value));
    return result;
#else
    return value < -32768 ? -32768 : value > 32767 ? 32767 : value;
#endif
}

/* -1 for a negative value, otherwise 0. */
MEMKD_INLINE int32_t memkd_sign(int32_t value) {
    return value < 0 ? -1 : 0;
}

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

/* Load two words and advance. */
MEMKD_INLINE const uint32_t *memkd_load2(const uint32_t *words, uint32_t *first, uint32_t *second) {
    __asm__("ldrd %0, %1, [%2], #8" : "=&r"(*first), "=&r"(*second), "+r"(words));
    return words;
}
#endif

/* (value * multiplier + 2^(shift-1)) >> shift, multiplier < 2^15; a small shift clamps to 16 bits. */
MEMKD_INLINE int32_t memkd_scale(int32_t value, int32_t multiplier, int shift) {
#if MEMKD_DSP
    if (shift >= 17 && shift <= 32) {
        return memkd_smmulr(value, multiplier << (32 - shift));
    }
#endif
    if (shift >= 17) {
        const int32_t high = (value >> 16) * multiplier;
        const int32_t low = (int32_t)(((uint32_t)value & 0xFFFFu) * (uint32_t)multiplier >> 16);
        return (high + low + ((int32_t)1 << (shift - 17))) >> (shift - 16);
    }
    const int64_t scaled = ((int64_t)value * multiplier + ((int64_t)1 << (shift - 1))) >> shift;
    return scaled < -32768 ? -32768 : scaled > 32767 ? 32767 : (int32_t)scaled;
}

/* ---- activations ---- */

/*
 * The logistic curve at argument / 12288, a line between two of 256 nodes that are 512 apart. Both forms of
 * it carry all bits of the interpolation; what a caller adds and shifts off rounds them to scale 2^-15:
 * - sigmoid: (curve + MEMKD_SIGMOID_OFFSET) >> MEMKD_SIGMOID_SHIFT;
 * - tanh of half the argument: (curve + MEMKD_TANH_OFFSET) >> MEMKD_TANH_SHIFT.
 */
#ifdef MEMKD_SMALL
#define MEMKD_SIGMOID_OFFSET ((1 << 24) + 512)
#define MEMKD_SIGMOID_SHIFT 10
#define MEMKD_TANH_OFFSET 256
#define MEMKD_TANH_SHIFT 9

extern const uint16_t memkd_sigmoid_table[256];

typedef const uint16_t *memkd_table_t;

MEMKD_INLINE memkd_table_t memkd_table(void) {
    return memkd_sigmoid_table;
}

/* The right half of the curve above 1/2, mirrored for negative arguments. */
MEMKD_INLINE int32_t memkd_curve(memkd_table_t table, int32_t argument) {
    const int32_t sign = memkd_sign(argument);
    const uint32_t magnitude = (uint32_t)((argument ^ sign) - sign);
    int32_t value = (1 << 24) - 640;
    if (magnitude < 255u * 512u) {
        const memkd_table_t node = table + (magnitude >> 9);
        const int32_t fraction = (int32_t)(magnitude & 511u);
#if MEMKD_DSP
        uint32_t nodes; /* as signed halves they are 2^16 too small */
        MEMKD_COPY(&nodes, node, 4);
        value = memkd_smlad(nodes, (uint32_t)((fraction << 16) + 512 - fraction), 1 << 24);
#else
        value = (node[0] - 32768) * 512 + fraction * (node[1] - node[0]);
#endif
    }
    return value ^ sign;
}
#else
#define MEMKD_SIGMOID_OFFSET 0
#define MEMKD_SIGMOID_SHIFT 16
#define MEMKD_TANH_OFFSET (-0x40004000)
#define MEMKD_TANH_SHIFT 15

typedef struct {
    uint32_t offset, slope; /* curve = offset + argument * slope, modulo 2^32 */
} memkd_segment_t;

extern const memkd_segment_t memkd_segment_table[512];

typedef const memkd_segment_t *memkd_table_t;

MEMKD_INLINE memkd_table_t memkd_table(void) {
    memkd_table_t table = memkd_segment_table;
#if MEMKD_DSP
    /* The middle, where argument 0 is, as a value that compilers do not take apart again. */
    table += 256;
    __asm__("" : "+r"(table));
#endif
    return table;
}

MEMKD_INLINE int32_t memkd_curve(memkd_table_t table, int32_t argument) {
#if MEMKD_DSP
    int32_t index;
    uint32_t offset, slope;
    __asm__("ssat %0, #9, %1, asr #9" : "=r"(index) : "r"(argument));
    __asm__("ldrd %0, %1, [%2]" : "=r"(offset), "=r"(slope) : "r"(table + index));
    return (int32_t)(offset + (uint32_t)argument * slope);
#elif MEMKD_V6M
    uint32_t curve, slope; /* the C below, without moves between low and high registers */
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
#else
    uint32_t place = (uint32_t)argument + 256u * 512u;
    if (place >> 18 != 0) {
        place = argument < 0 ? 0u : 511u * 512u;
    }
    const memkd_table_t segment = table + (place >> 9);
    return (int32_t)(segment->offset + (uint32_t)argument * segment->slope);
#endif
}
#endif

/* The curve at z, a value at scale 3 * 2^-12, ready to be shifted down to sigmoid(z). */
MEMKD_INLINE int32_t memkd_sigmoid_curve(memkd_table_t table, int32_t z) {
    return memkd_curve(table, 9 * z) + MEMKD_SIGMOID_OFFSET;
}

/* tanh(argument / 12288) at scale 2^-15: twice the curve at twice the argument, less one. */
MEMKD_INLINE int32_t memkd_tanh(memkd_table_t table, int32_t argument) {
    return (memkd_curve(table, 2 * argument) + MEMKD_TANH_OFFSET) >> MEMKD_TANH_SHIFT;
}

/* ---- one unit ---- */

#if MEMKD_DSP
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
#endif

/* The product of a curve's sigmoid and a factor at scale 2^-15. */
MEMKD_INLINE int32_t memkd_product(int32_t curve, int32_t factor) {
#if MEMKD_DSP && MEMKD_SIGMOID_SHIFT == 16
    int32_t result;
    __asm__("smultb %0, %1, %2" : "=r"(result) : "r"(curve), "r"(factor));
    return result;
#else
    return (curve >> MEMKD_SIGMOID_SHIFT) * factor;
#endif
}

/* (sigmoid at scale 2^-15) * factor / 2^shift, rounded: what a gate lets through. */
MEMKD_INLINE int32_t memkd_gated(int32_t curve, int32_t factor, int shift) {
    const int32_t round = ((int32_t)1 << (shift - 1)) + 1;
#if MEMKD_DSP
    /* A factor 2 in the upper half makes smlad add twice the sign of the other factor. */
    return memkd_smlad(memkd_pack(0x00024001u, curve), (uint32_t)factor, round) >> shift;
#else
    return (memkd_product(curve, factor) + round + 2 * memkd_sign(factor)) >> shift;
#endif
}

/*
 * c' = sat16(f * c + i * g), h' = o * tanh(c'). The gates are pre-activations at scale 3 * 2^-12, c has that
 * scale times 2^cell_shift, cell_shift in -2 .. 3.
 */
MEMKD_INLINE void memkd_lstm_unit(memkd_table_t table, int32_t zi, int32_t zf, int32_t zo, int32_t zg,
                                  int cell_shift, int hidden_shift, int16_t *h, int16_t *c) {
    const int32_t cell = *c;
    const int32_t forget = memkd_sigmoid_curve(table, zf);
    const int32_t input = memkd_sigmoid_curve(table, zi);
    const int32_t candidate = memkd_tanh(table, 9 * zg);
    const int32_t product = memkd_product(input, candidate);
    const int32_t sign = memkd_sign(candidate);
#if MEMKD_DSP
    /*
     * memkd_gated() by hand: the word whose upper half is the factor 2 serves as the rounding, too, which
     * makes the sum 4 too large; the rounding of the other product takes it back.
     */
    const uint32_t two = 0x00024001u;
    const int32_t kept = memkd_smlad(memkd_pack(two, forget), (uint32_t)cell, (int32_t)two) >> 15;
    const int32_t round = (1 << (18 + cell_shift)) - (4 << (19 + cell_shift));
    const int32_t added = (memkd_smmlar(2 * product, 0x55555400, round) + sign) >> (19 + cell_shift);
#else
    /* 0x55555400 / 2^50 = (1 - 2^-22) / (3 * 2^18): take off the 2^22nd part, then divide by 3. */
    const int32_t kept = memkd_gated(forget, cell, 15);
    const int32_t part = (product + 0xFFFFF + (int32_t)((uint32_t)sign >> 11)) >> 22;
    const int32_t half = 3 << (17 + cell_shift);
    const int32_t added = (((product - part + half + sign) >> (18 + cell_shift)) * 21845 + 10000) >> 16;
#endif
    const int32_t next = memkd_saturate16(kept + added);
    *c = (int16_t)next;
    const int32_t output = memkd_sigmoid_curve(table, zo);
    const int32_t argument =
        cell_shift >= 0 ? (9 << cell_shift) * next : (9 * next + (1 << (-cell_shift - 1))) >> -cell_shift;
    *h = (int16_t)memkd_gated(output, memkd_tanh(table, argument), hidden_shift);
}

/* h' = sat16(u * h + (1 - u) * tanh(sat16(from_x + r * from_h))), pre-activations at scale 3 * 2^-12. */
MEMKD_INLINE void memkd_gru_unit(memkd_table_t table, int32_t zr, int32_t zu, int32_t from_x, int32_t from_h,
                                 int hidden_shift, int16_t *h) {
    const int32_t remembered = memkd_gated(memkd_sigmoid_curve(table, zr), memkd_saturate16(from_h), 15);
    const int32_t candidate = memkd_tanh(table, 9 * memkd_saturate16(memkd_saturate16(from_x) + remembered));
    const int32_t update = memkd_sigmoid_curve(table, zu);
    const int32_t rest = 32767 - (update >> MEMKD_SIGMOID_SHIFT);
    const int32_t round = ((int32_t)1 << (hidden_shift - 1)) + 1;
    const int32_t added = (rest * candidate + round + 2 * memkd_sign(candidate)) >> hidden_shift;
    *h = (int16_t)memkd_saturate16(memkd_gated(update, *h, 15) + added);
}

/* ---- matrix products ---- */

/* Put n values into pairs of columns; the last one alone is paired with 0. */
MEMKD_INLINE void memkd_gather(memkd_columns_t *columns, const int16_t *values, int n) {
    MEMKD_UNROLL(16)
    for (int p = 0; p < n / 2; p++) {
#if MEMKD_DSP
        MEMKD_COPY(&columns[p], &values[2 * p], 4);
#else
        columns[p].even = values[2 * p];
        columns[p].odd = values[2 * p + 1];
#endif
    }
    if (n % 2 != 0) {
#if MEMKD_DSP
        columns[n / 2] = (uint16_t)values[n - 1];
#else
        columns[n / 2].even = values[n - 1];
        columns[n / 2].odd = 0;
#endif
    }
}

/* What the weights' offset adds to each row: 128 times the sum of the columns. */
MEMKD_INLINE uint32_t memkd_excess(const memkd_columns_t *columns, int pairs) {
#if MEMKD_WIDE
    (void)columns;
    (void)pairs;
    return 0;
#else
    int32_t sum = 0;
    MEMKD_UNROLL(16)
    for (int p = 0; p < pairs; p++) {
#if MEMKD_DSP
        sum = memkd_smlad(columns[p], 0x00010001u, sum);
#else
        sum += columns[p].even + columns[p].odd;
#endif
    }
    return 128u * (uint32_t)sum;
#endif
}

/*
 * Add a block, two rows over two columns, to the sums of its rows. Sums are modulo 2^32, so that they may
 * overflow on the way; complete ones fit an int32_t.
 */
MEMKD_INLINE const uint32_t *memkd_block(const uint32_t *weights, memkd_columns_t x, uint32_t *row0,
                                         uint32_t *row1) {
#if MEMKD_WIDE
    uint32_t w0, w1;
    weights = memkd_load2(weights, &w0, &w1);
    *row0 = (uint32_t)memkd_smlad(w0, x, (int32_t)*row0);
    *row1 = (uint32_t)memkd_smlad(w1, x, (int32_t)*row1);
    return weights;
#elif MEMKD_DSP
    *row0 = (uint32_t)memkd_smlad(memkd_uxtb16(*weights), x, (int32_t)*row0);
    *row1 = (uint32_t)memkd_smlad(memkd_uxtb16_odd(*weights), x, (int32_t)*row1);
    return weights + 1;
#else
    const uint8_t *bytes = (const uint8_t *)weights;
    *row0 += bytes[MEMKD_PLACE(0)] * (uint32_t)x.even + bytes[MEMKD_PLACE(2)] * (uint32_t)x.odd;
    *row1 += bytes[MEMKD_PLACE(1)] * (uint32_t)x.even + bytes[MEMKD_PLACE(3)] * (uint32_t)x.odd;
    return weights + 1;
#endif
}

/* Two blocks: the four rows of a unit. */
MEMKD_INLINE const uint32_t *memkd_blocks(const uint32_t *weights, memkd_columns_t x, uint32_t sums[4]) {
#if MEMKD_DSP || MEMKD_V6M
    uint32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
#endif
#if MEMKD_WIDE
    /* High registers: with low ones GCC 12 runs out of registers in some combinations of its options. */
    __asm__("ldmia %[weights]!, {r8, r9, r10, r12}\n\t"
            "smlad %[a], r8, %[x], %[a]\n\t"
            "smlad %[b], r9, %[x], %[b]\n\t"
            "smlad %[c], r10, %[x], %[c]\n\t"
            "smlad %[d], r12, %[x], %[d]"
            : [weights] "+r"(weights), [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d)
            : [x] "r"(x)
            : "r8", "r9", "r10", "r12");
#elif MEMKD_DSP
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
#elif MEMKD_V6M
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
    weights += 2;
#else
    weights = memkd_block(weights, x, &sums[0], &sums[1]);
    weights = memkd_block(weights, x, &sums[2], &sums[3]);
#endif
#if MEMKD_DSP || MEMKD_V6M
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
#endif
    return weights;
}

MEMKD_INLINE int32_t memkd_gate(const memkd_dense_t *gates, uint32_t sum) {
    const int32_t value = memkd_scale((int32_t)sum, gates->multiplier, gates->shift);
    return gates->clamp ? memkd_saturate16(value) : value;
}

/* The four rows of a unit, scaled: pre-activations. Weights of other units follow. */
MEMKD_INLINE const uint32_t *memkd_gates(const memkd_dense_t *gates, const uint32_t *weights, uint32_t excess,
                                         const memkd_columns_t *columns, int pairs, int32_t z[4]) {
#if MEMKD_WIDE
    uint32_t sums[4];
    (void)excess;
    weights = memkd_load2(weights, &sums[0], &sums[1]);
    weights = memkd_load2(weights, &sums[2], &sums[3]);
#else
    uint32_t sums[4] = {weights[0] - excess, weights[1] - excess, weights[2] - excess, weights[3] - excess};
    weights += 4;
#endif
    MEMKD_UNROLL(16)
    for (int p = 0; p < pairs; p++) {
        weights = memkd_blocks(weights, columns[p], sums);
    }
    z[0] = memkd_gate(gates, sums[0]);
    z[1] = memkd_gate(gates, sums[1]);
    z[2] = memkd_gate(gates, sums[2]);
    z[3] = memkd_gate(gates, sums[3]);
    return weights;
}

/* One step of an LSTM layer. columns: its input and the old h of all units. h and c are read and written. */
MEMKD_INLINE void memkd_lstm(const memkd_dense_t *gates, const memkd_columns_t *columns, int pairs,
                             int hidden, int cell_shift, int hidden_shift, int16_t *h, int16_t *c) {
    const uint32_t *weights = gates->weights;
    const uint32_t *const end = weights + hidden * (4 + pairs * 2 * MEMKD_BLOCK_WORDS);
    const uint32_t excess = memkd_excess(columns, pairs);
    const memkd_table_t table = memkd_table();
    do {
        int32_t z[4];
        weights = memkd_gates(gates, weights, excess, columns, pairs, z);
        memkd_lstm_unit(table, z[0], z[1], z[2], z[3], cell_shift, hidden_shift, h++, c++);
    } while (weights != end);
}

/* One step of a GRU layer, likewise. */
MEMKD_INLINE void memkd_gru(const memkd_dense_t *gates, const memkd_columns_t *columns, int pairs, int hidden,
                            int hidden_shift, int16_t *h) {
    const uint32_t *weights = gates->weights;
    const uint32_t *const end = weights + hidden * (4 + pairs * 2 * MEMKD_BLOCK_WORDS);
    const uint32_t excess = memkd_excess(columns, pairs);
    const memkd_table_t table = memkd_table();
    do {
        int32_t z[4];
        weights = memkd_gates(gates, weights, excess, columns, pairs, z);
        memkd_gru_unit(table, z[0], z[1], z[2], z[3], hidden_shift, h++);
    } while (weights != end);
}

/* A dense layer. Rows are stored in pairs, the last one of an odd number with a row of zeros. */
MEMKD_INLINE void memkd_dense(const memkd_dense_t *layer, const memkd_columns_t *columns, int pairs, int rows,
                              int16_t *out) {
    const uint32_t *weights = layer->weights;
    const uint32_t excess = memkd_excess(columns, pairs);
    for (int r = 0; r < rows; r += 2) {
        uint32_t row0 = weights[0] - excess, row1 = weights[1] - excess;
        weights += 2;
        MEMKD_UNROLL(16)
        for (int p = 0; p < pairs; p++) {
            weights = memkd_block(weights, columns[p], &row0, &row1);
        }
        out[r] = (int16_t)memkd_saturate16(memkd_scale((int32_t)row0, layer->multiplier, layer->shift));
        if (r + 1 < rows) {
            out[r + 1] =
                (int16_t)memkd_saturate16(memkd_scale((int32_t)row1, layer->multiplier, layer->shift));
        }
    }
}

/* ---- interfaces ---- */

/* value * mantissa / 2^31, halves up, then a shift right, halves away from zero. */
MEMKD_INLINE int32_t memkd_rescale(int16_t value, int32_t mantissa, int shift) {
    const int32_t high = value * (mantissa >> 16);
    const int32_t low = value * (mantissa & 0xFFFF);
    const int32_t product = (high + (low >> 16) + 0x4000) >> 15;
    return shift == 0 ? product : (product + ((int32_t)1 << (shift - 1)) - (product < 0)) >> shift;
}

/* A sensor's count as the model's int16: sat16((count - offset) * gain / 2^shift), halves away from zero. */
MEMKD_INLINE int16_t memkd_normalise(int16_t count, int16_t offset, int16_t gain, int shift) {
    const int32_t product = memkd_saturate16(count - offset) * gain;
    const int32_t half = shift == 1 ? 0 : ((int32_t)1 << (shift - 1)) + 2 * (product < -1 ? -1 : 0);
    return (int16_t)memkd_saturate16((product + 1 + half) >> shift);
}

/*
 * Low-pass and decimation. history: the latest `count` samples of all channels, a ring whose first one is
 * `newest`. phase: 0 after a reset, then 1 + samples since the last output. Before the first sample the
 * signal is taken to have had that sample's value for ever. Returns 1 and writes `out` with every `factor`-th
 * sample, else 0.
 */
MEMKD_INLINE int memkd_decimate(const int32_t *taps, int count, int factor, int channels,
                                const int16_t *counts, int16_t *history, uint16_t *newest, uint16_t *phase,
                                int16_t *out) {
    if (*phase == 0) {
        *phase = 1;
        for (int k = 0; k < count * channels; k++) {
            history[k] = counts[k % channels];
        }
    }
    *newest = (uint16_t)((*newest == 0 ? count : *newest) - 1);
    for (int j = 0; j < channels; j++) {
        history[*newest * channels + j] = counts[j];
    }
    if (*phase < factor) {
        ++*phase;
        return 0;
    }
    *phase = 1;
    for (int j = 0; j < channels; j++) {
        int32_t sum = 1 << 14;
        for (int k = 0; k < count; k++) {
            const int place = *newest + k < count ? *newest + k : *newest + k - count;
            sum += taps[k] * history[place * channels + j];
        }
        out[j] = (int16_t)memkd_saturate16(sum >> 15);
    }
    return 1;
}

/* (value - mean) / std * gain as int16, halves away from zero, clamped; NaN gives 0. */
MEMKD_INLINE int16_t memkd_quantize(float value, float mean, float std, float gain) {
    const float scaled = (value - mean) / std * gain;
    if (scaled >= 32767.0f) {
        return 32767;
    }
    if (scaled <= -32768.0f) {
        return -32768;
    }
    return scaled >= 0.0f ? (int16_t)(scaled + 0.5f) : scaled < 0.0f ? (int16_t)(scaled - 0.5f) : (int16_t)0;
}

#ifdef __cplusplus
}
#endif

#endif
