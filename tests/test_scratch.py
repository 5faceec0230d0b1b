# SPDX-License-Identifier: Apache-2.0
"""Temporary folders: gone in the end, also those of a process that was killed, and never those of one at work."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.scratch import scratch_folder

HOLD = """
import sys, time
from memkd_edge.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_goes_away_with_all_it_holds(place: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == place
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert not list(place.iterdir())


def test_what_a_killed_process_left_is_swept_and_what_a_live_one_uses_is_not(place: Path) -> None:
    holders = [subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = [Path(holder.stdout.readline().strip()) for holder in holders]
    others = [place / "memkd-edge-link", place / "someone-elses"]
    others[0].symlink_to(place)
    others[1].mkdir()
    for path in (*folders, others[1]):
        os.utime(path, (0, 0))
    holders[0].send_signal(signal.SIGKILL)
    holders[0].wait()
    try:
        with scratch_folder():
            assert not folders[0].exists()
            assert (folders[1] / "file").is_file()
        assert all(path.is_dir() for path in others)
    finally:
        holders[1].kill()
        for holder in holders:
            holder.wait()
            holder.stdout.close()


def test_a_folder_that_was_made_a_moment_ago_is_left_alone(place: Path) -> None:
    (place / "memkd-edge-young").mkdir()
    with scratch_folder():
        assert (place / "memkd-edge-young").is_dir()


def test_no_place_for_temporary_files_is_one_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "gone"))
    expected = r"cannot make a temporary folder: No such file or directory; .* in TMPDIR"
    with pytest.raises(MemkdEdgeError, match=expected), scratch_folder():
        pass
