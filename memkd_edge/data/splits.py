"""Held-out parts: stratified by class, and by subject when subjects are known. The same seed gives the same split."""

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError

CANDIDATES = 1000  # random choices of subjects, of which the one nearest to the wanted share of each class is taken


def hold_out(
    targets: NDArray[np.int64],
    fraction: float,
    seed: int,
    labels: tuple[str, ...],
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Choose about `fraction` of the series, with every class on both sides.

    Args:
        targets: int64 [N], class indices. labels: their names, for messages.
        groups: int64 [N], subject of each series; a subject is then held out whole or not at all.

    Returns:
        bool [N], True where the series is held out.

    Raises:
        UsageError: `fraction` is not in (0, 1), or no split leaves every class on both sides.
    """
    if not 0.0 < fraction < 1.0:
        raise UsageError(f"the held-out fraction must lie between 0 and 1, not {fraction:g}")
    for index in range(len(labels)):
        if (targets == index).sum() < 2:
            raise UsageError(f"class {labels[index]!r} has fewer than two series; it cannot stand on both sides of a split")
    if groups is None:
        return _stratified(targets, fraction, seed)
    return _by_subject(targets, groups, fraction, seed, labels)


def _stratified(targets: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    # scikit-learn's stratified splitters may leave a small class off one side, and refuse fewer held-out series than classes.
    generator = np.random.default_rng(seed)
    held_out = np.zeros(targets.size, dtype=np.bool_)
    for index in np.unique(targets):
        members = generator.permutation(np.flatnonzero(targets == index))
        count = min(max(round(fraction * members.size), 1), members.size - 1)
        held_out[members[:count]] = True
    return held_out


def _by_subject(
    targets: NDArray[np.int64], groups: NDArray[np.int64], fraction: float, seed: int, labels: tuple[str, ...]
) -> NDArray[np.bool_]:
    subjects, subject = np.unique(groups, return_inverse=True)
    series = np.zeros((subjects.size, len(labels)))  # of each subject and class
    np.add.at(series, (subject, targets), 1)
    for index, label in enumerate(labels):
        if np.count_nonzero(series[:, index]) < 2:
            raise UsageError(
                f"class {label!r} was recorded with a single subject; a split by subject cannot have it on both sides: add "
                "subjects, leave the class out, or drop the subjects"
            )
    count = min(max(round(fraction * subjects.size), 1), subjects.size - 1)
    generator = np.random.default_rng(seed)
    best, smallest = None, np.inf
    for _ in range(CANDIDATES):
        chosen = generator.choice(subjects.size, count, replace=False)
        shares = series[chosen].sum(axis=0) / series.sum(axis=0)
        imbalance = np.abs(shares - fraction).sum()
        if shares.min() > 0.0 and shares.max() < 1.0 and imbalance < smallest:
            best, smallest = chosen, imbalance
    if best is None:
        raise UsageError(
            f"no choice of {count} of {subjects.size} subjects leaves every class on both sides; ask for another fraction, add "
            "subjects, or drop the subjects"
        )
    return np.isin(subject, best)
