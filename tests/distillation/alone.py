# SPDX-License-Identifier: Apache-2.0
"""The reference that population training has to equal: one student, torch's own modules, optimiser and rounding."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.swa_utils import AveragedModel

from memkd_edge.distillation import grid, population
from memkd_edge.distillation.methods import Outputs, StepContext, method_named
from memkd_edge.distillation.recipe import Recipe, batches, step_generator
from memkd_edge.distillation.stream_teacher import StreamTeacher
from memkd_edge.distillation.students import Candidate, initial_parameters
from memkd_edge.distillation.teacher import Teacher
from memkd_edge.nets import recurrence
from memkd_edge.nets.classifier import Classifier, ModelSpec, build


class Alone:
    """One student in training by itself.

    torch.nn.LSTM keeps its cell states to itself, so they are had by running it step by step. `bare` leaves out the penalty on
    them, the grid and the average of the weights, and trains as fast as torch can.
    """

    def __init__(
        self, spec: ModelSpec, candidate: Candidate, teacher: Teacher | StreamTeacher, recipe: Recipe, *, bare: bool = False
    ) -> None:
        self.teacher, self.recipe, self.candidate = teacher, recipe, candidate
        self.penalised = spec.kind == "lstm" and not bare
        self.rounded = spec.kind != "cnn" and not bare
        initial = initial_parameters(spec, [candidate], teacher.memory, recipe.seed)
        self.model: Classifier = build(spec)
        self.model.load_state_dict({name: tensor[0] for name, tensor in initial.items()})
        self.method = method_named(candidate.method)
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + candidate.seed)
        extra = self.method.parameters(1, spec.width, teacher.width, generator)
        self.extra = {name: tensor.detach().requires_grad_() for name, tensor in extra.items()}
        self.optimizer = torch.optim.Adam([*self.model.parameters(), *self.extra.values()], lr=recipe.learning_rate)
        self.average = None if bare else AveragedModel(self.model, avg_fn=_into_average)

    def train_epoch(self, epoch: int) -> None:
        assert isinstance(self.teacher, Teacher)
        order = batches(len(self.teacher.y), self.recipe, epoch)
        steps = len(order) * self.recipe.epochs
        for number, index in enumerate(order):
            step = epoch * len(order) + number
            lesson = self.teacher.lesson(index, epoch)
            x, labels, teacher = lesson.x, lesson.labels, lesson.teacher
            weights = self._on_grid(self.model)
            # Without a grid the model runs as it is: functional_call would only take time.
            run = partial(functional_call, self.model, weights) if self.rounded else self.model
            logits, hidden = run(x)
            context = StepContext(
                generator=step_generator(self.recipe, step),
                progress=step / max(steps - 1, 1),
                x=x,
                student_logits=lambda series, run=run: run(series)[0].unsqueeze(0),
                teacher_logits=self.teacher.logits,
                head_weight=weights["head.weight"][None],
                head_bias=weights["head.bias"][None],
                teacher_readout=self.teacher.readout,
            )
            student = Outputs(logits.unsqueeze(0), hidden.unsqueeze(0))
            weight = torch.tensor([self.candidate.weight])
            loss: Tensor = self.method.loss(student, teacher, labels, weight, self.extra, context).sum()
            if self.penalised:
                layer = {name: tensor for name, tensor in weights.items() if name.startswith("rnn.")}
                loss = loss + population.CELL_PENALTY * functional_call(_Excess(self.model.rnn), layer, x)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.model)

    def weights(self) -> dict[str, Tensor]:
        """Return the student as it is now: the running average of its weights, on their grid."""
        assert self.average is not None
        return {name: tensor.detach() for name, tensor in self._on_grid(self.average.module).items()}

    def _on_grid(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the weights of `model`: the gates' on one grid, the head's on another."""
        weights: dict[str, Tensor] = dict(model.named_parameters())
        if self.rounded:
            for names in (("rnn.weight_ih_l0", "rnn.weight_hh_l0"), ("head.weight",)):
                scale = max(float(weights[name].detach().abs().max()) for name in names) / grid.LEVELS
                for name in names:
                    weights[name] = torch.fake_quantize_per_tensor_affine(weights[name], scale, 0, -grid.LEVELS, grid.LEVELS)
        return weights


def _into_average(average: Tensor, tensor: Tensor, count: Tensor | int) -> Tensor:
    # The first `tensor` has been copied; `count` went into the average.
    return average + (tensor - average) / min(int(count) + 1, population.AVERAGE_STEPS)


class _Excess(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.rnn, nn.LSTM)
        return excess(self.rnn, x)


def excess(layer: nn.LSTM, x: Tensor) -> Tensor:
    """Return by how much the cell states of `layer` on `x` [B, T, C] go beyond the limit, squared; sum over units, else mean."""
    return (cell_states(layer, x).abs() - recurrence.CELL_LIMIT).relu().square().sum(-1).mean()


def cell_states(layer: nn.LSTM, x: Tensor) -> Tensor:
    """Return the cell states [T, B, H] of the one-layer `layer` on `x` [B, T, C]."""
    state = None
    cells = []
    for sample in x.split(1, 1):
        _, state = layer(sample, state)
        cells.append(state[1][0])
    return torch.stack(cells)


class AloneAlong(Alone):
    """One student in training along streams; it stands still a moment at each chunk to see its cells step by step."""

    carried: tuple[Tensor, Tensor] | None = None

    def train_epoch(self, epoch: int) -> None:
        steps = self.teacher.steps(self.recipe)
        for number, lesson in enumerate(self.teacher.lessons(self.recipe, epoch)):
            assert lesson.starts is not None
            weights = self._on_grid(self.model)
            layer = {name.removeprefix("rnn."): tensor for name, tensor in weights.items() if name.startswith("rnn.")}
            state = None
            if self.carried is not None:
                state = tuple(one.contiguous() for one in lesson.starts.after(self.carried))
            hidden, cells = functional_call(
                _Stepwise(self.model.rnn), {f"rnn.{k}": v for k, v in layer.items()}, (lesson.x, state)
            )
            self.carried = (hidden[:, -1][None].detach(), cells[-1][None].detach())
            head = partial(F.linear, weight=weights["head.weight"], bias=weights["head.bias"])
            logits = head(hidden).transpose(0, 1).flatten(0, 1)
            context = StepContext(
                generator=step_generator(self.recipe, epoch * steps + number),
                progress=0.0,
                x=lesson.x,
                student_logits=lambda series: series,
                teacher_logits=self.teacher.logits,
                head_weight=weights["head.weight"][None],
                head_bias=weights["head.bias"][None],
                teacher_readout=self.teacher.readout,
                share=lesson.share,
            )
            student = Outputs((logits if lesson.at is None else logits[lesson.at])[None], hidden[None])
            weight = torch.tensor([self.candidate.weight])
            loss = self.method.loss(student, lesson.teacher, lesson.labels, weight, self.extra, context).sum()
            beyond = (cells.abs() - recurrence.CELL_LIMIT).relu().square().sum(-1).mean()
            self.optimizer.zero_grad()
            (loss + population.CELL_PENALTY * beyond).backward()
            self.optimizer.step()
            assert self.average is not None
            self.average.update_parameters(self.model)


class _Stepwise(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        hidden, cells = [], []
        for sample in x.split(1, 1):
            output, state = self.rnn(sample, state)
            hidden.append(output)
            cells.append(state[1][0])
        return torch.cat(hidden, 1), torch.stack(cells)
