# SPDX-License-Identifier: Apache-2.0
"""The ssh backend against a real sshd on the loopback interface, started for the test with its own keys."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.benchmark.backends.ssh import Board, _caveats, _compiler, measure_ssh
from memkd_edge.benchmark.builds import Build
from memkd_edge.benchmark.pipeline import bench
from memkd_edge.config import BenchConfig
from memkd_edge.errors import GateError, MemkdEdgeError

from .tiny_model import TINY, inputs_int8, reference_int8

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)


def tiny_build(expected=None) -> Build:
    inputs = inputs_int8(16)
    return Build("student", "int8 C", inputs, reference_int8(inputs) if expected is None else expected, 0, 6, source=TINY)


@pytest.fixture
def board(tmp_path, monkeypatch, require_tool):
    """A Board on this machine; its temporary files go to tmp_path / "board"."""
    require_tool("ssh", "ssh-keygen", package="openssh-client")
    require_tool("cc", package="gcc")
    if SSHD is None:
        pytest.skip("needs sshd: apt-get install openssh-server")
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    temporary = tmp_path / "board"
    temporary.mkdir()
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host_key\nAuthorizedKeysFile {tmp_path}/user_key.pub\n"
        f"PidFile none\nStrictModes no\nPasswordAuthentication no\nUsePAM no\nPermitRootLogin yes\nSetEnv TMPDIR={temporary}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=subprocess.DEVNULL)
    # The user's ssh configuration, as ~/.ssh/config would be.
    (tmp_path / "config").write_text(
        f"Host board\n HostName 127.0.0.1\n Port {port}\n IdentityFile {tmp_path}/user_key\n"
        f" UserKnownHostsFile {tmp_path}/known_hosts\n StrictHostKeyChecking no\n LogLevel ERROR\n"
        "Host closed\n HostName 127.0.0.1\n Port 1\n"
    )
    wrapper = tmp_path / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/config "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{Path('/usr/bin')}:{Path('/bin')}:{Path('/usr/local/bin')}")
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield Board("board")
    daemon.terminate()
    daemon.wait()


def test_a_program_is_copied_run_fetched_and_removed(board, tmp_path):
    row = measure_ssh(board, tiny_build(), "cc", timeout_s=60)
    assert row.figures["latency"].kind == "measured"
    assert 0 <= row.figures["latency"].value <= row.figures["latency_p99"].value
    assert row.figures["peak_memory"].value > 0
    assert list((tmp_path / "board").iterdir()) == []


def test_wrong_outputs_fail_and_are_cleaned_up(board, tmp_path):
    wrong = reference_int8(inputs_int8(16))
    wrong[3, 2] += 1
    with pytest.raises(GateError, match=r"board: student, int8 C: 1 of 48 logits differ .* step 3, class 2"):
        measure_ssh(board, tiny_build(wrong), "cc", timeout_s=60)
    assert list((tmp_path / "board").iterdir()) == []


def test_a_model_file_runs_in_the_board_s_python(board, tmp_path):
    """A stand-in for the runtime: the board's Python has none, and says so on its last line."""
    build = Build("student", "int8 .tflite", inputs_int8(2), np.zeros((2, 3), np.int8), 1, 6, file=b"x", suffix=".tflite")
    with pytest.raises(MemkdEdgeError, match=r"python3|Error"):
        measure_ssh(board, build, "cc", timeout_s=60)
    assert list((tmp_path / "board").iterdir()) == []


def test_a_run_is_measured_on_a_board_without_python_runtimes(board, tmp_path, run, monkeypatch):
    monkeypatch.setattr(sys.modules[Board.__module__], "linux_makers", lambda s: [s.student_int8_c, s.student_int8_tflite])
    profile = tmp_path / "myboard.toml"
    profile.write_text('title = "My board"\nbackend = "ssh"\nhost = "board"\n')
    report = bench(run, BenchConfig(device=(str(profile),), steps=8)).devices[0]
    assert report.rows[0].figures["latency"].kind == "measured"
    assert report.rows[1].note.startswith("did not run on the board:")
    assert report.title.startswith("My board (")
    assert list((tmp_path / "board").iterdir()) == []


def test_a_board_out_of_reach_is_named(board):
    with pytest.raises(MemkdEdgeError, match=r"cannot reach closed: .*`ssh closed` must work"):
        Board("closed").run("true", timeout_s=30)


def test_conditions_become_caveats():
    before = {"governor": "ondemand", "temperature": "45000"}
    after = {"temperature": "61000", "throttled": "0x50000"}
    caveats = " ".join(_caveats(before, after))
    assert "ondemand" in caveats
    assert "45 to 61" in caveats
    assert "0x50000" in caveats
    assert _caveats({"governor": "performance"}, {"throttled": "0x0"}) == []


def test_an_architecture_without_compiler_is_refused():
    assert _compiler("aarch64", "pi") in ("aarch64-linux-gnu-gcc", "cc")
    with pytest.raises(MemkdEdgeError, match="pi is a armv7l"):
        _compiler("armv7l", "pi")
