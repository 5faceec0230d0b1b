# SPDX-License-Identifier: Apache-2.0
"""Moves the biases to where the integer model's answers are the float model's again.

Rounded weights, the tables of the activations, a saturating cell and its rounding all leave errors that point the same way at
every step, and a recurrent network adds them up. Biases stay fine-grained (int64), so they can take such errors back: bias
correction (Nagel et al. 2019, arXiv 1906.04721), here for the logits and through time. Least absolute errors, by reweighted least
squares, because a few series near a tipping point would rule the squares.
"""

from collections.abc import Callable, Sequence

import numpy as np

from memkd_edge.quantization.calibration import DenseWeights, Floats
from memkd_edge.quantization.sensitivity import Sensitivity

_ROUNDS = 4
_RIDGES = (1e-4, 1e-2, 1.0)  # of the mean curvature: a far move first, a careful one if that does not help
_LEAST_GAIN = 1e-3  # of the error, that makes another round worth its time


def correct_biases(
    dense: Sequence[DenseWeights],
    sensitivity: Sensitivity,
    errors: Callable[[Sequence[DenseWeights]], Floats],
    size: Callable[[Floats], float],
) -> list[DenseWeights]:
    """Return `dense` with biases that bring the integer model's logits closer to the float model's.

    Args:
        dense: gates of every layer, then the head, weights on the integer grid.
        sensitivity: by the biases alone.
        errors: runs the integer model of given layers; its logits less the float model's, [N, T, K].
        size: of such errors; what must fall.
    """
    best = list(dense)
    left = errors(best)
    least = size(left)
    for _ in range(_ROUNDS):
        answers = sensitivity.answers(left)
        weights = 1 / (np.abs(answers) + np.median(np.abs(answers)) + 1e-12)
        weighted = sensitivity.jacobian * weights[:, None]
        curvature = sensitivity.jacobian.T @ weighted
        for ridge in _RIDGES:
            damped = curvature + np.eye(len(curvature)) * (ridge * np.diag(curvature).mean() + 1e-12)
            trial = _moved(best, np.linalg.solve(damped, -weighted.T @ answers))
            found = errors(trial)
            if size(found) < (1 - _LEAST_GAIN) * least:
                best, left, least = trial, found, size(found)
                break
        else:
            break
    return best


def _moved(dense: Sequence[DenseWeights], moves: Floats) -> list[DenseWeights]:
    ends = np.cumsum([one.bias.size for one in dense])[:-1]
    return [DenseWeights(one.weight, one.bias + move) for one, move in zip(dense, np.split(moves, ends), strict=True)]
