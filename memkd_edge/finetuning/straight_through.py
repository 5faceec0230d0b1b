# SPDX-License-Identifier: Apache-2.0
"""The integer model with gradients: exact values forward, the float model's gradients backward.

The straight-through estimator of Bengio, Leonard and Courville 2013 (arXiv 1308.3432), used for quantisation by Jacob et al. 2018
(arXiv 1712.05877): rounding counts as the identity, saturation as a clamp.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.distillation.methods import Outputs
from memkd_edge.nets.classifier import Classifier
from memkd_edge.quantization.integer_model import QuantizedClassifier, QuantizedLayer, QuantizedLstmLayer
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.vocabulary import Arithmetic


def integer_outputs(model: Classifier, q: QuantizedClassifier, x: Tensor, interface: Arithmetic) -> Outputs:
    """Run `q`, the integer form of `model`, with gradients to the model's float weights.

    Args:
        model: LSTM or GRU classifier.
        q: `quantize` of the model as it is now.
        x: [B, T, C] normalised series.
        interface: int8 or int16x8.

    Returns:
        logits [B, K] after the last sample and the top layer's hidden sequence [B, T, H]; the values are the integer model's,
        times their scales.
    """
    exact = integer_trajectory(q, x.detach().numpy(), interface)
    below = torch.from_numpy(exact.x)
    parameters = dict(model.named_parameters())
    for index, layer in enumerate(q.layers):
        weights = [parameters[f"rnn.{name}_l{index}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        states = {name: torch.from_numpy(values) for name, values in exact.states[index].items()}
        if isinstance(layer, QuantizedLstmLayer):
            below = _lstm(layer, weights, below, states["h"], states["c"])
        else:
            below = _gru(layer, weights, below, states["h"])
    head = _exactly(parameters["head.weight"], _float(q.head.weight, q.head.weight_scale))
    logits = below[:, -1] @ head.T + parameters["head.bias"]
    return Outputs(_exactly(logits, torch.from_numpy(exact.logits)), below)


@dataclass(frozen=True)
class Trajectory:
    """What the integer model computes, as float32 values: x [B, T, C], logits [B, K] at the end.

    states: the state tensors of each layer by their names, [B, T, H].
    """

    x: NDArray[np.float32]
    states: list[dict[str, NDArray[np.float32]]]
    logits: NDArray[np.float32]


def integer_trajectory(q: QuantizedClassifier, x: NDArray[np.float32], interface: Arithmetic) -> Trajectory:
    runner = integer_classifier(q, len(x))
    samples = runner.quantize_input(x, interface)
    states = []
    logits = np.zeros((len(x), q.num_classes), np.int16)
    for sample in np.moveaxis(samples, 1, 0):
        if interface == Arithmetic.INT8:
            narrow = runner.step_int8(sample.astype(np.int8))
        else:
            logits = runner.step(sample.astype(np.int16))
        states.append(runner.states)
    if interface == Arithmetic.INT8:
        values = (narrow.astype(np.float32) - q.logit_zero_point_int8) * np.float32(q.logit_scale_int8)
    else:
        values = logits * np.float32(q.head.out_scale)
    sequences = iter(np.stack(steps, axis=1) for steps in zip(*states, strict=True))
    return Trajectory(
        x=(runner.widen(samples) if interface == Arithmetic.INT8 else samples) * np.float32(q.layers[0].state_scale),
        states=[{name: next(sequences) * np.float32(scale) for name, scale in layer.state_scales.items()} for layer in q.layers],
        logits=values,
    )


def dequantized(layer: QuantizedLayer) -> tuple[Tensor, Tensor]:
    """Return the layer's int8 weights as the float32 weight_ih and weight_hh of torch."""
    rows = ([0, 1, 3, 2],) * 2 if isinstance(layer, QuantizedLstmLayer) else ([0, 1, 2], [0, 1, 3])
    weight = _float(layer.gates.weight, layer.gates.weight_scale).view(4, layer.hidden_size, -1)
    return weight[rows[0], :, : layer.input_size].flatten(0, 1), weight[rows[1], :, layer.input_size :].flatten(0, 1)


def _lstm(layer: QuantizedLstmLayer, weights: Sequence[Tensor], x: Tensor, h_exact: Tensor, c_exact: Tensor) -> Tensor:
    """Return the hidden sequence [B, T, H]: values h_exact, gradients of the float LSTM with the layer's int8 weights."""
    input_weight, hidden_weight = map(_exactly, weights[:2], dequantized(layer))
    from_x = x @ input_weight.T + weights[2] + weights[3]
    h = c = torch.zeros(len(x), layer.hidden_size)
    sequence = []
    for t in range(x.shape[1]):
        gates = _bounded(from_x[:, t] + h @ hidden_weight.T, layer.gate_scale)
        i, f, g, o = gates.chunk(4, 1)
        c = _exactly(_bounded(f.sigmoid() * c + i.sigmoid() * g.tanh(), layer.cell_scale), c_exact[:, t])
        h = _exactly(o.sigmoid() * c.tanh(), h_exact[:, t])
        sequence.append(h)
    return torch.stack(sequence, 1)


def _gru(layer: QuantizedLayer, weights: Sequence[Tensor], x: Tensor, h_exact: Tensor) -> Tensor:
    """As `_lstm`, for a GRU."""
    input_weight, hidden_weight = map(_exactly, weights[:2], dequantized(layer))
    from_x = x @ input_weight.T + weights[2]
    h = torch.zeros(len(x), layer.hidden_size)
    sequence = []
    for t in range(x.shape[1]):
        x_reset, x_update, x_candidate = from_x[:, t].chunk(3, 1)
        h_reset, h_update, h_candidate = (h @ hidden_weight.T + weights[3]).chunk(3, 1)
        reset = _bounded(x_reset + h_reset, layer.gate_scale).sigmoid()
        update = _bounded(x_update + h_update, layer.gate_scale).sigmoid()
        candidate = _bounded(x_candidate + reset * h_candidate, layer.gate_scale).tanh()
        h = _exactly((1 - update) * candidate + update * h, h_exact[:, t])
        sequence.append(h)
    return torch.stack(sequence, 1)


class _StraightThrough(torch.autograd.Function):
    """The value of the second argument, the gradient of the first."""

    @staticmethod
    def forward(ctx: Any, surrogate: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _exactly(surrogate: Tensor, exact: Tensor) -> Tensor:
    return cast(Tensor, _StraightThrough.apply(surrogate, exact))  # type: ignore[no-untyped-call]


def _bounded(values: Tensor, scale: float) -> Tensor:
    """Clamp to what int16 holds at `scale`; saturated values have no gradient, as in the integer model."""
    return values.clamp(-(1 << 15) * scale, ((1 << 15) - 1) * scale)


def _float(integers: NDArray[np.int8], scale: float) -> Tensor:
    return torch.from_numpy(integers * np.float32(scale))
