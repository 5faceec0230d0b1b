/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memkd_lstm.h: the LSTM and the GRU of SPEC.md, step by step, for the models that memkd-edge generates.
 *
 * A generated <name>.c includes this file; an application includes <name>.h only. Everything here is inline,
 * so that a model's sizes are constants where its loops run. Nothing allocates, nothing is global but
 * constant tables, and the arithmetic is exact: every build gives the same bits. memkd_port.h has the
 * primitives and the builds.
 */
#ifndef MEMKD_LSTM_H
#define MEMKD_LSTM_H

#include "memkd_port.h"
#if MEMKD_HELIUM
#include "memkd_helium.h"
#endif
#if MEMKD_ARMV6M
#include "memkd_armv6m.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if !MEMKD_HELIUM
/* ---- activations ---- */

/* The curve at z, a value at scale 3 * 2^-12, ready to be shifted down to sigmoid(z). */
MEMKD_INLINE int32_t memkd_sigmoid_curve(memkd_table_t table, int32_t z) {
    return memkd_curve(table, 9 * z) + MEMKD_SIGMOID_OFFSET;
}

/* tanh(argument / 12288) at scale 2^-15: twice the curve at twice the argument, less one. */
MEMKD_INLINE int32_t memkd_tanh(memkd_table_t table, int32_t argument) {
    return (memkd_curve(table, 2 * argument) + MEMKD_TANH_OFFSET) >> MEMKD_TANH_SHIFT;
}

/* ---- one unit ---- */

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
    const int32_t next = memkd_saturate16(memkd_cell(forget, cell, product, candidate, cell_shift));
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

/* ---- layers ---- */

MEMKD_INLINE int32_t memkd_scaled(const memkd_dense_t *layer, uint32_t sum) {
#if MEMKD_ROUNDED
    if (layer->rounded) {
        return memkd_scale_rounded((int32_t)sum, layer->multiplier, layer->shift);
    }
#endif
    return memkd_scale((int32_t)sum, layer->multiplier, layer->shift);
}

MEMKD_INLINE int32_t memkd_gate(const memkd_dense_t *gates, uint32_t sum) {
    const int32_t value = memkd_scaled(gates, sum);
    return gates->clamp ? memkd_saturate16(value) : value;
}

/* The four rows of each of `units` units, scaled: pre-activations. Weights of other units follow. */
MEMKD_INLINE const uint32_t *memkd_gates(const memkd_dense_t *gates, const uint32_t *weights, uint32_t excess,
                                         const memkd_columns_t *columns, int inputs, int hidden, int units,
                                         int32_t z[]) {
    uint32_t sums[4 * MEMKD_TOGETHER];
    weights = memkd_sums(weights, excess, columns, inputs, hidden, units, sums);
    z[0] = memkd_gate(gates, sums[0]);
    z[1] = memkd_gate(gates, sums[1]);
    z[2] = memkd_gate(gates, sums[2]);
    z[3] = memkd_gate(gates, sums[3]);
#if MEMKD_TOGETHER == 2
    if (units == 2) {
        z[4] = memkd_gate(gates, sums[4]);
        z[5] = memkd_gate(gates, sums[5]);
        z[6] = memkd_gate(gates, sums[6]);
        z[7] = memkd_gate(gates, sums[7]);
    }
#endif
    return weights;
}

/* One step of an LSTM layer. columns: its input and the old h of all units. h and c are read and written. */
MEMKD_INLINE void memkd_lstm(const memkd_dense_t *gates, const memkd_columns_t *columns, int inputs,
                             int hidden, int cell_shift, int hidden_shift, int16_t *h, int16_t *c) {
    const int pairs = MEMKD_PAIRS(inputs) + MEMKD_PAIRS(hidden);
    const int together = hidden / MEMKD_TOGETHER * MEMKD_TOGETHER;
    const uint32_t *weights = gates->weights;
    const uint32_t *const end = weights + together * (4 + pairs * 2 * MEMKD_BLOCK_WORDS);
    const uint32_t excess = memkd_excess(columns, pairs);
    const memkd_table_t table = memkd_table();
    if (together != 0) {
        do {
            int32_t z[4 * MEMKD_TOGETHER];
            weights = memkd_gates(gates, weights, excess, columns, inputs, hidden, MEMKD_TOGETHER, z);
            memkd_lstm_unit(table, z[0], z[1], z[2], z[3], cell_shift, hidden_shift, h++, c++);
#if MEMKD_TOGETHER == 2
            memkd_lstm_unit(table, z[4], z[5], z[6], z[7], cell_shift, hidden_shift, h++, c++);
#endif
        } while (weights != end);
    }
    if (together != hidden) {
        int32_t z[4];
        memkd_gates(gates, weights, excess, columns, inputs, hidden, 1, z);
        memkd_lstm_unit(table, z[0], z[1], z[2], z[3], cell_shift, hidden_shift, h, c);
    }
}

/* One step of a GRU layer, likewise. */
MEMKD_INLINE void memkd_gru(const memkd_dense_t *gates, const memkd_columns_t *columns, int inputs,
                            int hidden, int hidden_shift, int16_t *h) {
    const int pairs = MEMKD_PAIRS(inputs) + MEMKD_PAIRS(hidden);
    const int together = hidden / MEMKD_TOGETHER * MEMKD_TOGETHER;
    const uint32_t *weights = gates->weights;
    const uint32_t *const end = weights + together * (4 + pairs * 2 * MEMKD_BLOCK_WORDS);
    const uint32_t excess = memkd_excess(columns, pairs);
    const memkd_table_t table = memkd_table();
    if (together != 0) {
        do {
            int32_t z[4 * MEMKD_TOGETHER];
            weights = memkd_gates(gates, weights, excess, columns, inputs, hidden, MEMKD_TOGETHER, z);
            memkd_gru_unit(table, z[0], z[1], z[2], z[3], hidden_shift, h++);
#if MEMKD_TOGETHER == 2
            memkd_gru_unit(table, z[4], z[5], z[6], z[7], hidden_shift, h++);
#endif
        } while (weights != end);
    }
    if (together != hidden) {
        int32_t z[4];
        memkd_gates(gates, weights, excess, columns, inputs, hidden, 1, z);
        memkd_gru_unit(table, z[0], z[1], z[2], z[3], hidden_shift, h);
    }
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
        out[r] = (int16_t)memkd_saturate16(memkd_scaled(layer, row0));
        if (r + 1 < rows) {
            out[r + 1] = (int16_t)memkd_saturate16(memkd_scaled(layer, row1));
        }
    }
}

#endif

/* ---- the int8 interface ---- */

/* value * mantissa / 2^31, halves up, then a shift right, halves away from zero. */
MEMKD_INLINE int32_t memkd_rescale(int16_t value, int32_t mantissa, int shift) {
    const int32_t high = value * (mantissa >> 16);
    const int32_t low = value * (mantissa & 0xFFFF);
    const int32_t product = (high + (low >> 16) + 0x4000) >> 15;
    return shift == 0 ? product : (product + ((int32_t)1 << (shift - 1)) - (product < 0)) >> shift;
}

#ifdef __cplusplus
}
#endif

#endif
