# SPDX-License-Identifier: Apache-2.0
"""Progress on stderr: on a terminal a live line each for comparison, teachers and students; elsewhere a line now and then."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from memkd_edge.cli.tables import literal
from memkd_edge.progress import Reporter

LINE_EVERY_S = 10.0


class Interrupts:
    """Handles Ctrl-C: the first asks to stop when the epoch in progress has ended, the second stops at once."""

    asked = False

    def handle(self, *_: object) -> None:
        """Take a signal."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def stop_if_asked(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.asked:
            raise KeyboardInterrupt


class _Live(Reporter):
    def __init__(self, bars: Progress, interrupts: Interrupts) -> None:
        self.bars = bars
        self.interrupts = interrupts
        self.tasks: dict[str, TaskID] = {}
        self.overview = ""
        self.noted: set[str] = set()

    def stop_if_interrupted(self) -> None:
        self.interrupts.stop_if_asked()

    def teacher(self, epoch: int, epochs: int, loss: float) -> None:
        self._show("teachers", epoch, epochs, f"training loss {loss:.3f}")

    def population(self, epoch: int, epochs: int, best: float, median: float) -> None:
        self._show("students", epoch, epochs, f"validation score best {best:.3f}  median {median:.3f}")

    def refit(self, epoch: int, epochs: int) -> None:
        self._show("refit", epoch, epochs, "the chosen students, on all training series")

    def study(self, run: str) -> None:
        for name in [name for name in self.tasks if name != "sets"]:
            self.bars.remove_task(self.tasks.pop(name))
        self.bars.update(self.tasks["sets"], note="; ".join(filter(None, [f"training {run}", self.overview])))

    def compared(self, done: int, total: int, left_s: float | None, leader: str) -> None:
        self.overview = "; ".join(filter(None, [_left(left_s), leader]))
        self._show("sets", done, total, self.overview)

    def classified(self, done: int, total: int) -> None:
        self._show("samples", done, total, "")

    def note(self, text: str) -> None:
        if text not in self.noted:
            self.noted.add(text)
            self.bars.console.print(literal(text), highlight=False, markup=False)

    def _show(self, name: str, epoch: int, epochs: int, note: str) -> None:
        self.stop_if_interrupted()
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=epochs, note="")
        self.bars.update(self.tasks[name], completed=epoch, total=epochs, note=note)


class _Lines(Reporter):
    def __init__(self, interrupts: Interrupts) -> None:
        self.interrupts = interrupts
        self.last = 0.0
        self.noted: set[str] = set()

    def stop_if_interrupted(self) -> None:
        self.interrupts.stop_if_asked()

    def teacher(self, epoch: int, epochs: int, loss: float) -> None:
        self._show(f"teachers: epoch {epoch}/{epochs}, training loss {loss:.3f}", epoch == epochs)

    def population(self, epoch: int, epochs: int, best: float, median: float) -> None:
        text = f"students: epoch {epoch}/{epochs}, validation score best {best:.3f}, median {median:.3f}"
        self._show(text, epoch == epochs)

    def refit(self, epoch: int, epochs: int) -> None:
        self._show(f"refit: epoch {epoch}/{epochs} of the chosen students on all training series", epoch == epochs)

    def study(self, run: str) -> None:
        self._show(run, True)

    def compared(self, done: int, total: int, left_s: float | None, leader: str) -> None:
        self._show("; ".join(filter(None, [f"{done} of {total} data sets", _left(left_s), leader])), True)

    def classified(self, done: int, total: int) -> None:
        self._show(f"{done:,} of {total:,} samples", done == total)

    def note(self, text: str) -> None:
        if text not in self.noted:
            self.noted.add(text)
            self._show(text, True)

    def _show(self, text: str, last: bool) -> None:
        self.stop_if_interrupted()
        if last or time.monotonic() - self.last >= LINE_EVERY_S:
            self.last = time.monotonic()
            print(literal(text), file=sys.stderr, flush=True)


def _left(seconds: float | None) -> str:
    """Return the time to go in words: to the hour, minute or second, "" when it is unknown or over."""
    if not seconds:
        return ""
    for unit, length in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * length or unit == "s":
            break
    return f"about {seconds / length:.0f} {unit} left"


def _columns() -> tuple[ProgressColumn, ...]:
    """Return a bar's columns: the note alone may wrap, so that numbers and bars stay at 80 columns."""
    return (
        TextColumn("{task.description:>8}"),
        BarColumn(bar_width=12, table_column=Column(no_wrap=True)),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column()),
    )


@contextmanager
def reporter(*, takes_interrupts: bool = True) -> Iterator[Reporter]:
    """Yield a reporter that suits stderr, bars on a terminal and plain lines elsewhere, and that takes Ctrl-C meanwhile.

    Args:
        takes_interrupts: what is at work ends at a place of its own; otherwise Ctrl-C ends it at once.
    """
    with _interrupts() if takes_interrupts else nullcontext(Interrupts()) as interrupts:
        if not sys.stderr.isatty():
            yield _Lines(interrupts)
            return
        with Progress(*_columns(), console=Console(stderr=True)) as bars:
            yield _Live(bars, interrupts)


@contextmanager
def _interrupts() -> Iterator[Interrupts]:
    interrupts = Interrupts()
    before = signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def typed_labels(first: str) -> Callable[[], str]:
    """Return a function that says the label typed last, `first` until one is; a thread reads them from stdin, a line each."""
    latest = [first]

    def read() -> None:
        for line in sys.stdin:
            latest[0] = line.strip()

    threading.Thread(target=read, daemon=True).start()
    return lambda: latest[0]
