# SPDX-License-Identifier: Apache-2.0
"""Metrics as a run keeps them, for tests that need some."""

from dataclasses import replace
from typing import Any

from memkd_edge.contents import MethodMetrics, Metrics, Scores, SeedMetrics, StudentMetrics, TeacherMetrics

_PER_CLASS = {"label": "a", "support": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0, "auc_prc": None}
_METRICS = Metrics(
    protocol="honest",
    folds=4,
    teacher=TeacherMetrics(204_404, Scores(0.5, 0.6), Scores(0.5, 0.6), noise=0.3),
    student=StudentMetrics(
        kind="lstm",
        hidden_size=4,
        parameters=364,
        compression=561.5,
        method="kd",
        weight=1.0,
        seed=0,
        stop_epoch=100,
        test=Scores(0.5, 0.6, 0.5, 0.7, 0.1),
        validation={"auc_prc": 0.6, "cross_entropy": 1.5},
        agreement_with_teacher=0.9,
        retention={"accuracy": 1.0},
        per_class=[_PER_CLASS],
        warm_up_samples=7,
    ),
    methods=(MethodMetrics("kd", 1.0, 1, 100, True, 0.6, 0.0, 0.6, 0.0, 0.5, 0.0),),
    students=(SeedMetrics("kd", 1.0, 0, 100, 0.6, 0.6, 0.5, 0.9),),
    kept_because="it is the only one",
    warning="",
)


def example_metrics(**changes: Any) -> Metrics:
    """Return the metrics of an honest run with one method and one student."""
    return replace(_METRICS, **changes)
