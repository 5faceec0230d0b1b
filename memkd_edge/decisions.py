# SPDX-License-Identifier: Apache-2.0
"""The decision along a stream: the class that is held until another one's score leads it by a margin.

Scores that are nearly equal change places many times a second. Holding the present class until another leads it by more than
`margin` takes one comparison and one stored class a sample; on wearable streams it removes more false switches for the same delay
than holding for some samples or a majority vote does (docs/lab-notebook.md).

A model may also refuse: where the class held does not lead every other one by a floor, the answer is none. The lead of the first
class over the second is what integers can compute of a confidence; of two classes it is the logarithm of their odds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.stream_scores import StreamScores, stream_scores

MARGINS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)  # logits
LOSS_ALLOWED = 0.03  # of accuracy per sample, for fewer false switches
CLASS_LOSS_ALLOWED = 0.1  # of any class's F1: a rare class may vanish for less than that of accuracy
NOT_YET, NONE = -1, -2  # instead of a class: no decision so far; refused, because no class leads enough


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


def leads(scores: NDArray[np.generic], held: NDArray[np.int64]) -> NDArray[Any]:
    """Return how far the class held leads the best other one, [T], below 0 where another leads.

    Args:
        scores: [T, K] logits or integers of one scale.
        held: class index [T].
    """
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, held] = scores.min() if len(scores) else 0
    lead: NDArray[Any] = scores[rows, held] - others.max(-1)
    return lead


def refused(scores: NDArray[np.generic], held: NDArray[np.int64], floor: float) -> NDArray[np.bool_]:
    """Return where [T] the answer is none: the class held does not lead every other by `floor`, in the unit of the scores."""
    return leads(scores, held) < floor


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
    return [operating_point(logits, labels, classes, rate_hz, margin) for margin in MARGINS]


def operating_point(
    logits: Sequence[NDArray[np.float32]], labels: Sequence[NDArray[np.int64]], classes: int, rate_hz: float, margin: float
) -> OperatingPoint:
    """Judge one margin, as `operating_points`."""
    return OperatingPoint(margin, stream_scores([held_classes(one, margin) for one in logits], labels, classes, rate_hz))


def keeps_classes(plain: OperatingPoint, held: OperatingPoint) -> bool:
    """Whether no class loses more than `CLASS_LOSS_ALLOWED` of the F1 that it has with the plain decision."""
    pairs = zip(plain.scores.classes, held.scores.classes, strict=True)
    return all(before.f1 - after.f1 <= CLASS_LOSS_ALLOWED for before, after in pairs)


def chosen_point(
    points: Sequence[OperatingPoint], max_delay_s: float, allowed: Callable[[float], bool] = lambda margin: True
) -> OperatingPoint:
    """Return the point with the fewest false switches whose median delay is at most `max_delay_s`.

    A point that loses more than `LOSS_ALLOWED` of the plain decision's accuracy, or not `keeps_classes`, is not taken, nor one
    whose margin is not `allowed`; the smallest margin, the plain decision, is where no other point is better.
    """
    plain = points[0]
    floor = plain.scores.accuracy - LOSS_ALLOWED
    taken = [
        one
        for one in points[1:]
        if one.scores.delay_median_s <= max_delay_s and one.scores.accuracy >= floor and keeps_classes(plain, one)
    ]
    best_first = sorted([plain, *taken], key=lambda one: (one.scores.false_switches_per_minute, one.margin))
    return next(one for one in best_first if one is plain or allowed(one.margin))


@dataclass(frozen=True)
class Refusal:
    """A floor, in logits, below whose lead the answer is none, and the shares of samples that are refused with it.

    right, wrong: of the samples whose class held is right or wrong. unlabelled: of the samples without a label; nan without any.
    """

    floor: float
    right: float
    wrong: float
    unlabelled: float

    def as_dict(self) -> dict[str, float | None]:
        """Return plain values for JSON; None for what is undefined."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}


def refusal_in_words(refusal: dict[str, float | None]) -> str:
    """Return what is refused, and how much of what, from `Refusal.as_dict`."""
    shares = (f"{share:.1%} of {name}" for name in ("right", "wrong", "unlabelled") if (share := refusal[name]) is not None)
    return (
        f"Refused: where the class held leads every other by less than {refusal['floor']:.3g} in the logits the answer is none; "
        f"along held-out streams {', '.join(shares)} samples."
    )


def chosen_refusal(
    logits: Sequence[NDArray[np.float32]], labels: Sequence[NDArray[np.int64]], margin: float, share: float
) -> Refusal:
    """Return the floor that refuses `share` of the right answers along streams.

    Args:
        logits: [T, K] per stream.
        labels: int64 [T] per stream, -1 where there is none.
        margin: of the class held, in logits.
        share: in (0, 1).
    """
    held = [held_classes(one, margin) for one in logits]
    lead = np.concatenate([leads(one, own) for one, own in zip(logits, held, strict=True)])
    answer, truth = np.concatenate(held), np.concatenate(labels)
    right = answer == truth
    floor = float(np.quantile(lead[right], share)) if right.any() else 0.0

    def share_of(which: NDArray[np.bool_]) -> float:
        return float((lead[which] < floor).mean()) if which.any() else math.nan

    return Refusal(floor, share_of(right), share_of(~right & (truth >= 0)), share_of(truth < 0))


def nearest_point(points: Sequence[OperatingPoint], margin: float) -> int:
    """Return the index of the point whose margin is nearest to `margin`, the first of equally near ones."""
    return min(range(len(points)), key=lambda index: abs(points[index].margin - margin))
