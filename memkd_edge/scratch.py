# SPDX-License-Identifier: Apache-2.0
"""Temporary folders that go away, also after a process that was killed: the next one sweeps up what it left."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from memkd_edge.errors import MemkdEdgeError

PREFIX = "memkd-edge-"
YOUNG_S = 60.0  # a folder this new may not be locked yet


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make an empty folder in the system's place for temporary files (TMPDIR), and remove it with all it holds in the end.

    Raises:
        MemkdEdgeError: none can be made there.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise MemkdEdgeError(
            f"cannot make a temporary folder: {error.strerror}; free space, or name a folder that can be written in TMPDIR"
        ) from error
    with folder as name:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            with suppress(OSError):  # network file systems may refuse
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it goes with the process, however that ends
            _sweep(Path(name).parent)
            yield Path(name)
        finally:
            os.close(descriptor)


def _sweep(place: Path) -> None:
    """Remove the folders whose process is gone; whatever is in the way stays."""
    for left in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if left.is_symlink() or not left.is_dir() or time.time() - left.stat().st_mtime < YOUNG_S:
                continue
            descriptor = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(descriptor)
