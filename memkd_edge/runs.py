# SPDX-License-Identifier: Apache-2.0
"""The run directory: what passes between the stages, as files.

    runs/<name>/  config.toml env.json model.json teacher.safetensors student.safetensors metrics.json curves.json
                  calibration.npz
                  checkpoint/…  export/…  bench/*.json  report.html  README.md

Every write is atomic (temporary file in the same folder, fsync, rename), so a reader never sees half a file. `env.json` is
written first and last: its `state` is "training" until the run is complete; then it holds the digests of metadata and weights,
which are checked when they are read. Nothing read from a run executes code. While a run is made, no other process can write it
(`alone`).
"""

import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata as importlib_metadata
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.file_formats import KEY, check_format
from memkd_edge.metadata import Metadata
from memkd_edge.npz_archive import NpzArchive
from memkd_edge.parsing import json_object

FORMAT = 1  # of the JSON and array files of a run; config.toml and model.json have numbers of their own
CONFIGURATION = "config.toml"
ENVIRONMENT = "env.json"
METADATA = "model.json"
STUDENT = "student.safetensors"
TEACHER = "teacher.safetensors"
METRICS = "metrics.json"
CURVES = "curves.json"
SERIES = "calibration.npz"
SEALED = (METADATA, STUDENT, TEACHER)  # what decides what is exported
LONGEST_NAME = 255  # bytes, of a folder
LEFT_S = 600.0  # a temporary file this old belongs to no write that goes on
CHECKPOINT = "checkpoint"  # folder, while a run is in training
_PACKAGES = (
    "torch",
    "numpy",
    "scikit-learn",
    "aeon",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
    "tflite-micro",
)


def default_run_root() -> Path:
    """Return the folder of runs where none is named: MEMKD_EDGE_RUN_ROOT, else "runs"."""
    return Path(os.environ.get("MEMKD_EDGE_RUN_ROOT") or "runs")


