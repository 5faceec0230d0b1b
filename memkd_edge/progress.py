# SPDX-License-Identifier: Apache-2.0
"""What the long commands report while they run; `cli/progress.py` shows it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Reporter:
    """Receives what a command reports; the base class is silent.

    `run` is the directory of the run once it exists, so that an interrupted command can name it.
    """

    run: Path | None = None

    def stop_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if the user asked to stop; called between threads and files."""

    def started(self, run: Path) -> None:
        """The run directory exists; from here on the run can be resumed."""
        self.run = run

    def step(self, stage: str, done: int = 0, total: int = 0, unit: str = "", note: str = "", share: float | None = None) -> None:
        """Of `stage`, `done` of `total` have ended. Stages nest: a step of one ends those that began after it.

        Args:
            total: 0 where nothing is counted.
            unit: what is counted, in the plural.
            note: the best so far, or what is at work.
            share: of the work that has ended, in [0, 1], where units take unequally long.
        """

    def each(self, stage: str, items: Sequence[T], unit: str, named: Callable[[T], str] = str) -> Iterator[T]:
        """Yield `items`, and tell when each begins and when the last has ended."""
        for done, one in enumerate(items):
            self.step(stage, done, len(items), unit, named(one))
            yield one
        self.step(stage, len(items), len(items), unit)

    def note(self, text: str) -> None:
        """Something the user should know; the same text is shown once."""
