# SPDX-License-Identifier: Apache-2.0
"""One trial: damaged input is read, or refused in our own words, within seconds."""

import random
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from memkd_edge.errors import MemkdEdgeError
from tests.fuzz.mutations import damaged, resealed
from tests.fuzz.readers import Reader

LIMIT_S = 10.0  # of processor time, for one input
PLACE = "/dev/shm" if Path("/dev/shm").is_dir() else None  # in memory: ten times as fast as a disk that each input is flushed to


class HangError(BaseException):
    """An input took too long. Not to be caught by what reads it."""


def attempt(reader: Reader, seed: str) -> bytes:
    """Read the input that `seed` makes, and return it.

    Raises:
        whatever comes out that is none of our errors, with the input's seed as a note.
    """
    rng = random.Random(seed)
    data = damaged(rng.choice(reader.sound), reader.sound, rng)
    if b"TFL3" in data[:16]:
        data = resealed(data, rng)
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(data)
    except MemkdEdgeError as error:
        if len(str(error)) < 15:
            raise AssertionError(f"{seed}: an error without an explanation") from error
    except BaseException as error:
        error.add_note(f"fuzzing with seed {seed!r}, {len(data)} bytes: {data[:200]!r}")
        raise
    return data


@contextmanager
def _limited() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise HangError(f"still reading after {LIMIT_S} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
