# SPDX-License-Identifier: Apache-2.0
"""What readings of the training signal look like: the range that an input monitor takes as usual."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memkd_edge.metadata import MOST_READ, SignalRange

READ_S = 20.0  # of one reading: shorter ones vary more with what is done, and tell less of the rate
READ_WINDOWS = 16  # where the rate is not known
FEWEST_READ = 64
STILL = 1e-3  # deviations; a signal that stands still has no pace


def signal_range(
    pieces: Sequence[NDArray[np.float32]], labels: Sequence[NDArray[np.int64]], rate_hz: float | None
) -> SignalRange:
    """Return the range of the readings along pieces of signal end to end, and along the samples of each class end to end.

    A wearer may do one thing for longer than any training recording does, so each class alone counts, too.

    Args:
        pieces: [T, C] each, normalised, in the order in which they follow each other.
        labels: [T] each, class or -1.
        rate_hz: of the pieces.
    """
    x, y = np.concatenate(pieces), np.concatenate(labels)
    follows = np.ones(len(x), bool)  # the sample before it is the one before it in time
    follows[np.cumsum([0, *(len(piece) for piece in pieces[:-1])])] = False
    runs = [np.arange(len(x)), *(np.flatnonzero(y == index) for index in range(int(y.max()) + 1))]
    wanted = READ_S * rate_hz if rate_hz else READ_WINDOWS * len(pieces[0])
    samples = int(min(max(2 ** round(math.log2(wanted)), FEWEST_READ), MOST_READ))
    shortest = min(len(run) for run in runs if len(run))
    while samples > max(FEWEST_READ, shortest):
        samples //= 2
    readings = np.array([reading for run in runs for reading in _readings(x, follows, run, samples)])
    if not len(readings):
        return SignalRange()
    mean, deviation, change = readings.swapaxes(0, 1)
    moves = deviation.sum(1) > STILL
    pace = change.sum(1)[moves] / deviation.sum(1)[moves] if moves.any() else np.zeros(1)
    mean_low, mean_high, deviation_low, deviation_high = (
        tuple(float(np.float32(value)) for value in part)
        for part in (mean.min(0), mean.max(0), deviation.min(0), deviation.max(0))
    )
    return SignalRange(samples, mean_low, mean_high, deviation_low, deviation_high, float(pace.min()), float(pace.max()))


def _readings(
    x: NDArray[np.float32], follows: NDArray[np.bool_], run: NDArray[np.intp], samples: int
) -> list[NDArray[np.float64]]:
    """Return mean, deviation and change [3, C] of every `samples` samples of `run`, half of them anew each time."""
    half = samples // 2
    sums = []
    for start in range(0, len(run) - half + 1, half):
        at = run[start : start + half]
        next_to = follows[at].copy()
        next_to[1:] &= np.diff(at) == 1
        if start == 0 or run[start - 1] != at[0] - 1:
            next_to[0] = False
        part = x[at].astype(np.float64)
        changes = (part - x[at - 1])[next_to]
        sums.append((part.sum(0), (part**2).sum(0), (changes**2).sum(0), len(changes)))
    found = []
    for first, second in itertools.pairwise(sums):
        total, squares, changes, count = (a + b for a, b in zip(first, second, strict=True))
        mean = total / samples
        deviation = np.sqrt(np.maximum(squares / samples - mean**2, 0))
        found.append(np.stack([mean, deviation, np.sqrt(changes / max(count, 1))]))
    return found
