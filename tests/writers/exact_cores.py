# SPDX-License-Identifier: Apache-2.0
"""Generated C on emulated cores against the numpy reference, `python -m tests.writers.exact_cores --steps 1000000`.

Every form of the C on every core whose cost is pinned; `--core m4` on one.

Samples and states are made on the core itself, from a counter, and again here; the core gives one digest of all logits and states
for each block of steps. Every other block carries its state on, the others set it anew before each step.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.pinned_costs import BUILDS, CORES
from memkd_edge.benchmark.emulation.firmware import measure_firmware
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.calibration import FloatModel, LayerWeights
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import Settings, quantize, quantize_nearest
from memkd_edge.quantization.reference import IntegerLstm, integer_classifier
from memkd_edge.writers.c_integer import emit_c
from tests.quantization.helpers import random_model, random_series

_DRIVER = """
#include "demo.h"
#define EXACT_CHANNELS 1
#define EXACT_CLASSES 2
typedef demo_state_t exact_state_t;
#define exact_reset demo_reset

static inline uint32_t exact_mix(uint32_t x) {
    x = (x ^ x >> 16) * 0x7FEB352Du;
    x = (x ^ x >> 15) * 0x846CA68Bu;
    return x ^ x >> 16;
}

/* The numbers at `at` and on: small ones, some at either end, some of any size. */
static inline uint32_t exact_fill(int16_t *values, unsigned count, uint32_t at) {
    for (unsigned k = 0; k < count; k++) {
        const uint32_t mixed = exact_mix(at++), kind = mixed >> 28;
        const int16_t value = (int16_t)(mixed & 0xFFFFu);
        values[k] = (int16_t)(kind < 2 ? 32767 : kind < 4 ? -32768 : kind < 9 ? value >> 5 : value);
    }
    return at;
}

static inline uint32_t exact_sum(const int16_t *values, unsigned count, uint32_t *place) {
    uint32_t sum = 0;
    for (unsigned k = 0; k < count; k++) {
        sum += exact_mix((uint16_t)values[k] | (*place)++ << 16);
    }
    return sum;
}

static inline void exact_step_i16(exact_state_t *state, const int16_t *x, int16_t *logits) {
    const uint32_t block = (uint32_t)x[0];
    uint32_t at = block * STEPS * NUMBERS, place = 0, digest = 0;
    for (uint32_t t = 0; t < STEPS; t++) {
        int16_t sample[DEMO_CHANNELS], scores[DEMO_CLASSES];
        at = exact_fill(sample, DEMO_CHANNELS, at);
        if (t == 0 || block % 2 == 0) {
            at = exact_fill((int16_t *)state, sizeof *state / 2, at);
        }
        demo_step_i16(state, sample, scores);
        digest += exact_sum(scores, DEMO_CLASSES, &place);
        digest += exact_sum((int16_t *)state, sizeof *state / 2, &place);
    }
    logits[0] = (int16_t)(digest & 0xFFFFu);
    logits[1] = (int16_t)(digest >> 16);
}
"""

STEPS = 500  # of a block


def models() -> dict[str, QuantizedClassifier]:
    """Return the models to compare: all ranges of the cell, widths that fill vectors or not, more than one layer, GRU."""
    return {
        "8 units": _lstm(ModelSpec(1, 8, 2), 1.0, 0),
        "16 units": _lstm(ModelSpec(6, 16, 6), 0.5, 0),
        "5 units, c * 8": _lstm(ModelSpec(3, 5, 4, num_layers=2), 1.0, 3),
        "7 units, c / 4": _lstm(ModelSpec(2, 7, 3), 0.5, -2),
        "12 units, c / 2": _lstm(ModelSpec(12, 12, 9), 0.5, -1),
        "33 units": _lstm(ModelSpec(9, 33, 5), 0.3, 1),
        "60 columns": _lstm(ModelSpec(4, 56, 3), 0.3, 0),
        "large weights": _lstm(ModelSpec(2, 6, 3), 40.0, 2),
        "tiny weights": _lstm(ModelSpec(2, 6, 3), 1e-4, 0),
        "gru": quantize(random_model(ModelSpec(4, 9, 5, num_layers=2, kind="gru"), 3, 1.5), random_series(1, 4, 40, 4)),
    }


def _lstm(spec: ModelSpec, scale: float, cell_shift: int) -> QuantizedClassifier:
    generator = np.random.default_rng(spec.hidden_size)

    def weights(*shape: int) -> NDArray[np.float64]:
        return scale * generator.integers(-2000, 2001, shape) / 1000

    rows, hidden = 4 * spec.hidden_size, spec.hidden_size
    layers = tuple(
        LayerWeights(weights(rows, width), weights(rows, hidden), weights(rows), np.zeros(rows))
        for width in (spec.input_size, *[hidden] * (spec.num_layers - 1))
    )
    head = (generator.integers(-2000, 2001, shape) / 1000 for shape in ((spec.num_classes, hidden), (spec.num_classes,)))
    settings = Settings(
        state_scale=2.0**-13, logit_scale=2.0**-12, logit_min=-4.0, logit_max=4.0, cell_shift=cell_shift, input_gain=194
    )
    return quantize_nearest(FloatModel("lstm", layers, *head), settings)


def driver(model: QuantizedClassifier) -> CModel:
    """Return a model whose input is a block's number, and whose logits are the two halves of its digest."""
    defines = f"#define STEPS {STEPS}u\n#define NUMBERS {_numbers(model)}u\n"
    return CModel("exact", {**emit_c(model, None, "demo"), "exact.h": defines + _DRIVER})


