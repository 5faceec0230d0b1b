# SPDX-License-Identifier: Apache-2.0
"""Held-out recordings as a page shows them: signals, labels, and what student and teacher decide at every sample.

A page keeps signals as int16 with one scale a channel, and the student answers what is kept, so that its replay in the page can
be compared sample by sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memkd_edge.contents import read_series, read_streams, read_teacher
from memkd_edge.contract import contract
from memkd_edge.decisions import NONE, NOT_YET, OperatingPoint, operating_points
from memkd_edge.metadata import Metadata, Resampling
from memkd_edge.padding import lengths, samples
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.runs import Run
from memkd_edge.scratch import scratch_folder
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.vocabulary import Arithmetic, Decision, InputKind, Reset
from memkd_edge.writers.tflite import write_tflite

if TYPE_CHECKING:
    from memkd_edge.nets.classifier import Classifier

FULL = 32767  # of an int16 signal
BUDGET_BYTES = 1_400_000  # of signals and scores in a page, unless told otherwise; base64 makes a third more of it
SHORTEST_WRONG_S = 0.1  # a shorter stretch of wrong decisions is not listed
SHORTEST_WRONG = 3  # samples, where the rate is not known
MOMENTS = 12
SMALLEST = np.float32(1e-12)  # of a score, in logarithms
NOISE_SAMPLES = 3000  # that replace recordings which a page may not hold


@dataclass(frozen=True)
class Recording:
    """One stream or series.

    counts: int16 [T, C]; physical value = counts * scale. labels: int64 [T], -1 where not judged. scores: float32 [T, K]
    (softmax). decisions, teacher: int64 [T], NOT_YET or NONE without a class; teacher is None where there is none that answers
    along streams.
    """

    name: str
    counts: NDArray[np.int16]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    decisions: NDArray[np.int64]
    teacher: NDArray[np.int64] | None

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Where [T] there are a label and an answer."""
        return np.asarray((self.labels >= 0) & (self.decisions != NOT_YET))

    @property
    def accuracy(self) -> float:
        """Share of the judged samples that are decided right; 1 where none is judged."""
        return float((self.decisions == self.labels)[self.judged].mean()) if self.judged.any() else 1.0

    @property
    def refused(self) -> float:
        """Share of the judged samples whose answer is none."""
        return float((self.decisions == NONE)[self.judged].mean()) if self.judged.any() else 0.0


@dataclass(frozen=True)
class Moment:
    """A stretch of wrong decisions: recording by index, samples [start, end), the class that is, the class most often decided."""

    recording: int
    start: int
    end: int
    label: int
    decided: int


@dataclass(frozen=True)
class Replay:
    """What a page shows. scale: float32 [C]. of: recordings there are; those shown may be fewer, worst first, or cut.

    noise: they are seeded noise, because the recordings are not to be given away.
    """

    metadata: Metadata
    scale: NDArray[np.float32]
    recordings: tuple[Recording, ...]
    of: int
    noise: bool = False

    @property
    def moments(self) -> list[Moment]:
        """The longest stretches of wrong decisions, longest first."""
        rate = self.metadata.sample_rate_hz
        shortest = max(SHORTEST_WRONG, round(SHORTEST_WRONG_S * rate)) if rate else SHORTEST_WRONG
        found = [
            moment for index, one in enumerate(self.recordings) for moment in _wrong(index, one) if _length(moment) >= shortest
        ]
        return sorted(found, key=lambda one: (-_length(one), one.recording, one.start))[:MOMENTS]

    def points(self) -> list[OperatingPoint]:
        """What the decisions would be worth with each margin, along the recordings shown; those with a finite median delay.

        None of a model that does not decide at every sample, or without labels.
        """
        if self.metadata.decides != Decision.EVERY_SAMPLE or self.noise:
            return []
        logits = [np.log(np.maximum(one.scores, SMALLEST)) for one in self.recordings]
        rate = self.metadata.sample_rate_hz or 1.0
        found = operating_points(logits, [one.labels for one in self.recordings], len(self.metadata.labels), rate)
        return [one for one in found if np.isfinite(one.scores.delay_median_s)]


def as_pushed(metadata: Metadata) -> Metadata:
    """Return the metadata of the same model fed with its own time steps in physical units: what a page replays."""
    use = contract(metadata, resampled=True)
    return replace(
        metadata,
        resampling=Resampling(),
        input=InputKind.NORMALISED,
        counts_per_unit=(),
        window_length=use.window or metadata.window_length,
        golden=(),
    )


