/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memkd_front_end.h: from a sensor to the model's input: normalisation of counts and of physical units,
 * low-pass and decimation. SPEC.md, *Interfaces*, has the formulas.
 */
#ifndef MEMKD_FRONT_END_H
#define MEMKD_FRONT_END_H

#include "memkd_port.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A sensor's count as the model's int16: sat16((count - offset) * gain / 2^shift), halves away from zero. */
MEMKD_INLINE int16_t memkd_normalise(int16_t count, int16_t offset, int16_t gain, int shift) {
    const int32_t product = memkd_saturate16((int32_t)count - offset) * gain;
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
    *newest = (uint16_t)((*newest == 0 ? count : (int)*newest) - 1);
    for (int j = 0; j < channels; j++) {
        history[(int)*newest * channels + j] = counts[j];
    }
    if ((int)*phase < factor) {
        ++*phase;
        return 0;
    }
    *phase = 1;
    for (int j = 0; j < channels; j++) {
        int32_t sum = (int32_t)1 << 14;
        for (int k = 0; k < count; k++) {
            const int place = (int)*newest + k < count ? (int)*newest + k : (int)*newest + k - count;
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
