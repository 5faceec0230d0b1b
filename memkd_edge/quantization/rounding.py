# SPDX-License-Identifier: Apache-2.0
"""Rounds weights so that the model's answers change least, rather than the weights themselves.

A recurrent step is applied hundreds of times to its own result, so the errors of nearest rounding add up. Here the weights are
rounded one after another, and what each loses is made up for by those not yet rounded and by the biases, along the curvature of
the squared change of the logits: Optimal Brain Surgeon (Hassibi and Stork 1993) applied to rounding, as in OBQ (Frantar and
Alistarh 2022, arXiv 2208.11580) and GPTQ (Frantar et al. 2022, arXiv 2210.17323). Those take the curvature layer by layer; a
student is small enough for the exact one of the whole network through time: the Gauss-Newton matrix of its logits.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memkd_edge.quantization.calibration import DenseWeights, Floats
from memkd_edge.quantization.sensitivity import flatten, unflatten

_LEAST_CURVATURE = 1e-12  # where no parameter has any


def round_nearest(dense: Sequence[DenseWeights], scales: Sequence[float]) -> list[DenseWeights]:
    """Return `dense` with every weight rounded to the nearest multiple of its layer's scale, at most 127 of them."""
    return [DenseWeights(_nearest(one.weight, scale), one.bias) for one, scale in zip(dense, scales, strict=True)]


def round_weights(dense: Sequence[DenseWeights], scales: Sequence[float], jacobian: Floats, damping: float) -> list[DenseWeights]:
    """Return `dense` with weights that are multiples of their scale, at most 127 of them, and biases moved to suit.

    Args:
        dense: gates of every layer, then the head (`FloatModel.dense`).
        scales: of each one's weights.
        jacobian: [R, P], derivatives of the model's answers by all parameters.
        damping: added to the diagonal of the curvature, in units of its mean. Little trusts far moves along directions that the
            answers hardly notice, much keeps every weight close to where it was.
    """
    steps = flatten(
        [
            DenseWeights(np.full(one.weight.shape, scale), np.zeros(one.bias.shape))
            for one, scale in zip(dense, scales, strict=True)
        ]
    )
    parameters = flatten(dense)
    curvature = jacobian.T @ jacobian
    # A weight that cannot move (the zero blocks of a GRU) has nothing to compensate with.
    fixed = (parameters == 0) & (steps > 0)
    curvature[fixed] = curvature[:, fixed] = 0
    damped = curvature + np.eye(len(curvature)) * (damping * np.diag(curvature).mean() + _LEAST_CURVATURE)
    # What counts most is rounded first, while much is left to compensate; biases, which are not rounded, come last.
    order = np.argsort(-np.diag(damped) * steps**2, kind="stable")
    factor = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    moving, unit = parameters[order], steps[order]
    for index in range(np.count_nonzero(steps)):
        rounded = _nearest(moving[index], unit[index])
        moving[index + 1 :] -= (moving[index] - rounded) / factor[index, index] * factor[index, index + 1 :]
        moving[index] = rounded
    result = np.empty_like(moving)
    result[order] = moving
    return unflatten(result, dense)


def _nearest(weights: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    nearest: NDArray[np.float64] = np.clip(np.round(weights / step), -127, 127) * step
    return nearest
