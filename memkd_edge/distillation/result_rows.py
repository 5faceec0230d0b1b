# SPDX-License-Identifier: Apache-2.0
"""The rows of metrics.json, of windows and of recordings alike: methods, and students trained again on all training data."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.distillation.selection import method_scores
from memkd_edge.distillation.students import Candidate
from memkd_edge.distillation.study import Study

POINTS = 100  # of a curve
Figures = Mapping[str, NDArray[np.float64]]  # a figure's name: its values [P], of the students trained again


def method_rows(candidates: list[Candidate], found: Study, measure: str, test: Figures) -> list[dict[str, Any]]:
    """Return one row per (method, weight): mean and std over its seeds; test figures for a method's best weight.

    Args:
        measure: what selected, as in `validation_<measure>_mean`.
    """
    chosen = {(score.method, score.weight) for score in found.choice.methods}
    kept = (found.choice.kept.method, found.choice.kept.weight)
    rows = []
    for one in method_scores(candidates, found.history):
        key = (one.method, one.weight)
        row: dict[str, Any] = {
            "method": one.method,
            "weight": one.weight,
            "seeds": len(one.members),
            "stop_epoch": one.epoch,
            "kept": key == kept,
            f"validation_{measure}_mean": float(one.score.mean()),
            f"validation_{measure}_std": float(one.score.std()),
        }
        if key in chosen:
            members = [number for number, student in enumerate(found.refitted) if (student.method, student.weight) == key]
            for name, values in test.items():
                row |= {f"{name}_mean": float(values[members].mean()), f"{name}_std": float(values[members].std())}
        rows.append(row)
    return rows


def curves(found: Study, measure: str) -> dict[str, Any]:
    """Return how each method's best weight, trained to the end, scored on held-out data: mean over its seeds, by epoch.

    Args:
        measure: what selected, in words.
    """
    history = found.history
    shown = np.unique(np.linspace(0, len(history.epochs) - 1, POINTS).round().astype(int))
    return {
        "measure": measure,
        "epochs": history.epochs[shown].tolist(),
        "methods": [
            {
                "method": one.method,
                "weight": one.weight,
                "score": history.score[shown][:, list(one.members)].mean(1).tolist(),
            }
            for one in found.choice.methods
        ],
    }


def student_rows(found: Study, measure: str, figures: Figures) -> list[dict[str, Any]]:
    """Return one row per student trained again on all training data: its held-out score as a candidate, and its figures."""
    validation = [(one.epoch, score) for one in found.choice.methods for score in one.score]
    return [
        {
            "method": one.method,
            "weight": one.weight,
            "seed": one.seed,
            "stop_epoch": epoch,
            f"validation_{measure}": float(score),
            **{name: float(values[number]) for name, values in figures.items()},
        }
        for number, (one, (epoch, score)) in enumerate(zip(found.refitted, validation, strict=True))
    ]