@dataclass(frozen=True)
class Run:
    """A run directory, complete or in training."""

    path: Path

    @classmethod
    def create(cls, root: Path, name: str, config_toml: str, *, force: bool = False) -> "Run":
        """Make `root/name`, record configuration and environment, and return the run in state "training".

        With `force`, a run of that name is removed first: its files must not pass for the new one's.

        Raises:
            UsageError: the name is none of a folder, or the directory holds something and `force` is not set.
        """
        run = cls(run_path(root, name))
        if run.path.is_dir() and any(run.path.iterdir()):
            if not force:
                raise UsageError(f"{run.path} exists; choose another --name, or overwrite it with --force")
            if (run.path / ENVIRONMENT).is_file():
                _empty(run.path)
        _make(run.path)
        run.write_text(CONFIGURATION, config_toml)
        run.set_state("training")
        return run

    @classmethod
    def open(cls, path: Path, *, complete: bool = True) -> "Run":
        """Open an existing run.

        Raises:
            UsageError: no such directory, or it is no run directory.
            MemkdEdgeError: the run is incomplete (while `complete` is asked for) or of a newer format.
        """
        if not os.path.isdir(path):
            raise UsageError(f"no run directory at {path}; `memkd-edge distill` makes one")
        run = cls(path)
        env = run.environment()
        if complete and env.get("state") != "complete":
            raise MemkdEdgeError(f"{path}: this run is not complete; `memkd-edge distill --resume {path}` continues it")
        return run

    @classmethod
    def newest(cls, root: Path) -> "Run":
        """Open the complete run under `root` that was finished last.

        Raises:
            UsageError: there is none.
        """
        complete = []
        for env in sorted(root.glob(f"*/{ENVIRONMENT}")):
            try:
                record = cls(env.parent).environment()
            except MemkdEdgeError:
                continue
            if record.get("state") == "complete":
                complete.append((str(record.get("time", "")), env.parent))
        if not complete:
            raise UsageError(f"no complete run under {root.resolve()}; `memkd-edge distill` makes one")
        return cls.open(max(complete)[1])

    def environment(self) -> dict[str, Any]:
        """Return env.json: run format, state, id, versions, machine.

        Raises:
            UsageError: the directory holds no env.json.
            MemkdEdgeError: env.json is damaged.
        """
        if not (self.path / ENVIRONMENT).is_file():
            raise UsageError(f"{self.path} is not a run directory: it has no env.json")
        return self.read_json(ENVIRONMENT)

    @property
    def is_complete(self) -> bool:
        """Whether the directory holds a complete run.

        Raises:
            MemkdEdgeError: env.json is damaged.
        """
        return (self.path / ENVIRONMENT).is_file() and self.environment().get("state") == "complete"

    def set_state(self, state: str, *, seconds: float | None = None) -> None:
        """Record env.json with `state` "training" or "complete".

        Args:
            seconds: that the call which completed the run took; one that was resumed took longer in all.
        """
        from memkd_edge.version import __version__

        versions = {}
        for package in _PACKAGES:
            try:
                versions[package] = importlib_metadata.version(package)
            except importlib_metadata.PackageNotFoundError:
                continue
        self.write_json(
            ENVIRONMENT,
            {
                "state": state,
                "id": self.run_id,
                "time": datetime.now(UTC).isoformat(),
                "version": __version__,
                "python": platform.python_version(),
                "machine": f"{platform.system()} {platform.machine()}",
                "host": platform.node(),
                "seconds": seconds,
                "packages": versions,
                "sha256": {
                    name: hashlib.sha256(self.read_bytes(name)).hexdigest() for name in SEALED if (self.path / name).is_file()
                },
            },
        )

    def read_sealed(self, name: str) -> bytes:
        """Return the content of sealed file `name`, which is as the run left it. Older runs did not note how.

        Raises:
            MemkdEdgeError: it is missing, or was changed since; env.json is damaged.
        """
        noted, content = self.environment().get("sha256", {}), self.read_bytes(name)
        found = hashlib.sha256(content).hexdigest()
        if not isinstance(noted, dict) or found != noted.get(name, found):
            raise MemkdEdgeError(f"{self.path / name} was changed after the run was complete; distil it again")
        return content

    def check_unchanged(self, name: str) -> Path:
        """Return the path of sealed file `name`; raises as `read_sealed`."""
        self.read_sealed(name)
        return self.path / name

    @property
    def run_id(self) -> str:
        """Short hash of the resolved configuration: equal configurations have equal ids."""
        return hashlib.sha256(self.read_bytes(CONFIGURATION)).hexdigest()[:12]

    @property
    def metadata(self) -> Metadata:
        """The model's metadata (model.json).

        Raises:
            MemkdEdgeError: it is missing, damaged, or was changed since the run was made.
        """
        return Metadata.from_json(self.read_sealed(METADATA), source=str(self.path / METADATA))

    def read_bytes(self, name: str) -> bytes:
        """Return the content of file `name`.

        Raises:
            MemkdEdgeError: the file is missing.
        """
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError as error:
            raise self._without(name) from error

    def _without(self, name: str) -> MemkdEdgeError:
        return MemkdEdgeError(f"{self.path} has no {name}; the run is damaged: distil it again")

    def read_json(self, name: str) -> dict[str, Any]:
        """Return file `name` parsed as a JSON object.

        Raises:
            MemkdEdgeError: the file is missing, no JSON object, or of a newer format.
        """
        try:
            value = json_object(self.read_bytes(name))
        except ValueError as error:
            raise MemkdEdgeError(f"{self.path / name}: damaged JSON ({error}); distil it again") from error
        check_format(value.get(KEY, 1), FORMAT, self.path / name)
        return value

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of .npz file `name` (pickled objects are refused).

        Raises:
            MemkdEdgeError: the file is missing, damaged, of a newer format, or holds pickled objects.
        """
        path = self.path / name
        if not path.is_file():
            raise self._without(name)
        try:
            with NpzArchive(path) as archive:
                arrays = {key: archive.read(key) for key in archive}
        except UsageError as error:
            raise MemkdEdgeError(f"{path}: damaged arrays ({error}); distil it again") from error
        number = arrays.get(KEY, np.array(1))
        check_format(number.tolist(), FORMAT, self.path / name)
        return arrays

    def check_there(self) -> None:
        """Check that the directory, which a user may remove meanwhile, is there: no part of it is to be made anew.

        Raises:
            MemkdEdgeError: it is gone.
        """
        if not self.path.is_dir():
            raise MemkdEdgeError(f"{self.path} is gone: it was removed or renamed while it was being written; start again")

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write file `name` atomically and return its path.

        Raises:
            MemkdEdgeError: the run is gone, or the file system refused.
        """
        self.check_there()
        return write_atomic(self.path / name, data)

    def write_text(self, name: str, text: str) -> Path:
        """Write file `name` atomically as UTF-8 and return its path."""
        return self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Write `value` as indented JSON with sorted keys and the format number; NaN is refused."""
        return self.write_text(name, json.dumps({KEY: FORMAT, **value}, indent=1, sort_keys=True, allow_nan=False) + "\n")

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> Path:
        """Write `arrays` and the format number as a compressed .npz."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{KEY: np.array(FORMAT), **arrays})  # type: ignore[arg-type]
        return self.write_bytes(name, buffer.getvalue())


