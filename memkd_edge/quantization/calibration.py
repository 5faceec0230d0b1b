# SPDX-License-Identifier: Apache-2.0
"""The float classifier as numpy arrays, and its run along real state trajectories, from which the integer model is calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.vocabulary import Cell

if TYPE_CHECKING:
    from memkd_edge.nets.classifier import Classifier

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LayerWeights:
    """Float weights of one recurrent layer, rows in torch's order: i, f, g, o (LSTM) or r, z, n (GRU)."""

    input_weight: Floats  # [4H or 3H, C]
    hidden_weight: Floats  # [4H or 3H, H]
    input_bias: Floats  # [4H or 3H]
    hidden_bias: Floats  # [4H or 3H]

    @property
    def hidden_size(self) -> int:
        """Units of the layer."""
        return int(self.hidden_weight.shape[1])


class DenseWeights(NamedTuple):
    """A dense layer as the integer model has it: weight [rows, columns], bias [rows]."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class FloatModel:
    """A recurrent classifier as float64 arrays: its kind of cell, layers bottom to top, head [K, H] and its bias [K]."""

    kind: Cell
    layers: tuple[LayerWeights, ...]
    head_weight: Floats
    head_bias: Floats

    @classmethod
    def from_model(cls, model: Classifier) -> FloatModel:
        """Take the weights out of a torch classifier.

        Raises:
            UsageError: a kind of model that has no streaming recurrent step (the message names what takes it), or weights that
                are not finite.
        """
        if model.spec.bidirectional:
            raise UsageError("a bidirectional model needs the end of the series first and cannot stream; distil a causal student")
        if model.spec.kind not in (Cell.LSTM, Cell.GRU):
            raise UsageError(
                f"a {model.spec.kind} has no recurrent step; --format onnx takes it, or distil an lstm or gru student"
            )
        arrays = {name: tensor.detach().cpu().double().numpy() for name, tensor in model.state_dict().items()}
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise UsageError(f"{name} holds values that are not finite: training diverged; distil with a lower learning rate")
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        layers = tuple(
            LayerWeights(*(arrays[f"rnn.{part}_l{index}"] for part in parts)) for index in range(model.spec.num_layers)
        )
        return cls(model.spec.kind, layers, arrays["head.weight"], arrays["head.bias"])

    @property
    def input_size(self) -> int:
        """Input channels."""
        return int(self.layers[0].input_weight.shape[1])

    def dense(self) -> tuple[DenseWeights, ...]:
        """Return the gates of every layer, over the concatenation of its input and h, and then the head.

        Rows of gates: i, f, o, g (LSTM); reset, update, candidate from the input, candidate from h (GRU).
        """
        gates = _gru_gates if self.kind == Cell.GRU else _lstm_gates
        return (*(gates(layer) for layer in self.layers), DenseWeights(self.head_weight, self.head_bias))

    def logits(self, x: NDArray[np.floating]) -> Floats:
        """Stream series x [N, T, C] and return the logits after every sample, [N, T, K]."""
        run = _run_lstm if self.kind == Cell.LSTM else _run_gru
        sequence = x.astype(np.float64)
        for layer in self.layers:
            sequence = run(layer, sequence)
        return sequence @ self.head_weight.T + self.head_bias


def as_streams(x: NDArray[Any], streams: int) -> NDArray[Any]:
    """Join series [N, T, ...] end to end into streams of equal length, [S, N // S * T, ...]; what is left over is dropped."""
    each = len(x) // streams
    return x[: streams * each].reshape(streams, each * x.shape[1], *x.shape[2:])


def check_series(x: NDArray[np.floating], channels: int) -> None:
    """Check calibration series x [N, T, C].

    Raises:
        UsageError: x has the wrong shape, no samples, or values that are not finite (says where).
    """
    if x.ndim != 3 or x.shape[2] != channels or x.size == 0:
        raise UsageError(f"calibration series must be [N, T, {channels}] with N, T >= 1, got {list(x.shape)}")
    if not np.isfinite(x).all():
        series, sample, channel = np.argwhere(~np.isfinite(x))[0]
        raise UsageError(f"calibration series {series}, sample {sample}, channel {channel} is {x[series, sample, channel]}")


def _lstm_gates(layer: LayerWeights) -> DenseWeights:
    weight = np.concatenate([layer.input_weight, layer.hidden_weight], axis=1)
    bias = layer.input_bias + layer.hidden_bias
    i, f, g, o = np.split(np.arange(len(bias)), 4)
    rows = np.concatenate([i, f, o, g])
    return DenseWeights(weight[rows], bias[rows])


def _gru_gates(layer: LayerWeights) -> DenseWeights:
    both, candidate = np.split(np.arange(len(layer.input_bias)), [2 * layer.hidden_size])
    from_x, from_h = layer.input_weight[candidate], layer.hidden_weight[candidate]
    weight = np.block(
        [
            [layer.input_weight[both], layer.hidden_weight[both]],
            [from_x, np.zeros_like(from_h)],
            [np.zeros_like(from_x), from_h],
        ]
    )
    bias = np.concatenate(
        [(layer.input_bias + layer.hidden_bias)[both], layer.input_bias[candidate], layer.hidden_bias[candidate]]
    )
    return DenseWeights(weight, bias)


def _run_lstm(layer: LayerWeights, x: Floats) -> Floats:
    hidden = np.zeros((len(x), layer.hidden_size))
    cell = np.zeros_like(hidden)
    sequence = np.empty((*x.shape[:2], layer.hidden_size))
    bias = layer.input_bias + layer.hidden_bias
    for t in range(x.shape[1]):
        gates = x[:, t] @ layer.input_weight.T + hidden @ layer.hidden_weight.T + bias
        i, f, g, o = np.split(gates, 4, axis=1)
        cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
        hidden = _sigmoid(o) * np.tanh(cell)
        sequence[:, t] = hidden
    return sequence


def _run_gru(layer: LayerWeights, x: Floats) -> Floats:
    hidden = np.zeros((len(x), layer.hidden_size))
    sequence = np.empty((*x.shape[:2], layer.hidden_size))
    for t in range(x.shape[1]):
        input_part = np.split(x[:, t] @ layer.input_weight.T + layer.input_bias, 3, axis=1)
        hidden_part = np.split(hidden @ layer.hidden_weight.T + layer.hidden_bias, 3, axis=1)
        reset, update = (_sigmoid(input_part[gate] + hidden_part[gate]) for gate in (0, 1))
        candidate = np.tanh(input_part[2] + reset * hidden_part[2])
        hidden = (1 - update) * candidate + update * hidden
        sequence[:, t] = hidden
    return sequence


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * x))
