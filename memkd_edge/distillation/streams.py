# SPDX-License-Identifier: Apache-2.0
"""Learning and judging along streams: series that never end, with an answer wanted at many of their samples.

Recordings, or windows joined at random, lie end to end. Students and teachers pass over them in chunks of a few seconds, several
lanes side by side, and most lanes go on with the state that their last chunk ended in. So a state learns to let go of what is
over, which no window that starts from a reset can teach it. Where a class lasts for minutes, hardly a lane meets a change before
it is reset, and a state that holds the first class it sees is nearly always right: there some lanes take over another's state.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge import seeds
from memkd_edge.distillation.recipe import TeacherRecipe
from memkd_edge.nets.classifier import Classifier
from memkd_edge.padding import lengths

LANES = 16  # as many as the compiled passes take at once
CHUNK_S = 4.0
TEACHERS_CHUNK = 1 / 2  # of a chunk of recordings: for its CPU time a teacher learns more from more and shorter ones
FEWEST_STEPS, MOST_STEPS = 100, 512  # of a chunk
EPOCH_STEPS = 25  # about so many chunks a lane are an epoch, after which training may be scored or end
WINDOWS_IN_A_CHUNK = 4
JOINED_WINDOWS = 1000  # of a small data set's windows, about so many are joined
FEWEST_ORDERS, MOST_ORDERS = 4, 20
START_MEMORY = 20  # steps; the longest memory that an untrained student of recordings has
EXCHANGED = 0.1  # of the lanes, before each chunk, where ...
FEW_CHANGES = 2.0  # ... a lane meets fewer changes of class than that between two resets
JUDGED_SAMPLES = 50_000  # at most, when students are compared


@dataclass(frozen=True)
class Starts:
    """What the lanes of a chunk start from.

    kept: float [B], 0 for a reset, else 1. lane: int64 [B], that whose last state each goes on from; None: its own.
    """

    kept: Tensor
    lane: Tensor | None = None

    def after(self, ended: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the states [..., B, H] to start from, where the last chunk ended in `ended`."""
        taken = ended if self.lane is None else [one.index_select(-2, self.lane) for one in ended]
        return tuple(self.kept[:, None] * one for one in taken)


