# SPDX-License-Identifier: Apache-2.0
"""Where a comparison trains: on this machine, one data set after the other, or on a Ray cluster, many at a time.

A task is a data set with all its runs, because they share teachers. Either executor leaves the same files under the comparison's
folder; on a cluster a worker trains in a folder of its own, and the finished runs travel back as bytes.
"""

import logging
import os
import shutil
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from memkd_edge.config import DistillConfig
from memkd_edge.data.dataset import Dataset
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.progress import Reporter
from memkd_edge.runs import ENVIRONMENT, write_atomic
from memkd_edge.scratch import scratch_folder
from memkd_edge.toolchain import naming_missing_packages

RETRIES = 3  # of a task whose worker was lost
POLL_S = 0.5  # between looks at Ctrl-C
CONNECT_S = 5.0
CANCEL_S = 10.0  # that cancelled workers get to tidy up


@dataclass(frozen=True)
class Task:
    """One data set and the runs still to be made on it, by name.

    effort: what training takes, up to a factor that all tasks share.
    """

    data: Dataset
    runs: Mapping[str, DistillConfig]
    effort: int


Work = Callable[[Task, Path, Reporter], None]  # makes the task's runs under folder / "runs"


class Executor(Protocol):
    """Does the work of tasks."""

    def run(self, tasks: Sequence[Task], work: Work, folder: Path, progress: Reporter) -> Generator[Task, None, None]:
        """Yield each task when its runs stand complete under `folder` / "runs".

        Raises:
            MemkdEdgeError: what `work` raised, or a worker was lost too often.
            KeyboardInterrupt: Ctrl-C; nothing keeps running.
        """
        ...


class LocalExecutor:
    """This machine, one task after the other: each uses all threads already."""

    def run(self, tasks: Sequence[Task], work: Work, folder: Path, progress: Reporter) -> Generator[Task, None, None]:
        for task in tasks:
            work(task, folder, progress)
            yield task


class RayExecutor:
    """A Ray cluster. A task goes to any node with `cpus` free; one whose worker was lost is done again elsewhere.

    address: HOST:PORT of a running cluster, as `ray start` prints it; when it is empty, this machine alone is one.

    Raises:
        MissingToolError: Ray is not installed.
    """

    @naming_missing_packages()
    def __init__(self, address: str, cpus: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self.ray: Any = ray
        self.address, self.cpus = address, cpus

    def run(self, tasks: Sequence[Task], work: Work, folder: Path, progress: Reporter) -> Generator[Task, None, None]:
        ray = self.ray
        self._connect()
        remote = ray.remote(num_cpus=self.cpus, max_retries=RETRIES)(_work_remotely)
        pending: dict[Any, Task] = {}
        try:
            for task in tasks:
                pending[remote.remote(ray.put(task), work)] = task
            while pending:
                done, _ = ray.wait(list(pending), timeout=POLL_S)
                for reference in done:
                    task = pending.pop(reference)
                    _install(folder / "runs", task, self._result(reference, task))
                    yield task
                progress.stop_if_interrupted()
        finally:
            for reference in pending:
                ray.cancel(reference)
            if pending:
                ray.wait(list(pending), num_returns=len(pending), timeout=CANCEL_S)
            ray.shutdown()

    def _connect(self) -> None:
        where = self.address or "this machine"
        host, _, port = self.address.rpartition(":")
        if self.address and not port.isdecimal():
            raise UsageError(f"--ray-address {self.address}: expected HOST:PORT, as `ray start --head` prints it")
        try:
            if self.address:  # Ray itself would wait for minutes
                socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
            self.ray.init(
                address=self.address or "local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
            )
        except (OSError, OverflowError, RuntimeError, ValueError, self.ray.exceptions.RayError) as error:
            raise MemkdEdgeError(
                f"no Ray cluster answers at {where} ({error}); start one with `ray start --head` and give its HOST:PORT"
            ) from error

    def _result(self, reference: Any, task: Task) -> dict[str, bytes]:
        errors = self.ray.exceptions
        try:
            files: dict[str, bytes] = self.ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, MemkdEdgeError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            raise MemkdEdgeError(
                f"{task.data.name}: its worker was lost {RETRIES + 1} times ({type(error).__name__}), perhaps for want of "
                "memory; the same command continues, --memory-limit makes it need less"
            ) from error
        return files


def _work_remotely(task: Task, work: Work) -> dict[str, bytes]:
    """Do the work in a temporary folder and return the runs' files, by path under "runs"."""
    with scratch_folder() as folder:
        work(task, folder, Reporter())
        runs = folder / "runs"
        return {path.relative_to(runs).as_posix(): path.read_bytes() for path in runs.rglob("*") if path.is_file()}


def _install(runs: Path, task: Task, files: Mapping[str, bytes]) -> None:
    """Write the runs that came back; env.json, which calls a run complete, last of each."""
    for name in task.runs:
        shutil.rmtree(runs / name, ignore_errors=True)
    for name in sorted(files, key=lambda name: name.endswith(f"/{ENVIRONMENT}")):
        write_atomic(runs / name, files[name])
