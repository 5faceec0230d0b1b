# SPDX-License-Identifier: Apache-2.0
"""The C of dot products of int8 weights, four at a time: with the dual multiplies of a Cortex-M4 where the core has them.

    dot8(w, x, n, sum)      sum + w[0] x[0] + ... + w[n - 1] x[n - 1], n a multiple of 4, x int8, both aligned to 4 bytes
    dot16(w, x, n, sum)     the same, x int16; the weights of four columns 0, 1, 2, 3 stand in the order 0, 2, 1, 3

All give the same bits as plain C.
"""

import numpy as np
from numpy.typing import NDArray

_WIDEN = """
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP)
static inline uint32_t even_bytes(uint32_t bytes) {
    uint32_t result;
    __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(bytes));
    return result;
}

static inline uint32_t odd_bytes(uint32_t bytes) {
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(bytes));
    return result;
}

static inline int32_t add_products(uint32_t a, uint32_t b, int32_t sum) {
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}
#endif

/* (value * multiplier + 2^31) >> 32 */
static inline int32_t scaled(int32_t value, int32_t multiplier) {
    return (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << 31)) >> 32);
}
"""
DOT8 = (
    _WIDEN
    + """
static inline int32_t dot8(const int8_t *w, const int8_t *x, int n, int32_t sum) {
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP)
#pragma GCC unroll 4
    for (int i = 0; i < n; i += 4) {
        uint32_t a, b;
        memcpy(&a, w + i, 4);
        memcpy(&b, x + i, 4);
        sum = add_products(even_bytes(a), even_bytes(b), sum);
        sum = add_products(odd_bytes(a), odd_bytes(b), sum);
    }
#else
    for (int i = 0; i < n; i++) {
        sum += w[i] * x[i];
    }
#endif
    return sum;
}
"""
)
DOT16 = (
    _WIDEN
    + """
static inline int32_t dot16(const int8_t *w, const int16_t *x, int n, int32_t sum) {
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP)
#pragma GCC unroll 4
    for (int i = 0; i < n; i += 4) {
        uint32_t a, b, c;
        memcpy(&a, w + i, 4);
        memcpy(&b, x + i, 4);
        memcpy(&c, x + i + 2, 4);
        sum = add_products(even_bytes(a), b, sum);
        sum = add_products(odd_bytes(a), c, sum);
    }
#else
    for (int i = 0; i < n; i += 4) {
        sum += w[i] * x[i] + w[i + 2] * x[i + 1] + w[i + 1] * x[i + 2] + w[i + 3] * x[i + 3];
    }
#endif
    return sum;
}
"""
)


def padded(columns: int) -> int:
    """Return the next multiple of 4."""
    return -(-columns // 4) * 4


def for_dot8(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return rows of weights [..., n], each filled up with zeros."""
    return np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, padded(weights.shape[-1]) - weights.shape[-1])])


def for_dot16(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return rows of weights [..., n], each filled up with zeros, in dot16's order."""
    filled = for_dot8(weights)
    return filled.reshape(*filled.shape[:-1], -1, 4)[..., [0, 2, 1, 3]].reshape(filled.shape)
