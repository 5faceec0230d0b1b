# SPDX-License-Identifier: Apache-2.0
"""The run directory: atomic writes, states, and clear errors for missing, damaged and newer runs."""

import errno
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.runs import FORMAT, Run, alone, find_run, write_atomic


def complete_run(root, name="one"):
    run = Run.create(root, name, "[distill]\n")
    run.set_state("complete")
    return run


def test_arrays_and_json_survive_the_round_trip(tmp_path):
    run = complete_run(tmp_path)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    run.write_arrays("calibration.npz", {"x": x})
    run.write_json("metrics.json", {"a": 0.5})
    np.testing.assert_array_equal(run.read_arrays("calibration.npz")["x"], x)
    assert run.read_json("metrics.json") == {"a": 0.5, "format": FORMAT}


def test_an_existing_run_is_not_overwritten_without_force(tmp_path):
    complete_run(tmp_path)
    with pytest.raises(UsageError, match="--force"):
        Run.create(tmp_path, "one", "")
    assert Run.open(tmp_path / "one").environment()["state"] == "complete"
    (tmp_path / "one" / "student.safetensors").write_bytes(b"of the old run")
    run = Run.create(tmp_path, "one", "", force=True)
    assert run.environment()["state"] == "training"
    assert not (run.path / "student.safetensors").exists()


def test_the_newest_complete_run_is_found(tmp_path):
    complete_run(tmp_path, "b")
    complete_run(tmp_path, "a")
    Run.create(tmp_path, "c", "")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "env.json").write_text("{half")
    assert Run.newest(tmp_path).path.name == "a"


def test_no_run_at_all_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(UsageError, match="memkd-edge distill"):
        Run.newest(tmp_path / "runs")


def test_a_missing_directory_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no run directory"):
        Run.open(tmp_path / "nowhere")


def test_a_directory_that_is_no_run_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"no env\.json"):
        Run.open(tmp_path)


def test_an_unfinished_run_names_the_command_that_continues_it(tmp_path):
    Run.create(tmp_path, "one", "")
    with pytest.raises(MemkdEdgeError, match="--resume"):
        Run.open(tmp_path / "one")
    assert Run.open(tmp_path / "one", complete=False).path == tmp_path / "one"


def test_a_run_of_a_newer_format_is_refused(tmp_path):
    run = complete_run(tmp_path)
    run.write_json("env.json", run.environment() | {"format": FORMAT + 1})
    with pytest.raises(MemkdEdgeError, match="newer"):
        Run.open(run.path)


def test_a_half_written_json_is_named(tmp_path):
    run = complete_run(tmp_path)
    (run.path / "metrics.json").write_text('{"teacher": ')
    with pytest.raises(MemkdEdgeError, match=r"metrics\.json"):
        run.read_json("metrics.json")


def test_half_written_arrays_are_named(tmp_path):
    run = complete_run(tmp_path)
    path = run.write_arrays("calibration.npz", {"x": np.zeros(1000)})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MemkdEdgeError, match=r"calibration\.npz"):
        run.read_arrays("calibration.npz")


