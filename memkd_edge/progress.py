# SPDX-License-Identifier: Apache-2.0
"""What the long commands report while they run; `cli/progress.py` shows it."""

from pathlib import Path


class Reporter:
    """Receives what `distill`, `compare` and `classify` report; the base class is silent.

    `run` is the directory of the run once it exists, so that an interrupted command can name it.
    """

    run: Path | None = None

    def stop_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if the user asked to stop; called between threads and files."""

    def started(self, run: Path) -> None:
        """The run directory exists; from here on the run can be resumed."""
        self.run = run

    def teacher(self, epoch: int, epochs: int, loss: float) -> None:
        """An epoch of teacher training ended; epochs of all teachers together, and one's training loss."""

    def population(self, epoch: int, epochs: int, best: float, median: float) -> None:
        """An epoch of all students ended; `best` and `median` are over the students' scores on held-out series."""

    def refit(self, epoch: int, epochs: int) -> None:
        """An epoch of the chosen students on all training series ended."""

    def study(self, run: str) -> None:
        """Of a comparison, the run of that name begins."""

    def compared(self, done: int, total: int, left_s: float | None, leader: str) -> None:
        """So many data sets of a comparison have ended; `left_s`: seconds to go, once they can be told; `leader`: in words."""

    def classified(self, done: int, total: int) -> None:
        """So many samples of recordings have been classified."""

    def note(self, text: str) -> None:
        """Something the user should know; the same text is shown once."""
