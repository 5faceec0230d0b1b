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
