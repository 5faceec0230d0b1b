# SPDX-License-Identifier: Apache-2.0
"""Is the signal that a model gets the one it was trained on? A wrong axis, unit or rate shows in a few sums.

monitor = classifier.monitor()
for sample in sensor:
    classifier.push(sample)
    if (reading := monitor.push(sample)) and reading.odd:
        print(*reading.sentences, sep="\\n")
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memkd_edge.data.real_numbers import float32_array
from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.quantization.samples import quantize_array
from memkd_edge.signal_limits import SHIFT, UNIT, Grid, Limits, Odd, limits


@dataclass(frozen=True)
class Reading:
    """One reading of all channels.

    rails: [C], samples at either end of the quantised range. mean: [C], how far from the training signal's mean; deviation: [C];
    change: [C], root mean square from sample to sample; in 1/1024 of the training signal's standard deviation. odd_channels: [C],
    in what each channel is unlike the training signal; odd: in what the signal is.
    """

    channels: tuple[str, ...]
    rails: tuple[int, ...]
    mean: tuple[int, ...]
    deviation: tuple[int, ...]
    change: tuple[int, ...]
    odd_channels: tuple[Odd, ...]
    odd: Odd
    usual: Limits

    @property
    def sentences(self) -> list[str]:
        """What is odd, in words."""
        found = []
        for j, (name, odd) in enumerate(zip(self.channels, self.odd_channels, strict=True)):
            if odd & Odd.RAILS:
                found.append(f"{name}: {self.rails[j]} of {self.usual.samples} samples at the rails; check unit and range")
            for which, value, (low, high) in (
                (Odd.MEAN, self.mean[j], self.usual.mean[j]),
                (Odd.DEVIATION, self.deviation[j], self.usual.deviation[j]),
            ):
                if odd & which:
                    found.append(
                        f"{name}: {which.name.lower() if which.name else ''} {value / UNIT:.2f} and usually {low / UNIT:.2f} to "
                        f"{high / UNIT:.2f} of training's deviations; check axis, sign and unit"
                    )
        if self.odd & Odd.PACE:
            found.append("the signal changes faster or slower than in training; check the sample rate")
        return found


class InputMonitor:
    """Reads a stream of samples, `usual.samples` at a time. `StreamingClassifier.monitor` makes one; each stream has its own."""

    def __init__(self, metadata: Metadata, grids: tuple[Grid, ...]) -> None:
        """Begin. grids: of the model's samples, a channel each."""
        self.usual = limits(metadata, resampled=False)
        self._metadata = metadata
        self._low, self._high = (np.array([getattr(one, end) for one in grids]) for end in ("low", "high"))
        self._mean, self._std = (np.asarray(values, np.float32) for values in (metadata.mean, metadata.std))
        self._scale = grids[0].scale  # of normalised samples, the same for all
        self._counts = None if grids[0].offset is None else np.asarray(metadata.counts_per_unit, np.float32)
        self._offset = np.array([one.offset or 0 for one in grids])
        self._multipliers = [one.multiplier(self.usual.samples) for one in grids]
        self.reset()

    def reset(self) -> None:
        """Forget the signal so far."""
        self._begin()
        self._last: NDArray[np.int64] | None = None

    def push(self, sample: ArrayLike) -> Reading | None:
        """Take one sample [C] in physical units; return a reading where one is complete.

        Raises:
            UsageError: not C numbers.
        """
        found = self.stream(float32_array(sample, f"a sample is {len(self._mean)} numbers")[None])
        return found[0] if found else None

    def stream(self, samples: ArrayLike) -> list[Reading]:
        """Take many samples [T, C] in physical units, from where the last ones ended; return the readings that they complete.

        Raises:
            UsageError: not C numbers each.
        """
        x = float32_array(samples, "samples are an array of numbers")
        if x.ndim != 2 or x.shape[1] != len(self._mean):
            raise UsageError(f"samples [T, {len(self._mean)}] are expected; got shape {list(x.shape)}")
        if (missing := np.isnan(x).any(axis=1)).any():
            raise UsageError(f"a value is missing at sample {int(missing.argmax())}; leave such samples out")
        q, found = self._quantized(x), []
        while len(q):
            part, q = np.split(q, [self.usual.samples - self._count])
            self._add(part)
            if self._count == self.usual.samples:
                found.append(self._reading())
                self._begin()
        return found

    def _begin(self) -> None:
        self._sum, self._squares, self._changes, self._rails = (np.zeros(len(self._mean), np.int64) for _ in range(4))
        self._count = 0

    def _quantized(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return samples as the model's integers, less what is taken off them; each is rounded by itself."""
        with np.errstate(over="ignore"):  # what becomes infinite is at the rails all the same
            if self._counts is not None:
                off: NDArray[np.int64] = quantize_array(x * self._counts, 1.0).astype(np.int64) - self._offset
                return off
            q = quantize_array((x - self._mean) / self._std, self._scale).astype(np.int64)
            return q.clip(self._low, self._high)

    def _add(self, q: NDArray[np.int64]) -> None:
        before = np.concatenate([q[:1] if self._last is None else self._last[None], q[:-1]])
        self._sum += q.sum(0)
        self._squares += (q**2).sum(0)
        self._changes += ((q - before) ** 2).sum(0)
        self._rails += ((q <= self._low) | (q >= self._high)).sum(0)
        self._count += len(q)
        self._last = q[-1]

    def _reading(self) -> Reading:
        samples, half = self.usual.samples, 1 << (SHIFT - 1)
        sums = zip(*(part.tolist() for part in (self._sum, self._squares, self._changes)), self._multipliers, strict=True)
        mean, deviation, change = [], [], []
        for total, squares, changes, multiplier in sums:
            mean.append((total * multiplier + half) >> SHIFT)
            deviation.append((math.isqrt(samples * squares - total**2) * abs(multiplier) + half) >> SHIFT)
            change.append((math.isqrt(samples * changes) * abs(multiplier) + half) >> SHIFT)
        odd_channels = []
        for j, rails in enumerate(self._rails.tolist()):
            odd = Odd.RAILS if rails > self.usual.rails else Odd(0)
            odd |= Odd(0) if self.usual.mean[j][0] <= mean[j] <= self.usual.mean[j][1] else Odd.MEAN
            odd |= Odd(0) if self.usual.deviation[j][0] <= deviation[j] <= self.usual.deviation[j][1] else Odd.DEVIATION
            odd_channels.append(odd)
        low, high = (bound * sum(deviation) for bound in self.usual.pace)
        odd = Odd(0) if low <= sum(change) * UNIT <= high else Odd.PACE
        for of_channel in odd_channels:
            odd |= of_channel
        return Reading(
            self._metadata.channels,
            tuple(self._rails.tolist()),
            tuple(mean),
            tuple(deviation),
            tuple(change),
            tuple(odd_channels),
            odd,
            self.usual,
        )