def run_path(root: Path, name: str) -> Path:
    """Return where run `name` stands under `root`.

    Raises:
        UsageError: `name` is no plain name of a folder, or a link stands there.
    """
    path = root / name
    if name in ("", ".", "..") or path.name != name or "\0" in name or len(os.fsencode(name)) > LONGEST_NAME:
        raise UsageError(f"--name {name!r:.60} is not the name of a folder; name a folder in {root}, without / and ..")
    if os.path.islink(path):
        raise UsageError(f"{path} is a symbolic link, through which no run is written; remove it, or choose another --name")
    return path


def find_run(text: str, root: Path) -> Path:
    """Return the run directory that the user names: a path, or the name of a run under `root`, also where data bear that name."""
    path = Path(text)
    return root / text if not os.path.exists(path / ENVIRONMENT) and os.path.isdir(root / text) else path


@contextmanager
def alone(folder: Path, does: str, option: str, place: str) -> Iterator[None]:
    """Keep other processes out of `folder`, which is made where it is missing, meanwhile.

    Args:
        does: what a process does there, in words.
        option: that chooses another folder. place: that chooses where it is made.

    Raises:
        UsageError: one is at work there.
        MemkdEdgeError: the folder cannot be written.
    """
    is_new = not os.path.exists(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise MemkdEdgeError(f"cannot open {folder}: {error.strerror}; choose another {place}") from error
    try:
        # The lock goes with the process, however it ends. Network file systems may refuse to lock a folder.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another process {does} in {folder}; wait for it, or choose another {option}") from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)
        if is_new:
            with suppress(OSError):
                folder.rmdir()  # nothing came of it


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MemkdEdgeError(f"cannot make {folder}: {error.strerror}; choose another folder with --run-root") from error


def _empty(folder: Path) -> None:
    """Remove all that `folder` holds, env.json last; the folder itself stays, and its lock with it."""
    try:
        for path in sorted(folder.iterdir(), key=lambda path: path.name == ENVIRONMENT):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise MemkdEdgeError(
            f"cannot empty {folder}: {error.strerror}; remove it, or choose another --name or --run-root"
        ) from error


def write_atomic(path: Path, data: bytes) -> Path:
    """Write `data` to `path` as `atomic_file` does."""
    with atomic_file(path) as file:
        file.write(data)
    return path


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write: at every moment the old file, or, once the block has ended, the new one, stands at `path` whole.

    What a process that was killed on the way left behind of the same file is removed.

    Raises:
        MemkdEdgeError: the file system refused (no space, no permission). Whatever ends the block, nothing is left behind.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        for left in path.parent.glob(f".{glob.escape(path.name)}.????????"):
            with suppress(FileNotFoundError):  # another process was faster
                if time.time() - left.stat().st_mtime > LEFT_S:
                    left.unlink()
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "free space there, or choose another folder" if full else "choose a folder that can be written"
            raise MemkdEdgeError(f"cannot write {path}: {error.strerror}; {remedy}") from error
        raise
