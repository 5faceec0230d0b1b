# SPDX-License-Identifier: Apache-2.0
"""`QuantizedClassifier`, LSTM or GRU: the one integer model that every emitter reads. SPEC.md has the arithmetic as formulas.

All scales are float32 values held exactly in Python floats. Zero points of int16 tensors are 0. Rows of gate matrices are in
the order i, f, o, g (torch's is i, f, g, o).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from memkd_edge.vocabulary import Cell

GATE_SCALE = 3 * 2.0**-12  # range +-24
# A hair over 3 * 2^-12, so that the factor 2^-30 / CELL_SCALE has the same mantissa in float32 (LiteRT) and float64 (TFLM).
CELL_SCALE = float.fromhex("0x1.800006p-11")
ACTIVATION_SCALE = 2.0**-15  # of sigmoid and tanh
PRODUCT_SCALE = ACTIVATION_SCALE**2


@dataclass(frozen=True)
class Multiplier:
    """A real factor as the integer kernels apply it: mantissa / 2^31 * 2^exponent, mantissa in [2^30, 2^31)."""

    mantissa: int
    exponent: int


@dataclass(frozen=True)
class QuantizedDense:
    """int16 activations x int8 weights -> int16, z = sat16((acc * reduced + 2^(shift-1)) >> shift).

    weight: int8 [rows, columns]; bias: int64 [rows] at scale in_scale * weight_scale. reduced: the odd 15-bit multiplier
    (2^14 < reduced < 2^15) and shift: the right shift with which reduced / 2^shift = in_scale * weight_scale / out_scale exactly.
    For every int16 input |acc| < 2^31, so 32-bit accumulators hold it.
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int64]
    in_scale: float
    weight_scale: float
    out_scale: float
    reduced: int
    shift: int

    @cached_property
    def columns(self) -> NDArray[np.float64]:
        """The weights as [columns, rows]. float64 holds all sums exactly, and its product is much faster than int64's."""
        return np.ascontiguousarray(self.weight.T, np.float64)


@dataclass(frozen=True)
class QuantizedLayer:
    """One recurrent layer of any kind: gates [4H, C + H] over the concatenation of input and hidden state.

    gate_scale: of the gate pre-activations, 3 * 2^-12; state_scale: of x, h and the concatenation (one power of two).
    hidden_rescale: activation * activation (scale 2^-30) to the state's scale (mantissa 2^30).
    """

    gates: QuantizedDense
    gate_scale: float
    state_scale: float
    hidden_rescale: Multiplier

    @property
    def state_scales(self) -> dict[str, float]:
        """The scale of each int16 state tensor [H] by its name, in the order of every interface: h first."""
        return {"h": self.state_scale}

    @property
    def hidden_size(self) -> int:
        """Units of the layer."""
        return int(self.gates.weight.shape[0]) // 4

    @property
    def input_size(self) -> int:
        """Width of the layer's input."""
        return int(self.gates.weight.shape[1]) - self.hidden_size


@dataclass(frozen=True)
class QuantizedLstmLayer(QuantizedLayer):
    """One LSTM layer, rows i, f, o, g.

    cell_scale: of c, a hair over gate_scale * 2^cell_shift, cell_shift in -2 .. 3. cell_rescale: sigmoid(i) * tanh(g) (scale
    2^-30) to the cell's scale; hidden_rescale is that of sigmoid(o) * tanh(c). tanh(c) looks up 9 * c * 2^cell_shift, rounded
    half up, where that of a gate is 9 * z.
    """

    cell_scale: float
    cell_shift: int
    cell_rescale: Multiplier

    @property
    def state_scales(self) -> dict[str, float]:
        return super().state_scales | {"c": self.cell_scale}


@dataclass(frozen=True)
class QuantizedGruLayer(QuantizedLayer):
    """One GRU layer, rows reset, update, candidate from x, candidate from h.

    The third quarter has zeros in the columns of h and the last in those of x, so that one product serves all.
    """


@dataclass(frozen=True)
class RawInput:
    """The front end that turns a sensor's int16 counts into the model's int16 x.

    x = rescale(sat16(counts - offset) * gain, `rescale`) saturated to int16, where offset and gain are int16 [C] and the factor
    is a power of two common to all channels (mantissa 2^30). What the whole-count offset leaves of the mean stands in the first
    layer's bias. counts_per_unit: [C], counts of one physical unit. Before that, of a decimating front end, the signal of
    every channel passes the FIR `taps` (int16, sum 2^15; newest sample first) and every `factor`-th value is kept:
    sat16((sum taps * counts + 2^14) >> 15). Without decimation factor is 1 and taps is [2^15], the identity (int32).
    """

    counts_per_unit: tuple[float, ...]
    offset: NDArray[np.int16]
    gain: NDArray[np.int16]
    rescale: Multiplier
    taps: NDArray[np.int32]
    factor: int


@dataclass(frozen=True, kw_only=True)
class QuantizedClassifier:
    """A streaming recurrent classifier in integers, of any cell.

    layers: bottom to top; all share one state scale. head: the classifier on the top layer's h.

    The int16x8 interface takes x at scale layers[0].state_scale and gives logits at head.out_scale, zero points 0.
    The int8 interface takes x at scale `input_scale` = input_gain * state_scale, so that exactly
    x16 = input_gain * (x8 - input_zero_point_int8), and gives logits8 = sat8(rescale(logits16, logit_rescale) +
    logit_zero_point_int8) at `logit_scale_int8`.
    With `raw`, both take int16 counts instead.
    """

    cell: ClassVar[Cell]
    layers: tuple[QuantizedLayer, ...]
    head: QuantizedDense
    input_scale: float
    input_gain: int
    logit_scale_int8: float
    logit_zero_point_int8: int
    logit_rescale: Multiplier
    raw: RawInput | None = None
    input_zero_point_int8: int = 0

    @property
    def input_size(self) -> int:
        """Input channels."""
        return self.layers[0].input_size

    @property
    def hidden_size(self) -> int:
        """Units of each layer."""
        return self.layers[0].hidden_size

    @property
    def num_classes(self) -> int:
        """Classes, the width of the logits."""
        return int(self.head.weight.shape[0])


@dataclass(frozen=True, kw_only=True)
class QuantizedLstm(QuantizedClassifier):
    """A streaming LSTM classifier in integers; its state is h, c of every layer."""

    cell = Cell.LSTM
    layers: tuple[QuantizedLstmLayer, ...]


@dataclass(frozen=True, kw_only=True)
class QuantizedGru(QuantizedClassifier):
    """A streaming GRU classifier in integers; its state is h of every layer."""

    cell = Cell.GRU
    layers: tuple[QuantizedGruLayer, ...]
