# SPDX-License-Identifier: Apache-2.0
"""Tasks on this machine and on a real Ray cluster of two nodes: same files, lost workers, errors, Ctrl-C."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.comparison.executors import LocalExecutor, RayExecutor, Task
from memkd_edge.comparison.pipeline import compare
from memkd_edge.comparison.rows import read_rows
from memkd_edge.config import DistillConfig
from memkd_edge.data.dataset import Dataset
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.progress import Reporter
from tests.comparison.small import CONFIG, scores

PATIENCE_S = 300.0


def task(name: str) -> Task:
    x, y = np.zeros((4, 5, 1), np.float32), np.arange(4) % 2
    data = Dataset(name, x, y, x, y, ("a", "b"), ("x",), ("",))
    return Task(data, {f"{name}-{number}": DistillConfig() for number in range(2)}, effort=1)


def write(task: Task, folder: Path, **content: object) -> None:
    for name in task.runs:
        (folder / "runs" / name / "deep").mkdir(parents=True)
        (folder / "runs" / name / "env.json").write_text(task.data.name)
        (folder / "runs" / name / "deep" / "answer").write_text(str(content))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ray cluster of two nodes with one CPU each, on this machine."""
    monkeypatch = pytest.MonkeyPatch()  # first, because Ray reads it when it is imported
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    pytest.importorskip("ray", reason="needs ray: pip install 'memkd-edge[ray]'")
    # A path of more than about 60 characters is too long for the sockets in it.
    temporary = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ray = str(Path(sys.executable).with_name("ray"))
    common = ["--block", "--num-cpus=1", "--object-store-memory=100000000"]
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={temporary}"]
    # TMPDIR, because a killed worker leaves its folder.
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": str(temporary)}
    nodes = []
    try:
        for number, options in enumerate((head, [f"--address=127.0.0.1:{port}"])):
            log = (tmp_path_factory.mktemp("ray") / f"{number}.log").open("w+")
            node = subprocess.Popen(
                [ray, "start", *options, *common], stdout=log, stderr=log, start_new_session=True, env=environment
            )
            nodes.append((node, log))
            wait_until(lambda log=log: "Ray runtime started" in Path(log.name).read_text(), "Ray did not start")
        yield f"127.0.0.1:{port}"
    finally:
        for node, log in reversed(nodes):
            node.terminate()
            node.wait(PATIENCE_S)
            log.close()
        shutil.rmtree(temporary, ignore_errors=True)
        monkeypatch.undo()


def wait_until(true: object, otherwise: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)


def test_local_tasks_are_done_one_after_the_other(tmp_path: Path) -> None:
    done = []
    for finished in LocalExecutor().run([task("A"), task("B")], lambda one, folder, _: write(one, folder), tmp_path, Reporter()):
        done.append((finished.data.name, sorted(path.name for path in (tmp_path / "runs").iterdir())))
    assert done == [("A", ["A-0", "A-1"]), ("B", ["A-0", "A-1", "B-0", "B-1"])]


