# SPDX-License-Identifier: Apache-2.0
"""A run small enough to make in a test."""

from pathlib import Path

import pytest

from memkd_edge.config import DistillConfig
from memkd_edge.runs import Run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    from memkd_edge.distillation.pipeline import distill

    config = DistillConfig(
        dataset="ItalyPowerDemand",
        teacher_hidden=6,
        teacher_layers=1,
        teacher_seeds=1,
        teacher_epochs=10,
        hidden=4,
        method="memkd",
        seeds=1,
        epochs=1,
        threads=1,
    )
    root: Path = tmp_path_factory.mktemp("runs")
    return distill(config, run_root=root, name="tiny")
