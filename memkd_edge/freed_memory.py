# SPDX-License-Identifier: Apache-2.0
"""Keeps freed memory for the next training step instead of giving it back to the system.

Every step of a teacher takes and frees some hundred MB in large blocks. glibc maps each such block anew and the system clears its
pages: a third of a step's CPU time.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt
MOST_KEPT = 2**31 - 1
DEFAULTS = {TRIM_THRESHOLD: 128 * 1024, MMAP_MAX: 65536}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the process keep what it frees meanwhile, and give it back at the end; without glibc nothing changes."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, MOST_KEPT)
    try:
        yield
    finally:
        for parameter, value in DEFAULTS.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)
