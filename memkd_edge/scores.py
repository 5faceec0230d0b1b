# SPDX-License-Identifier: Apache-2.0
"""How good a classifier is, from its logits alone: numpy in, plain numbers out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memkd_edge.errors import UsageError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

CALIBRATION_BINS = 15


def classification_metrics(logits: ArrayLike, y: ArrayLike) -> dict[str, float]:
    """Return accuracy, auc_prc, f1_macro, roc_auc and calibration_error, each in [0, 1].

    auc_prc is the macro mean of the classes' average precision, roc_auc the macro mean of one class against the rest; these and
    f1_macro are over the classes that occur in `y`. calibration_error is the expected calibration error of `calibration_error`
    below.

    Args:
        logits: [N, K].
        y: [N] class indices.

    Raises:
        UsageError: empty, of different length, non-finite logits, or only one class in `y` (its curves are not defined).
    """
    from sklearn.metrics import f1_score, roc_auc_score

    scores, truth = _checked(logits, y)
    probability = softmax(scores)
    predicted = scores.argmax(-1)
    classes = np.unique(truth)
    return {
        "accuracy": float((predicted == truth).mean()),
        "auc_prc": float(auc_prc(scores[None], truth)[0]),
        "f1_macro": float(f1_score(truth, predicted, labels=classes, average="macro", zero_division=0)),
        "roc_auc": float(np.mean([roc_auc_score(truth == k, probability[:, k]) for k in classes])),
        "calibration_error": calibration_error(scores, truth),
    }


def majority_metrics(known: ArrayLike, y: ArrayLike) -> dict[str, float]:
    """Return accuracy and auc_prc, in [0, 1], of always saying the most frequent class of `known`.

    Whatever says the same of every series has each class's share of `y` as average precision.

    Args:
        known: [M] class indices, those learnt from.
        y: [N] class indices to judge by.
    """
    truth = np.asarray(y, np.int64)
    shares = np.bincount(truth) / len(truth)
    return {"accuracy": float((truth == majority_class(known)).mean()), "auc_prc": float(shares[shares > 0].mean())}


def majority_class(known: ArrayLike) -> int:
    """Return the most frequent class of `known` [M], the first of equal ones."""
    return int(np.bincount(np.asarray(known, np.int64)).argmax())


def beats_majority(accuracy: float, majority: float, series: int) -> bool:
    """Say whether an accuracy on `series` series is above the majority's by more than chance: two standard errors of it."""
    return accuracy > majority + 2 * math.sqrt(majority * (1 - majority) / series)


