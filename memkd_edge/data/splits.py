# SPDX-License-Identifier: Apache-2.0
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


def fold_numbers(
    targets: NDArray[np.int64],
    count: int,
    seed: int,
    labels: tuple[str, ...],
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Deal the series to `count` folds, each class (and each subject as a whole) spread as evenly as can be.

    Args:
        targets: int64 [N], class indices. labels: their names, for messages.
        count: number of folds, >= 2; fewer are made when there are fewer subjects.
        groups: int64 [N], subject of each series.

    Returns:
        int64 [N], the fold in which each series is held out. Every class also stands outside every fold.

    Raises:
        UsageError: a class has fewer than two series, or fewer than two subjects.
    """
    for index in range(len(labels)):
        if (targets == index).sum() < 2:
            raise UsageError(f"class {labels[index]!r} has fewer than two series; it cannot stand on both sides of a split")
    generator = np.random.default_rng(seed)
    if groups is None:
        folds = np.empty(targets.size, dtype=np.int64)
        dealt = 0
        for index in np.unique(targets):
            members = generator.permutation(np.flatnonzero(targets == index))
            folds[members] = (dealt + np.arange(members.size)) % count
            dealt += members.size
        return folds
    subject, series = _series_of_each_subject(targets, groups, labels)
    count = min(count, len(series))
    best, smallest = None, np.inf
    for _ in range(CANDIDATES):
        fold_of_subject = generator.permutation(np.arange(len(series)) % count)
        shares = np.stack([series[fold_of_subject == fold].sum(axis=0) for fold in range(count)]) / series.sum(axis=0)
        imbalance = np.abs(shares - 1 / count).sum()
        if shares.max() < 1.0 and imbalance < smallest:
            best, smallest = fold_of_subject, imbalance
    if best is None:
        raise UsageError(
            f"no way to deal {len(series)} subjects to {count} folds keeps every class outside each fold; add subjects"
        )
    return np.asarray(best[subject], dtype=np.int64)


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
    subject, series = _series_of_each_subject(targets, groups, labels)
    best = hold_out_groups(series, fraction, seed)
    if best is None:
        raise UsageError(
            f"no choice of {group_count(len(series), fraction)} of {len(series)} subjects leaves every class on both sides; ask "
            "for another fraction, add subjects, or drop the subjects"
        )
    return np.isin(subject, best)


def hold_out_groups(amounts: NDArray[np.float64], fraction: float, seed: int) -> NDArray[np.int64] | None:
    """Choose about `fraction` of the groups (subjects, recordings), with every class on both sides in nearly that share.

    Args:
        amounts: float64 [groups, classes], how much each group has of each class.

    Returns:
        int64, the groups held out, or None where no choice leaves every class on both sides.
    """
    count = group_count(len(amounts), fraction)
    generator = np.random.default_rng(seed)
    best, smallest = None, np.inf
    for _ in range(CANDIDATES):
        chosen = generator.choice(len(amounts), count, replace=False)
        shares = amounts[chosen].sum(axis=0) / amounts.sum(axis=0)
        imbalance = np.abs(shares - fraction).sum()
        if shares.min() > 0.0 and shares.max() < 1.0 and imbalance < smallest:
            best, smallest = chosen, imbalance
    return best


def group_count(groups: int, fraction: float) -> int:
    """Return how many of `groups` make about `fraction`, at least one and not all."""
    return min(max(round(fraction * groups), 1), groups - 1)


def _series_of_each_subject(
    targets: NDArray[np.int64], groups: NDArray[np.int64], labels: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each series' subject as an index [N], and the number of series [subjects, classes]."""
    subjects, subject = np.unique(groups, return_inverse=True)
    series = np.zeros((subjects.size, len(labels)))
    np.add.at(series, (subject, targets), 1)
    for index, label in enumerate(labels):
        if np.count_nonzero(series[:, index]) < 2:
            raise UsageError(
                f"class {label!r} was recorded with a single subject; a split by subject cannot have it on both sides: add "
                "subjects, leave the class out, or drop the subjects"
            )
    return subject.astype(np.int64), series
