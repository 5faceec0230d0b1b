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
from memkd_edge.quantization.samples import quantize_array
from memkd_edge.vocabulary import Arithmetic

States = Sequence[NDArray[np.float32]]


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
    outputs, _ = integer_along(model, q, x, interface)
    return Outputs(outputs.logits[:, -1], outputs.hidden)


def integer_along(
    model: Classifier, q: QuantizedClassifier, x: Tensor, interface: Arithmetic, start: States = ()
) -> tuple[Outputs, States]:
    """Do the same for a chunk x [B, T, C] of streams.

    Args:
        start: the states, as real values [B, H] in the file's order, that the streams go on from; empty for a reset.

    Returns:
        logits [B, T, K] after each sample and the hidden sequence [B, T, H]; and the states that the chunk ends in.
    """
    exact = integer_trajectory(q, x.detach().numpy(), interface, start)
    below = torch.from_numpy(exact.x)
    parameters = dict(model.named_parameters())
    for index, layer in enumerate(q.layers):
        weights = [parameters[f"rnn.{name}_l{index}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        before = [torch.from_numpy(values) for values in exact.start[index].values()]
        states = [torch.from_numpy(values) for values in exact.states[index].values()]
        below = (_lstm if isinstance(layer, QuantizedLstmLayer) else _gru)(layer, weights, below, before, states)
    head = _exactly(parameters["head.weight"], _float(q.head.weight, q.head.weight_scale))
    logits = below @ head.T + parameters["head.bias"]
    ended = tuple(values[:, -1] for layer in exact.states for values in layer.values())
    return Outputs(_exactly(logits, torch.from_numpy(exact.logits)), below), ended


@dataclass(frozen=True)
class Trajectory:
    """What the integer model computes, as float32 values: x [B, T, C], logits [B, T, K].

    start, states: the state tensors of each layer by their names, before the first sample [B, H] and after each [B, T, H].
    """

    x: NDArray[np.float32]
    start: list[dict[str, NDArray[np.float32]]]
    states: list[dict[str, NDArray[np.float32]]]
    logits: NDArray[np.float32]


def integer_trajectory(q: QuantizedClassifier, x: NDArray[np.float32], interface: Arithmetic, start: States = ()) -> Trajectory:
    """Run `q` over normalised x [B, T, C]; `start` as in `integer_along`."""
    runner = integer_classifier(q, len(x))
    samples = runner.quantize_input(x, interface)
    scales = [np.float32(scale) for layer in q.layers for scale in layer.state_scales.values()]
    if start:
        runner.states = [quantize_array(one, float(scale)) for one, scale in zip(start, scales, strict=True)]
    states = [runner.states]
    logits: list[NDArray[np.integer]] = []
    for sample in np.moveaxis(samples, 1, 0):
        if interface == Arithmetic.INT8:
            logits.append(runner.step_int8(sample.astype(np.int8)))
        else:
            logits.append(runner.step(sample.astype(np.int16)))
        states.append(runner.states)
    steps = np.stack(logits, axis=1).astype(np.float32)
    if interface == Arithmetic.INT8:
        values = (steps - q.logit_zero_point_int8) * np.float32(q.logit_scale_int8)
    else:
        values = steps * np.float32(q.head.out_scale)
    named = [{name: np.float32(scale) for name, scale in layer.state_scales.items()} for layer in q.layers]
    sequences = iter(np.stack(each, axis=1) for each in zip(*states, strict=True))
    every = [{name: next(sequences) * scale for name, scale in layer.items()} for layer in named]
    return Trajectory(
        x=(runner.widen(samples) if interface == Arithmetic.INT8 else samples) * np.float32(q.layers[0].state_scale),
        start=[{name: values[:, 0] for name, values in layer.items()} for layer in every],
        states=[{name: values[:, 1:] for name, values in layer.items()} for layer in every],
        logits=values,
    )


def dequantized(layer: QuantizedLayer) -> tuple[Tensor, Tensor]:
    """Return the layer's int8 weights as the float32 weight_ih and weight_hh of torch."""
    rows = ([0, 1, 3, 2],) * 2 if isinstance(layer, QuantizedLstmLayer) else ([0, 1, 2], [0, 1, 3])
    weight = _float(layer.gates.weight, layer.gates.weight_scale).view(4, layer.hidden_size, -1)
    return weight[rows[0], :, : layer.input_size].flatten(0, 1), weight[rows[1], :, layer.input_size :].flatten(0, 1)


def _lstm(
    layer: QuantizedLayer, weights: Sequence[Tensor], x: Tensor, start: Sequence[Tensor], exact: Sequence[Tensor]
) -> Tensor:
    """Return the hidden sequence [B, T, H]: values of `exact` (h, c), gradients of the float LSTM with its int8 weights."""
    assert isinstance(layer, QuantizedLstmLayer)
    input_weight, hidden_weight = map(_exactly, weights[:2], dequantized(layer))
    from_x = x @ input_weight.T + weights[2] + weights[3]
    (h, c), (h_exact, c_exact) = start, exact
    sequence = []
    for t in range(x.shape[1]):
        gates = _bounded(from_x[:, t] + h @ hidden_weight.T, layer.gate_scale)
        i, f, g, o = gates.chunk(4, 1)
        c = _exactly(_bounded(f.sigmoid() * c + i.sigmoid() * g.tanh(), layer.cell_scale), c_exact[:, t])
        h = _exactly(o.sigmoid() * c.tanh(), h_exact[:, t])
        sequence.append(h)
    return torch.stack(sequence, 1)


def _gru(layer: QuantizedLayer, weights: Sequence[Tensor], x: Tensor, start: Sequence[Tensor], exact: Sequence[Tensor]) -> Tensor:
    """As `_lstm`, for a GRU."""
    input_weight, hidden_weight = map(_exactly, weights[:2], dequantized(layer))
    from_x = x @ input_weight.T + weights[2]
    (h,), (h_exact,) = start, exact
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
