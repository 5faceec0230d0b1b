# SPDX-License-Identifier: Apache-2.0
"""Commands of this checkout and of others, and what they cost."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.runs import write_atomic

SAID = 2000  # characters of what a failed command said that are told


def cpu_seconds(tree: Path, words: Sequence[str], runs: Path) -> float:
    """Return user and system time of a command of the checkout at `tree`, its children's with it.

    Raises:
        MemkdEdgeError: it failed; the message ends as its own output does.
    """
    environment = {**os.environ, "PYTHONPATH": str(tree), "MEMKD_EDGE_RUN_ROOT": str(runs), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "memkd_edge", *words]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip()[-SAID:]
        raise MemkdEdgeError(f"{tree}: memkd-edge {' '.join(words)} ended with {ended.returncode}: {said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def distilled(tree: Path, name: str, words: str, work: Path) -> tuple[float, dict[str, Any]]:
    """Return CPU seconds and metrics.json of a run of `tree`, one thread: made now, or kept in `work` from an earlier call."""
    took = work / f"{name}.seconds"
    if not took.is_file():
        command = f"distill --threads 1 --name {name} --force {words}"
        write_atomic(took, str(cpu_seconds(tree.absolute(), command.split(), work.absolute())).encode())
    return float(took.read_text()), json.loads((work / name / "metrics.json").read_text())


def commit(tree: Path) -> str:
    """Return the short hash of a checkout."""
    return subprocess.run(
        ["git", "-C", tree, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
