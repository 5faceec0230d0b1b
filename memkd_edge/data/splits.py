"""Held-out parts: stratified by class, and by subject when subjects are known. The same seed gives the same split."""

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError


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
    from sklearn.model_selection import StratifiedGroupKFold

    for index, label in enumerate(labels):
        if np.unique(groups[targets == index]).size < 2:
            raise UsageError(
                f"class {label!r} was recorded with a single subject; a split by subject cannot have it on both sides: add "
                "subjects, leave the class out, or drop the subjects"
            )
    # `fraction` is held out as one fold, or as all but one fold when it is more than a half.
    small = min(fraction, 1.0 - fraction)
    folds = min(max(round(1.0 / small), 2), np.unique(groups).size)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    candidates = []
    for _, fold in splitter.split(np.zeros(targets.size), targets, groups):
        held_out = np.zeros(targets.size, dtype=np.bool_)
        held_out[fold] = True
        if fraction > 0.5:
            held_out = ~held_out
        if np.unique(targets[held_out]).size == np.unique(targets[~held_out]).size == len(labels):
            candidates.append(held_out)
    if not candidates:
        raise UsageError(
            f"no split by subject into {folds} parts leaves every class on both sides; ask for another fraction, or drop the "
            "subjects"
        )
    return min(candidates, key=lambda held_out: abs(float(held_out.mean()) - fraction))
