# SPDX-License-Identifier: Apache-2.0
"""A model small enough to compute by hand, with the API of the generated C: the bench's tests need no exporter."""

import numpy as np
from numpy.typing import NDArray

from memkd_edge.benchmark.emulation.image import CModel

HEADER = """
#ifndef TINY_H
#define TINY_H
#include <stdint.h>
#define TINY_CHANNELS 2
#define TINY_CLASSES 3
typedef struct { int16_t sum[2]; } tiny_state_t;
void tiny_reset(tiny_state_t *state);
void tiny_step_i8(tiny_state_t *state, const int8_t x[2], int8_t logits[3]);
void tiny_step_f32(tiny_state_t *state, const float x[2], float logits[3]);
#endif
"""
SOURCE = """
#include "tiny.h"
static const int8_t weights[3][2] = {{3, -5}, {7, 2}, {-4, 6}};
void tiny_reset(tiny_state_t *state) { state->sum[0] = 0; state->sum[1] = 0; }
void tiny_step_i8(tiny_state_t *state, const int8_t x[2], int8_t logits[3])
{
    for (int j = 0; j < 2; j++) { state->sum[j] = (int16_t)((state->sum[j] + x[j]) / 2); }
    for (int k = 0; k < 3; k++) {
        logits[k] = (int8_t)((weights[k][0] * state->sum[0] + weights[k][1] * state->sum[1]) >> 4);
    }
}
void tiny_step_f32(tiny_state_t *state, const float x[2], float logits[3])
{
    (void)state;
    for (int k = 0; k < 3; k++) { logits[k] = (float)weights[k][0] * x[0] + (float)weights[k][1] * x[1]; }
}
"""
WEIGHTS = np.array([[3, -5], [7, 2], [-4, 6]])
TINY = CModel("tiny", {"tiny.h": HEADER, "tiny.c": SOURCE})


def inputs_int8(steps: int = 10) -> NDArray[np.int8]:
    """Return [steps, 2] samples."""
    return np.random.default_rng(1).integers(-128, 128, (steps, 2)).astype(np.int8)


def reference_int8(inputs: NDArray[np.int8]) -> NDArray[np.int32]:
    """Return the logits [steps, 3] that TINY must give."""
    total = np.zeros(2, np.int64)
    logits = []
    for x in inputs.astype(np.int64):
        total = np.trunc((total + x) / 2).astype(np.int64)
        logits.append((WEIGHTS @ total >> 4).astype(np.int8))
    return np.stack(logits).astype(np.int32)