def per_class_table(logits: ArrayLike, y: ArrayLike, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per class: label, support, precision, recall, f1, auc_prc (None for a class that `y` lacks)."""
    from sklearn.metrics import precision_recall_fscore_support

    scores, truth = _checked(logits, y)
    numbers = list(range(len(labels)))
    precision, recall, f1, support = precision_recall_fscore_support(truth, scores.argmax(-1), labels=numbers, zero_division=0)
    average = _average_precision(softmax(scores)[None], truth)[0]
    return [
        {
            "label": labels[k],
            "support": int(support[k]),
            "precision": float(precision[k]),
            "recall": float(recall[k]),
            "f1": float(f1[k]),
            "auc_prc": float(average[k]) if support[k] else None,
        }
        for k in numbers
    ]


def auc_prc(logits: ArrayLike, y: ArrayLike) -> Floats:
    """Return the macro AUC-PRC [P] of a population: mean average precision over the classes that occur in `y`.

    Average precision is scikit-learn's, sum over thresholds of (R_n - R_(n-1)) * P_n with equal scores on one threshold, of
    the class's probability (softmax of the logits).

    Args:
        logits: [P, N, K].
        y: [N] class indices.
    """
    scores = np.asarray(logits, np.float64)
    truth = np.asarray(y, np.int64)
    result: Floats = _average_precision(softmax(scores), truth)[:, np.unique(truth)].mean(-1)
    return result


def _average_precision(scores: Floats, y: Labels) -> Floats:
    """Return the average precision [P, K] of scores [P, N, K]; 0 for classes that `y` lacks."""
    count, classes = scores.shape[1:]
    by_class = np.ascontiguousarray(np.moveaxis(scores, 1, 2))  # [P, K, N]
    order = np.argsort(-by_class, axis=-1)
    ranked = np.take_along_axis(by_class, order, -1)
    hit = y[order] == np.arange(classes)[:, None]
    # Equal scores share the threshold at the end of their run.
    run_ends = np.ones(ranked.shape, bool)
    run_ends[..., :-1] = ranked[..., :-1] != ranked[..., 1:]
    position = np.where(run_ends, np.arange(count), count)
    end = np.minimum.accumulate(position[..., ::-1], axis=-1)[..., ::-1]
    precision = np.take_along_axis(np.cumsum(hit, axis=-1), end, -1) / (end + 1)
    result: Floats = (precision * hit).sum(-1) / np.maximum(hit.sum(-1), 1)
    return result


def calibration_error(logits: ArrayLike, y: ArrayLike) -> float:
    """Return the expected calibration error, in [0, 1].

    Over 15 equal bins of confidence (the largest probability): mean |accuracy - confidence|, weighted by the share of series in
    the bin (Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599, equation 3).
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(y, np.int64)
    confidence = softmax(scores).max(-1)
    correct = scores.argmax(-1) == truth
    bins = np.minimum(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, CALIBRATION_BINS - 1)
    surplus = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(surplus).sum() / len(truth))


def agreement(a: ArrayLike, b: ArrayLike) -> float:
    """Return the share of series, in [0, 1], on which two models' logits [N, K] have the same largest class."""
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or not len(first):
        raise UsageError(f"agreement needs logits of equal, non-empty shape; got {first.shape} and {second.shape}")
    return float((first.argmax(-1) == second.argmax(-1)).mean())


def retention(student: Mapping[str, float], teacher: Mapping[str, float]) -> dict[str, float]:
    """Return student / teacher of accuracy, auc_prc, f1_macro and roc_auc; a metric where the teacher has 0 is left out."""
    names = ("accuracy", "auc_prc", "f1_macro", "roc_auc")
    return {name: student[name] / teacher[name] for name in names if teacher[name] > 0}


def warm_up_samples(logits_over_time: ArrayLike) -> Labels:
    """Return, per series, how many samples after a reset the decision is final.

    The decision after n samples is final when it equals the full window's and no later one differs.

    Args:
        logits_over_time: [N, T, K], the logits after each sample of the window.

    Returns:
        [N] int64 in 1 .. T.
    """
    decision = np.asarray(logits_over_time).argmax(-1)  # [N, T]
    differs = decision != decision[:, -1:]
    length = decision.shape[1]
    last_difference = np.where(differs, np.arange(1, length + 1), 0).max(-1)
    result: Labels = last_difference + 1
    return result


def softmax(logits: Floats) -> Floats:
    """Return the probabilities over the last axis."""
    exponential = np.exp(logits - logits.max(-1, keepdims=True))
    result: Floats = exponential / exponential.sum(-1, keepdims=True)
    return result


def _checked(logits: ArrayLike, y: ArrayLike) -> tuple[Floats, Labels]:
    scores, truth = np.asarray(logits, np.float64), np.asarray(y, np.int64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1] or not len(truth):
        raise UsageError(f"metrics need logits [N, K] and y [N], N >= 1; got {scores.shape} and {truth.shape}")
    if not np.isfinite(scores).all():
        series, column = np.argwhere(~np.isfinite(scores))[0]
        raise UsageError(f"the logit of series {series}, class {column} is {scores[series, column]}; the model diverged")
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise UsageError(f"y has classes {truth.min()} .. {truth.max()}, the model {scores.shape[1]} classes, counted from 0")
    if truth.min() == truth.max():
        raise UsageError(f"all {len(truth)} series are of class {truth[0]}; metrics need at least two classes")
    return scores, truth
