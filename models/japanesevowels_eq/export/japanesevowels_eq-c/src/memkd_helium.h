/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memkd_helium.h: the cells of SPEC.md with Helium, the vectors of Cortex-M52, M55 and M85; memkd_lstm.h
 * includes it there instead of its own. A layer's rows are multiplied eight columns at a time, its units
 * computed four at a time.
 *
 * Weights. For each four rows (the gates of a unit, or four classes): the biases; for each vector of eight
 * columns the weights of one row after the other; for each single column those of the four rows. Units are
 * padded to two, classes to four.
 */
#ifndef MEMKD_HELIUM_H
#define MEMKD_HELIUM_H

#include <arm_mve.h>

#include "memkd_port.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of n columns eight go into a vector; one to three that are left over go one by one, more into a vector. */
#define MEMKD_VECTORS(n) ((n) / 8 + ((n) % 8 > 3))
#define MEMKD_SINGLES(n) ((n) % 8 > 3 ? 0 : (n) % 8)

/* As many vectors stay in registers from row to row. */
#define MEMKD_HELD 3

/* What a layer reads: n values at x, then m at h. */
typedef struct {
    const int16_t *x, *h;
    int n, m;
} memkd_input_t;

/* The table of memkd_lstm.c: curve = offset + place * slope, modulo 2^32, place = argument + 2^17. */
typedef struct {
    uint32_t offset[512];
    uint16_t slope[512];
} memkd_segments_t;

extern const memkd_segments_t memkd_segments;

/* ---- rows ---- */

/* The v-th eight of n values; behind the last one there are zeros. */
MEMKD_INLINE int16x8_t memkd_eight(const int16_t *values, int n, int v) {
    int16x8_t eight;
    if (n % 8 == 0) {
        return vldrhq_s16(values + 8 * v);
    }
    __asm__ volatile("vctp.16 %[left]\n\tvpst\n\tvldrht.u16 %q[eight], [%[values]]"
                     : [eight] "=w"(eight)
                     : [values] "r"(values + 8 * v), [left] "r"(n - 8 * v)
                     : "memory");
    return eight;
}

MEMKD_INLINE int16x8_t memkd_vector(const memkd_input_t *input, int v) {
    const int first = MEMKD_VECTORS(input->n);
    return v < first ? memkd_eight(input->x, input->n, v) : memkd_eight(input->h, input->m, v - first);
}

/* Add four rows over eight columns to their sums. */
MEMKD_INLINE const uint32_t *memkd_multiply(const uint32_t *weights, int16x8_t x, int32_t sums[4]) {
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3]; /* even registers: Te */
    int16x8_t row;
#define MEMKD_ROW(sum) "vldrb.s16 %q[row], [%[weights]], #8\n\tvmladava.s16 %[" #sum "], %q[x], %q[row]\n\t"
    __asm__(
        MEMKD_ROW(a) MEMKD_ROW(b) MEMKD_ROW(c) MEMKD_ROW(d)
        : [weights] "+l"(weights), [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [d] "+Te"(d), [row] "=&w"(row)
        : [x] "w"(x));
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    return weights;
}

/* Add one column of four rows for each value of 1 to 3 that no vector took. */
MEMKD_INLINE const uint32_t *memkd_singles(const uint32_t *weights, const int16_t *values, int n,
                                           int32x4_t *sums) {
    MEMKD_UNROLL(4)
    for (int k = n - MEMKD_SINGLES(n); k < n; k++) {
        int32x4_t column;
        __asm__("vldrb.s32 %q[column], [%[weights]], #4\n\tvmla.s32 %q[sums], %q[column], %[value]"
                : [weights] "+l"(weights), [sums] "+w"(*sums), [column] "=&w"(column)
                : [value] "r"((int32_t)values[k]));
    }
    return weights;
}

/* (sums * multiplier + 2^(shift-1)) >> shift, exact within 16 bits and out of them beyond. */
MEMKD_INLINE int32x4_t memkd_scale4(int32x4_t sums, int32_t multiplier, int shift) {
    if (shift > 31) {
        const int32x4_t high = vmulhq_s32(sums, vdupq_n_s32(multiplier << 16));
        return shift < 48 ? vrshlq_n_s32(high, 16 - shift) : vdupq_n_s32(0);
    }
    if (shift < 15) {
        return vqrdmulhq_n_s32(vqshlq_r_s32(sums, 15 - shift), multiplier << 16);
    }
    return vqrdmulhq_n_s32(sums, multiplier << (31 - shift));
}

