"""The reference that population training has to equal: one student, torch's own modules, optimiser and clipping."""

import torch
from torch import Tensor, nn

from memkd_edge.distill import population, recurrence
from memkd_edge.distill.methods import Outputs, StepContext, method_named
from memkd_edge.distill.population import CLIP_NORM, Recipe, batches, step_generator
from memkd_edge.distill.schedule import rate
from memkd_edge.distill.students import Candidate, initial_parameters
from memkd_edge.distill.teacher import Teacher
from memkd_edge.models import Classifier, ModelSpec, build


class Alone:
    """One student in training by itself.

    torch.nn.LSTM keeps its cell states to itself, so they are had by running it step by step. `penalised=False` leaves the
    penalty on them out, and trains as fast as torch can.
    """

    def __init__(
        self, spec: ModelSpec, candidate: Candidate, teacher: Teacher, recipe: Recipe, *, penalised: bool = True
    ) -> None:
        self.teacher, self.recipe, self.candidate = teacher, recipe, candidate
        self.penalised = penalised and spec.kind == "lstm"
        initial = initial_parameters(spec, [candidate], teacher.x.shape[1], recipe.seed)
        self.model: Classifier = build(spec)
        self.model.load_state_dict({name: tensor[0] for name, tensor in initial.items()})
        self.method = method_named(candidate.method)
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + candidate.seed)
        extra = self.method.parameters(1, spec.width, teacher.width, generator)
        self.extra = {name: tensor.detach().requires_grad_() for name, tensor in extra.items()}
        self.trained = [*self.model.parameters(), *self.extra.values()]
        self.optimizer = torch.optim.Adam(self.trained, lr=recipe.learning_rate)

    def train_epoch(self, epoch: int) -> None:
        order = batches(len(self.teacher.y), self.recipe, epoch)
        steps = len(order) * self.recipe.epochs
        for number, index in enumerate(order):
            step = epoch * len(order) + number
            x, labels, teacher = self.teacher.batch(index, epoch)
            logits, hidden = self.model(x)
            context = StepContext(
                generator=step_generator(self.recipe, step),
                progress=step / max(steps - 1, 1),
                x=x,
                student_logits=lambda series: self.model(series)[0].unsqueeze(0),
                teacher_logits=self.teacher.logits,
                student_readout=self.model.head,
                teacher_readout=self.teacher.readout,
            )
            student = Outputs(logits.unsqueeze(0), hidden.unsqueeze(0))
            weight = torch.tensor([self.candidate.weight])
            loss: Tensor = self.method.loss(student, teacher, labels, weight, self.extra, context).sum()
            if self.penalised:
                loss = loss + population.CELL_PENALTY * excess(self.model.rnn, x)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.trained, CLIP_NORM)
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate * rate(step, steps)
            self.optimizer.step()


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
