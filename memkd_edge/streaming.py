# SPDX-License-Identifier: Apache-2.0
"""Runs an exported model on a live signal: `StreamingClassifier` takes one raw sample at a time and gives class scores.

    classifier = StreamingClassifier("model.tflite")
    for sample in sensor:                      # physical units, one value per channel
        scores = classifier.push(sample)
        if classifier.decision is not None:
            print(classifier.labels[classifier.decision], scores.max())

All that it needs stands in the file: labels, normalisation, resampling, scales, and what the model is for (`metadata.reset` and
`.decides`), which it obeys:

    never, every_sample   one state for ever, a decision at every sample
    never, window_end     one state for ever, a decision after every `window_length` samples
    window                two states, half a window apart, each reset after a window; the older one gives the scores
    event                 one state; the caller begins each series with `reset`

Recordings that lie there whole go through `stream` and `classify`, which run the file's integers without an interpreter,
hundreds of times as fast.
"""

import operator
import os
from math import exp, hypot, inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import divide, subtract
from numpy.typing import ArrayLike, NDArray

from memkd_edge.contract import contract
from memkd_edge.data.columns import split_unit
from memkd_edge.data.real_numbers import NOT_REAL, float32_array
from memkd_edge.data.resampling import StreamingResampler, resample
from memkd_edge.decisions import NONE, NOT_YET, held_classes, refused
from memkd_edge.errors import UsageError
from memkd_edge.input_monitor import InputMonitor
from memkd_edge.metadata import Resampling
from memkd_edge.paths import path_text
from memkd_edge.quantization import batch
from memkd_edge.quantization.batch import CHUNK
from memkd_edge.scores import softmax
from memkd_edge.step_models import StepModel, load_step_model
from memkd_edge.toolchain import naming_missing_packages
from memkd_edge.vocabulary import InputKind

_BARE = (np.ndarray, list, tuple)  # neither names of channels nor a mask stand beside their numbers
_LARGEST = 1e15  # a larger sample counts as this one: float32 arithmetic on it stays finite, and it saturates all the same


class Streamed(NamedTuple):
    """What became of many samples: scores float32 [T, K] (softmax) and the answers, int64 [T]: a class, -1 not yet, -2 none."""

    scores: NDArray[np.float32]
    decisions: NDArray[np.int64]


class _Lane:
    """One run of the model along the stream. age: samples since its reset; waits: samples until it begins."""

    def __init__(self, model: StepModel, resampling: Resampling, waits: int) -> None:
        self._begins = waits
        self.steps = model.new_stream()
        self.resampler = StreamingResampler(resampling)
        self.begin()

    def begin(self) -> None:
        """Stand where the stream begins."""
        self.waits = self._begins
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.age = 0
        self.steps.reset()
        self.resampler.reset()


