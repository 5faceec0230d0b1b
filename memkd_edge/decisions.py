# SPDX-License-Identifier: Apache-2.0
"""The decision along a stream: the class that is held until another one's score leads it by a margin.

Scores that are nearly equal change places many times a second. Holding the present class until another leads it by more than
`margin` takes one comparison and one stored class a sample; on wearable streams it removes more false switches for the same delay
than holding for some samples or a majority vote does (DESIGN.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkd_edge.stream_scores import StreamScores, stream_scores

MARGINS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)  # logits
LOSS_ALLOWED = 0.03  # of accuracy per sample, for fewer false switches


def held_classes(scores: NDArray[np.generic], margin: float, held: int | None = None) -> NDArray[np.int64]:
    """Return the class [T] that is held at each sample of a stream.

    A class takes over where its score is the highest and more than `margin` above that of the class held; of equal scores the
    lowest index counts. margin 0 is the plain argmax, but for ties with the class held, which stays.

    Args:
        scores: [T, K] logits or integers of one scale; `margin` is in the same unit.
        held: the class held before the first sample; without one the first sample decides.
    """
    best = scores.argmax(-1)
    lead = scores[np.arange(len(scores)), best]
    result = np.empty(len(scores), np.int64)
    present = int(best[0]) if held is None else held
    start = 0
    # Only where the best class is another one can anything change.
    for t in range(len(scores)):
        if best[t] != present and lead[t] - scores[t, present] > margin:
            result[start:t] = present
            present, start = int(best[t]), t
    result[start:] = present
    return result


def margin_steps(margin: float, scale: float) -> int:
    """Return a margin of logits in whole steps of integer logits, so that every program compares the same integers."""
    return round(margin / scale)


@dataclass(frozen=True)
class OperatingPoint:
    """One margin, in logits, and what the decisions are worth with it."""

    margin: float
    scores: StreamScores


def operating_points(
    logits: Sequence[NDArray[np.float32]], labels: Sequence[NDArray[np.int64]], classes: int, rate_hz: float
) -> list[OperatingPoint]:
    """Judge every margin of `MARGINS` along streams.

    Args:
        logits: [T, K] per stream.
        labels: int64 [T] per stream, -1 where not judged.
        classes: how many there are.
        rate_hz: samples per second.

    Raises:
        UsageError: as `stream_scores`.
    """
    return [
        OperatingPoint(margin, stream_scores([held_classes(one, margin) for one in logits], labels, classes, rate_hz))
        for margin in MARGINS
    ]


def chosen_point(points: Sequence[OperatingPoint], max_delay_s: float) -> OperatingPoint:
    """Return the point with the fewest false switches whose median delay is at most `max_delay_s`.

    A point that loses more than `LOSS_ALLOWED` of the plain decision's accuracy is not taken; the smallest margin, the plain
    decision, is where no other point is better.
    """
    plain = points[0]
    floor = plain.scores.accuracy - LOSS_ALLOWED
    taken = [one for one in points[1:] if one.scores.delay_median_s <= max_delay_s and one.scores.accuracy >= floor]
    return min([plain, *taken], key=lambda one: (one.scores.false_switches_per_minute, one.margin))
