# SPDX-License-Identifier: Apache-2.0
"""The two students whose cost firmware_bench/figures.json pins: made from a formula, so that they are the same everywhere.

Cost depends on sizes; on weights and inputs hardly at all, since the code has no branches that depend on data but saturation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.calibration import FloatModel, LayerWeights
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import Settings, quantize_nearest

SPECS = {
    "A": ModelSpec(input_size=1, hidden_size=8, num_classes=2),
    "B": ModelSpec(input_size=6, hidden_size=16, num_classes=6),
}


def reference_student(name: str) -> QuantizedClassifier:
    """Return student "A" (8 units, 1 channel, 2 classes) or "B" (16 units, 6 channels, 6 classes)."""
    spec = SPECS[name]
    generator = np.random.default_rng(1)
    rows, width = 4 * spec.hidden_size, spec.input_size
    layer = LayerWeights(
        input_weight=_weights(generator, rows, width),
        hidden_weight=_weights(generator, rows, spec.hidden_size),
        input_bias=_weights(generator, rows),
        hidden_bias=np.zeros(rows),
    )
    head = _weights(generator, spec.num_classes, spec.hidden_size), _weights(generator, spec.num_classes)
    settings = Settings(state_scale=2.0**-13, logit_scale=2.0**-12, logit_min=-4.0, logit_max=4.0, cell_shift=0, input_gain=194)
    return quantize_nearest(FloatModel("lstm", (layer,), *head), settings)


def reference_inputs(name: str, steps: int = 64) -> NDArray[np.int16]:
    """Return int16 samples [steps, C] for the student, a slow swing with noise."""
    generator = np.random.default_rng(2)
    swing = np.sin(np.arange(steps)[:, None] / 5 + np.arange(SPECS[name].input_size))
    return (8000 * swing + generator.integers(-1000, 1000, swing.shape)).astype(np.int16)


def _weights(generator: np.random.Generator, *shape: int) -> NDArray[Any]:
    return generator.integers(-2000, 2001, shape) / 1000
