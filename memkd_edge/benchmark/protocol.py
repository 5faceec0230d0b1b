# SPDX-License-Identifier: Apache-2.0
"""Parses what the runner (firmware_bench/runner/runner.c) says: `key=value` lines, from a pipe, a file or a UART alike."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import MemkdEdgeError

PROTOCOL = 1  # as runner.c says in its first line
_LINE = re.compile(
    r"(?P<key>protocol|steps|arena|arena_used|state_bytes|stack|overhead|ticks|fault)=(?P<number>\d{1,19})"
    r"|logits\.(?P<step>\d{1,9})=(?P<logits>[-0-9a-f]{1,11}( [-0-9a-f]{1,11})*)"
    r"|done=(?P<hash>[0-9a-f]{8})",
    re.ASCII,
)
_FIRST = re.compile(r"protocol=\d{1,19}\Z", re.ASCII)


@dataclass
class Result:
    """A complete measurement.

    logits: [steps, K] as sent, float32 or int32. ticks: of every timed step, all passes in order, the runner's own overhead
    taken off. stack: bytes below the caller. state_bytes: size of the model's state. arena: the least bytes in which an
    interpreter can plan the model, 0 without one; arena_used: bytes in use after planning.
    """

    steps: int = 0
    arena: int = 0
    arena_used: int = 0
    state_bytes: int = 0
    stack: int = 0
    overhead: int = 0
    ticks: list[int] = field(default_factory=list)
    logits: NDArray[np.generic] = field(default_factory=lambda: np.zeros((0, 0), np.int32))


class Parser:
    """Takes the runner's lines one at a time; foreign lines are skipped, a device that was reset begins anew.

    A reset cuts a line anywhere, so that the first one may come behind a piece of another. What comes before the first line,
    as from a port that is opened while the device speaks, counts for nothing.
    """

    def __init__(self, *, floats: bool) -> None:
        self.floats = floats
        self._begin()

    def _begin(self) -> None:
        self.checksum = 2166136261  # of the lines so far
        self._lines: list[re.Match[str]] = []

    def push(self, line: str) -> Result | None:
        """Take one line; return the result when it is the last.

        Raises:
            MemkdEdgeError: the device met a fault, or the lines were damaged on their way.
        """
        text = line.strip()
        if first := _FIRST.search(text):
            self._begin()
            text = first[0]
        match = _LINE.fullmatch(text)
        if match is None:
            return None
        if match["key"] == "fault":
            raise MemkdEdgeError("the program met a hardware fault on the device; does the model need an FPU it lacks?")
        if not first and not self._lines:
            return None
        if match["hash"]:
            return self._finish(int(match["hash"], 16))
        self.checksum = fnv1a(text + "\n", self.checksum)
        self._lines.append(match)
        return None

    def _finish(self, sent_hash: int) -> Result:
        if sent_hash != self.checksum:
            raise MemkdEdgeError("lines from the device were lost or damaged (checksum); lower the baud rate or check the cable")
        try:
            return _result(self._lines, self.floats)
        except (ValueError, OverflowError) as error:
            raise MemkdEdgeError(
                f"the device does not speak this version's protocol ({error}); build its firmware anew"
            ) from error


def _result(lines: Iterable[re.Match[str]], floats: bool) -> Result:
    """Return what lines of a right checksum say.

    Raises:
        ValueError, OverflowError: the numbers fit neither each other nor their types.
    """
    result, rows = Result(), {}
    for match in lines:
        if match["step"]:
            rows[int(match["step"])] = [int(word, 16 if floats else 10) for word in match["logits"].split()]
        elif match["key"] == "ticks":
            result.ticks.append(int(match["number"]))
        elif match["key"] == "protocol":
            if int(match["number"]) != PROTOCOL:
                raise ValueError(f"protocol {match['number']}, not {PROTOCOL}")
        else:
            setattr(result, match["key"], int(match["number"]))
    if len(rows) != result.steps or any(step >= result.steps for step in rows):
        raise ValueError(f"logits of {len(rows)} steps where there are {result.steps}")
    ordered = [rows[step] for step in sorted(rows)]
    result.logits = np.array(ordered, np.uint32).view(np.float32) if floats else np.array(ordered, np.int32)
    if result.logits.ndim != 2:
        raise ValueError("no logits")
    result.ticks = [ticks - result.overhead for ticks in result.ticks]
    return result


def parse(lines: Iterable[str], *, floats: bool) -> Result:
    """Return the measurement in `lines`.

    Raises:
        MemkdEdgeError: a fault, damage, or no complete measurement.
    """
    parser = Parser(floats=floats)
    for line in lines:
        result = parser.push(line)
        if result is not None:
            return result
    raise MemkdEdgeError("the measurement ended early: the runner's last line never came")


def fnv1a(text: str, value: int = 2166136261) -> int:
    """Return the 32-bit FNV-1a hash of `text`, going on from `value`."""
    for byte in text.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value
