# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by the test areas."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# One thread: tests run side by side on small machines, and results must not depend on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("MEMKD_EDGE_RUN_ROOT", None)  # of one's shell: tests have folders of their own

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The developers' folder of data sets (users do not have it: the test is skipped)."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip(f"needs the developers' data sets at {data}")
    return data


@pytest.fixture(scope="session")
def require_tool():
    """Return a function that skips the test unless the named programs are installed."""

    def require(*programs: str, package: str) -> None:
        for program in programs:
            if shutil.which(program) is None:
                pytest.skip(f"needs {program}: apt-get install {package}")

    return require


@pytest.fixture(scope="module")
def children():
    """The child processes that native runtimes run in."""
    from memkd_edge.verification.runtimes import Children

    with Children() as running:
        yield running


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory):
    """A run small enough to make in a test."""
    from memkd_edge.config import DistillConfig
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
