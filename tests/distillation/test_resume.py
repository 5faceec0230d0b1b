# SPDX-License-Identifier: Apache-2.0
"""A run killed at any moment and resumed ends with the same bytes as one that was left alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memkd_edge import file_formats
from memkd_edge.config import DistillConfig, to_toml
from memkd_edge.distillation import checkpoint, study
from memkd_edge.distillation.checkpoint import read_checkpoint, write_checkpoint
from memkd_edge.distillation.pipeline import distill
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.progress import Reporter
from memkd_edge.runs import Run

KILL = """
import os, signal, sys, tomllib
from pathlib import Path
from memkd_edge.config import DistillConfig, from_table
from memkd_edge.distillation import study
from memkd_edge.distillation.pipeline import distill
from memkd_edge.progress import Reporter

study.CHECKPOINT_EVERY_S = float(sys.argv[4])
left = int(sys.argv[3])

class Killer(Reporter):
    def step(self, stage, *rest, **more):
        global left
        left -= stage == sys.argv[2]
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

reporter = Killer()
root = Path(sys.argv[1])
config = from_table(DistillConfig, tomllib.loads(sys.argv[5])["distill"])
distill(config, run_root=root, name="killed", progress=reporter)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two easy classes, 16 series of 10 steps."""
    generator = np.random.default_rng(1)
    y = np.arange(24) % 2
    x = generator.standard_normal((24, 10, 1)).astype(np.float32) + y[:, None, None]
    path = tmp_path_factory.mktemp("data") / "easy.npz"
    np.savez(path, X_train=x[:16], y_train=y[:16], X_test=x[16:], y_test=y[16:])
    return path


def config_for(data: Path) -> DistillConfig:
    return DistillConfig(
        dataset=str(data),
        method="base,memkd,fitnet",
        seeds=2,
        epochs=6,
        hidden=3,
        teacher_hidden=5,
        teacher_layers=2,
        teacher_epochs=4,
        folds=2,
        threads=2,
    )


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distill(config_for(data), run_root=tmp_path_factory.mktemp("runs"), name="whole")


@pytest.mark.parametrize(
    ("phase", "reports", "checkpoint_every_s"),
    [("teacher", 3, 0.0), ("students", 4, 0.0), ("refit", 2, 0.0), ("students", 4, 1e9)],
)
def test_a_killed_run_ends_with_the_same_bytes(
    phase: str, reports: int, checkpoint_every_s: float, data: Path, undisturbed: Run, tmp_path: Path
) -> None:
    arguments = [str(tmp_path), phase, str(reports), str(checkpoint_every_s), to_toml("distill", config_for(data))]
    killed = subprocess.run([sys.executable, "-c", KILL, *arguments], capture_output=True, text=True, env=os.environ, check=False)
    assert killed.returncode == -9, killed.stderr
    run = Run.open(tmp_path / "killed", complete=False)
    if checkpoint_every_s == 0:
        assert list((run.path / "checkpoint").glob("*.safetensors"))
    with pytest.raises(MemkdEdgeError, match="not complete"):
        Run.open(run.path)
    finished = distill(DistillConfig(), run_root=tmp_path, resume=run)
    for name in ("teacher.safetensors", "student.safetensors", "metrics.json"):
        assert finished.read_bytes(name) == undisturbed.read_bytes(name), name
    assert not (run.path / "checkpoint").exists()
    assert Run.open(run.path).path == run.path


def test_an_interrupt_leaves_a_run_that_can_be_resumed(data: Path, undisturbed: Run, tmp_path: Path) -> None:
    class Impatient(Reporter):
        def step(self, stage: str, done: int = 0, *rest: Any, **more: Any) -> None:
            if (stage, done) == ("students", 3):
                raise KeyboardInterrupt

    reporter = Impatient()
    with pytest.raises(KeyboardInterrupt):
        distill(config_for(data), run_root=tmp_path, name="stopped", progress=reporter)
    assert reporter.run == tmp_path / "stopped"
    run = distill(DistillConfig(), run_root=tmp_path, resume=Run.open(reporter.run, complete=False))
    assert run.read_bytes("student.safetensors") == undisturbed.read_bytes("student.safetensors")


def test_a_checkpoint_of_other_data_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "CHECKPOINT_EVERY_S", 0.0)

    class Impatient(Reporter):
        def step(self, stage: str, *rest: Any, **more: Any) -> None:
            if stage == "students":
                raise KeyboardInterrupt

    changing = tmp_path / "changing.npz"
    changing.write_bytes(data.read_bytes())
    with pytest.raises(KeyboardInterrupt):
        distill(config_for(changing), run_root=tmp_path, name="stopped", progress=Impatient())
    with np.load(data) as arrays:
        np.savez(changing, **{**arrays, "X_train": arrays["X_train"] + 1})
    with pytest.raises(MemkdEdgeError, match="data"):
        distill(DistillConfig(), run_root=tmp_path, resume=Run.open(tmp_path / "stopped", complete=False))


def test_a_checkpoint_of_other_settings_is_refused_and_data_may_move(
    data: Path, undisturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "CHECKPOINT_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        distill(config_for(data), run_root=tmp_path, name="stopped", progress=Halting(True))
    run = Run.open(tmp_path / "stopped", complete=False)
    asked = run.read_bytes("config.toml")
    run.write_bytes("config.toml", asked.replace(b"learning_rate = 0.01", b"learning_rate = 0.1"))
    with pytest.raises(
        MemkdEdgeError, match=r"teachers\.safetensors was written with other settings than .*config\.toml has now"
    ):
        distill(DistillConfig(), run_root=tmp_path, resume=run)
    moved = shutil.copy(data, tmp_path / "easy.npz")
    run.write_bytes("config.toml", asked.replace(str(data).encode(), moved.name.encode()))
    with pytest.raises(
        UsageError, match=r"begun with data that are not found from here: .*easy.npz.*; resume in the folder where"
    ):
        distill(DistillConfig(), run_root=tmp_path, resume=run)
    monkeypatch.chdir(tmp_path)
    finished = distill(DistillConfig(), run_root=tmp_path, resume=run)
    assert finished.read_bytes("student.safetensors") == undisturbed.read_bytes("student.safetensors")


class Halting(Reporter):
    """Interrupts once the students are in training, and keeps the notes."""

    def __init__(self, halts: bool) -> None:
        self.halts, self.notes = halts, []

    def step(self, stage: str, done: int = 0, *rest: Any, **more: Any) -> None:
        if self.halts and (stage, done) == ("students", 3):
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_what_an_older_version_had_saved_is_trained_anew_and_said(
    data: Path, undisturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "CHECKPOINT_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        distill(config_for(data), run_root=tmp_path, name="old", progress=Halting(True))
    run = Run.open(tmp_path / "old", complete=False)
    saved = sorted((run.path / "checkpoint").glob("*.safetensors"))
    assert [path.stem for path in saved] == ["students", "teachers"]
    for path in saved:  # as format 1 had it: no number, no best stretch, four numbers of progress
        tensors, header = read_checkpoint(path)
        header[file_formats.KEY] = 1
        tensors = {name: tensor for name, tensor in tensors.items() if "|best/" not in name}
        tensors |= {name: tensor[:4] for name, tensor in tensors.items() if name.endswith("|progress")}
        write_checkpoint(path, tensors, header)
    reporter = Halting(False)
    finished = distill(DistillConfig(), run_root=tmp_path, resume=run, progress=reporter)
    assert [note for note in reporter.notes if "older version" in note] == [
        f"{path} was written by an older version; what it holds is trained anew" for path in reversed(saved)
    ]
    for name in ("teacher.safetensors", "student.safetensors", "metrics.json"):
        assert finished.read_bytes(name) == undisturbed.read_bytes(name), name


def test_a_checkpoint_of_a_newer_version_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(checkpoint, "CHECKPOINT", file_formats.CHECKPOINT + 1)
    with pytest.raises(KeyboardInterrupt):
        distill(config_for(data), run_root=tmp_path, name="newer", progress=Halting(True))
    monkeypatch.setattr(checkpoint, "CHECKPOINT", file_formats.CHECKPOINT)
    with pytest.raises(MemkdEdgeError, match=rf"teachers\.safetensors: format {file_formats.CHECKPOINT + 1} is newer"):
        distill(DistillConfig(), run_root=tmp_path, resume=Run.open(tmp_path / "newer", complete=False))


def test_a_run_that_is_removed_while_it_trains_ends_with_one_error(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "CHECKPOINT_EVERY_S", 0.0)

    class Remover(Reporter):
        def step(self, stage: str, *rest: Any, **more: Any) -> None:
            if stage == "students":
                shutil.rmtree(tmp_path / "removed")

    with pytest.raises(MemkdEdgeError, match="removed is gone"):
        distill(config_for(data), run_root=tmp_path, name="removed", progress=Remover())
    assert not (tmp_path / "removed").exists()
