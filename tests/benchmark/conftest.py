# SPDX-License-Identifier: Apache-2.0
"""A run directory with random weights: the bench measures cost, for which a trained model is not needed."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import ModelSpec, build, save_model
from memkd_edge.runs import Run
from tests.example_metrics import example_metrics

CHANNELS, CLASSES, SERIES, LENGTH = 2, 3, 6, 20


def make_run(root: Path, *, teacher_hidden: int = 12, student: str = "lstm", teacher: str = "lstm", **facts: Any) -> Run:
    """Write a complete run: student of 4 units, teacher of two layers, of the kinds that `models.build` knows.

    facts: of the metadata, instead of those here.
    """
    torch.manual_seed(1)
    generator = np.random.default_rng(1)
    run = Run.create(root, "tiny", "[distill]\n")
    metadata = Metadata(
        name="tiny",
        labels=("still", "walk", "run"),
        channels=("x", "y"),
        units=("m/s2", "m/s2"),
        sample_rate_hz=50.0,
        mean=(0.5, -2.0),
        std=(2.0, 0.25),
    )
    run.write_text("model.json", replace(metadata, **facts).to_json())
    run.write_bytes("student.safetensors", save_model(build(ModelSpec(CHANNELS, 4, CLASSES, kind=student))))
    large = ModelSpec(CHANNELS, teacher_hidden, CLASSES, num_layers=2, kind=teacher)
    run.write_bytes("teacher.safetensors", save_model(build(large)))
    series = generator.normal(size=(SERIES, LENGTH, CHANNELS)).astype(np.float32)
    labels = np.arange(SERIES) % CLASSES
    arrays = {"x_calibration": series, "x_test": series, "y_test": labels, "x_raw_golden": series[:1]}
    run.write_arrays("calibration.npz", arrays)
    run.write_json("metrics.json", asdict(example_metrics()))
    run.set_state("complete")
    return run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete run."""
    return make_run(tmp_path_factory.mktemp("runs"))
