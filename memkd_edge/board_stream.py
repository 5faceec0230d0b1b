# SPDX-License-Identifier: Apache-2.0
"""A board that says its samples over a serial port as lines of CSV: recorded with labels, or decided by a model, live.

    acc_x [m/s2],acc_y [m/s2],acc_z [m/s2]        the channels, again now and then, so that who listens later hears them
    0.125,-0.031,9.812                            one sample a line

Lines that begin with # are skipped. The sketch in examples/record of the arduino package speaks so.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from memkd_edge.decisions import NONE, NOT_YET
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.streaming import StreamingClassifier

LONGEST_LINE = 4096  # bytes
SILENT_S = 10.0  # without a line: the board says nothing
RATE_EVERY_S = 1.0  # it is looked at
RATE_AFTER_S = 5.0  # of samples, until their rate is compared with the model's
RATE_TOLERANCE = 0.1  # of the model's rate
PAUSE_S = 1.0  # after a sample was due: longer than a computer is late to hand lines on
LATEST = 256  # lines, by which it is known how far apart they usually are
LARGEST = float(np.finfo(np.float32).max)  # a larger value is damage: no recording and no model takes it
NO_NAMES = {"nan", "inf", "infinity", "ovf"}  # what boards print for a value that is no finite number


@dataclass(frozen=True)
class Reading:
    """What a line said. channels: as the board names them, without units; units: "" where it names none.

    values: one a channel, or None for a line that was damaged. seconds: when it was said, since we began to listen.
    """

    channels: tuple[str, ...]
    units: tuple[str, ...]
    values: tuple[float, ...] | None
    seconds: float


@dataclass(frozen=True)
class Moment:
    """What a model makes of a sample.

    seconds: since the first. answer: a class, NOT_YET or NONE; changed: it was another before. scores: of the classes [K], None
    until there are some. rate_hz: of the samples lately, 0 until it is known. odd: in what the signal is unlike the training
    signal, in words; None until the input monitor has read. notes: of that and of the rate, what is new.
    """

    seconds: float
    answer: int
    changed: bool
    scores: NDArray[np.float32] | None
    rate_hz: float
    odd: tuple[str, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Recorded:
    """What `record` wrote: rows, damaged lines that have none, seconds from the first row to the last."""

    rows: int
    damaged: int
    seconds: float


def readings(
    connection: Any, channels: Sequence[str] = (), *, silent_s: float = SILENT_S, clock: Callable[[], float] = time.monotonic
) -> Iterator[Reading]:
    """Yield what the board says, line by line, from the first whole line on.

    Lines that arrive together were said one after another: they are spread evenly over the time since those before, and after a
    pause as far apart as lines were before it.

    Args:
        connection: of `open_port`.
        channels: names of its columns, as it would say them, where it does not.
        silent_s: seconds without a line after which it counts as silent.

    Raises:
        UsageError: two of `channels` have the same name.
        MemkdEdgeError: the board is silent, never names its channels, or the port is gone.
    """
    names, units = _named(channels)
    if len(set(names)) < len(names):
        raise UsageError(f"two channels have the same name: {', '.join(names)}; give each its own with --channels")
    known = bool(names)  # from then on a line of another single name is a word of the board's log
    pending, whole = b"", False
    began = heard = clock()
    latest: deque[float] = deque(maxlen=LATEST)  # seconds from line to line
    while True:
        try:
            chunk = connection.read(connection.in_waiting or 1)
        except OSError as error:
            raise MemkdEdgeError(f"the port is gone ({error}); was the board unplugged?") from error
        *lines, pending = (pending + chunk).split(b"\n")
        pending = pending[-LONGEST_LINE:]
        now = clock()
        if lines:
            apart = (now - heard) / len(lines)
            usual = median(latest or [apart])
            latest.extend([apart] * len(lines))
            if now - heard - usual * len(lines) > PAUSE_S:
                apart = usual
            heard = now
        elif now - heard > silent_s:
            raise MemkdEdgeError(f"no line came for {silent_s:g} s; check port, --baud, wiring and power")
        for later, line in zip(range(len(lines) - 1, -1, -1), lines, strict=True):
            seconds = heard - began - later * apart
            text = line.decode("utf-8", errors="replace").strip()
            # What was under way when we began to listen is no whole line.
            if not whole or not text or text.startswith("#"):
                whole = True
                continue
            cells = [cell.strip() for cell in text.split(",")]
            numbers = _numbers(cells)
            if numbers is None and _is_header(cells) and (len(cells) > 1 or not known or _named(cells) == (names, units)):
                names, units = _named(cells)
            elif names:
                values = numbers if numbers is not None and len(numbers) == len(names) else None
                known = known or values is not None
                yield Reading(names, units, values, seconds)
            elif heard - began > silent_s:
                raise MemkdEdgeError(
                    "the board does not say its channels; name them with --channels, or check --baud if its lines are garbled"
                )


def record(
    source: Iterator[Reading],
    out: TextIO,
    *,
    label: Callable[[], str],
    subject: str = "",
    seconds: float = math.inf,
) -> Recorded:
    """Write readings as a recording that `distill` reads: time,subject,channels...,label; one row a sample.

    Ends after `seconds`, with `source` or with Ctrl-C; rows are flushed as they come, so what was written stays when something
    else ends it.

    Args:
        out: the file, new.
        label: says what happens now; "" for nothing that is to be learnt.
        subject: who wears the sensor; without one there is no such column.

    Raises:
        UsageError: the board names a channel as one of these other columns.
        MemkdEdgeError: as `readings`; the board names other channels or units on the way; the file cannot be written.
    """
    rows = damaged = 0
    first = last = 0.0
    said: tuple[tuple[str, ...], ...] = ()
    with suppress(KeyboardInterrupt):
        for reading in source:
            if said and reading.seconds - first >= seconds:
                break
            if reading.values is None:  # so it is, too, between the last words of a board that restarts and its next names
                damaged += 1
                continue
            if not said:
                said, first = (reading.channels, reading.units), reading.seconds
                taken = [name for name in reading.channels if name.lower() in ("time", "subject", "label")]
                if taken:
                    raise UsageError(
                        f"the board has a channel {taken[0]}, which a recording has a column of its own for; rename or leave it "
                        "out in the board's sketch"
                    )
                named = [f"{name} [{unit}]" if unit else name for name, unit in zip(*said, strict=True)]
                _write(out, ["time", *(["subject"] if subject else []), *named, "label"])
            if (reading.channels, reading.units) != said:
                raise MemkdEdgeError(
                    f"the board named other channels or units on the way ({', '.join(reading.channels)}); what came before is in "
                    "the file"
                )
            at = reading.seconds - first
            # Nine digits hold every float32 and count of 24 bits.
            _write(out, [f"{at:.6f}", *([subject] if subject else []), *(f"{value:.9g}" for value in reading.values), label()])
            rows, last = rows + 1, at
    return Recorded(rows, damaged, last)


def watch(source: Iterator[Reading], classifier: StreamingClassifier) -> Iterator[Moment]:
    """Push readings into `classifier`, whose channels are found by name, and yield what it makes of each that is whole.

    Raises:
        UsageError: the board lacks a channel of the model, or says it in another unit.
        MemkdEdgeError: as `readings`.
    """
    model_rate, monitor = classifier.metadata.sample_rate_hz, classifier.monitor()
    rate = model_rate  # None once it was compared
    columns: list[int] = []
    said: tuple[tuple[str, ...], ...] = ()
    answer, odd, kinds = NOT_YET, None, None
    samples, start, latest, rate_hz = 0, 0.0, 0.0, 0.0
    begun = counted = (0, 0.0)  # samples and seconds at the last pause, and where their rate was looked at
    for reading in source:
        if not samples:
            start = latest = reading.seconds
        samples += 1
        pause, latest = reading.seconds - latest, reading.seconds
        notes: list[str] = []
        if model_rate and pause - 1 / model_rate > PAUSE_S:
            classifier.gap(round(pause * model_rate) - 1)
            begun = counted = (samples - 1, latest - start)
            notes.append(f"no sample came for {pause:.1f} s")
        if reading.values is None:  # so it is, too, between a crash's last words, which look like a name, and the next names
            classifier.gap(1)
            continue
        if (reading.channels, reading.units) != said:
            said, columns = (reading.channels, reading.units), _columns(reading, classifier.metadata)
        sample = [reading.values[column] for column in columns]
        scores, before = classifier.push(sample), answer
        seconds = reading.seconds - start
        if seconds - counted[1] >= RATE_EVERY_S:
            rate_hz = (samples - 1 - counted[0]) / (seconds - counted[1])
            counted = (samples - 1, seconds)
        if rate and seconds - begun[1] > RATE_AFTER_S:
            found = (samples - 1 - begun[0]) / (seconds - begun[1])
            if abs(found - rate) > RATE_TOLERANCE * rate:
                notes.append(f"samples come at {found:.1f} a second; the model was trained on {rate:g}")
            rate = None
        if (read := monitor.push(sample)) is not None:
            if (read.odd_channels, read.odd) != kinds:
                notes += read.sentences or ["the signal is as in training"] * (odd is not None)
            odd, kinds = tuple(read.sentences), (read.odd_channels, read.odd)
        if scores is not None:
            answer = NONE if classifier.refused else NOT_YET if classifier.decision is None else classifier.decision
        yield Moment(seconds, answer, answer != before, scores, rate_hz, odd, tuple(notes))


def _columns(reading: Reading, metadata: Metadata) -> list[int]:
    """Return where the board says the model's channels.

    Raises:
        UsageError: it lacks one, or says it in another unit.
    """
    missing = [name for name in metadata.channels if name not in reading.channels]
    if missing:
        raise UsageError(
            f"the board has no channel {', '.join(missing)}: it says {', '.join(reading.channels)}; the model needs "
            f"{', '.join(metadata.channels)}"
        )
    columns = [reading.channels.index(name) for name in metadata.channels]
    for name, unit, column in zip(metadata.channels, metadata.units, columns, strict=True):
        says = reading.units[column]
        if unit and says and unit != says:
            raise UsageError(f"the board says {name} in {says}, and the model takes {unit}; convert it in the board's sketch")
    return columns


def new_file(path: Path) -> TextIO:
    """Open a new recording.

    Raises:
        UsageError: a file stands there.
        MemkdEdgeError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("x", encoding="utf-8", newline="")
    except FileExistsError:
        raise UsageError(f"{path} exists; name another file with --out") from None
    except OSError as error:
        raise MemkdEdgeError(f"cannot write {path}: {error.strerror}; name another file with --out") from error


