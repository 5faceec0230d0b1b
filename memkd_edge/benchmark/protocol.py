# SPDX-License-Identifier: Apache-2.0
"""Parses what the runner (firmware_bench/runner/runner.c) says: `key=value` lines, from a pipe, a file or a UART alike."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import MemkdEdgeError

_LINE = re.compile(
    r"(?P<key>protocol|steps|arena|arena_used|state_bytes|stack|overhead|ticks|fault)=(?P<number>\d+)"
    r"|logits\.(?P<step>\d+)=(?P<logits>[-0-9a-f]+( [-0-9a-f]+)*)"
    r"|done=(?P<hash>[0-9a-f]{8})",
    re.ASCII,
)


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
    """Takes the runner's lines one at a time; foreign lines are skipped, a device that was reset begins anew."""

    def __init__(self, *, floats: bool) -> None:
        self.floats = floats
        self._begin()

    def _begin(self) -> None:
        self._hash = 2166136261
        self._result = Result()
        self._rows: dict[int, list[str]] = {}

    def push(self, line: str) -> Result | None:
        """Take one line; return the result when it is the last.

        Raises:
            MemkdEdgeError: the device met a fault, or the lines were damaged on their way.
        """
        text = line.strip()
        match = _LINE.fullmatch(text)
        if match is None:
            return None
        key = match["key"]
        if match["hash"]:
            return self._finish(int(match["hash"], 16))
        if key == "fault":
            raise MemkdEdgeError("the program met a hardware fault on the device; does the model need an FPU it lacks?")
        if key == "protocol":
            self._begin()
        self._hash = fnv1a(text + "\n", self._hash)
        if match["step"]:
            self._rows[int(match["step"])] = match["logits"].split()
        elif key == "ticks":
            self._result.ticks.append(int(match["number"]))
        elif key != "protocol":
            setattr(self._result, key, int(match["number"]))
        return None

    def _finish(self, sent_hash: int) -> Result:
        result = self._result
        if sent_hash != self._hash or sorted(self._rows) != list(range(result.steps)):
            raise MemkdEdgeError("lines from the device were lost or damaged (checksum); lower the baud rate or check the cable")
        rows = [self._rows[step] for step in range(result.steps)]
        if self.floats:
            bits = np.array([[int(word, 16) for word in row] for row in rows], np.uint32)
            result.logits = bits.view(np.float32)
        else:
            result.logits = np.array([[int(word) for word in row] for row in rows], np.int32)
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
