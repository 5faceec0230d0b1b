"""Chooses the student to keep, from validation figures alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkd_edge.distill.students import Candidate

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """The kept student's index in the population, its method and weight, and the reason in words."""

    index: int
    method: str
    weight: float
    reason: str


def groups(candidates: list[Candidate]) -> dict[tuple[str, float], list[int]]:
    """Return the indices of the students of each (method, weight), in the population's order."""
    result: dict[tuple[str, float], list[int]] = {}
    for index, candidate in enumerate(candidates):
        result.setdefault((candidate.method, candidate.weight), []).append(index)
    return result


def choose(candidates: list[Candidate], auc: Floats, loss: Floats, part: str = "validation") -> Choice:
    """Choose method and weight by the mean over their seeds, then the best seed among those.

    A single seed's score is luck as much as merit, so seeds do not compete across methods. The score is the AUC-PRC; at an
    equal one the lower cross-entropy.

    Args:
        auc, loss: [P], AUC-PRC and cross-entropy of each student on the series named by `part`.
    """
    by_group = groups(candidates)

    def standing(key: tuple[str, float]) -> tuple[float, bool, float]:
        members = by_group[key]
        return round(float(auc[members].mean()), 6), key[0].startswith("memkd"), -float(loss[members].mean())

    best = max(by_group, key=standing)
    index = max(by_group[best], key=lambda member: (auc[member], -loss[member]))
    method, weight = best
    reason = (
        f"{method} with weight {weight:g} has the highest mean {part} AUC-PRC over its {len(by_group[best])} seeds "
        f"({auc[by_group[best]].mean():.3f}); of these, seed {candidates[index].seed} has the best {part} score"
    )
    return Choice(index, method, weight, reason)