def replayed(run: Run, model: QuantizedClassifier, *, noise: bool = False, budget: int = BUDGET_BYTES) -> Replay:
    """Return the run's held-out recordings with the decisions of its student as integers with int16 samples, and of its teacher.

    Args:
        model: the integer model of the run's student, for normalised samples.
        noise: replay seeded noise instead, without labels.
        budget: bytes of signals and scores that a page may hold.

    Raises:
        MemkdEdgeError: the run's files are damaged.
    """
    metadata = as_pushed(run.metadata)
    mean, std = (np.asarray(values, np.float32) for values in (metadata.mean, metadata.std))
    if noise:
        x = np.random.default_rng(0).normal(size=(NOISE_SAMPLES, len(mean))).astype(np.float32)
        pieces = [("seeded noise", x, np.full(len(x), -1))]
    else:
        pieces = _held_out(run, at_ends=contract(metadata, resampled=True).at_window_ends)
    physical = [(name, x * std + mean, y) for name, x, y in pieces]
    top = np.max([np.abs(x).max(0) for _, x, _ in physical], 0)
    scale = (np.where(top > 0, top, 1) / FULL).astype(np.float32)
    teacher = read_teacher(run) if metadata.decides == Decision.EVERY_SAMPLE and not noise else None
    if teacher is not None and teacher.spec.bidirectional:
        teacher = None
    with scratch_folder() as folder:
        file = folder / "student.tflite"
        file.write_bytes(write_tflite(model, metadata, interface=Arithmetic.INT16X8))
        student = StreamingClassifier(file)
        recordings = [_answered(student, teacher, name, x, y, scale) for name, x, y in physical]
    shown = _within_budget(sorted(recordings, key=lambda one: one.accuracy), budget)
    return Replay(metadata, scale, tuple(shown), len(recordings), noise)


def _held_out(run: Run, *, at_ends: bool) -> list[tuple[str, NDArray[np.float32], NDArray[np.int64]]]:
    """Return name, normalised x [T, C] and y [T] of each stream that is run through without a reset, or of each series.

    at_ends: the decision is read after each series and stands along the next one, so the labels stand there too.
    """
    streams = read_streams(run)
    if streams:
        return [(f"held-out stream {number}", x, y) for number, (x, y) in enumerate(streams, 1)]
    series = read_series(run)
    x, y, ends = series.x_test, series.y_test, lengths(series.x_test)
    if run.metadata.reset == Reset.NEVER:
        labels, last = np.repeat(y, ends), int(ends[0]) - 1
        if not at_ends:
            return [("test series, one after another", samples(x), labels)]
        name = "test series, one after another; label and decision are of the series before"
        return [(name, samples(x), np.concatenate([np.full(last, -1), labels[: len(labels) - last]]))]
    cut = [(one[:end], np.full(end, label)) for one, end, label in zip(x, ends, y, strict=True)]
    return [(f"test series {number}", one, label) for number, (one, label) in enumerate(cut, 1)]


def _answered(
    student: StreamingClassifier,
    teacher: Classifier | None,
    name: str,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    scale: NDArray[np.float32],
) -> Recording:
    counts = np.round(x / scale).clip(-FULL, FULL).astype(np.int16)
    student.reset()
    scores, decisions = student.stream(counts * scale)
    mean, std = (np.asarray(values, np.float32) for values in (student.metadata.mean, student.metadata.std))
    taught = None if teacher is None else _teacher_decisions(teacher, (counts * scale - mean) / std)
    return Recording(name, counts, y.astype(np.int64), scores, decisions, taught)


def _teacher_decisions(teacher: Classifier, x: NDArray[np.float32]) -> NDArray[np.int64]:
    import torch

    from memkd_edge.nets.classifier import logits_over_time

    with torch.inference_mode():
        decisions: NDArray[np.int64] = logits_over_time(teacher, torch.from_numpy(x)[None])[0].argmax(-1).numpy()
    return decisions


def _within_budget(recordings: list[Recording], budget: int) -> list[Recording]:
    """Return the first recordings that fit into a page; the last of them is cut to what is left of it."""
    kept, left = [], budget
    for one in recordings:
        count = min(len(one.counts), left // (2 * one.counts.shape[1] + one.scores.shape[1]))
        if count == 0:
            break
        left -= count * (2 * one.counts.shape[1] + one.scores.shape[1])
        kept.append(_first(one, count))
    return kept


def _first(one: Recording, count: int) -> Recording:
    if count == len(one.counts):
        return one
    taught = None if one.teacher is None else one.teacher[:count]
    name = f"{one.name}, its first {count:,} samples"
    return Recording(name, one.counts[:count], one.labels[:count], one.scores[:count], one.decisions[:count], taught)


def _wrong(index: int, one: Recording) -> list[Moment]:
    """Return every stretch in which a decision is wrong and the label stays."""
    wrong = (one.labels >= 0) & (one.decisions >= 0) & (one.decisions != one.labels)
    borders = np.flatnonzero(np.diff(wrong) | (np.diff(one.labels) != 0)) + 1
    starts = np.concatenate([[0], borders])
    ends = np.append(borders, len(wrong))
    return [
        Moment(index, int(start), int(end), int(one.labels[start]), int(np.bincount(one.decisions[start:end]).argmax()))
        for start, end in zip(starts, ends, strict=True)
        if wrong[start]
    ]


def _length(moment: Moment) -> int:
    return moment.end - moment.start
