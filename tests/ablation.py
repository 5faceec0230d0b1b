"""Which of the training tricks pays: `make ablation`.

The same students are trained with each trick left out, on data sets that aeon bundles. Shown is the mean test AUC-PRC over the
seeds at the end of training, without any selection, and the largest cell state: where it stays within the exported int16 cell's
range, a penalty on cells beyond that range is zero and cannot pay.
"""

import sys
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from memkd_edge.config import DistillConfig
from memkd_edge.data import load_dataset, prepare
from memkd_edge.distill import population as population_module
from memkd_edge.distill import students as students_module
from memkd_edge.distill import teacher as teacher_module
from memkd_edge.distill.metrics import auc_prc
from memkd_edge.distill.population import Population, Recipe, batch_size, predict
from memkd_edge.distill.students import Candidate, Parameters
from memkd_edge.distill.teacher import Series, Teacher, TeacherRecipe, TeacherTraining
from memkd_edge.models import LstmClassifier, ModelSpec, hidden_size_for
from memkd_edge.tables import console, table

DATA_SETS = (("GunPoint", "linear:100"), ("ItalyPowerDemand", "none"), ("BasicMotions", "none"))
METHODS = (("base", 0.0), ("kd", 1.0), ("memkd", 1.0))
SEEDS = 5
EPOCHS = 300
NOISE = 0.3
CELL_RANGE = 24.0  # of the exported int16 cell state


def forget_bias_of_one(units: int, length: int) -> torch.Tensor:
    """Return the usual LSTM gate biases [4H], whatever the series' length."""
    return torch.cat([torch.zeros(units), torch.ones(units), torch.zeros(2 * units)])


WITHOUT = {
    "all tricks": (),
    "no long-memory initialisation": ((students_module, "long_memory_bias", forget_bias_of_one),),
    "no noisy copies": ((teacher_module, "FEWEST_COPIES", 1), (teacher_module, "MOST_COPIES", 1)),
    "no clipping": ((population_module, "CLIP_NORM", float("inf")),),
    "constant learning rate": ((population_module, "rate", lambda step, steps: 1.0),),
}


def largest_cell(spec: ModelSpec, parameters: Parameters, x: torch.Tensor) -> float:
    """Return the largest |cell state| of any student on the series `x`."""
    largest = 0.0
    for student in range(len(parameters["head.bias"])):
        model = LstmClassifier(spec)
        model.load_state_dict({name: tensor[student] for name, tensor in parameters.items()})
        state: tuple[torch.Tensor, torch.Tensor] | None = None
        with torch.no_grad():
            for step in range(x.shape[1]):
                _, state = model.rnn(x[:, step : step + 1], state)
                largest = max(largest, float(state[1].abs().max()))
    return largest


def train_teacher(spec: ModelSpec, train: Series, batch: int) -> nn.Module:
    """Train one teacher; as in a run, another seed is tried when it does not fit its series."""
    for seed in range(3):
        recipe = TeacherRecipe(epochs=150, learning_rate=0.002, batch_size=batch, noise=NOISE)
        training = TeacherTraining(spec, recipe, seed, train)
        while not training.finished:
            training.train_epoch()
        if not training.stuck:
            break
    return training.result()


def main() -> None:
    torch.set_num_threads(1)
    out = console()
    for name, resampling in DATA_SETS:
        prepared = prepare(load_dataset(name), DistillConfig(dataset=name, resample=resampling))
        train = Series(torch.from_numpy(prepared.x_train), torch.from_numpy(prepared.y_train))
        x_test = torch.from_numpy(prepared.x_test)
        batch = batch_size(0, len(train.y))
        channels, classes = train.x.shape[2], len(prepared.metadata.labels)
        teacher_spec = ModelSpec(channels, 100, classes, 3)
        taught_by = train_teacher(teacher_spec, train, batch)
        spec = ModelSpec(channels, 1, classes)
        spec = ModelSpec(channels, hidden_size_for(500, teacher_spec.parameters, spec), classes)
        candidates = [Candidate(method, weight, seed) for method, weight in METHODS for seed in range(SEEDS)]
        with torch.no_grad():
            score = float(auc_prc(taught_by(x_test)[0].numpy()[None], prepared.y_test)[0])
        title = f"{name}: test AUC-PRC, mean ± std over {SEEDS} seeds (teacher {score:.3f})"
        rows = table(title, "", *(method for method, _ in METHODS), "largest |cell|")
        for label, patches in WITHOUT.items():
            print(f"{name}: {label}", file=sys.stderr)
            with ExitStack() as stack:
                for module, attribute, value in patches:
                    stack.enter_context(patch.object(module, attribute, value))
                recipe = Recipe(EPOCHS, 0.01, batch, seed=0)
                teacher = Teacher(taught_by, train, memory_limit=2**30, noise=NOISE)
                population = Population(spec, candidates, teacher, recipe, threads=2, memory_limit=2**30)
                for epoch in range(EPOCHS):
                    population.train_epoch(epoch)
            parameters = {key: torch.cat([s.parameters[key].detach() for s in population.shards]) for key in population.kept}
            scores = auc_prc(predict(spec, parameters, x_test).numpy(), prepared.y_test).reshape(len(METHODS), SEEDS)
            cells = [f"{one.mean():.3f} ± {np.std(one):.3f}" for one in scores]
            rows.add_row(label, *cells, f"{largest_cell(spec, parameters, x_test[:200]):.1f} of {CELL_RANGE:.0f}")
        out.print(rows)


if __name__ == "__main__":
    main()
