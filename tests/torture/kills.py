# SPDX-License-Identifier: Apache-2.0
"""Kills: a command ends at a random moment, is started again until it is through, and must leave what it leaves undisturbed."""

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from memkd_edge.__main__ import main
from tests.torture.commands import Command

OLD_S = 3600.0  # as much older is what a kill left when the command is started again
GONE_S = 60.0  # by which all that a killed process had started must have ended
TRIES = 8
_FOREIGN = ".ses"  # onnxruntime's, in every place for temporary files


@dataclass
class Trial:
    """What came of one command that was killed. faults: in words; kills: those that met it at work."""

    kills: int = 0
    faults: list[str] = field(default_factory=list)


def undisturbed(command: Command, folder: Path) -> tuple[dict[str, object], float]:
    """Return what the command leaves in `folder`, empty now, and the seconds it takes."""
    command.prepare(folder)
    began = time.monotonic()
    status, said = finish(start(command.start(folder), folder))
    if status != 0:
        raise AssertionError(f"it ends with {status} undisturbed: {said}")
    return command.ends(folder), time.monotonic() - began


def killed(command: Command, folder: Path, expected: dict[str, object], seconds: float, kills: int, rng: random.Random) -> Trial:
    """Start the command in `folder`, kill it up to `kills` times, let it end, and compare."""
    command.prepare(folder)
    trial, status = Trial(), -1
    for attempt in range(TRIES):
        child = start(command.start(folder), folder)
        if trial.kills < kills and attempt < TRIES - 2:
            number = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
            time.sleep(rng.uniform(0, 0.9 * seconds))
            os.kill(child.process, number)
            status, said = finish(child)
            trial.kills += status in (-number, 130)
            if "Traceback" in said:
                trial.faults.append(f"after {number.name}: {said}")
            if not _gone(child.process):
                trial.faults.append(f"after {number.name} something goes on")
            _age(folder)
        else:
            status, said = finish(child)
            if status != 0:
                trial.faults.append(f"started again it ends with {status}: {said}")
                return trial
        if status == 0 and command.ends(folder):
            break
    ended = command.ends(folder)
    if ended != expected:
        others = sorted(name for name in expected.keys() | ended.keys() if expected.get(name) != ended.get(name))
        trial.faults.append(f"other than undisturbed: {', '.join(others)}")
    left = [
        path for path in folder.rglob("*") if path.name.startswith((".", "memkd-edge-", "teachers-")) and path.name != _FOREIGN
    ]
    if left:
        trial.faults.append(f"left over: {', '.join(path.relative_to(folder).as_posix() for path in left)}")
    return trial


@dataclass(frozen=True)
class Child:
    """A command under way. said: the file of what it prints."""

    process: int
    said: Path


def start(arguments: list[str], folder: Path) -> Child:
    """Start a command in a fork of this process, which has loaded much already, in a session and with a TMPDIR of its own."""
    said, scratch = folder / "said", folder / "tmp"
    scratch.mkdir(exist_ok=True)
    sys.stdout.flush()
    process = os.fork()
    if process:
        return Child(process, said)
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)  # pytest's stand elsewhere
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        os.chdir(folder)
        sys.argv = ["memkd-edge", *arguments]
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


def finish(child: Child) -> tuple[int, str]:
    """Wait for the end and return the status, negative for a signal, and what was said."""
    _, status = os.waitpid(child.process, 0)
    return os.waitstatus_to_exitcode(status), child.said.read_text(errors="replace") if child.said.exists() else ""


def _gone(group: int) -> bool:
    ends = time.monotonic() + GONE_S
    while time.monotonic() < ends:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def _age(folder: Path) -> None:
    """Make old what a kill left: temporary files are swept only when no process can be at work on them."""
    then = time.time() - OLD_S
    for path in [*folder.rglob(".*"), *folder.glob("tmp/*")]:
        os.utime(path, (then, then), follow_symlinks=False)


@contextmanager
def fresh(root: Path) -> Iterator[Path]:
    """Yield an empty folder under `root` that goes away in the end."""
    with tempfile.TemporaryDirectory(dir=root, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
