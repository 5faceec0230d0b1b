# SPDX-License-Identifier: Apache-2.0
"""The integer model: int8 weights, int16 activations and state. SPEC.md states its arithmetic."""

from memkd_edge.quantization.integer_model import (
    Multiplier,
    QuantizedClassifier,
    QuantizedDense,
    QuantizedGru,
    QuantizedGruLayer,
    QuantizedLayer,
    QuantizedLstm,
    RawInput,
)
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import IntegerGru, IntegerLstm, integer_classifier
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd, Sensor

__all__ = [
    "IntegerFrontEnd",
    "IntegerGru",
    "IntegerLstm",
    "Multiplier",
    "QuantizedClassifier",
    "QuantizedDense",
    "QuantizedGru",
    "QuantizedGruLayer",
    "QuantizedLayer",
    "QuantizedLstm",
    "RawInput",
    "Sensor",
    "integer_classifier",
    "quantize",
]
