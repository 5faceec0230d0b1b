# SPDX-License-Identifier: Apache-2.0
"""A frozen teacher along streams: what it answers after every sample, never reset."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from memkd_edge import seeds
from memkd_edge.distillation.methods import Outputs
from memkd_edge.distillation.recipe import Recipe
from memkd_edge.distillation.streams import JudgedStreams, StreamSeries
from memkd_edge.distillation.teacher import Lesson, TeacherModel, label_shares
from memkd_edge.errors import UsageError
from memkd_edge.nets.classifier import Classifier

BLOCK_LANES = 32
BLOCK_STEPS = 2000


class StreamTeacher:
    """A teacher with its outputs along the streams that students learn from.

    It runs through whole passes, in some lanes side by side, each from a reset a chunk's length ahead. Its hidden states are kept
    in float32 when they fit into the memory limit, else in half precision, else computed anew for each chunk, from a reset a
    chunk's length ahead of it.
    """

    def __init__(self, model: TeacherModel, series: StreamSeries, *, memory_limit: int) -> None:
        """Run the teacher along its streams.

        Args:
            memory_limit: bytes that its hidden states may take.

        Raises:
            UsageError: as `head_of`.
        """
        self.model, self.series, self.head = model, series, head_of(model)
        self.x = series.x
        self.memory = series.memory
        self.width = self.head.in_features
        floats = len(self.x) * self.width
        self._hidden: Tensor | None = None
        if 2 * floats <= memory_limit:
            dtype = torch.float32 if 4 * floats <= memory_limit else torch.float16
            self._hidden = torch.cat([part.to(dtype) for part in self._blocks()])

    def samples(self, recipe: Recipe) -> int:
        """Samples of a batch."""
        return self.series.lanes * self.series.chunk

    def steps(self, recipe: Recipe) -> int:
        """Batches of an epoch."""
        return self.series.epoch_steps

    def lessons(self, recipe: Recipe, epoch: int) -> Iterator[Lesson]:
        """Yield the chunks of an epoch; those of which nothing is to be learnt are left out."""
        series = self.series
        for number, index in enumerate(series.chunks(recipe.seed, epoch)):
            answers = index.T.reshape(-1)
            taught = series.taught[answers]
            if not taught.any():
                continue
            at = None if taught.all() else taught.nonzero().squeeze(1)
            labels = series.y[answers if at is None else answers[at]]
            x, starts = series.disturbed(
                index, recipe.noise, recipe.carried, seeds.of_chunk(recipe.seed, epoch * series.epoch_steps + number)
            )
            hidden = self._along(index)
            outputs = Outputs(self._answers(hidden, at), hidden)
            yield Lesson(x, labels, outputs, label_shares(labels, series.class_weight), starts, at)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits [N, K] after any series [N, T, C] from a reset."""
        with torch.no_grad():
            return self.model(x)[0]

    def readout(self, hidden: Tensor) -> Tensor:
        """Return the logits [B, T, K] of hidden states [B, T, width]."""
        with torch.no_grad():
            logits: Tensor = self.head(hidden)
        return logits

    def _answers(self, hidden: Tensor, at: Tensor | None) -> Tensor:
        """Return the logits [M, K] at the steps `at` of T * B, in memory as those of students lie, [K, M]."""
        each = hidden.transpose(0, 1).flatten(0, 1)
        with torch.no_grad():
            logits: Tensor = self.head(each if at is None else each[at])
        return logits.T.contiguous().T

    def _along(self, index: Tensor) -> Tensor:
        """Return the hidden states [B, T, width] after the samples `index` [B, T]."""
        if self._hidden is None:
            return self._led_in(index)
        return self._hidden[index].float()

    def _led_in(self, index: Tensor) -> Tensor:
        """Run the model over the samples `index` [B, T], after a chunk's length of what comes before them in their pass."""
        series = self.series
        first = index[:, :1]
        begin = first // series.length * series.length
        ahead = begin + (first - begin - torch.arange(series.chunk, 0, -1)) % series.length
        with torch.no_grad():
            hidden = self.model(self.x[torch.cat([ahead, index], 1)])[1]
        return hidden[:, series.chunk :]

    def _blocks(self) -> Iterator[Tensor]:
        """Yield the hidden states [., width] of all samples, in their order."""
        series, most = self.series, BLOCK_LANES * BLOCK_STEPS
        for begin in range(0, len(series.x), series.length):
            end = begin + series.length
            for first in range(begin, end, most):
                samples = min(most, end - first)
                steps = -(-samples // BLOCK_LANES)
                lanes = -(-samples // steps)
                index = (first + torch.arange(lanes * steps)).clamp_max(end - 1).view(lanes, steps)
                yield self._led_in(index).flatten(0, 1)[:samples]


def head_of(model: TeacherModel) -> nn.Linear:
    """Return what reads logits from a teacher's hidden states at any step.

    Raises:
        UsageError: the model has no torch.nn.Linear named `head`.
    """
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear):
        raise UsageError("a teacher of streams needs a torch.nn.Linear named `head`, which reads logits from its hidden sequence")
    return head


def answers_along(model: TeacherModel, streams: JudgedStreams) -> Tensor:
    """Return the logits [N, K] of a teacher, never reset, at the judged samples."""
    head, found = head_of(model), []
    state: Sequence[Tensor] = ()
    steps = BLOCK_STEPS if isinstance(model, Classifier) else streams.x.shape[1]
    with torch.no_grad():
        for first in range(0, streams.x.shape[1], steps):
            part = streams.x[:, first : first + steps]
            if isinstance(model, Classifier):
                hidden, state = model.along(part, state)
            else:
                hidden = model(part)[1]
            of_part = (streams.time >= first) & (streams.time < first + steps)
            found.append(head(hidden[streams.stream[of_part], streams.time[of_part] - first]))
    return torch.cat(found)