@dataclass(frozen=True)
class StreamSeries:
    """Stretches of signal to learn from end to end, on the device to train on.

    x: [N, C], normalised, all stretches one after the other. y: int64 [N], class after each sample, or -1 where none is learnt.
    taught: bool [N], the samples after which the teacher's answer is learnt. stretches: of each pass over the streams, the
    lengths of its stretches, which take turns in any order; passes have the same length, and N is their sum. grain: chunks begin
    at a multiple of it. chunk: steps of a chunk. memory: the longest that untrained units have, in steps. class_weight: [K], in
    the cross-entropy.
    """

    x: Tensor
    y: Tensor
    taught: Tensor
    stretches: tuple[tuple[int, ...], ...]
    grain: int
    chunk: int
    memory: int
    class_weight: Tensor

    @property
    def length(self) -> int:
        """Samples of one pass."""
        return sum(self.stretches[0])

    @property
    def lanes(self) -> int:
        """Lanes side by side: `LANES`, fewer where a pass is too short for a chunk of each."""
        return min(LANES, self.length // self.chunk)

    @property
    def epoch_steps(self) -> int:
        """Chunks of an epoch. An epoch is a pass, several short ones, or a part of a long one."""
        return self._chunks * self._passes // self._parts

    @property
    def _span(self) -> int:
        return self.length // self.lanes // self.grain * self.grain

    @property
    def _chunks(self) -> int:
        return self._span // self.chunk

    @property
    def _parts(self) -> int:
        return max(1, round(self._chunks / EPOCH_STEPS))

    @property
    def _passes(self) -> int:
        return max(1, round(EPOCH_STEPS / self._chunks))

    def for_teachers(self) -> "StreamSeries":
        """Return the same streams in a teacher's chunks."""
        return replace(self, chunk=max(1, round(self.chunk * TEACHERS_CHUNK))) if self.grain == 1 else self

    def chunks(self, seed: int, epoch: int) -> list[Tensor]:
        """Return the samples of each chunk of an epoch, int64 [lanes, chunk]: a lane goes on where its last chunk ended."""
        if self._parts > 1:
            number, part = divmod(epoch, self._parts)
            return self._of_pass(seed, number, range(part * self.epoch_steps, (part + 1) * self.epoch_steps))
        passes = range(epoch * self._passes, (epoch + 1) * self._passes)
        return [chunk for number in passes for chunk in self._of_pass(seed, number, range(self._chunks))]

    def _of_pass(self, seed: int, number: int, chunks: range) -> list[Tensor]:
        source = torch.Generator().manual_seed(seeds.of_epoch(seed, number))
        which = number % len(self.stretches)
        ends = np.cumsum(self.stretches[which]) + which * self.length
        order = torch.randperm(len(ends), generator=source).tolist()
        ring = torch.cat([torch.arange(ends[one] - self.stretches[which][one], ends[one]) for one in order])
        first = int(torch.randint(self.length // self.grain, (), generator=source)) * self.grain
        starts = first + self._span * torch.arange(self.lanes)[:, None] + torch.arange(self.chunk)
        return [ring[(starts + self.chunk * chunk) % self.length] for chunk in chunks]

    @cached_property
    def _changes(self) -> float:
        """Changes of class a step."""
        return int(self.labels.diff().count_nonzero()) / len(self.y)

    def exchanges(self, carried: float) -> bool:
        """Whether lanes take over states, as they, a share of `carried` of which goes on at each chunk, meet few changes."""
        return carried > 0 and self._changes * self.chunk < FEW_CHANGES * (1 - carried)

    def disturbed(self, index: Tensor, noise: float, carried: float, seed: int) -> tuple[Tensor, Starts]:
        """Return the samples `index` [B, T] with Gaussian noise, and what the lanes start from; a share of `carried` goes on."""
        x, random = self.x[index], torch.Generator().manual_seed(seed)
        if noise:
            x = x + noise * torch.randn(x.shape, generator=random).to(x.device)
        kept = (torch.rand(len(index), generator=random) < carried).to(x)
        if not self.exchanges(carried):
            return x, Starts(kept)
        lanes = torch.arange(len(index))
        exchanged = torch.rand(len(index), generator=random) < EXCHANGED
        lane = torch.where(exchanged, torch.randint(len(index), (len(index),), generator=random), lanes)
        return x, Starts(kept, lane.to(x.device))

    @property
    def labels(self) -> Tensor:
        """The classes that are learnt."""
        return self.y[self.y >= 0]

    @property
    def span(self) -> int:
        """Steps of a chunk."""
        return self.chunk

    def steps(self, recipe: TeacherRecipe) -> int:
        """Batches of an epoch."""
        return self.epoch_steps

    def losses(
        self, model: Classifier, recipe: TeacherRecipe, seed: int, epoch: int, carried: list[Tensor]
    ) -> Iterator[tuple[Tensor, int]]:
        """Yield the loss of each chunk of an epoch, and how many labels it is the mean of; those without labels are left out.

        Args:
            model: an LSTM or GRU, causal.
            carried: the states that the lanes ended in; changed in place.
        """
        for number, index in enumerate(self.chunks(seed, epoch)):
            y = self.y[index].flatten()
            count = int((y >= 0).sum())
            if not count:
                continue
            x, starts = self.disturbed(
                index, recipe.noise, recipe.carried, seeds.of_chunk(seed, epoch * self.epoch_steps + number)
            )
            hidden, ended = model.along(x, starts.after(carried))
            yield F.cross_entropy(model.head(hidden).flatten(0, 1), y, self.class_weight, ignore_index=-1), count
            carried[:] = [one.detach() for one in ended]


def chunk_steps(rate_hz: float, length: int) -> int:
    """Return the steps of a chunk of recordings of `length` samples in all."""
    return min(max(round(CHUNK_S * rate_hz), FEWEST_STEPS), MOST_STEPS, length)


def recorded(
    stretches: Sequence[tuple[NDArray[np.float32], NDArray[np.int64], bool]],
    rate_hz: float,
    delay_s: float,
    class_weight: Tensor,
    device: torch.device,
) -> StreamSeries:
    """Return what recordings teach.

    Args:
        stretches: x [T, C] normalised, y [T] class or -1, and whether the teacher teaches where y is -1.
        delay_s: by which an answer may come late: the class after a sample is that of the sample so much earlier.
    """
    delay = round(delay_s * rate_hz)
    labels = [np.concatenate([np.full(min(delay, len(y)), -1), y[: max(len(y) - delay, 0)]]) for _, y, _ in stretches]
    taught = [(late >= 0) | everywhere for late, (_, _, everywhere) in zip(labels, stretches, strict=True)]
    return StreamSeries(
        torch.from_numpy(np.concatenate([x for x, _, _ in stretches])).to(device),
        torch.from_numpy(np.concatenate(labels).astype(np.int64)).to(device),
        torch.from_numpy(np.concatenate(taught)).to(device),
        (tuple(len(y) for y in labels),),
        grain=1,
        chunk=chunk_steps(rate_hz, sum(len(y) for y in labels)),
        memory=START_MEMORY,
        class_weight=class_weight,
    )


def joined(x: NDArray[np.float32], y: NDArray[np.int64], seed: int, class_weight: Tensor, device: torch.device) -> StreamSeries:
    """Return windows x [N, T, C] of classes y [N], joined in several random orders; answers are wanted at the windows' ends."""
    windows, steps, channels = x.shape
    orders = min(max(math.ceil(JOINED_WINDOWS / windows), FEWEST_ORDERS), MOST_ORDERS)
    rounds = math.ceil(LANES * WINDOWS_IN_A_CHUNK / windows)
    random = np.random.default_rng(seed)
    order = np.concatenate([random.permutation(windows) for _ in range(orders * rounds)])
    labels = np.full((len(order), steps), -1, np.int64)
    labels[:, -1] = y[order]
    return StreamSeries(
        torch.from_numpy(x[order].reshape(-1, channels)).to(device),
        torch.from_numpy(labels.reshape(-1)).to(device),
        torch.from_numpy(labels.reshape(-1) >= 0).to(device),
        ((rounds * windows * steps,),) * orders,
        grain=steps,
        chunk=WINDOWS_IN_A_CHUNK * steps,
        memory=steps,
        class_weight=class_weight,
    )


@dataclass(frozen=True)
class JudgedStreams:
    """Streams that are run through without a reset, and where they are judged.

    x: [S, T, C] normalised, shorter streams filled up with zeros at their ends. stream, time: int64 [N], the judged samples in
    order of time. y: int64 [N], their classes.
    """

    x: Tensor
    stream: Tensor
    time: Tensor
    y: Tensor


def judged_everywhere(
    streams: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]], device: torch.device, most: int = JUDGED_SAMPLES
) -> JudgedStreams:
    """Return streams (x [T, C], y [T] class or -1) to be judged at every sample with a class, or evenly at `most` of them."""
    longest = max(len(y) for _, y in streams)
    x = np.stack([np.pad(x, ((0, longest - len(x)), (0, 0))) for x, _ in streams])
    y = np.stack([np.pad(y, (0, longest - len(y)), constant_values=-1) for _, y in streams])
    time, stream = np.nonzero(y.T >= 0)
    some = np.linspace(0, len(time) - 1, min(most, len(time))).astype(np.int64)
    return _judged(x, stream[some], time[some], y, device)


def judged_at_ends(x: NDArray[np.float32], y: NDArray[np.int64], seed: int, device: torch.device) -> JudgedStreams:
    """Return windows x [N, T, C] of classes y [N], each once, joined at random to be judged at each window's end."""
    windows, steps, _ = x.shape
    most = math.ceil(windows / min(LANES, windows))
    order = np.random.default_rng(seed).permutation(windows)
    labels = np.where(np.arange(steps) == lengths(x)[:, None] - 1, y[:, None], -1)
    real = np.arange(steps) < lengths(x)[:, None]
    streams = [order[start : start + most] for start in range(0, windows, most)]
    return judged_everywhere([(x[own][real[own]], labels[own][real[own]]) for own in streams], device, most=windows)


def _judged(
    x: NDArray[np.float32], stream: NDArray[np.intp], time: NDArray[np.intp], y: NDArray[np.int64], device: torch.device
) -> JudgedStreams:
    return JudgedStreams(*(torch.from_numpy(part).to(device) for part in (x, stream, time, y[stream, time])))