class StreamingClassifier:
    """A streaming model loaded from an exported .tflite or .onnx file.

    metadata: what the file says about itself. labels: class names, in the order of the scores. decision: index of the class
    that is held after the latest sample, None for not yet and where the model refuses; another takes over where it leads by more
    than `metadata.decision_margin`. refused: the answer is none, as the class held leads by less than `metadata.refuse_below`.
    """

    @naming_missing_packages()
    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Load the file; it is checked whole before a native runtime sees it.

        Raises:
            UsageError: no such file, or it is neither .tflite nor .onnx.
            MemkdEdgeError: the file is damaged, foreign or stripped, or no streaming model.
            MissingToolError: no runtime for it is installed.
        """
        self.metadata, self._model = load_step_model(Path(path_text(path, "StreamingClassifier")))
        self.labels = self.metadata.labels
        self.decision: int | None = None
        self.refused = False
        self._held: int | None = None
        self._mean, self._std = (np.asarray(values, np.float32) for values in (self.metadata.mean, self.metadata.std))
        self._counts = np.asarray(self.metadata.counts_per_unit, np.float32)
        self._margin = self._model.margin(self.metadata.decision_margin)
        below = self.metadata.refuse_below
        self._floor = -inf if below is None else self._model.margin(below)
        self._window = self.metadata.window_length
        self._resamples = self.metadata.resampling.kind != "none"
        self._use = contract(self.metadata, resampled=False)
        self._staggered = self._use.staggered
        begins = (0, self._window // 2) if self._staggered else (0,)
        self._lanes = [_Lane(self._model, self.metadata.resampling, waits) for waits in begins]
        self._latest: list[float] | None = None
        self._missing = 0  # samples of a gap, which the next sample fills
        # What `push` looks up and works in.
        self._shape = self._mean.shape
        self._at_window_ends, self._not_yet = self._use.at_window_ends, self._use.not_yet
        self._refuses = self._use.refuses
        self._normalises = self.metadata.input == InputKind.NORMALISED
        self._centred, self._normalised = np.zeros_like(self._mean), np.zeros_like(self._mean)
        self._plain = not self._resamples and not self._staggered
        self._classes = range(len(self.labels))
        self._exponentials = np.array([exp(-below * self._model.unit) for below in range(self._model.levels)])
        self._weights: Any = self._exponentials.tolist()
        self._scores = np.zeros(len(self.labels), np.float32)
        self._score_memory: Any = self._scores.data

    def push(self, sample: ArrayLike) -> NDArray[np.float32] | None:
        """Take one sample.

        Args:
            sample: [C], physical units, channels in the order of `metadata.channels`.

        Returns:
            Scores (softmax) after this sample, float32 [K], or None if the resampling front end waits for more samples.

        Raises:
            UsageError: not C finite numbers.
        """
        if type(sample) not in _BARE or (type(sample) is np.ndarray and sample.dtype.kind in NOT_REAL):
            sample = self._bare(sample, f"a sample is {len(self._mean)} numbers")
        try:
            values = np.asarray(sample, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"a sample is {len(self._mean)} numbers: {error}") from error
        numbers = values.tolist()
        if values.shape != self._shape or not hypot(*numbers) < _LARGEST:
            values = self._checked(values)
            numbers = values.tolist()
        if self._missing:
            self._fill()
        self._latest = numbers
        if self._plain:
            lane = self._lanes[0]
            age = lane.age = lane.age + 1
            if self._normalises:  # as `_model_input`, in memory that stays
                values = divide(subtract(values, self._mean, self._centred), self._std, self._normalised)
            else:
                values = self._model_input(values)
            logits = lane.steps.step(values)
        else:
            taken, age = self._take(values)
            if taken is None:
                return None
            logits = taken
        largest, held = max(logits), self._held
        overtaken = held is None or largest - logits[held] > self._margin
        if (overtaken or self._refuses) and self._decides(age):
            if held is None or overtaken:
                held = logits.index(largest)
            self._answer(held, self._refuses and self._unsure(logits, held))
        # The softmax: a few numbers are quicker without numpy, and integers quickest from a table.
        weights, scores, total = self._weights, self._score_memory, 0.0
        if weights:
            for value in logits:
                total += weights[largest - value]
            for index in self._classes:
                scores[index] = weights[largest - logits[index]] / total
        else:
            for value in logits:
                total += exp(value - largest)
            for index in self._classes:
                scores[index] = exp(logits[index] - largest) / total
        return self._scores.copy()

    def stream(self, samples: ArrayLike) -> Streamed:
        """Take many samples at once, as `push` takes them one by one, and go on from where it stood.

        Args:
            samples: [T, C], physical units.

        Returns:
            One row for each time step of the model: fewer than samples where it resamples. Of an integer file they are those of
            its integers in TensorFlow Lite Micro; `push` runs LiteRT, which an exact tie in rounding takes one unit lower
            (SPEC.md).

        Raises:
            UsageError: not C finite numbers each.
        """
        values = self._checked_series(samples, 2)
        if self._missing and len(values):
            self._fill()
        scores, decisions = np.empty((len(values), len(self.labels)), np.float32), np.empty(len(values), np.int64)
        end = 0
        for start in range(0, len(values), CHUNK):
            part = _bounded(values[start : start + CHUNK])
            logits, ages = self._one_by_one(part) if self._resamples else self._at_once(part)
            begin, end = end, end + len(logits)
            if len(logits):
                scores[begin:end], decisions[begin:end] = self._softmax(logits), self._answers(logits, ages)
        if len(values):
            self._latest = values[-1].tolist()
        return Streamed(scores[:end], decisions[:end])

    def classify(self, windows: ArrayLike) -> NDArray[np.float32]:
        """Classify whole series, each from a reset. The stream that `push` is in goes on undisturbed.

        Args:
            windows: [N, T, C], physical units.

        Returns:
            Scores after the last sample of each, float32 [N, K]; equal to the file in TensorFlow Lite Micro, as of `stream`.

        Raises:
            UsageError: not such series, values that are not finite, or series too short for the resampling front end.
        """
        return self.decide(windows).scores

    def decide(self, windows: ArrayLike) -> Streamed:
        """Do the same, and return a row a series: beside its scores its answer after the last sample.

        Raises:
            UsageError: as `classify`.
        """
        values = self._checked_series(windows, 3)
        scores, decisions = np.empty((len(values), len(self.labels)), np.float32), np.full(len(values), NOT_YET)
        at_once = max(1, CHUNK // max(1, values.shape[1]))
        for start in range(0, len(values), at_once):
            part = resample(_bounded(values[start : start + at_once]), self.metadata.resampling)
            if part.shape[1] == 0:
                raise UsageError(f"series of {values.shape[1]} samples are too short for the model")
            rows = slice(start, start + len(part))
            last = self._model.run_each(self._model_input(part))[:, -1]
            scores[rows] = self._softmax(last)
            if values.shape[1] > self._use.not_yet:
                best = last.argmax(-1)
                decisions[rows] = np.where(refused(last, best, self._floor), NONE, best) if self._use.refuses else best
        return Streamed(scores, decisions)

    def reset(self) -> None:
        """Forget the signal so far: the next sample is the first. Of a model for events this begins a series."""
        self._latest = None
        self._missing = 0
        self._answer(None, refused=False)
        for lane in self._lanes:
            lane.begin()

    def gap(self, samples: int) -> None:
        """Say that so many samples are missing before the next one.

        A gap of up to `metadata.hold_limit` samples is filled with the last one when the next sample comes; after a longer one
        the stream begins anew. Missing samples that are reported one after another are one gap.

        Raises:
            UsageError: a negative number, or no whole one.
        """
        try:
            whole = operator.index(samples)
        except TypeError:
            whole = -1
        if whole < 0:
            raise UsageError(f"a gap has a whole number of samples, 0 or more, not {samples!r}")
        if self._latest is None or samples > self._use.hold - self._missing:
            self.reset()
        else:
            self._missing += samples

    def _fill(self) -> None:
        """Hold the last sample over the gap."""
        missing, self._missing = self._missing, 0
        self.stream(np.tile(np.array(self._latest, np.float32), (missing, 1)))

    def monitor(self) -> InputMonitor:
        """Return a monitor of what this file is given; it sees samples as the file's integers."""
        return InputMonitor(self.metadata, self._model.grids(self.metadata))

    def predict(self, series: ArrayLike) -> NDArray[np.float32]:
        """Classify a whole series [T, C] in physical units; return the scores after its last sample, float32 [K].

        The stream is reset before and after.

        Raises:
            UsageError: not such a series, or too short for the resampling front end.
        """
        self.reset()
        scores = self.stream(series).scores
        self.reset()
        if len(scores) == 0:
            raise UsageError(f"a series of {len(np.asarray(series))} samples is too short for the model")
        last: NDArray[np.float32] = scores[-1]
        return last

    def _take(self, values: NDArray[np.float32]) -> tuple[list[float] | None, int]:
        """Take one sample into all lanes; return the logits of the oldest, None while its resampler waits, and its age."""
        oldest, age = None, 0
        steps = None if self._resamples else (self._model_input(values),)
        for lane in self._lanes:
            if lane.waits:
                lane.waits -= 1
                continue
            if self._staggered and lane.age == self._window:
                lane.reset()
            lane.age += 1
            logits = None
            for step in steps or map(self._model_input, lane.resampler.push(values)):
                logits = lane.steps.step(step)
            if lane.age > age:
                oldest, age = logits, lane.age
        return oldest, age

    def _one_by_one(self, samples: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the logits [T', K] that samples [T, C] give, and the deciding lane's age after each."""
        taken = [self._take(sample) for sample in samples]
        rows = [(logits, age) for logits, age in taken if logits is not None]
        logits = np.array([row for row, _ in rows], self._model.dtype).reshape(-1, len(self.labels))
        return logits, np.array([age for _, age in rows], np.int64)

    def _at_once(self, samples: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Do the same for a model that does not resample: a lane's whole windows side by side, the rest in one go."""
        x = self._model_input(samples)
        every = [self._along(lane, x) for lane in self._lanes]
        logits, ages = every[0]
        if self._staggered:
            others, other_ages = every[1]
            older = other_ages > ages
            logits, ages = np.where(older[:, None], others, logits), np.where(older, other_ages, ages)
        return logits, ages

    def _along(self, lane: _Lane, x: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Take steps x [T, C] into one lane; return its logits [T, K] and its age after each, 0 while it waits."""
        logits, ages = np.zeros((len(x), len(self.labels)), self._model.dtype), np.zeros(len(x), np.int64)
        at = min(lane.waits, len(x))
        lane.waits -= at
        while at < len(x):
            if self._staggered and lane.age == self._window:
                lane.reset()
            whole = (len(x) - at) // self._window if self._staggered and lane.age == 0 else 0
            if whole > 1:
                end = at + whole * self._window
                windows = x[at:end].reshape(whole, self._window, -1)
                logits[at:end] = self._model.run_each(windows).reshape(end - at, -1)
                ages[at:end] = np.tile(np.arange(1, self._window + 1), whole)
                lane.age = self._window  # the next sample resets it
            else:
                end = min(len(x), at + self._window - lane.age) if self._staggered else len(x)
                logits[at:end] = lane.steps.run(x[at:end])
                ages[at:end] = np.arange(lane.age + 1, lane.age + 1 + end - at)
                lane.age += end - at
            at = end
        return logits, ages

    def _softmax(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Return the scores of logits [N, K]."""
        if self._weights:
            return batch.softmax(logits, self._exponentials)
        return softmax(logits).astype(np.float32)

    def _decides(self, age: Any) -> Any:
        """Return whether the lane that decides may change the decision at this age."""
        return age % self._use.window == 0 if self._at_window_ends else age > self._not_yet

    def _answers(self, logits: NDArray[Any], ages: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the answer after each row, and hold the last class."""
        decides = self._decides(ages)
        before = NONE if self.refused else NOT_YET if self.decision is None else self.decision
        answers = np.empty(0, np.int64)
        if decides.any():
            moments = logits[decides]
            held = (batch.held_classes if self._weights else held_classes)(moments, self._margin, self._held)
            answers = np.where(refused(moments, held, self._floor), NONE, held) if self._use.refuses else held
            self._answer(int(held[-1]), refused=bool(answers[-1] == NONE))
        # Between its moments an answer stands.
        stood: NDArray[np.int64] = np.concatenate([[before], answers])[np.cumsum(decides)]
        return stood

    def _unsure(self, logits: list[float], held: int) -> bool:
        """Return whether the class held leads every other by less than the floor."""
        return logits[held] - max(*logits[:held], *logits[held + 1 :], -inf) < self._floor

    def _answer(self, held: int | None, refused: bool) -> None:
        self._held, self.refused = held, refused
        self.decision = None if refused else held

    def _model_input(self, step: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the file's `x` stands for, from time steps [..., C] in physical units."""
        if self._normalises:
            return (step - self._mean) / self._std
        return step * self._counts if self._counts.size else step

    def _bare(self, given: Any, what: str) -> NDArray[np.float32]:
        """Return real numbers, NaN where they are masked; refuse a DataFrame, or a row of it, with channels in another order."""
        names = given.columns if hasattr(given, "columns") else given.index if hasattr(given, "iloc") else ()
        named, channels = [split_unit(str(name))[0] for name in names], self.metadata.channels
        if named != list(channels) and sorted(named) == sorted(channels):
            raise UsageError(f"the columns are {', '.join(named)}, and the model takes them as {', '.join(channels)}")
        return float32_array(given, what)

    def _checked(self, sample: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a sample as [C]; refuse one that is none."""
        values, channels = np.atleast_1d(sample), self.metadata.channels
        if values.shape != (len(channels),):
            raise UsageError(f"a sample has {len(channels)} channels ({', '.join(channels)}); got shape {list(values.shape)}")
        if not np.isfinite(values).all():
            channel = int(np.flatnonzero(~np.isfinite(values))[0])
            raise UsageError(f"{channels[channel]} is {values[channel]}; hold the last good sample, or reset() after a gap")
        return _bounded(values)  # of no other consequence than what they saturate

    def _checked_series(self, given: ArrayLike, dimensions: int) -> NDArray[np.float32]:
        """Return series [..., T, C] with that many dimensions; refuse what is none."""
        channels = self.metadata.channels
        series = self._bare(given, "a series is an array of numbers")
        if series.ndim != dimensions or series.shape[-1] != len(channels):
            wanted = "a series [T, C]" if dimensions == 2 else "series [N, T, C]"
            raise UsageError(
                f"{wanted} is expected; got shape {list(series.shape)}; the model's channels are {', '.join(channels)}"
            )
        if not np.isfinite([series.min(initial=0), series.max(initial=0)]).all():  # no array beside the series, as it may be long
            *where, channel = (int(index) for index in np.argwhere(~np.isfinite(series))[0])
            at = f"sample {where[-1]}" if dimensions == 2 else f"series {where[0]}, sample {where[-1]}"
            raise UsageError(
                f"{channels[channel]} is {series[(*where, channel)]} at {at}; fill the gap or split the series there"
            )
        return series


def _bounded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return samples, those larger than `_LARGEST` as that."""
    return np.clip(samples, -_LARGEST, _LARGEST)