def blocks(count: int) -> NDArray[np.int16]:
    """Return the inputs of `driver` for `count` blocks."""
    return np.arange(count, dtype=np.int16)[:, None]


def expected(model: QuantizedClassifier, count: int) -> NDArray[np.int16]:
    """Return the digests of the numpy reference, as `driver` gives them [blocks, 2]."""
    numbers = _numbers(model)
    states = numbers - model.input_size
    digests = np.zeros(count, np.uint32)
    for chained in (False, True):
        lanes = np.arange(chained, count, 2, dtype=np.uint32)
        runner = integer_classifier(model, len(lanes))
        for t in range(STEPS):
            fresh = t == 0 or not chained
            used = t * numbers if fresh else numbers + (t - 1) * model.input_size
            at = lanes[:, None] * np.uint32(STEPS * numbers) + np.uint32(used)
            x = _values(at + np.arange(model.input_size, dtype=np.uint32))
            if fresh:
                _assign(runner, _values(at + np.arange(model.input_size, numbers, dtype=np.uint32)))
            found = np.concatenate([runner.step(x), _states(runner)], axis=1)
            place = (np.arange(found.shape[1], dtype=np.uint32) + np.uint32(t * (model.num_classes + states))) << np.uint32(16)
            digests[lanes] += _mix(found.astype(np.uint16) | place).sum(axis=1, dtype=np.uint32)
    return np.stack([digests & 0xFFFF, digests >> 16], axis=1).astype(np.uint16).view(np.int16)


def _numbers(model: QuantizedClassifier) -> int:
    """Return how many numbers a sample and a state are."""
    return model.input_size + sum(len(layer.state_scales) * layer.hidden_size for layer in model.layers)


def _mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x7FEB352D)
    x = (x ^ x >> np.uint32(15)) * np.uint32(0x846CA68B)
    return x ^ x >> np.uint32(16)


def _values(at: NDArray[np.uint32]) -> NDArray[np.int16]:
    mixed = _mix(at)
    kind, value = mixed >> np.uint32(28), (mixed & np.uint32(0xFFFF)).astype(np.uint16).view(np.int16)
    return np.select([kind < 2, kind < 4, kind < 9], [np.int16(32767), np.int16(-32768), value >> np.int16(5)], value)


def _kinds(runner: object) -> str:
    return "hc" if isinstance(runner, IntegerLstm) else "h"


def _assign(runner: object, values: NDArray[np.int16]) -> None:
    """Set the states in the order of the C struct: h of all layers, then c."""
    for kind, part in zip(_kinds(runner), np.split(values, len(_kinds(runner)), axis=1), strict=True):
        setattr(runner, kind, np.split(part, len(getattr(runner, kind)), axis=1))


def _states(runner: object) -> NDArray[np.int16]:
    return np.concatenate([layer for kind in _kinds(runner) for layer in getattr(runner, kind)], axis=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all models in all forms on the cores, for equal shares of the steps of a core and form."""
    parser = argparse.ArgumentParser(
        description="Compare generated C on emulated cores with the numpy reference over many steps."
    )
    parser.add_argument("--steps", type=int, default=1_000_000, help="of each core and form")
    parser.add_argument("--core", choices=CORES, action="append", help="this one; may be repeated")
    options = parser.parse_args(arguments)
    listed = models()
    count = -(-options.steps // (STEPS * len(listed)))
    wanted = {name: expected(model, count) for name, model in listed.items()}
    wrong = 0
    for core, form in itertools.product(options.core or CORES, BUILDS):
        for name, model in listed.items():
            measured = measure_firmware(core, driver(model), blocks(count), flags=BUILDS[form], timeout_s=1800)
            differ = int((measured.logits != wanted[name]).any(axis=1).sum())
            print(f"{core} {form} {name}: {count * STEPS} steps, {differ} of {count} blocks differ", flush=True)
            wrong += differ
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
