# SPDX-License-Identifier: Apache-2.0
"""Progress on stderr: on a terminal bars with the time left and the best so far; elsewhere a dated line now and then."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from memkd_edge.cli.tables import literal
from memkd_edge.progress import Reporter

LINE_EVERY_S = 10.0
QUIET_S = 1.0  # at the start, and after a line: what takes less has none


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


class _Bars(Progress):
    """A bar for each stage, and below them what Ctrl-C brought about; it vanishes in the end."""

    def __init__(self, interrupts: Interrupts, *, disable: bool = False) -> None:
        columns = (
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=18)),
            BarColumn(bar_width=10, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[count]}", markup=False, table_column=Column(no_wrap=True)),
            _LeftColumn(Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column()),
        )
        self.interrupts = interrupts
        super().__init__(*columns, console=Console(stderr=True), transient=True, disable=disable)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.interrupts.asked:
            yield Text("stopping when what is at work has ended; Ctrl-C again stops at once")


class _LeftColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_left(task))


class _Display(Reporter):
    """Keeps the stages as bars, which show themselves."""

    def __init__(self, bars: _Bars, interrupts: Interrupts) -> None:
        self.bars = bars
        self.interrupts = interrupts
        self.noted: set[str] = set()

    def stop_if_interrupted(self) -> None:
        self.interrupts.stop_if_asked()

    def step(self, stage: str, done: int = 0, total: int = 0, unit: str = "", note: str = "", share: float | None = None) -> None:
        self.stop_if_interrupted()
        now = time.monotonic()
        share = done / max(total, 1) if share is None else share
        stage = literal(stage)
        names = [task.description for task in self.bars.tasks]
        at = names.index(stage) if stage in names else len(names)
        # A stage that falls back begins anew.
        known = at < len(names) and share >= self.bars.tasks[at].fields["share"]
        for task in self.bars.tasks[at + known :]:
            self.bars.remove_task(task.id)
        if not known:
            self.bars.add_task(
                stage, total=1 if total else None, began=now, begins_at=share, share=share, now=now, left=0.0, count="", note=""
            )
        task = self.bars.tasks[-1]
        begins_at = task.fields["begins_at"]
        left = (now - task.fields["began"]) * (1 - share) / (share - begins_at) if share > begins_at else 0.0
        count = f"{done:,} of {total:,} {unit}".rstrip() if total else ""
        self.bars.update(task.id, completed=share, share=share, now=now, left=left, count=count, note=literal(note))
        self.shown(task, began=not known)

    def shown(self, task: Task, *, began: bool) -> None:
        """A stage has begun, or changed."""

    def note(self, text: str) -> None:
        if text not in self.noted:
            self.noted.add(text)
            self.say(literal(text))

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.bars.console.print(text, highlight=False, markup=False)


class _Lines(_Display):
    """Says now and then how far it is: when a stage begins or ends, and every few seconds."""

    def __init__(self, bars: _Bars, interrupts: Interrupts) -> None:
        super().__init__(bars, interrupts)
        self.began = time.monotonic()
        self.last = self.began - LINE_EVERY_S

    def shown(self, task: Task, *, began: bool) -> None:
        now = time.monotonic()
        ended = task.completed == task.total
        if now - self.began >= QUIET_S and now - self.last >= (QUIET_S if began or ended else LINE_EVERY_S):
            self.last = now
            self.say(", ".join(filter(None, [task.description, task.fields["count"], task.fields["note"], _left(task)])))

    def say(self, text: str) -> None:
        print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}", file=sys.stderr, flush=True)


def _left(task: Task) -> str:
    """Return the time to go in words: to the hour, minute or second, "" when it is unknown or over."""
    seconds = task.fields["left"] - (time.monotonic() - task.fields["now"])
    for unit, length in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * length or unit == "s":
            break
    return f"{seconds / length:.0f} {unit} left" if seconds >= 1 else ""


@contextmanager
def reporter(*, takes_interrupts: bool = False) -> Iterator[Reporter]:
    """Yield a reporter that suits stderr: bars on a terminal, lines elsewhere.

    Args:
        takes_interrupts: Ctrl-C ends what is at work at a place of its own, where it can go on from; otherwise at once.
    """
    with _interrupts() if takes_interrupts else nullcontext(Interrupts()) as interrupts:
        bars = _Bars(interrupts, disable=not sys.stderr.isatty())
        if bars.disable or bars.console.is_dumb_terminal:
            yield _Lines(bars, interrupts)
            return
        with bars:
            yield _Display(bars, interrupts)


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
