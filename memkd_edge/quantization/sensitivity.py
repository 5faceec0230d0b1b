# SPDX-License-Identifier: Apache-2.0
"""How much a model's answers move with each of its parameters: the Jacobian by one batched pass back through time.

In double precision: rounding decides by small differences, and every machine has to find the same integers.

Rounding (rounding.py) and the correction of biases (bias_correction.py) both work on it. What all classes have in common counts
little: a decision is made by differences of logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.quantization.calibration import DenseWeights, Floats
from memkd_edge.threads import torch_threads
from memkd_edge.vocabulary import Cell

_SAMPLES = 16  # of a series, at which the logits count; half of the weight is on the last
_DIRECTIONS = 4  # of the logits, drawn anew for every answer when there are more classes than that
_SHARED = 0.3  # weight of what all classes have in common
_WORK = 2e7  # directions x series x samples x units: about two seconds on one core
_FEWEST_SERIES = 4
_AT_ONCE = 2e7  # values of a gradient held in memory


@dataclass(frozen=True)
class Sensitivity:
    """Derivatives of R answers by P parameters, in the order of the dense layers, each its weight and then its bias.

    An answer is the logits of one of `series`, after one of `samples`, along one of `directions`; equally many for each series.

    jacobian: [R, P]; directions: [series, R / series, K], their lengths weigh the answers; series: [S], rows of the calibration
    series; samples: [R / series].
    """

    jacobian: Floats
    directions: Floats
    series: NDArray[np.int64]
    samples: NDArray[np.int64]

    def answers(self, logits: Floats) -> Floats:
        """Return the answers [R] that the logits [N, T, K] of all calibration series hold."""
        answers: Floats = np.einsum("nmk,nmk->nm", self.directions, logits[np.ix_(self.series, self.samples)]).ravel()
        return answers

    def of_biases(self, dense: Sequence[DenseWeights]) -> "Sensitivity":
        """Return this with the columns of the biases alone."""
        columns = flatten([DenseWeights(np.zeros(one.weight.shape), np.ones(one.bias.shape)) for one in dense]) > 0
        return replace(self, jacobian=self.jacobian[:, columns])


def sensitivity(kind: Cell, dense: Sequence[DenseWeights], x: NDArray[np.floating], *, biases_only: bool = False) -> Sensitivity:
    """Differentiate a model on as many of the calibration series as takes a second or two.

    Args:
        kind: of cell.
        dense: gates of every layer, then the head (`FloatModel.dense`).
        x: [N, T, C] normalised calibration series.
        biases_only: P counts the biases alone; for models whose weights are too many.
    """
    series, length, _ = x.shape
    classes, units = dense[-1].weight.shape
    at = np.unique(np.linspace(length - 1, 0, _SAMPLES, endpoint=False).round().astype(np.int64))
    per_series = len(at) * min(classes, _DIRECTIONS)
    count = int(np.clip(_WORK // (per_series * length * units), _FEWEST_SERIES, series)) if series > _FEWEST_SERIES else series
    chosen = np.linspace(0, series - 1, count).round().astype(np.int64)
    directions = _directions(classes, count, len(at))
    size = max(1, int(_AT_ONCE // (per_series * length * 4 * units)))
    with torch_threads(1):  # faster on operations this small, and the same sums on every machine
        parts = [
            _jacobian(kind, dense, x[chosen[start : start + size]], directions[start : start + size], at, biases_only)
            for start in range(0, count, size)
        ]
    jacobian = np.concatenate(parts).reshape(count * per_series, -1)
    return Sensitivity(jacobian, directions.reshape(count, per_series, classes), chosen, np.repeat(at, per_series // len(at)))


def _directions(classes: int, series: int, samples: int) -> Floats:
    """Return directions of the logits, [series, samples, D, classes], that together weigh all classes alike."""
    metric = np.eye(classes) - (1 - _SHARED) / classes  # symmetric: 1 along differences, _SHARED along the mean
    if classes <= _DIRECTIONS:
        result = np.broadcast_to(metric, (series, samples, classes, classes)).copy()
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (series, samples, _DIRECTIONS, classes))
        result = signs @ metric / np.sqrt(_DIRECTIONS)
    weights = np.full(samples, 1 / samples)
    weights[-1] += 1
    weighted: Floats = result * np.sqrt(weights)[:, None, None]
    return weighted


def _jacobian(
    kind: Cell,
    dense: Sequence[DenseWeights],
    x: NDArray[np.floating],
    directions: Floats,
    at: NDArray[np.int64],
    biases_only: bool,
) -> Floats:
    """Return [N, R, P], R = samples x directions: gradients by all steps' pre-activations, times what these were made of.

    Back through time by hand: of a model this small, autograd takes longer to load and to keep its books than the sums take.
    """
    layers = [(torch.from_numpy(one.weight), torch.from_numpy(one.bias)) for one in dense[:-1]]
    head_weight = torch.from_numpy(dense[-1].weight)
    series, samples, per_sample, _ = directions.shape
    units = head_weight.shape[1]
    step, back = (_gru_step, _gru_back) if kind == Cell.GRU else (_lstm_step, _lstm_back)
    zeros = torch.zeros(series, units, dtype=torch.float64)
    states = [(zeros, zeros) for _ in layers]
    sources: list[list[Tensor]] = [[] for _ in layers]
    passed: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in layers]  # by step: gates, and the states before
    tops = []
    number = {t: row for row, t in enumerate(at.tolist())}  # of each sample at which the logits count
    for t, sample in enumerate(torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, 1, 0))).double()):
        below = sample
        for index, (weight, bias) in enumerate(layers):
            source = torch.cat([below, states[index][0]], 1)
            gates = source @ weight.T + bias
            sources[index].append(source)
            passed[index].append((gates, *states[index]))
            states[index] = step(gates, *states[index])
            below = states[index][0]
        if t in number:
            tops.append(below)
    # One gradient for each answer: row (sample, direction) looks at that sample alone.
    looks = torch.zeros(series, samples, per_sample, samples, len(head_weight), dtype=torch.float64)
    for row in range(samples):
        looks[:, row, :, row] = torch.from_numpy(directions[:, row])
    looks = looks.flatten(1, 2)  # [N, R, samples, K]
    nothing = torch.zeros(series, looks.shape[1], units, dtype=torch.float64)
    by_states = [(nothing, nothing) for _ in layers]
    deltas = [torch.empty(series, x.shape[1], looks.shape[1], len(weight), dtype=torch.float64) for weight, _ in layers]
    for t in reversed(range(x.shape[1])):
        above = looks[:, :, number[t]] @ head_weight if t in number else nothing
        for index in reversed(range(len(layers))):
            by_h, by_c = by_states[index]
            gates, h, c = (one[:, None] for one in passed[index][t])
            delta, by_h, by_c = back(gates, h, c, above + by_h, by_c)
            by_source = delta @ layers[index][0]
            above, by_states[index] = by_source[..., :-units], (by_h + by_source[..., -units:], by_c)
            deltas[index][:, t] = delta
    parts = []
    for by_gates, taken in zip(deltas, sources, strict=True):
        if not biases_only:
            by_weight = by_gates.flatten(2).transpose(1, 2) @ torch.stack(taken, 1)  # [N, R gates, columns]
            parts.append(by_weight.reshape(series, looks.shape[1], -1))
        parts.append(by_gates.sum(1))
    if not biases_only:
        parts.append(torch.einsum("nrsk,nsh->nrkh", looks, torch.stack(tops, 1)).flatten(2))
    parts.append(looks.sum(2))
    return torch.cat(parts, 2).numpy()


def _lstm_step(gates: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, o, g = gates.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _lstm_back(gates: Tensor, h: Tensor, c: Tensor, by_h: Tensor, by_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient by the gates, and what goes past them to h and c before, from those by h and c after the step."""
    logits = gates.chunk(4, -1)
    i, f, o, g = (*(one.sigmoid() for one in logits[:3]), logits[3].tanh())
    squashed = (f * c + i * g).tanh()
    by_c = by_c + by_h * (o * (1 - squashed**2))
    by_gates = [by_c * (g * i * (1 - i)), by_c * (c * f * (1 - f)), by_h * (squashed * o * (1 - o)), by_c * (i * (1 - g**2))]
    return torch.cat(by_gates, -1), torch.zeros_like(by_h), by_c * f


