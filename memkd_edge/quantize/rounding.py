"""Rounds weights so that the model's answers change least, rather than the weights themselves.

A recurrent step is applied hundreds of times to its own result, so the errors of nearest rounding add up. Here the weights are
rounded one after another, and what each loses is made up for by those not yet rounded and by the biases, along the curvature of
the squared change of the logits: Optimal Brain Surgeon (Hassibi and Stork 1993) applied to rounding, as in OBQ (Frantar and
Alistarh 2022, arXiv 2208.11580) and GPTQ (Frantar et al. 2022, arXiv 2210.17323). Those take the curvature layer by layer; a
student is small enough for the exact one of the whole network through time: the Gauss-Newton matrix of all its logits.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.quantize.calibrate import DenseWeights, Floats

MAX_PARAMETERS = 2500  # of a larger model the curvature takes too long, and each weight matters less
_WORK = 4e7  # parameters x series x samples x units: a second or two on one core
_FEWEST_SERIES, _SERIES_AT_ONCE = 4, 8
_SAMPLES = 16  # per series, at which the logits count; half of the weight is on the last
_DAMPING = 1e-3  # of the mean curvature
_LEAST_CURVATURE = 1e-12  # where no parameter has any


def round_weights(
    kind: str, dense: Sequence[DenseWeights], scales: Sequence[float], x: NDArray[np.floating]
) -> list[DenseWeights]:
    """Return `dense` with weights that are multiples of their scale, at most 127 of them, and biases moved to suit.

    Args:
        kind: "lstm" or "gru".
        dense: gates of every layer, then the head (`FloatModel.dense`).
        scales: of each one's weights.
        x: [N, T, C] normalised calibration series.
    """
    parameters = np.concatenate([part.ravel() for one in dense for part in one])
    steps = np.concatenate(
        [
            np.concatenate([np.full(one.weight.size, scale), np.zeros(one.bias.size)])
            for one, scale in zip(dense, scales, strict=True)
        ]
    )
    if parameters.size > MAX_PARAMETERS:
        rounded = _nearest(parameters, steps)
    else:
        rounded = _compensated(parameters, steps, _curvature(kind, dense, x))
    return [DenseWeights(weight, bias) for weight, bias in _unflatten(rounded, dense)]


def _nearest(parameters: Floats, steps: Floats) -> Floats:
    """Round to multiples of `steps`; where that is 0, the parameter stays as it is."""
    unit = np.where(steps > 0, steps, 1)
    return np.where(steps > 0, np.clip(np.round(parameters / unit), -127, 127) * unit, parameters)


def _compensated(parameters: Floats, steps: Floats, curvature: Floats) -> Floats:
    damped = curvature + np.eye(len(curvature)) * (_DAMPING * np.diag(curvature).mean() + _LEAST_CURVATURE)
    # What counts most is rounded first, while much is left to compensate; biases, which are not rounded, come last.
    order = np.argsort(-np.diag(damped) * steps**2, kind="stable")
    factor = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    moving, unit = parameters[order], steps[order]
    for index in range(np.count_nonzero(steps)):
        rounded = _nearest(moving[index : index + 1], unit[index : index + 1])[0]
        moving[index + 1 :] -= (moving[index] - rounded) / factor[index, index] * factor[index, index + 1 :]
        moving[index] = rounded
    result = np.empty_like(moving)
    result[order] = moving
    return result


def _curvature(kind: str, dense: Sequence[DenseWeights], x: NDArray[np.floating]) -> Floats:
    """Return J^T J [P, P], J the derivative of the logits (less their mean over the classes) by all parameters."""
    parameters = torch.from_numpy(np.concatenate([part.ravel() for one in dense for part in one]))
    units, length = dense[-1].weight.shape[1], x.shape[1]
    series = int(np.clip(_WORK // (parameters.numel() * length * units), _FEWEST_SERIES, max(_FEWEST_SERIES, len(x))))
    samples = np.unique(np.linspace(length - 1, 0, _SAMPLES, endpoint=False).round().astype(int))
    weights = np.full(len(samples), 1 / len(samples))
    weights[-1] += 1
    result = np.zeros((parameters.numel(),) * 2)
    for part in np.split(x[:series], range(_SERIES_AT_ONCE, series, _SERIES_AT_ONCE)):
        inputs = torch.from_numpy(part.astype(np.float64))

        def answers(flat: Tensor, inputs: Tensor = inputs) -> Tensor:
            logits = _logits(kind, _unflatten(flat, dense), inputs, samples)
            return logits - logits.mean(-1, keepdim=True)

        with _one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's forward mode calls its own deprecated functions
            jacobian = torch.func.jacfwd(answers)(parameters).numpy()  # [samples, N, K, P]
        jacobian = (jacobian * np.sqrt(weights)[:, None, None, None]).reshape(-1, parameters.numel())
        result += jacobian.T @ jacobian
    # A weight that cannot move (the zero blocks of a GRU) has nothing to compensate with.
    fixed = torch.cat([torch.from_numpy(part == 0).ravel() for one in dense for part in one]).numpy()
    result[fixed] = result[:, fixed] = 0
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: faster on operations this small, and the same sums on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _logits(kind: str, dense: Sequence[tuple[Tensor, Tensor]], x: Tensor, samples: NDArray[np.int64]) -> Tensor:
    """Return the logits [samples, N, K] after the given samples of x [N, T, C]."""
    step = _gru_step if kind == "gru" else _lstm_step
    *layers, (head_weight, head_bias) = dense
    zeros = torch.zeros(len(x), head_weight.shape[1], dtype=x.dtype)
    states = [(zeros, zeros) for _ in layers]
    results = []
    for t in range(x.shape[1]):
        below = x[:, t]
        for index, (weight, bias) in enumerate(layers):
            states[index] = step(torch.cat([below, states[index][0]], 1) @ weight.T + bias, *states[index])
            below = states[index][0]
        if t in samples:
            results.append(below @ head_weight.T + head_bias)
    return torch.stack(results)


def _lstm_step(gates: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, o, g = gates.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru_step(gates: Tensor, h: Tensor, unused: Tensor) -> tuple[Tensor, Tensor]:
    reset, update, from_x, from_h = gates.chunk(4, 1)
    keep = update.sigmoid()
    return keep * h + (1 - keep) * (from_x + reset.sigmoid() * from_h).tanh(), unused


def _unflatten(flat: Any, dense: Sequence[DenseWeights]) -> list[Any]:
    """Cut `flat` [P], numpy or torch, into (weight, bias) of the shapes of `dense`."""
    result, start = [], 0
    for one in dense:
        middle, end = start + one.weight.size, start + one.weight.size + one.bias.size
        result.append((flat[start:middle].reshape(one.weight.shape), flat[middle:end]))
        start = end
    return result
