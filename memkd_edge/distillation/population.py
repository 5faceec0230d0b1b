# SPDX-License-Identifier: Apache-2.0
"""Trains all candidate students at once, each exactly as if it were trained alone.

Students never see each other: losses are summed, so each one's gradient is its own, and Adam works element by element. The
population is cut into shards of neighbouring candidates. A shard is one batched pass; shards run side by side on the cores, and
as many of them are made as the memory limit asks for.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from memkd_edge import seeds
from memkd_edge.distillation.grid import on_grid
from memkd_edge.distillation.methods import Method, Outputs, StepContext, method_named
from memkd_edge.distillation.recipe import Recipe, step_generator
from memkd_edge.distillation.stream_teacher import StreamTeacher
from memkd_edge.distillation.streams import JudgedStreams, Starts
from memkd_edge.distillation.students import (
    Candidate,
    Parameters,
    State,
    forward,
    forward_along,
    initial_parameters,
    readout_along,
    training_bytes,
)
from memkd_edge.distillation.teacher import Lesson, Teacher
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.threads import torch_threads

CELL_PENALTY = 0.03  # weight of the excess of an LSTM's cells in its loss: large cells lose most when quantised
EVALUATE_SERIES = 256  # in one forward pass
AVERAGE_STEPS = 100  # that a student's weights are averaged over: single steps jump
JUDGED_STEPS = 2000  # of streams in one forward pass


@dataclass(frozen=True)
class Slice:
    """Neighbouring students of one shard that share a method."""

    method: Method
    start: int
    stop: int
    weight: Tensor  # [stop - start]
    extra: Parameters


class Shard:
    """A part of the population that trains in one batched pass."""

    def __init__(self, spec: ModelSpec, candidates: list[Candidate], teacher: Teacher | StreamTeacher, recipe: Recipe) -> None:
        device = teacher.x.device
        self.spec = spec
        self.candidates = candidates
        self.teacher = teacher
        self.recipe = recipe
        initial = initial_parameters(spec, candidates, teacher.memory, recipe.seed)
        self.parameters = {name: tensor.to(device).requires_grad_() for name, tensor in initial.items()}
        self.slices = list(self._slices(teacher.width, device))
        self.optimizer = torch.optim.Adam(list(self._trained().values()), lr=recipe.learning_rate, fused=True)
        self.average = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        self.kept = {name: tensor.clone() for name, tensor in self.weights().items()}
        self.carried: State | None = None  # what the lanes of streams ended in

    def weights(self) -> Parameters:
        """The students as they are now: the running averages of what training moves, on their int8 grid."""
        return on_grid(self.spec, self.average)

    def _slices(self, teacher_width: int, device: torch.device) -> Iterator[Slice]:
        start = 0
        while start < len(self.candidates):
            name = self.candidates[start].method
            stop = start
            while stop < len(self.candidates) and self.candidates[stop].method == name:
                stop += 1
            method = method_named(name)
            extra: list[Parameters] = []
            for candidate in self.candidates[start:stop]:
                generator = torch.Generator().manual_seed(seeds.of_candidate(self.recipe.seed, candidate.seed))
                extra.append(method.parameters(1, self.spec.width, teacher_width, generator))
            yield Slice(
                method,
                start,
                stop,
                torch.tensor([candidate.weight for candidate in self.candidates[start:stop]], device=device),
                {key: torch.cat([one[key] for one in extra]).detach().to(device).requires_grad_() for key in extra[0]},
            )
            start = stop

    def _trained(self) -> Parameters:
        extras = {
            f"{self.candidates[part.start].method}/{key}": tensor for part in self.slices for key, tensor in part.extra.items()
        }
        return {**self.parameters, **extras}

    def train_epoch(self, epoch: int) -> None:
        """Pass once over the training series. Everything random follows from the recipe's seed and `epoch`."""
        steps = self.teacher.steps(self.recipe)
        for number, lesson in enumerate(self.teacher.lessons(self.recipe, epoch)):
            self._step(lesson, epoch * steps + number, steps * self.recipe.epochs)

    def _step(self, lesson: Lesson, step: int, steps: int) -> None:
        weights = on_grid(self.spec, self.parameters)
        parts = [part.stop - part.start for part in self.slices]
        if lesson.starts is None:
            students, excess = forward(self.spec, weights, lesson.x, parts, lesson.ends)
        else:
            students, excess = self._along(lesson, lesson.starts, weights, parts)
        losses = [CELL_PENALTY * excess]
        for part, student in zip(self.slices, students, strict=True):
            own = slice(part.start, part.stop)
            context = StepContext(
                generator=step_generator(self.recipe, step),
                progress=step / max(steps - 1, 1),
                x=lesson.x,
                student_logits=partial(_logits, self.spec, weights, own),
                teacher_logits=self.teacher.logits,
                head_weight=weights["head.weight"][own],
                head_bias=weights["head.bias"][own],
                teacher_readout=self.teacher.readout,
                share=lesson.share,
            )
            losses.append(part.method.loss(student, lesson.teacher, lesson.labels, part.weight, part.extra, context))
        self.optimizer.zero_grad()
        torch.cat(losses).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            for name, tensor in self.parameters.items():
                self.average[name].lerp_(tensor, 1 / min(step + 1, AVERAGE_STEPS))

    def _along(self, lesson: Lesson, starts: Starts, weights: Parameters, parts: list[int]) -> tuple[list[Outputs], Tensor]:
        """Run all students on along their streams."""
        start = self.carried and starts.after(self.carried)
        hidden, excess, self.carried = forward_along(self.spec, weights, lesson.x, parts, start)
        outputs = []
        for part, own in zip(self.slices, hidden, strict=True):
            logits = readout_along({name: weights[name][part.start : part.stop] for name in ("head.weight", "head.bias")}, own)
            outputs.append(Outputs(logits if lesson.at is None else logits.index_select(1, lesson.at), own))
        return outputs, excess

    def keep(self, chosen: Tensor) -> None:
        """Remember the present weights of the students `chosen`, bool [P]."""
        for name, tensor in self.weights().items():
            self.kept[name][chosen] = tensor[chosen]

    def state(self) -> dict[str, Tensor]:
        """Return all that training further needs."""
        state = {f"kept/{name}": tensor for name, tensor in self.kept.items()}
        state |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        state |= {f"carried/{number}": tensor for number, tensor in enumerate(self.carried or ())}
        for name, tensor in self._trained().items():
            state[f"parameter/{name}"] = tensor.detach()
            for key, moment in self.optimizer.state[tensor].items():
                state[f"adam.{key}/{name}"] = moment
        return state

    def load(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` returned."""
        device = self.teacher.x.device
        self.kept = {name: state[f"kept/{name}"].to(device) for name in self.parameters}
        self.average = {name: state[f"average/{name}"].to(device) for name in self.parameters}
        carried = sorted(name for name in state if name.startswith("carried/"))
        self.carried = tuple(state[name].to(device) for name in carried) or None
        with torch.no_grad():
            for name, tensor in self._trained().items():
                tensor.copy_(state[f"parameter/{name}"])
                for key in ("step", "exp_avg", "exp_avg_sq"):
                    self.optimizer.state[tensor][key] = state[f"adam.{key}/{name}"].to(device)


class Population:
    """All candidates, in shards that run side by side."""

    def __init__(
        self,
        spec: ModelSpec,
        candidates: list[Candidate],
        teacher: Teacher | StreamTeacher,
        recipe: Recipe,
        *,
        threads: int,
        memory_limit: int,
    ) -> None:
        """Prepare the students.

        Args:
            candidates: the students; those of one method stand together.
            threads: shards trained side by side.
            memory_limit: bytes that the shards in training may hold together, roughly.
        """
        self.candidates = candidates
        self.threads = threads
        one = training_bytes(spec, teacher.samples(recipe))
        largest = max(1, memory_limit // (threads * one))
        count = max(min(threads, len(candidates)), math.ceil(len(candidates) / largest))
        bounds = [len(candidates) * number // count for number in range(count + 1)]
        self.shards = [Shard(spec, candidates[a:b], teacher, recipe) for a, b in itertools.pairwise(bounds)]

    def train_epoch(self, epoch: int) -> None:
        """Train every student for one epoch."""
        train_epoch([self], epoch, self.threads)

    @property
    def weights(self) -> Parameters:
        """The weights of each student as they are now, [P, ...] each."""
        of_shards = [shard.weights() for shard in self.shards]
        return {name: torch.cat([own[name] for own in of_shards]) for name in of_shards[0]}

    def predict(self, x: Tensor, ends: Tensor | None = None) -> Tensor:
        """Return the logits [P, N, K] of all students as they are now, on any series `x` [N, T, C]; `ends` as in `forward`."""
        return torch.cat([predict(shard.spec, shard.weights(), x, ends) for shard in self.shards])

    def predict_along(self, streams: JudgedStreams) -> Tensor:
        """Return the logits [P, N, K] of all students as they are now, at the judged samples of streams."""
        return torch.cat([predict_along(shard.spec, shard.weights(), streams) for shard in self.shards])

    def keep(self, chosen: Tensor) -> None:
        """Remember the present weights of the students `chosen`, bool [P]."""
        for shard, own in zip(self.shards, torch.split(chosen, [len(shard.candidates) for shard in self.shards]), strict=True):
            shard.keep(own)

    @property
    def kept(self) -> Parameters:
        """The remembered weights of each student, [P, ...] each; the initial ones where none were remembered."""
        return {name: torch.cat([shard.kept[name] for shard in self.shards]) for name in self.shards[0].kept}

    def reset(self) -> None:
        """Let the lanes of streams begin anew."""
        for shard in self.shards:
            shard.carried = None

    def state(self) -> dict[str, Tensor]:
        """Return all that training further needs: tensors of all students, or of those of one method, in their order."""
        of_shards = [shard.state() for shard in self.shards]
        keys = dict.fromkeys(key for state in of_shards for key in state)
        parts = {key: [state[key] for state in of_shards if key in state] for key in keys}
        return {key: torch.cat(own) if own[0].dim() else own[0] for key, own in parts.items()}

    def load(self, state: dict[str, Tensor], whose: list[Candidate] | None = None) -> None:
        """Take up what `state` returned, of a population of the same kind.

        Args:
            whose: that population's students, all of this one among them; the same ones when left out.
        """
        for shard in self.shards:
            own = {}
            for key, tensor in state.items():
                there, here = (_having(key, some) for some in (whose or self.candidates, shard.candidates))
                if here:
                    own[key] = tensor[[there.index(one) for one in here]] if tensor.dim() else tensor.clone()
            shard.load(own)


def predict(spec: ModelSpec, parameters: Parameters, x: Tensor, ends: Tensor | None = None) -> Tensor:
    """Return the logits [P, N, K] of all students on `x` [N, T, C], some series at a time; `ends` as in `forward`."""
    parts = torch.split(torch.arange(len(x), device=x.device), EVALUATE_SERIES)
    with torch.no_grad():
        every = [forward(spec, parameters, x[part], ends=None if ends is None else ends[part])[0] for part in parts]
    return torch.cat([own.logits for (own,) in every], 1)


def predict_along(spec: ModelSpec, parameters: Parameters, streams: JudgedStreams) -> Tensor:
    """Return the logits [P, N, K] of all students, never reset, at the judged samples, some steps at a time."""
    state: State | None = None
    found = []
    with torch.no_grad():
        for first in range(0, streams.x.shape[1], JUDGED_STEPS):
            part = streams.x[:, first : first + JUDGED_STEPS]
            (hidden,), _, state = forward_along(spec, parameters, part, [len(parameters["head.bias"])], state)
            of_part = (streams.time >= first) & (streams.time < first + JUDGED_STEPS)
            at = (streams.time[of_part] - first) * len(part) + streams.stream[of_part]
            found.append(readout_along(parameters, hidden).index_select(1, at))
    return torch.cat(found, 1)


def train_epoch(populations: Sequence[Population], epoch: int, threads: int) -> None:
    """Train every student of every population for one epoch, `threads` shards side by side."""
    with one_thread_each(threads) as pool:
        for done in [pool.submit(shard.train_epoch, epoch) for one in populations for shard in one.shards]:
            done.result()


def _logits(spec: ModelSpec, weights: Parameters, own: slice, x: Tensor) -> Tensor:
    (outputs,), _ = forward(spec, {name: tensor[own] for name, tensor in weights.items()}, x)
    return outputs.logits


def _having(key: str, candidates: list[Candidate]) -> list[Candidate]:
    """Return the students that a tensor of a population's state is of: of a method's own one, those of the method."""
    _, *method, _ = key.split("/")
    return [one for one in candidates if not method or one.method == method[0]]


@contextmanager
def one_thread_each(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool whose `threads` threads each run torch on one core: shards are parallel, operations inside them are not."""
    with torch_threads(1), ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool
