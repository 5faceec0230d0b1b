# SPDX-License-Identifier: Apache-2.0
"""FastGRNN in integers: int8 weights, int16 state; in numpy and in C, equal bit for bit.

Samples, state and what goes into the curves are multiples of 2^-12, gates and candidates of 2^-15, logits of 2^-10. Both curves
are lines between 65 values of tanh on [0, 4], and constant beyond.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.rivals.dot import DOT16, for_dot16, padded
from experiments.rivals.grid import integers, multipliers, scaled
from experiments.rivals.rival import NO_LIBRARY, c_array, header
from memkd_edge.benchmark.emulation.image import CModel

ONE = 4096  # of samples and state
LOGIT_ONE = 1024
TABLE = np.rint(np.tanh(np.arange(65) / 16) * 32767).astype(np.int64)


@dataclass(frozen=True)
class IntegerFastGrnn:
    """A rival, see rival.py.

    weight int8 [H, H + C] of h, then x, and its multipliers [H]; biases [2, H], zeta and nu; head int8 [K, H], its multipliers
    and biases [K].
    """

    weight: NDArray[np.int8]
    multiplier: NDArray[np.int64]
    biases: NDArray[np.int64]
    zeta: int
    nu: int
    head: NDArray[np.int8]
    head_multiplier: NDArray[np.int64]
    head_bias: NDArray[np.int64]

    @classmethod
    def of(cls, parameters: dict[str, NDArray[np.float32]]) -> "IntegerFastGrnn":
        """Round parameters as fastgrnn.py has them."""
        weight, scale = integers(parameters["weight"])
        head, head_scale = integers(parameters["head"])
        zeta, nu = (int(one) for one in np.rint(32768 / (1 + np.exp(-parameters["scalars"].astype(np.float64)))))
        return cls(
            weight,
            multipliers(scale),
            np.rint(np.stack([parameters["gate_bias"], parameters["candidate_bias"]]) * ONE).astype(np.int64),
            zeta,
            nu,
            head,
            multipliers(head_scale * LOGIT_ONE / ONE),
            np.rint(parameters["head_bias"] * LOGIT_ONE).astype(np.int64),
        )

    @property
    def parameters(self) -> int:
        return self.weight.size + self.biases.size + 2 + self.head.size + self.head_bias.size

    def inputs(self, x: NDArray[np.float32]) -> NDArray[np.int16]:
        return np.clip(np.rint(x * ONE), -32767, 32767).astype(np.int16)

    def logits(self, inputs: NDArray[np.int16]) -> NDArray[np.int16]:
        # float64 holds these sums exactly, and multiplies matrices fast
        units, (recurrent, of_x) = len(self.weight), np.split(self.weight.astype(np.float64), [len(self.weight)], axis=1)
        from_x = inputs.astype(np.float64) @ of_x.T
        hidden = np.zeros((len(inputs) + 1, units))
        for step, own in enumerate(from_x):
            before = scaled((own + recurrent @ hidden[step]).astype(np.int64), self.multiplier)
            gate, candidate = _sigmoid(before + self.biases[0]), _tanh(before + self.biases[1])
            let_in = ((self.zeta * (32768 - gate) + 16384) >> 15) + self.nu
            kept = (gate * hidden[step].astype(np.int64) + 16384) >> 15
            hidden[step + 1] = np.clip(((let_in * candidate + (1 << 17)) >> 18) + kept, -32768, 32767)
        sums = (hidden[1:] @ self.head.astype(np.float64).T).astype(np.int64)
        return np.clip(scaled(sums, self.head_multiplier) + self.head_bias, -32768, 32767).astype(np.int16)

    def c_model(self) -> CModel:
        name = "fastgrnn"
        units, columns = self.weight.shape
        constants = (
            c_array("int8_t", "weights", for_dot16(self.weight)).replace("=", "__attribute__((aligned(4))) =")
            + c_array("int32_t", "multipliers", self.multiplier)
            + c_array("int16_t", "gate_bias", self.biases[0])
            + c_array("int16_t", "candidate_bias", self.biases[1])
            + c_array("int8_t", "head", for_dot16(self.head)).replace("=", "__attribute__((aligned(4))) =")
            + c_array("int32_t", "head_multipliers", self.head_multiplier)
            + c_array("int16_t", "head_bias", self.head_bias)
            + c_array("int16_t", "tanh_table", TABLE)
        )
        body = f"""#include "{name}.h"
#include <string.h>
{NO_LIBRARY}{DOT16}
enum {{ UNITS = {units}, CHANNELS = {columns - units}, COLUMNS = {padded(columns)}, HEAD_COLUMNS = {padded(units)} }};
{constants}
static inline int32_t saturated(int32_t v) {{
    return v < -32768 ? -32768 : v > 32767 ? 32767 : v;
}}

/* 32767 tanh(v / 4096) */
static inline int32_t squashed(int32_t v) {{
    const int32_t size = v < 0 ? -v : v;
    int32_t result = tanh_table[64];
    if (size < 64 * 256) {{
        const int16_t *at = tanh_table + (size >> 8);
        result = at[0] + (((at[1] - at[0]) * (size & 255)) >> 8);
    }}
    return v < 0 ? -result : result;
}}

void {name}_reset({name}_state_t *s) {{
    fill((int8_t *)s, (int)sizeof *s);
}}

void {name}_step_i16({name}_state_t *s, const int16_t x[], int16_t logits[]) {{
    int16_t *value = s->value[s->now];
    int16_t *next = s->value[1 - s->now];
    s->now = 1 - s->now;
    memcpy(value + UNITS, x, sizeof(int16_t) * CHANNELS);
    for (int u = 0; u < UNITS; u++) {{
        const int32_t before = scaled(dot16(weights + u * COLUMNS, value, COLUMNS, 0), multipliers[u]);
        const int32_t gate = (32768 + squashed((before + gate_bias[u]) >> 1)) >> 1;
        const int32_t candidate = squashed(before + candidate_bias[u]);
        const int32_t let_in = (({self.zeta} * (32768 - gate) + 16384) >> 15) + {self.nu};
        const int32_t kept = (gate * value[u] + 16384) >> 15;
        next[u] = (int16_t)saturated(((let_in * candidate + (1 << 17)) >> 18) + kept);
    }}
    for (int k = 0; k < {name.upper()}_CLASSES; k++) {{
        const int32_t sum = dot16(head + k * HEAD_COLUMNS, next, HEAD_COLUMNS, 0);
        logits[k] = (int16_t)saturated(scaled(sum, head_multipliers[k]) + head_bias[k]);
    }}
}}
"""
        state = f"    int16_t value[2][{padded(columns)}] __attribute__((aligned(4)));\n    int32_t now;"
        sources = {f"{name}.h": header(name, columns - units, len(self.head), state, "int16_t", "i16"), f"{name}.c": body}
        return CModel(name, sources)


def _tanh(v: NDArray[Any]) -> NDArray[np.int64]:
    size = np.abs(v)
    at = np.minimum(size >> 8, 63)
    between = TABLE[at] + (((TABLE[at + 1] - TABLE[at]) * (size & 255)) >> 8)
    return np.sign(v) * np.where(size < 64 * 256, between, TABLE[64])


def _sigmoid(v: NDArray[Any]) -> NDArray[np.int64]:
    return (32768 + _tanh(v >> 1)) >> 1