def _write(out: TextIO, cells: Sequence[str]) -> None:
    import csv

    try:
        csv.writer(out, lineterminator="\n").writerow(cells)
        out.flush()
    except OSError as error:
        raise MemkdEdgeError(f"cannot write {out.name}: {error.strerror}; free space there") from error


def _numbers(cells: Sequence[str]) -> tuple[float, ...] | None:
    with suppress(ValueError):
        numbers = tuple(float(cell) for cell in cells)
        return numbers if all(abs(number) <= LARGEST for number in numbers) else None  # nan neither
    return None


def _is_header(cells: Sequence[str]) -> bool:
    """All cells of a header are text that begins with a letter, none says that a value is no number, and no two name the same.

    What a wrong --baud makes of lines has bytes that are no UTF-8, or control characters.
    """
    if not all(cell[:1].isalpha() and cell.isprintable() and "\ufffd" not in cell for cell in cells):
        return False
    names, _ = _named(cells)
    return len(set(names)) == len(names) and not NO_NAMES & {cell.lower() for cell in cells}


def _named(cells: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split `acc_x [m/s2]` into name and unit."""
    parts = [cell.partition("[") for cell in cells]
    return tuple(name.strip() for name, _, _ in parts), tuple(unit.rstrip("] ") for _, _, unit in parts)