/* Four rows, scaled. Weights of the next four follow. */
MEMKD_INLINE int32x4_t memkd_rows(const memkd_dense_t *layer, const uint32_t **weights,
                                  const memkd_input_t *input, const int16x8_t *held) {
    const int vectors = MEMKD_VECTORS(input->n) + MEMKD_VECTORS(input->m);
    int32_t sums[4];
    int32x4_t rows;
    const uint32_t *next = *weights;
    __asm__("ldrd %0, %1, [%4], #8\n\tldrd %2, %3, [%4], #8"
            : "=&Te"(sums[0]), "=&Te"(sums[1]), "=&Te"(sums[2]), "=&Te"(sums[3]), "+r"(next));
    MEMKD_UNROLL(4)
    for (int v = 0; v < (vectors < MEMKD_HELD ? vectors : MEMKD_HELD); v++) {
        next = memkd_multiply(next, held[v], sums);
    }
    for (int v = MEMKD_HELD; v < vectors; v++) {
        next = memkd_multiply(next, memkd_vector(input, v), sums);
    }
    __asm__("vmov %q0[2], %q0[0], %1, %2\n\tvmov %q0[3], %q0[1], %3, %4"
            : "=&w"(rows)
            : "r"(sums[0]), "r"(sums[2]), "r"(sums[1]), "r"(sums[3]));
    next = memkd_singles(next, input->x, input->n, &rows);
    next = memkd_singles(next, input->h, input->m, &rows);
    *weights = next;
    return memkd_scale4(rows, layer->multiplier, layer->shift);
}

MEMKD_INLINE void memkd_hold(const memkd_input_t *input, int16x8_t held[MEMKD_HELD]) {
    const int vectors = MEMKD_VECTORS(input->n) + MEMKD_VECTORS(input->m);
    MEMKD_UNROLL(4)
    for (int v = 0; v < (vectors < MEMKD_HELD ? vectors : MEMKD_HELD); v++) {
        held[v] = memkd_vector(input, v);
    }
}

/* Keeps reads and writes of the scratch on their side of here. */
#define MEMKD_BARRIER(scratch) __asm__ volatile("" : : "r"(scratch) : "memory")

/* Pre-activations of all units, saturated: z[gate][unit]. */
MEMKD_INLINE void memkd_gates(const memkd_dense_t *gates, const memkd_input_t *input, int hidden,
                              memkd_scratch_t *z) {
    const uint32_t *weights = gates->weights;
    const uint32_t plane = 2u * (uint32_t)MEMKD_UNITS(hidden);
    const uint32_t start = (uint32_t)z - 4; /* the store below moves on, then stores */
    uint32x4_t at = {start, start + plane, start + 2 * plane, start + 3 * plane};
    int16x8_t held[MEMKD_HELD];
    memkd_hold(input, held);
    MEMKD_BARRIER(z);
    for (int u = 0; u < hidden; u += 2) {
        int32x4_t even = memkd_rows(gates, &weights, input, held);
        const int32x4_t odd = memkd_rows(gates, &weights, input, held);
        __asm__ volatile("vqmovnb.s32 %q[even], %q[even]\n\t"
                         "vqmovnt.s32 %q[even], %q[odd]\n\t"
                         "vstrw.32 %q[even], [%q[at], #4]!"
                         : [even] "+w"(even), [at] "+w"(at)
                         : [odd] "w"(odd));
    }
    MEMKD_BARRIER(z);
}

/* ---- four units ---- */

typedef struct {
    const uint32_t *offset;
    const uint16_t *slope;
} memkd_lines_t;

MEMKD_INLINE memkd_lines_t memkd_lines(void) {
    memkd_lines_t lines = {memkd_segments.offset, memkd_segments.slope};
    __asm__("" : "+r"(lines.offset), "+r"(lines.slope)); /* compilers do not take them apart again */
    return lines;
}

