# SPDX-License-Identifier: Apache-2.0
"""The wheel carries everything: installed into a new environment, outside the checkout, the three commands run from it."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

# The three commands as the README has them; the environment makes the training short.
SHORT = {
    "MEMKD_EDGE_DISTILL_EPOCHS": "2",
    "MEMKD_EDGE_DISTILL_SEEDS": "1",
    "MEMKD_EDGE_DISTILL_COMPRESSION": "20",
    "MEMKD_EDGE_DISTILL_TEACHER_HIDDEN": "16",
    "MEMKD_EDGE_DISTILL_TEACHER_EPOCHS": "2",
    "MEMKD_EDGE_DISTILL_TEACHER_SEEDS": "1",
}
COMMANDS = ("distill", "export --format tflite --quantize int8 --min-agreement 0", "bench --device host")


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory) -> Path:
    """A new virtual environment with the wheel, and this environment's dependencies on its path."""
    venv = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel], check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)})
    # .pth files inside the added folder are not read, so the editable install of the checkout stays out.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv


@pytest.fixture(autouse=True)
def _outside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)


def test_the_wheel_puts_only_memkd_edge_into_site_packages(environment):
    (site,) = environment.glob("lib/python*/site-packages")
    assert (site / "memkd_edge" / "py.typed").is_file()
    names = {path.name for path in site.iterdir()}
    assert {name for name in names if not name.startswith("memkd_edge")} == {"dependencies.pth"}


def test_the_three_commands_run_from_the_wheel_outside_the_checkout(environment, tmp_path):
    variables = {**os.environ, **SHORT}
    where = [environment / "bin" / "python", "-c", "import memkd_edge; print(memkd_edge.__file__)"]
    assert str(environment) in subprocess.run(where, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    for command in COMMANDS:
        done = subprocess.run(
            [environment / "bin" / "memkd-edge", *command.split()], cwd=tmp_path, env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    (run,) = (tmp_path / "runs").iterdir()
    assert list(run.glob("export/*int8.tflite"))
    assert (run / "bench" / "host.json").is_file()


def test_a_ready_made_student_is_exported_from_the_wheel_and_its_folder_there_stays_as_it_is(environment, tmp_path):
    (installed,) = environment.glob("lib/python*/site-packages/memkd_edge/_assets/models/italypowerdemand")
    before = {path: path.read_bytes() for path in installed.rglob("*") if path.is_file()}
    done = subprocess.run(
        [environment / "bin" / "memkd-edge", "export", "--run", "model:italypowerdemand"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    copy = tmp_path / "runs" / "model-italypowerdemand"
    exported = "export/italypowerdemand_int8.tflite"
    assert (copy / exported).read_bytes() == (installed / exported).read_bytes()
    assert {path: path.read_bytes() for path in installed.rglob("*") if path.is_file()} == before