def test_pickled_arrays_are_refused(tmp_path):
    run = complete_run(tmp_path)
    np.savez(run.path / "calibration.npz", x=np.array([{}], dtype=object))
    with pytest.raises(MemkdEdgeError, match="damaged arrays"):
        run.read_arrays("calibration.npz")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    run = complete_run(tmp_path)
    run.write_json("metrics.json", {"old": 1})
    before = sorted(os.listdir(run.path))

    def no_space(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(MemkdEdgeError, match=r"metrics\.json: No space left on device"):
        run.write_json("metrics.json", {"new": 2})
    assert json.loads((run.path / "metrics.json").read_text()) == {"old": 1, "format": FORMAT}
    assert sorted(os.listdir(run.path)) == before


def test_nan_never_reaches_a_json_file(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        complete_run(tmp_path).write_json("metrics.json", {"a": float("nan")})


def test_equal_configurations_have_equal_ids(tmp_path):
    assert complete_run(tmp_path, "a").run_id == complete_run(tmp_path, "b").run_id


def test_a_run_without_its_configuration_is_one_error(tmp_path):
    run = complete_run(tmp_path)
    (run.path / "config.toml").unlink()
    with pytest.raises(MemkdEdgeError, match=r"has no config\.toml; the run is damaged"):
        _ = run.run_id


@pytest.mark.parametrize("name", ["../x", ".", "..", "", "a/b", "/tmp/x", "a\0b", "a/"])
def test_a_name_that_leads_out_of_the_run_root_is_refused(tmp_path, name):
    root = tmp_path / "runs"
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError, match="is not the name of a folder"):
        Run.create(root, name, "", force=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["x"]


def test_a_root_that_cannot_be_written_is_not_mended_by_another_name(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("pathlib.Path.mkdir", read_only)
    with (
        pytest.raises(MemkdEdgeError, match=r"one: Read-only file system; choose another --run-root$"),
        alone(tmp_path / "one", "trains", "--name", "--run-root"),
    ):
        pass


@pytest.mark.parametrize(("code", "remedy"), [(errno.ENOSPC, "free space there, or"), (errno.EROFS, "choose a folder that can")])
def test_what_helps_a_write_follows_from_why_it_failed(tmp_path, monkeypatch, code, remedy):
    def refused(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("memkd_edge.runs.os.replace", refused)
    with pytest.raises(MemkdEdgeError, match=f"{os.strerror(code)}; {remedy}"):
        write_atomic(tmp_path / "file", b"")


def test_no_run_is_written_through_a_symbolic_link(tmp_path):
    precious = complete_run(tmp_path, "precious")
    (tmp_path / "link").symlink_to(precious.path)
    with pytest.raises(UsageError, match="symbolic link"):
        Run.create(tmp_path, "link", "", force=True)
    assert precious.is_complete


def test_force_leaves_nothing_of_an_old_run_but_keeps_the_folder_and_its_lock(tmp_path):
    run = complete_run(tmp_path)
    run.write_text("export/old.tflite", "old")
    (run.path / "link").symlink_to(tmp_path)
    with alone(run.path, "trains", "--name", "--run-root"):
        inode = run.path.stat().st_ino
        Run.create(tmp_path, "one", "", force=True)
        assert run.path.stat().st_ino == inode
    assert sorted(path.name for path in run.path.rglob("*")) == ["config.toml", "env.json"]


def test_force_leaves_a_folder_that_holds_no_run_as_it_is(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "notes.txt").write_text("mine")
    Run.create(tmp_path, "one", "", force=True)
    assert (tmp_path / "one" / "notes.txt").read_text() == "mine"


def test_a_folder_is_one_processs_at_a_time_and_free_again_when_it_ends(tmp_path):
    code = "import sys, pathlib, memkd_edge.runs as r\nwith r.alone(pathlib.Path(sys.argv[1]), 'trains', '--name', ''): pass"
    other = [sys.executable, "-c", code, str(tmp_path / "one")]
    with alone(tmp_path / "one", "trains", "--name", "--run-root"):
        done = subprocess.run(other, capture_output=True, text=True)
        assert "another process trains in" in done.stderr
        assert "choose another --name" in done.stderr
        (tmp_path / "one" / "file").touch()
    assert subprocess.run(other).returncode == 0
    with alone(tmp_path / "two", "trains", "--name", "--run-root"):
        pass
    assert not (tmp_path / "two").exists()


def test_a_run_is_found_by_path_or_by_name_under_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    complete_run(tmp_path / "elsewhere", "one")
    assert find_run("one", tmp_path / "elsewhere") == tmp_path / "elsewhere" / "one"
    (tmp_path / "one").mkdir()  # a folder of recordings, say, after which the run was named
    assert find_run("one", tmp_path / "elsewhere") == tmp_path / "elsewhere" / "one"
    (tmp_path / "one").rmdir()
    complete_run(tmp_path, "one")
    assert str(find_run("one", tmp_path / "elsewhere")) == "one"
    assert str(find_run("two", tmp_path / "elsewhere")) == "two"


def test_what_a_killed_write_left_goes_with_the_next_write_of_the_file(tmp_path):
    run = complete_run(tmp_path)
    old, young, other = (run.path / name for name in (".metrics.json.abcd1234", ".metrics.json.abcd5678", ".model.json.abcd1234"))
    for path in (old, young, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (0, 0))
    run.write_json("metrics.json", {})
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_a_run_that_is_removed_under_way_is_one_error_and_not_made_anew(tmp_path):
    run = complete_run(tmp_path)
    shutil.rmtree(run.path)
    for write in (lambda: run.write_json("metrics.json", {}), lambda: run.write_bytes("export/a/b.c", b""), run.check_there):
        with pytest.raises(MemkdEdgeError, match="one is gone: it was removed or renamed"):
            write()
    assert not run.path.exists()
