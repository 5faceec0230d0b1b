# SPDX-License-Identifier: Apache-2.0
"""Small untrained students in complete run directories, for tests of everything that starts from a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from memkd_edge.config import DistillConfig, to_toml
from memkd_edge.metadata import Metadata, Resampling
from memkd_edge.nets.classifier import Classifier, ModelSpec, build, save_model
from memkd_edge.runs import Run


def student(kind: str = "lstm", channels: int = 3, hidden: int = 8, classes: int = 4, layers: int = 1) -> Classifier:
    """Return a model with large seeded weights, so that gates saturate now and then, and with all classes as likely."""
    torch.manual_seed(0)
    model = build(ModelSpec(channels, hidden, classes, layers, kind)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
        logits, _ = model(torch.from_numpy(series(channels=channels)))
        model.head.bias -= logits.mean(0)
    return model


def series(count: int = 24, steps: int = 30, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return normalised series, float32 [N, T, C]."""
    return np.random.default_rng(seed).standard_normal((count, steps, channels)).astype(np.float32)


def metadata(channels: int = 3, classes: int = 4, steps: int = 30) -> Metadata:
    """Return metadata that fits `student` and `series`."""
    return Metadata(
        name="Toy set/1",
        labels=tuple(f"class {k}" for k in range(classes)),
        channels=tuple(f"channel {k}" for k in range(channels)),
        units=("m/s2",) * channels,
        sample_rate_hz=50.0,
        mean=tuple(float(k) for k in range(channels)),
        std=tuple(k + 1.5 for k in range(channels)),
        window_length=steps,
        dataset="toy",
    )


def mistaken() -> Classifier:
    """Return the student with its classes in another order: it decides otherwise on every series."""
    model = student()
    with torch.no_grad():
        model.head.weight.copy_(model.head.weight.roll(1, 0))
        model.head.bias.copy_(model.head.bias.roll(1, 0))
    return model


def make_run(root: Path, model: Classifier, *, name: str = "toy", resampling: Resampling | None = None) -> Run:
    """Write a complete run whose student is `model`: 24 series that it decides clearly, labelled with those decisions."""
    run = Run.create(root, name, to_toml("distill", DistillConfig()))
    spec = model.spec
    x = series(48, channels=spec.input_size)
    with torch.no_grad():
        logits = model(torch.from_numpy(x))[0].numpy()
    ranked = np.sort(logits, axis=1)
    clear = np.sort(np.argsort(ranked[:, -2] - ranked[:, -1])[:24])
    x, y = x[clear], logits[clear].argmax(1)
    described = metadata(spec.input_size, spec.num_classes)
    if resampling is not None:
        described = replace(described, resampling=resampling)
    raw = (x[:4] * np.float32(described.std) + np.float32(described.mean)).astype(np.float32)
    run.write_text("model.json", described.to_json())
    run.write_bytes("student.safetensors", save_model(model))
    run.write_arrays("calibration.npz", {"x_calibration": x, "x_test": x, "y_test": y, "x_raw_golden": raw})
    run.set_state("complete")
    return run