/* The logistic curve at value * factor / 12288, times 2^31. */
MEMKD_INLINE int32x4_t memkd_curves(memkd_lines_t lines, int32x4_t values, int32x4_t factors) {
    uint32x4_t segment, line;
    __asm__ volatile("vmlas.s32 %q[values], %q[factors], %[middle]\n\t"
                     "vqshlu.s32 %q[segment], %q[values], #14\n\t"
                     "vshr.u32 %q[segment], %q[segment], #23\n\t"
                     "vldrh.u32 %q[line], [%[slope], %q[segment], uxtw #1]\n\t"
                     "vmul.i32 %q[values], %q[values], %q[line]\n\t"
                     "vldrw.u32 %q[line], [%[offset], %q[segment], uxtw #2]\n\t"
                     "vadd.i32 %q[values], %q[values], %q[line]"
                     : [values] "+w"(values), [segment] "=&w"(segment), [line] "=&w"(line)
                     : [factors] "w"(factors), [middle] "r"((int32_t)1 << 17), [slope] "r"(lines.slope),
                       [offset] "r"(lines.offset));
    return values;
}

MEMKD_INLINE int32x4_t memkd_sigmoids(memkd_lines_t lines, int32x4_t z) {
    return memkd_curves(lines, z, vdupq_n_s32(9));
}

/* tanh(value * factor / 24576) in the upper halves. */
MEMKD_INLINE int32x4_t memkd_tanhs(memkd_lines_t lines, int32x4_t values, int32_t factor) {
    return vshlq_n_s32(vaddq_n_s32(memkd_curves(lines, values, vdupq_n_s32(factor)), -0x40004000), 1);
}

/* v | bits: vorrq_n_s32(), which GCC 12 makes a constant in a register of. */
#define MEMKD_OR(vector, bits) __asm__("vorr.i32 %q0, #" #bits : "+w"(vector))

/* (value + [value < 0 ? -1 : 1] + 2^(shift-1)) >> shift */
MEMKD_INLINE int32x4_t memkd_shift(int32x4_t values, int shift) {
    int32x4_t signs = vshrq_n_s32(values, 31);
    MEMKD_OR(signs, 1);
    return vrshlq_n_s32(vaddq_s32(values, signs), -shift);
}

/* sigmoid * value at scale 1, in the lower halves. */
MEMKD_INLINE int16x8_t memkd_keep(int32x4_t curves, int32x4_t values) {
    /* The upper halves, 1 and the sign of the value, add what rounds halves away from zero. */
    int32x4_t sigmoids = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(curves), 16));
    MEMKD_OR(sigmoids, 0x10000);
    MEMKD_OR(values, 0x10000);
    const int16x8_t signed_values = vreinterpretq_s16_s32(values);
    return vqrdmladhq_s16(signed_values, vreinterpretq_s16_s32(sigmoids), signed_values);
}

/* The product of the upper halves: sigmoid * tanh at scale 2^-30. */
MEMKD_INLINE int32x4_t memkd_products(int32x4_t curves, int32x4_t tanhs) {
    return vmulltq_int_s16(vreinterpretq_s16_s32(curves), vreinterpretq_s16_s32(tanhs));
}

/* Sums of lower halves, saturated. */
MEMKD_INLINE int32x4_t memkd_add(int16x8_t a, int32x4_t b) {
    return vmovlbq_s16(vqaddq_s16(a, vreinterpretq_s16_s32(b)));
}

/* Four of n values, of which `left` are left. */
MEMKD_INLINE int32x4_t memkd_load4(const int16_t *values, int n, int left) {
    int32x4_t four;
    if (n % 4 == 0) {
        return vldrhq_s32(values);
    }
    __asm__ volatile("vctp.32 %[left]\n\tvpst\n\tvldrht.s32 %q[four], [%[values]]"
                     : [four] "=w"(four)
                     : [values] "l"(values), [left] "r"(left)
                     : "memory");
    return four;
}

MEMKD_INLINE void memkd_store4(int16_t *values, int32x4_t four, int n, int left) {
    if (n % 4 == 0) {
        vstrhq_s32(values, four);
    } else {
        __asm__ volatile("vctp.32 %[left]\n\tvpst\n\tvstrht.32 %q[four], [%[values]]"
                         :
                         : [values] "l"(values), [four] "w"(four), [left] "r"(left)
                         : "memory");
    }
}

