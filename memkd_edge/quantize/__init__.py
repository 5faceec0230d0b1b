"""The integer model: int8 weights, int16 activations and state. SPEC.md states its arithmetic."""

from memkd_edge.quantize.front_end import IntegerFrontEnd, Sensor
from memkd_edge.quantize.quantize import quantize
from memkd_edge.quantize.reference import IntegerGru, IntegerLstm, integer_classifier
from memkd_edge.quantize.types import (
    Multiplier,
    QuantizedClassifier,
    QuantizedDense,
    QuantizedGru,
    QuantizedGruLayer,
    QuantizedLayer,
    QuantizedLstm,
    RawInput,
)

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
