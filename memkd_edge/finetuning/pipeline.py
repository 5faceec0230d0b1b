# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning through exactly the exported integer arithmetic, with the distillation loss still on.

In the forward pass every state and every logit is that of the nearest integer model of the weights of that moment, run by the
numpy reference; straight_through.py gives it gradients. The student returned lies on its integer grid, where
`quantize(..., fine_tuned=True)` leaves it.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.contents import read_config, read_metrics, read_series, read_student
from memkd_edge.data.loading import load_windows
from memkd_edge.data.prepare import prepare
from memkd_edge.distillation.methods import Outputs, StepContext, method_named
from memkd_edge.distillation.recipe import Recipe, batch_size, batches, step_generator
from memkd_edge.distillation.teacher import Series, Teacher, load_teacher
from memkd_edge.errors import UsageError
from memkd_edge.finetuning.straight_through import dequantized, integer_outputs, integer_trajectory
from memkd_edge.nets.classifier import Classifier
from memkd_edge.padding import is_padded
from memkd_edge.quantization.calibration import FloatModel
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import Settings, quantize, quantize_nearest, settings_of
from memkd_edge.runs import TEACHER, Run
from memkd_edge.scores import auc_prc
from memkd_edge.vocabulary import Arithmetic, Reset

EPOCHS = 30
LEARNING_RATE = 1e-3
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Finetuned:
    """The student with the best integer validation score, and that score (AUC-PRC) before and after.

    epoch: when it was reached; 0 is the student as it came.
    """

    model: Classifier
    before: float
    after: float
    epoch: int


def finetune(
    run: Run,
    *,
    interface: Arithmetic = Arithmetic.INT8,
    epochs: int = EPOCHS,
    learning_rate: float = LEARNING_RATE,
    progress: Callable[[int, float], None] | None = None,
) -> Finetuned:
    """Train a run's student on, through its integer model; teacher, method and loss weight are the run's.

    Args:
        run: a complete run whose data set can still be loaded.
        interface: int8 or int16x8, what will be exported.
        epochs: passes over the training series.
        learning_rate: of Adam at the start; falls to zero along half a cosine.
        progress: called after each epoch with its number and the validation AUC-PRC of the integer model.

    Raises:
        UsageError: the data set is not there any more, the run has no teacher, or the student is no LSTM or GRU.
        MemkdEdgeError: the run is damaged.
    """
    config = read_config(run)
    data = prepare(load_windows(config), config)
    calibration = read_series(run).x_calibration
    if is_padded(data.x_train):
        raise UsageError("--finetune takes series of one length; export without it, or with --quantize int16x8")
    never_reset = run.metadata.reset == Reset.NEVER
    if not (run.path / TEACHER).is_file():
        raise UsageError(
            f"{run.path} has no teacher.safetensors to fine-tune with (a model of your own taught, or this is a ready-made "
            "student); export without --finetune"
        )
    student = read_student(run).train()
    held_out = data.folds == 0
    series = Series(torch.from_numpy(data.x_train[~held_out]), torch.from_numpy(data.y_train[~held_out]))
    x_val, y_val = data.x_train[held_out], data.y_train[held_out]
    teacher = Teacher(load_teacher(run.path / TEACHER, student.spec), series, memory_limit=config.memory_limit * 2**20)
    kept = read_metrics(run).student
    method = method_named(kept.method)
    weight = torch.tensor([kept.weight])
    recipe = Recipe(epochs, learning_rate, batch_size(config.batch_size, len(series.y)), config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    extra = {
        name: tensor.detach().requires_grad_()
        for name, tensor in method.parameters(1, student.spec.width, teacher.width, generator).items()
    }
    trained = [*student.parameters(), *extra.values()]
    optimizer = torch.optim.Adam(trained, lr=learning_rate)

    before = best_score = _score(quantize(student, calibration, never_reset=never_reset), x_val, y_val, interface)
    best, best_epoch = copy.deepcopy(student), 0
    for epoch in range(epochs):
        settings = settings_of(quantize(student, calibration, fine_tuned=True, never_reset=never_reset))
        order = batches(len(series.y), recipe, epoch)
        for number, index in enumerate(order):
            x, labels, target = teacher.batch(index, epoch)
            step, steps = epoch * len(order) + number, epochs * len(order)
            quantized = quantize_nearest(FloatModel.from_model(student), settings)

            def student_logits(altered: Tensor, quantized: QuantizedClassifier = quantized) -> Tensor:
                return integer_outputs(student, quantized, altered, interface).logits[None]

            outputs = integer_outputs(student, quantized, x, interface)
            context = StepContext(
                generator=step_generator(recipe, step),
                progress=step / max(steps - 1, 1),
                x=x,
                student_logits=student_logits,
                teacher_logits=teacher.logits,
                student_readout=student.head,
                teacher_readout=teacher.readout,
            )
            one = Outputs(outputs.logits[None], outputs.hidden[None])
            optimizer.zero_grad()
            method.loss(one, target, labels, weight, extra, context).sum().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.step()
        snapped = snap(student, settings)
        integers = quantize(snapped, calibration, fine_tuned=True, never_reset=never_reset)
        score = _score(integers, x_val, y_val, interface)
        if score > best_score:
            best, best_score, best_epoch = snapped, score, epoch + 1
        if progress is not None:
            progress(epoch + 1, score)
    return Finetuned(best.eval(), before, best_score, best_epoch)


def snap(model: Classifier, settings: Settings) -> Classifier:
    """Return a copy of `model` whose weights are those of its nearest integer model."""
    q = quantize_nearest(FloatModel.from_model(model), settings)
    copied = copy.deepcopy(model)
    parameters = dict(copied.named_parameters())
    with torch.no_grad():
        for index, layer in enumerate(q.layers):
            input_weight, hidden_weight = dequantized(layer)
            parameters[f"rnn.weight_ih_l{index}"].copy_(input_weight)
            parameters[f"rnn.weight_hh_l{index}"].copy_(hidden_weight)
        parameters["head.weight"].copy_(torch.from_numpy(q.head.weight * q.head.weight_scale))
    return copied


def _score(q: QuantizedClassifier, x: NDArray[Any], y: NDArray[Any], interface: Arithmetic) -> float:
    """AUC-PRC of the integer model on held-out series."""
    logits = integer_trajectory(q, x, interface).logits
    return float(auc_prc(logits[None], y)[0])