/* ---- layers ---- */

/* One step of an LSTM layer. x: its input. h and c are read and written. */
MEMKD_INLINE void memkd_lstm(const memkd_dense_t *gates, memkd_scratch_t *z, const int16_t *x, int inputs,
                             int hidden, int cell_shift, int hidden_shift, int16_t *h, int16_t *c) {
    const memkd_input_t input = {x, h, inputs, hidden};
    const int plane = MEMKD_UNITS(hidden);
    const memkd_lines_t lines = memkd_lines();
    memkd_gates(gates, &input, hidden, z);
    for (int left = hidden; left > 0; left -= 4) {
        const int32x4_t candidate = memkd_tanhs(lines, vldrhq_s32(z + 3 * plane), 18);
        const int32x4_t product = memkd_products(memkd_sigmoids(lines, vldrhq_s32(z)), candidate);
        const int32x4_t part = vqrdmulhq_n_s32(product, 0x55555400);
        const int32x4_t added = vrshlq_n_s32(vaddq_s32(part, vshrq_n_s32(part, 31)), -19 - cell_shift);
        const int16x8_t kept =
            memkd_keep(memkd_sigmoids(lines, vldrhq_s32(z + plane)), memkd_load4(c, hidden, left));
        const int32x4_t next = memkd_add(kept, added);
        memkd_store4(c, next, hidden, left);
        const int32x4_t shown = cell_shift >= 0
                                    ? memkd_tanhs(lines, next, 18 << cell_shift)
                                    : memkd_tanhs(lines, vrshlq_n_s32(vmulq_n_s32(next, 9), cell_shift), 2);
        const int32x4_t output = memkd_sigmoids(lines, vldrhq_s32(z + 2 * plane));
        memkd_store4(h, memkd_shift(memkd_products(output, shown), hidden_shift), hidden, left);
        z += 4;
        h += 4;
        c += 4;
    }
}

/* One step of a GRU layer, likewise. */
MEMKD_INLINE void memkd_gru(const memkd_dense_t *gates, memkd_scratch_t *z, const int16_t *x, int inputs,
                            int hidden, int hidden_shift, int16_t *h) {
    const memkd_input_t input = {x, h, inputs, hidden};
    const int plane = MEMKD_UNITS(hidden);
    const memkd_lines_t lines = memkd_lines();
    memkd_gates(gates, &input, hidden, z);
    for (int left = hidden; left > 0; left -= 4) {
        const int16x8_t remembered =
            memkd_keep(memkd_sigmoids(lines, vldrhq_s32(z)), vldrhq_s32(z + 3 * plane));
        const int32x4_t candidate = memkd_tanhs(lines, memkd_add(remembered, vldrhq_s32(z + 2 * plane)), 18);
        const int32x4_t update = memkd_sigmoids(lines, vldrhq_s32(z + plane));
        const int32x4_t rest = vsubq_s32(vdupq_n_s32(0x7FFFFFFF), update); /* 32767 - sigmoid, above */
        const int32x4_t added = memkd_shift(memkd_products(rest, candidate), hidden_shift);
        const int16x8_t kept = memkd_keep(update, memkd_load4(h, hidden, left));
        memkd_store4(h, memkd_add(kept, added), hidden, left);
        z += 4;
        h += 4;
    }
}

/* A dense layer. */
MEMKD_INLINE void memkd_dense(const memkd_dense_t *layer, const int16_t *values, int n, int rows,
                              int16_t *out) {
    const memkd_input_t input = {values, values, n, 0};
    const uint32_t *weights = layer->weights;
    int16x8_t held[MEMKD_HELD];
    memkd_hold(&input, held);
    for (int left = rows; left > 0; left -= 4) {
        int32x4_t four = memkd_rows(layer, &weights, &input, held);
        __asm__("vqmovnb.s32 %q0, %q0" : "+w"(four));
        memkd_store4(out, four, rows, left);
        out += 4;
    }
}

#ifdef __cplusplus
}
#endif

#endif
