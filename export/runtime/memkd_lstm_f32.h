/* SPDX-License-Identifier: Apache-2.0 */
/* memkd_lstm_f32.h: float32 LSTM for the models that memkd-edge generates; included by the generated <name>.c
 * only. */
#ifndef MEMKD_LSTM_F32_H
#define MEMKD_LSTM_F32_H

#include <math.h>
#include <string.h>

#define MEMKD_NO_LIBRARY /* the float model needs libm anyway */

static inline float memkd_sigmoid_f32(float x) {
    return 1.0f / (1.0f + expf(-x));
}

/* (value - mean) / deviation, clamped to where float arithmetic stays finite; NaN gives 0. */
static inline float memkd_normalise_f32(float value, float mean, float deviation) {
    const float most = 1e15f, x = (value - mean) / deviation;
    return x >= most ? most : x >= -most ? x : x < -most ? -most : 0.0f;
}

/*
 * Can a step have left these values? h lies within -1 and 1; c grows by at most 1 a step, which float adds up
 * to 2^24.
 */
static inline int memkd_possible_f32(const float *h, const float *c, int count) {
    for (int k = 0; k < count; k++) {
        if (!(fabsf(h[k]) <= 1.0f && fabsf(c[k]) <= 16777216.0f)) { /* NaN is neither */
            return 0;
        }
    }
    return 1;
}

/* bias + weights . columns, the weights following their bias. */
static inline float memkd_row_f32(const float *row, const float *columns, int n) {
    float sum = row[0];
    for (int j = 0; j < n; j++) {
        sum += row[1 + j] * columns[j];
    }
    return sum;
}

/*
 * One step of a layer. weights: for each unit the rows of its gates i, f, g, o over the input and all h.
 * columns: room for inputs + hidden values.
 */
static inline void memkd_lstm_f32(const float *weights, const float *x, int inputs, int hidden, float *h,
                                  float *c, float *columns) {
    const int n = inputs + hidden;
    memcpy(columns, x, (size_t)inputs * sizeof *x);
    memcpy(columns + inputs, h, (size_t)hidden * sizeof *h);
    for (int u = 0; u < hidden; u++) {
        const float i = memkd_sigmoid_f32(memkd_row_f32(weights, columns, n));
        const float f = memkd_sigmoid_f32(memkd_row_f32(weights + (n + 1), columns, n));
        const float g = tanhf(memkd_row_f32(weights + 2 * (n + 1), columns, n));
        const float o = memkd_sigmoid_f32(memkd_row_f32(weights + 3 * (n + 1), columns, n));
        weights += 4 * (n + 1);
        c[u] = f * c[u] + i * g;
        h[u] = o * tanhf(c[u]);
    }
}

#endif
