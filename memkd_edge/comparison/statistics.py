# SPDX-License-Identifier: Apache-2.0
"""How methods compare over many data sets: ranks, wins, the Wilcoxon-Holm test, Pareto fronts. Arrays in, arrays out."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ALPHA = 0.05  # level of significance
DRAW_DECIMALS = 3  # scores equal to so many decimals are a draw


def mean_ranks(scores: ArrayLike) -> Floats:
    """Return each method's mean rank [M] over the data sets, 1 the best; equal scores share the mean of their ranks.

    Args:
        scores: [N data sets, M methods], higher is better.
    """
    from scipy.stats import rankdata

    result: Floats = rankdata(-np.asarray(scores, np.float64), axis=1).mean(0)
    return result


def outcomes(ours: ArrayLike, theirs: ArrayLike) -> tuple[int, int, int]:
    """Return on how many data sets our score [N] wins, draws (equal to three decimals) and loses against theirs [N]."""
    difference = np.asarray(ours).round(DRAW_DECIMALS) - np.asarray(theirs).round(DRAW_DECIMALS)
    return int((difference > 0).sum()), int((difference == 0).sum()), int((difference < 0).sum())


def mean_difference(ours: ArrayLike, theirs: ArrayLike) -> tuple[float, float, float]:
    """Return the mean of our scores [N] minus theirs [N], and the ends of its 95 % confidence interval.

    Student's t over the N >= 2 data sets, N - 1 degrees of freedom: what mean difference other such data sets would show.
    """
    from scipy.stats import ttest_rel

    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    mean = float((ours - theirs).mean())
    if (ours - theirs == ours[0] - theirs[0]).all():
        return mean, mean, mean  # scipy's interval of no variance is NaN
    ends = ttest_rel(ours, theirs).confidence_interval(1 - ALPHA)
    return mean, float(ends.low), float(ends.high)


def wilcoxon_holm(scores: ArrayLike) -> Floats:
    """Return the p-values [M, M] of every pair of methods, symmetric, 1 on the diagonal.

    Two-sided Wilcoxon signed-rank test over the data sets (Demsar 2006, Statistical Comparisons of Classifiers over Multiple
    Data Sets, section 3.1.3), exact up to 13 data sets; corrected over all pairs as `holm` does.

    Args:
        scores: [N data sets, M methods].
    """
    values = np.asarray(scores, np.float64)
    methods = values.shape[1]
    first, second = np.triu_indices(methods, 1)
    result = np.ones((methods, methods))
    result[first, second] = holm([_wilcoxon(values[:, a] - values[:, b]) for a, b in zip(first, second, strict=True)])
    return np.minimum(result, result.T)


def _wilcoxon(difference: Floats) -> float:
    from scipy.stats import wilcoxon

    # Without any difference the statistic is not defined, and nothing speaks against equality.
    return float(wilcoxon(difference).pvalue) if difference.any() else 1.0


def holm(p: ArrayLike) -> Floats:
    """Return p-values [K] corrected for K tests: at most ALPHA where Holm's step-down procedure rejects at ALPHA.

    Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure: the k-th smallest counts K + 1 - k fold.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    result = np.empty_like(values)
    result[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return result


def sets_needed(methods: int) -> int:
    """Return the least number of data sets on which some pair of so many methods can differ significantly.

    With N data sets the two-sided test gives no less than 2 / 2^N, and the smallest of all pairs' p-values counts once for each
    pair.
    """
    pairs = methods * (methods - 1) // 2
    sets = 1
    while pairs * 2.0 ** (1 - sets) > ALPHA:
        sets += 1
    return sets


def pareto_front(cost: ArrayLike, score: ArrayLike) -> NDArray[np.bool_]:
    """Return which points [N] no other point beats: none is better in cost or score and at least as good in the other.

    Args:
        cost: [N], lower is better.
        score: [N], higher is better.
    """
    costs, scores = np.asarray(cost, np.float64), np.asarray(score, np.float64)
    no_worse = (costs[:, None] <= costs) & (scores[:, None] >= scores)  # [i, j]: i is no worse than j
    better = (costs[:, None] < costs) | (scores[:, None] > scores)
    return np.asarray(~(no_worse & better).any(0))