def test_tasks_run_side_by_side_on_both_nodes_and_replace_what_was_begun_here(cluster: str, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()

    def meet(one: Task, folder: Path, progress: Reporter) -> None:
        import ray

        (meeting / one.data.name).touch()
        end = time.monotonic() + 60
        while len(list(meeting.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        write(one, folder, met=len(list(meeting.iterdir())), node=ray.get_runtime_context().get_node_id())

    begun = tmp_path / "here" / "runs" / "A-0" / "checkpoint"
    begun.mkdir(parents=True)
    executor = RayExecutor(cluster, 1)
    finished = {one.data.name for one in executor.run([task("A"), task("B")], meet, tmp_path / "here", Reporter())}
    assert finished == {"A", "B"}
    answers = {(tmp_path / "here" / "runs" / name / "deep" / "answer").read_text() for name in ("A-0", "A-1", "B-0", "B-1")}
    assert len(answers) == 2
    assert all("'met': 2" in answer for answer in answers)
    assert not begun.exists()


def test_a_task_whose_worker_is_killed_is_done_again(cluster: str, tmp_path: Path) -> None:
    def fragile(one: Task, folder: Path, progress: Reporter) -> None:
        attempts = tmp_path / "attempts"
        attempts.mkdir(exist_ok=True)
        (attempts / str(os.getpid())).touch()
        if len(list(attempts.iterdir())) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        write(one, folder)

    assert [one.data.name for one in RayExecutor(cluster, 1).run([task("A")], fragile, tmp_path, Reporter())] == ["A"]
    assert len(list((tmp_path / "attempts").iterdir())) == 2
    assert (tmp_path / "runs" / "A-1" / "env.json").read_text() == "A"


def test_workers_that_are_killed_while_all_nodes_are_busy_cost_no_task_and_no_file(cluster: str, tmp_path: Path) -> None:
    at_work = tmp_path / "at work"
    at_work.mkdir()

    def busy(one: Task, folder: Path, progress: Reporter) -> None:
        own = at_work / str(os.getpid())
        own.touch()
        write(one, folder, name=one.data.name)  # half done
        end = time.process_time() + 0.7
        while time.process_time() < end:
            pass
        own.unlink()

    class Killer(Reporter):
        killed = 0

        def stop_if_interrupted(self) -> None:
            found = sorted(at_work.iterdir())
            if 0 < 2 - self.killed <= len(found):  # first with both nodes at work, then the one that goes on
                found[0].unlink()
                os.kill(int(found[0].name), signal.SIGKILL)
                self.killed += 1

    names, killer = ["A", "B", "C"], Killer()
    finished = [one.data.name for one in RayExecutor(cluster, 1).run([task(name) for name in names], busy, tmp_path, killer)]
    assert killer.killed == 2
    assert sorted(finished) == names
    assert len(list((tmp_path / "runs").iterdir())) == 2 * len(names)
    for name in names:
        assert (tmp_path / "runs" / f"{name}-1" / "deep" / "answer").read_text() == str({"name": name})


def test_a_workers_error_is_one_message_here_and_ends_the_others(cluster: str, tmp_path: Path) -> None:
    def refuse(one: Task, folder: Path, progress: Reporter) -> None:
        raise UsageError(f"{one.data.name} cannot be learnt")

    with pytest.raises(UsageError, match=r"^A cannot be learnt$"):
        list(RayExecutor(cluster, 1).run([task("A")], refuse, tmp_path, Reporter()))


def test_ctrl_c_ends_the_work_on_the_cluster(cluster: str, tmp_path: Path) -> None:
    import ray

    def endless(one: Task, folder: Path, progress: Reporter) -> None:
        (tmp_path / "folder").write_text(str(folder))
        while True:
            time.sleep(0.05)

    class Impatient(Reporter):
        def stop_if_interrupted(self) -> None:
            if (tmp_path / "folder").exists():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(RayExecutor(cluster, 1).run([task("A"), task("B"), task("C")], endless, tmp_path, Impatient()))
    assert not ray.is_initialized()
    wait_until(lambda: not Path((tmp_path / "folder").read_text()).exists(), "the worker left its temporary folder")
    # The cluster is free again.
    again = RayExecutor(cluster, 1).run([task("D")], lambda one, folder, _: write(one, folder), tmp_path, Reporter())
    assert [one.data.name for one in again] == ["D"]


def test_a_comparison_on_the_cluster_gives_the_rows_of_one_here(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # no compiling and emulating
    compare(CONFIG, tmp_path / "here")
    compare(replace(CONFIG, executor="ray", ray_address=cluster), tmp_path / "there")
    here, there = (scores(read_rows(tmp_path / folder / "rows.csv")) for folder in ("here", "there"))
    assert sorted(there, key=here.index) == here


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379", "127.0.0.1:99999"])
def test_no_cluster_at_the_address_is_one_error(address: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'memkd-edge[ray]'")
    with pytest.raises(MemkdEdgeError, match="no Ray cluster answers at"):
        list(RayExecutor(address, 1).run([task("A")], lambda *_: None, tmp_path, Reporter()))


def test_an_address_without_a_port_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'memkd-edge[ray]'")
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        list(RayExecutor("127.0.0.1", 1).run([task("A")], lambda *_: None, tmp_path, Reporter()))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingToolError, match=r"memkd-edge\[ray\]"):
        RayExecutor("", 1)
