"""The integer model: int8 weights, int16 activations and state. SPEC.md states its arithmetic."""

from memkd_edge.quantize.quantize import quantize
from memkd_edge.quantize.reference import IntegerLstm
from memkd_edge.quantize.types import Multiplier, QuantizedDense, QuantizedLayer, QuantizedLstm

__all__ = ["IntegerLstm", "Multiplier", "QuantizedDense", "QuantizedLayer", "QuantizedLstm", "quantize"]
