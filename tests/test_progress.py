# SPDX-License-Identifier: Apache-2.0
"""Progress: dated lines on a pipe, bars on a terminal (through a pty), and a clean terminal after Ctrl-C."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from memkd_edge.cli import progress
from memkd_edge.cli.progress import Interrupts, _Bars, _Display, _Lines
from tests.conftest import ROOT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the display sees, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(clock: list[float]) -> _Lines:
    interrupts = Interrupts()
    return _Lines(_Bars(interrupts, disable=True), interrupts)


def test_lines_are_dated_and_come_with_a_stage_or_every_ten_seconds(
    lines: _Lines, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for epoch in range(1, 101):
        clock[0] += 0.5
        lines.step("teacher", epoch, 100, "epochs", f"training loss {1 / epoch:.3f}")
    clock[0] += 0.5
    lines.step("picking")
    clock[0] += 0.5
    lines.step("students", 1, 10, "epochs")
    lines.note("[b]x\x1b")
    lines.note("[b]x\x1b")
    printed, out = capsys.readouterr().err, capsys.readouterr().out
    assert out == ""
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S", line) for line in printed.splitlines())
    assert [line[20:] for line in printed.splitlines()] == [
        "teacher, 2 of 100 epochs, training loss 0.500, 49 s left",  # what takes less than a second has no line
        "teacher, 22 of 100 epochs, training loss 0.045, 39 s left",
        "teacher, 42 of 100 epochs, training loss 0.024, 29 s left",
        "teacher, 62 of 100 epochs, training loss 0.016, 19 s left",
        "teacher, 82 of 100 epochs, training loss 0.012, 9 s left",
        "teacher, 100 of 100 epochs, training loss 0.010",
        "students, 1 of 10 epochs",
        "[b]x\\x1b",
    ]


def test_what_takes_less_than_a_second_says_nothing(lines: _Lines, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(lines.each("bench", ["a", "b"], "devices")) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_stages_nest_begin_anew_and_weigh_what_is_left(lines: _Lines, clock: list[float]) -> None:
    lines.step("comparison", 0, 3, "data sets", share=0.0)
    lines.step("teacher", 5, 10)
    lines.step("students", 5, 10)
    assert [task.description for task in lines.bars.tasks] == ["comparison", "teacher", "students"]
    clock[0] += 600
    lines.step("comparison", 1, 3, "data sets", "kd leads", share=0.75)
    (task,) = lines.bars.tasks
    assert progress._left(task) == "3 min left"  # a quarter of the work
    clock[0] += 100
    assert progress._left(task) == "100 s left"
    lines.step("teacher", 8, 10)
    clock[0] += 10
    lines.step("teacher", 2, 10)  # another teacher
    clock[0] += 10
    lines.step("teacher", 4, 10)
    assert progress._left(lines.bars.tasks[1]) == "30 s left"
    lines.step("page")
    assert lines.bars.tasks[2].total is None


def test_bars_fit_80_columns_with_every_number_whole() -> None:
    interrupts = Interrupts()
    bars = _Bars(interrupts, disable=True)
    shown = _Display(bars, interrupts)
    shown.step("comparison", 3, 12, "data sets", "memkd-belief leads with a mean rank of 1.25")
    shown.step("students", 1200, 2400, "epochs", "AUC-PRC best 0.913, median 0.852 [/b]")
    interrupts.asked = True
    console = Console(width=80, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(bars.get_renderable())
    out = capture.get()
    assert max(map(len, out.splitlines())) <= 80
    assert "again stops at once" in out
    for text in ("comparison", "3 of 12 data sets", "1,200 of 2,400 epochs", "━━━━━", "1.25", "0.913", "0.852", "[/b]"):
        assert text in out


@contextlib.contextmanager
def terminal(command: list[str], cwd: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command with a terminal of 80 columns of its own; yield it and our end."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        # A shell may have started the tests in the background, where it has Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(ours: int, wanted: bytes | None) -> bytes:
    """Return what the terminal shows until it has shown `wanted`, or until it is closed."""
    seen, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # closed
            chunk = b""
        seen += chunk
        if not chunk or (wanted is not None and wanted in seen):
            break
    return seen


def test_ctrl_c_ends_the_bars_and_leaves_the_terminal_clean(tmp_path: Path) -> None:
    teacher = ("--teacher-hidden", "8", "--teacher-epochs", "60", "--teacher-seeds", "1", "--noise", "0")
    command = [sys.executable, "-m", "memkd_edge", "distill", "--dataset", "ItalyPowerDemand", *teacher, "--compression", "5"]
    with terminal(command, tmp_path) as (process, ours):
        seen = read_until(ours, b"training loss")
        process.send_signal(signal.SIGINT)
        seen += read_until(ours, None)
        assert process.wait(60) == 130
    assert re.search(rb"teacher.*of \d+ epochs.*training loss", seen)
    assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h") == 1  # the cursor is back
    after = seen.rpartition(b"\x1b[2K")[2]  # the last line that was wiped
    assert b"epochs" not in after
    assert b"--resume runs/ItalyPowerDemand-1` continues" in seen
    assert b"Traceback" not in seen