def _gru_step(gates: Tensor, h: Tensor, unused: Tensor) -> tuple[Tensor, Tensor]:
    reset, update, from_x, from_h = gates.chunk(4, 1)
    keep = update.sigmoid()
    return keep * h + (1 - keep) * (from_x + reset.sigmoid() * from_h).tanh(), unused


def _gru_back(gates: Tensor, h: Tensor, unused: Tensor, by_h: Tensor, by_unused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    reset, update, from_x, from_h = gates.chunk(4, -1)
    r, keep = reset.sigmoid(), update.sigmoid()
    fresh = (from_x + r * from_h).tanh()
    by_fresh = by_h * ((1 - keep) * (1 - fresh**2))
    by_gates = [by_fresh * (from_h * r * (1 - r)), by_h * ((h - fresh) * keep * (1 - keep)), by_fresh, by_fresh * r]
    return torch.cat(by_gates, -1), by_h * keep, by_unused


def flatten(dense: Sequence[DenseWeights]) -> Floats:
    """Return all parameters [P], each layer's weight and then its bias."""
    return np.concatenate([part.ravel() for one in dense for part in one])


def unflatten(flat: Floats, dense: Sequence[DenseWeights]) -> list[DenseWeights]:
    """Cut `flat` [P] into layers of the shapes of `dense`."""
    result, start = [], 0
    for one in dense:
        middle, end = start + one.weight.size, start + one.weight.size + one.bias.size
        result.append(DenseWeights(flat[start:middle].reshape(one.weight.shape), flat[middle:end]))
        start = end
    return result
