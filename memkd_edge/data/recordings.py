# SPDX-License-Identifier: Apache-2.0
"""Recordings: signals of any length with a class at every sample; the counterpart of `Dataset`, which holds windows."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError

NO_CLASS = -1  # the class index of a sample that is neither learnt nor judged: ignored, or unlabelled


@dataclass(frozen=True)
class Recording:
    """One uninterrupted stretch of a recording at the uniform rate, checked: finite, one class index a sample.

    name: "s01_03", or "s01_03#2" for the second stretch after a gap. subject: "" when unknown. x: float32 [T, C], physical
    units. y: int64 [T], index into the labels, or NO_CLASS. start_s: seconds from the recording's first row to the first sample.
    stamped_hz: samples a second as the time stamps count them, 0 where it is the uniform rate.

    Raises:
        UsageError: no samples, other shapes or types than these, NaN or infinity.
    """

    name: str
    subject: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    start_s: float = 0.0
    stamped_hz: float = 0.0

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or 0 in self.x.shape or self.x.dtype != np.float32:
            raise UsageError(
                f"recording {self.name!r}: the signal is {self.x.dtype} {list(self.x.shape)}; float32 [samples, channels], at "
                "least one of each, is expected"
            )
        if self.y.shape != self.x.shape[:1] or self.y.dtype != np.int64:
            raise UsageError(
                f"recording {self.name!r}: the classes are {self.y.dtype} {list(self.y.shape)} for {len(self.x)} samples; "
                "int64, one a sample, is expected"
            )
        finite = np.isfinite(self.x).all(axis=1)
        if not finite.all():
            raise UsageError(
                f"recording {self.name!r}: NaN or infinity at sample {int(finite.argmin())} ({(~finite).sum()} such samples in "
                "all); fill the gaps or cut the recording there"
            )


@dataclass(frozen=True)
class Recordings:
    """A classification problem of recordings, checked: the same channels everywhere, every class learnt, nobody in both parts.

    train, test, unlabelled: stretches, those of one recording in order of time; in `unlabelled` every class is NO_CLASS.
    labels: class names in index order. channels, units: one per channel, "" for an unknown unit. terms: terms of use.
    source: where it came from. split: how the test part was held out.

    Raises:
        UsageError: an empty part, other numbers of channels, fewer than two classes, a class index out of range, a class that
            no training sample has, a recording or, of several, a subject in both parts, an impossible rate. The message names
            the place.
    """

    name: str
    train: tuple[Recording, ...]
    test: tuple[Recording, ...]
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    sample_rate_hz: float
    unlabelled: tuple[Recording, ...] = ()
    terms: str = ""
    source: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.sample_rate_hz < float("inf"):
            raise UsageError(f"{self.name}: a sample rate of {self.sample_rate_hz} Hz is not possible")
        if len(self.units) != len(self.channels):
            raise UsageError(f"{self.name}: {len(self.units)} units are given for {len(self.channels)} channels")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise UsageError(f"{self.name}: at least two different classes are needed, not {', '.join(self.labels) or 'none'}")
        for part, recordings in (("training", self.train), ("test", self.test)):
            if not any((recording.y != NO_CLASS).any() for recording in recordings):
                raise UsageError(f"{self.name}: the {part} part has no labelled samples")
        for recording in (*self.train, *self.test, *self.unlabelled):
            self._check(recording)
        learnt = class_counts(self.train, len(self.labels))
        judged = class_counts(self.test, len(self.labels))
        for index, label in enumerate(self.labels):
            if learnt[index] == 0:
                where = "; the test part has it" if judged[index] else ""
                raise UsageError(f"{self.name}: class {label!r} has no training samples{where}: it cannot be learnt")
        self._check_split()

    def _check(self, recording: Recording) -> None:
        if recording.x.shape[1] != len(self.channels):
            raise UsageError(
                f"recording {recording.name!r}: {recording.x.shape[1]} channels where {self.name} has {len(self.channels)} "
                f"({', '.join(self.channels)})"
            )
        if recording.y.min() < NO_CLASS or recording.y.max() >= len(self.labels):
            raise UsageError(
                f"recording {recording.name!r}: class indices from {recording.y.min()} to {recording.y.max()} where there are "
                f"{len(self.labels)} classes"
            )

    def _check_split(self) -> None:
        alone = len({r.subject for r in (*self.train, *self.test)}) == 1  # of one subject, other recordings are held out
        for what, train, test in (
            ("subject", set(), set())
            if alone
            else ("subject", {r.subject for r in self.train} - {""}, {r.subject for r in self.test}),
            ("recording", {whole_name(r.name) for r in self.train}, {whole_name(r.name) for r in self.test}),
        ):
            if shared := sorted(train & test):
                raise UsageError(
                    f"{self.name}: {what} {shared[0]!r} is in both the training and the test part, so the test would not "
                    f"measure new {what}s; split the parts by {what}"
                )
        if any((recording.y != NO_CLASS).any() for recording in self.unlabelled):
            raise UsageError(f"{self.name}: an unlabelled recording has classes")

    @cached_property
    def sha256(self) -> str:
        """Hash of signals, class indices, labels and rate (not of the files they came in)."""
        digest = hashlib.sha256("\0".join(self.labels).encode())
        digest.update(f"\0{self.sample_rate_hz!r}".encode())
        for part in (self.train, self.test, self.unlabelled):
            digest.update(len(part).to_bytes(8, "little"))
            for recording in part:
                for array in (recording.x, recording.y):
                    digest.update(str(array.shape).encode())
                    digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.hexdigest()


def whole_name(name: str) -> str:
    """Return the name of the recording that a stretch belongs to: "s01_03#2" -> "s01_03"."""
    head, mark, number = name.rpartition("#")
    return head if mark and number.isdigit() else name


def class_counts(recordings: Iterable[Recording], classes: int) -> NDArray[np.int64]:
    """Return the number of samples of each class, int64 [classes]; those of NO_CLASS are not counted."""
    counts = np.zeros(classes, dtype=np.int64)
    for recording in recordings:
        counts += np.bincount(recording.y[recording.y != NO_CLASS], minlength=classes)
    return counts
