# SPDX-License-Identifier: Apache-2.0
"""Every command that prints tables: 80 columns on a pipe and on a narrow terminal, every number whole, all with --wide."""

import inspect
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from memkd_edge.benchmark.doctor import examine
from memkd_edge.cli import main as cli
from memkd_edge.cli import tables
from memkd_edge.cli.bench_tables import checks_parts
from memkd_edge.cli.tables import Grid, Part
from tests.conftest import ROOT
from tests.data.recording_examples import folder
from tests.data.test_data_report import called
from tests.test_classification import PATTERN, model_file

COMMANDS = {
    "distill": ["--resume", "runs/gunpoint"],
    "distill recordings": ["--resume", "runs/spsw"],
    "export": ["--run", "model:gunpoint", "--format", "tflite"],
    "verify": ["gunpoint_int8.tflite"],
    "bench": ["--run", "model:gunpoint", "--device", "nrf52840", "--battery", "220mAh", "--rate", "50"],
    "inspect": ["model:spsw"],
    "data": ["recordings", "--name-pattern", PATTERN],
    "classify": ["steps.tflite", "recordings", "--name-pattern", PATTERN],
    "models": [],
    "devices": [],
    "doctor": [],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of windows, one of recordings, models and recordings."""
    place = tmp_path_factory.mktemp("place")
    for name in ("gunpoint", "spsw"):
        shutil.copytree(ROOT / "models" / name, place / "runs" / name)
    shutil.copy(ROOT / "models/gunpoint/export/gunpoint_int8.tflite", place)
    folder(place / "recordings")
    model_file(place / "steps.tflite")
    return place


def numbers(text: str) -> set[str]:
    return {word for word in text.split() if re.search(r"\d", word)}


@pytest.mark.parametrize("command", COMMANDS)
def test_tables_fit_and_no_number_is_cut(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], require_tool
) -> None:
    if command == "bench":
        require_tool("arm-none-eabi-gcc", "qemu-system-arm", package="gcc-arm-none-eabi qemu-system-arm")
    monkeypatch.chdir(place)
    monkeypatch.setattr(cli, "_page", lambda *_: [])  # tests/pages has it
    kept: list[Part] = []
    show = tables.show

    def keep(parts: Iterable[Part], *, wide: bool = False) -> None:
        assert wide
        kept.extend(parts)
        show(kept, wide=wide)

    monkeypatch.setattr(tables, "show", keep)
    code, whole, err = called(monkeypatch, capsys, command.split()[0], *COMMANDS[command], "--wide")
    assert code in (0, 3), err  # doctor: a tool is missing
    assert sum(isinstance(one, Grid) for one in kept)
    long = " ".join(word for word in whole.split() if len(word) > tables.WORDS_WIDTH)  # digests and paths
    for columns, terminal in (("80", False), ("60", False), ("80", True), ("60", True)):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
        show(kept)
        out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert max(map(len, out.splitlines())) <= 80
        assert {word for word in numbers(out) - numbers(whole) if word not in long} == set()


def test_a_machine_without_any_tool_is_told_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show(checks_parts([replace(check, found="") for check in examine()]))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "apt-get install qemu-user\n" in out


def test_every_command_with_a_table_takes_wide() -> None:
    showing = {
        name for name, function in vars(cli).items() if inspect.isfunction(function) and "show(" in inspect.getsource(function)
    }
    assert showing == {name.split()[0] for name in COMMANDS} | {"compare", "compare_report"}
    for name in showing:
        assert "wide" in inspect.signature(getattr(cli, name)).parameters
