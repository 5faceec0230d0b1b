# SPDX-License-Identifier: Apache-2.0
"""Chooses method, loss weight, stopping epoch and seed, from figures on held-out series alone."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memkd_edge.distillation.students import Candidate
from memkd_edge.scores import auc_prc
from memkd_edge.stream_scores import confusion, macro_f1

Floats = NDArray[np.float64]
DIGITS = 3  # of a mean score count
SMOOTHING = 3  # neighbouring scores averaged before a stopping epoch is read off


@dataclass(frozen=True)
class Measure:
    """What selects: a name for reports, and the values [P], the higher the better, of logits [P, N, K] for classes y [N]."""

    name: str
    of: Callable[[ArrayLike, ArrayLike], Floats]


def _macro_f1(logits: ArrayLike, y: ArrayLike) -> Floats:
    scores, truth = np.asarray(logits), np.asarray(y)
    return macro_f1(confusion(scores.argmax(-1), truth, scores.shape[-1]))


AUC_PRC = Measure("AUC-PRC", auc_prc)
MACRO_F1 = Measure("macro F1", _macro_f1)


@dataclass(frozen=True)
class ScoreHistory:
    """How the students scored on held-out series while they were trained.

    epochs: int64 [V], finished epochs at each scoring; score, loss: [V, P], what selects (see `Measure`) and cross-entropy of
    each student, nan after it was given up. to_the_end: students stop at the last scoring alone.
    """

    epochs: NDArray[np.int64]
    score: Floats
    loss: Floats
    to_the_end: bool = False

    def until(self, epochs: int) -> "ScoreHistory":
        """Return the scorings after at most so many finished epochs."""
        rows = self.epochs <= epochs
        return replace(self, epochs=self.epochs[rows], score=self.score[rows], loss=self.loss[rows])

    def given_up(self, student: int) -> bool:
        """Whether a student was not trained to the end."""
        return bool(np.isnan(self.score[-1, student]))


@dataclass(frozen=True)
class MethodScore:
    """One (method, weight): its students, the scoring at which it should stop, and its students' scores there."""

    method: str
    weight: float
    members: tuple[int, ...]
    epoch: int
    score: Floats
    loss: Floats

    @property
    def rank(self) -> tuple[float, float]:
        """What methods are compared by: mean score, then the lower mean cross-entropy."""
        return round(float(self.score.mean()), 9), -float(self.loss.mean())


@dataclass(frozen=True)
class Choice:
    """The best weight of each method, the method to keep, the student of it to keep, and the reason in words."""

    methods: tuple[MethodScore, ...]
    kept: MethodScore
    index: int
    reason: str


def method_scores(candidates: list[Candidate], history: ScoreHistory) -> list[MethodScore]:
    """Return a score for each (method, weight), in the population's order.

    The stopping epoch is that of the highest mean score over the seeds, smoothed, in the second half of training, the latest of
    equal ones; of what was given up half way, that one. Single students have no stopping epoch of their own: on few series its
    score would be luck.
    """
    result = []
    indices = itertools.groupby(range(len(candidates)), key=lambda index: (candidates[index].method, candidates[index].weight))
    for (method, weight), run in indices:
        members = tuple(run)
        mean = history.score[:, members].mean(1)
        mean = mean[np.isfinite(mean)]
        smooth = np.array([mean[max(0, v - SMOOTHING // 2) : v + SMOOTHING // 2 + 1].mean() for v in range(len(mean))])
        late = np.flatnonzero(2 * history.epochs[: len(mean)] >= history.epochs[-1])
        if history.to_the_end:
            late = late[-1:]
        at = late[len(late) - 1 - int(np.argmax(np.round(smooth[late], 9)[::-1]))]
        epoch = int(history.epochs[at])
        result.append(MethodScore(method, weight, members, epoch, history.score[at, members], history.loss[at, members]))
    return result


def going_on(candidates: list[Candidate], history: ScoreHistory) -> list[Candidate]:
    """Return the students of each method's best weight by the last scorings, in the population's order.

    A weight counts by the mean over its seeds and the last `SMOOTHING` scorings, of equal ones by the lower cross-entropy.
    """
    score, loss = (figure[-SMOOTHING:].mean(0) for figure in (history.score, history.loss))
    best: dict[str, tuple[tuple[float, float], list[Candidate]]] = {}
    groups = itertools.groupby(range(len(candidates)), key=lambda index: (candidates[index].method, candidates[index].weight))
    for (method, _), run in groups:
        members = list(run)
        rank = (round(float(score[members].mean()), 9), -float(loss[members].mean()))
        if method not in best or rank > best[method][0]:
            best[method] = (rank, [candidates[member] for member in members])
    return [one for _, students in best.values() for one in students]


def choose(candidates: list[Candidate], history: ScoreHistory, part: str = "validation", measure: str = "AUC-PRC") -> Choice:
    """Choose the best weight of each method, then the method, then the seed.

    The score is the mean over the seeds: a single seed is luck as much as merit. Methods whose score is equal to
    `DIGITS` decimals are tied; of tied ones a MemKD method is kept. Of its students the one with the best score is kept.

    Args:
        history: scores on the held-out series, which `part` names; `measure` names what selects.
    """
    best_of_method: dict[str, MethodScore] = {}
    for score in method_scores(candidates, history):
        if history.given_up(score.members[0]):
            continue
        known = best_of_method.get(score.method)
        if known is None or score.rank > known.rank:
            best_of_method[score.method] = score
    methods = tuple(best_of_method.values())
    best = max(methods, key=lambda score: score.rank)
    tied = [one for one in methods if round(one.score.mean(), DIGITS) == round(best.score.mean(), DIGITS)]
    kept = max(tied, key=lambda score: (score.method.startswith("memkd"), score.rank))
    index = max(range(len(kept.members)), key=lambda seed: (kept.score[seed], -kept.loss[seed]))
    scores = f"{kept.score.mean():.3f} over {len(kept.members)} seed{'s' if len(kept.members) > 1 else ''}"
    if kept is best:
        reason = f"{kept.method} with weight {kept.weight:g} has the highest mean {part} {measure} ({scores})"
    else:
        reason = (
            f"{kept.method} with weight {kept.weight:g} has a mean {part} {measure} of {scores}, which ties with {best.method} "
            f"({best.score.mean():.3f}); ties go to MemKD"
        )
    member = kept.members[index]
    reason += f"; of its students seed {candidates[member].seed} scores best"
    return Choice(methods, kept, member, reason)


def teacher_warning(validation: Mapping[str, float], teacher: float, measure: str = "AUC-PRC") -> str:
    """Say so when on held-out series base beats the teacher, or every method that it teaches.

    Args:
        validation: each method's mean validation score over the seeds, of the `measure` that selects.
        teacher: the teacher's own.
    """
    base = validation.get("base", 0.0)
    taught = max((name for name in validation if name != "base"), key=validation.__getitem__, default="")
    won = not taught or round(base, DIGITS) > round(validation[taught], DIGITS)
    alone = f"{'base won: ' if won else ''}without a teacher students reach a validation {measure} of {base:.3f}"
    if base > teacher:
        remedy = "it is the weak part; train it longer, with more seeds, or give a better one"
        return f"{alone}, the teacher itself {teacher:.3f}: {remedy}"
    if taught and won:
        return (
            f"{alone}, the best with one ({taught}) {validation[taught]:.3f}: nothing this teacher ({teacher:.3f}) taught helped"
        )
    return ""
