# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning through exactly the exported integer arithmetic, with the distillation loss still on.

In the forward pass every state and every logit is that of the nearest integer model of the weights of that moment, run by the
numpy reference; straight_through.py gives it gradients. The student returned lies on its integer grid, where
`quantize(..., fine_tuned=True)` leaves it.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.contents import read_config, read_metrics, read_recording_metrics, read_series, read_student
from memkd_edge.data.loading import load_data
from memkd_edge.data.recordings import Recordings
from memkd_edge.distillation.methods import Outputs, StepContext, method_named
from memkd_edge.distillation.pipeline import material, prepare_for_use
from memkd_edge.distillation.recipe import Recipe, batch_size, step_generator
from memkd_edge.distillation.streams import JudgedStreams, StreamSeries
from memkd_edge.distillation.study import carried, taught_by
from memkd_edge.distillation.teacher import Lesson, Series, load_teacher
from memkd_edge.errors import UsageError
from memkd_edge.finetuning.straight_through import States, dequantized, integer_along, integer_outputs
from memkd_edge.nets.classifier import Classifier, hold
from memkd_edge.quantization.batch import BatchRunner
from memkd_edge.quantization.calibration import FloatModel
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import Settings, quantize, quantize_nearest, settings_of
from memkd_edge.runs import TEACHER, Run
from memkd_edge.vocabulary import Arithmetic, Reset

EPOCHS = 30
STREAM_EPOCHS = 8
LEARNING_RATE = 1e-3
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Finetuned:
    """The student with the best integer validation score, and that score (AUC-PRC, of recordings macro F1) before and after.

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
    epochs: int = 0,
    learning_rate: float = LEARNING_RATE,
    progress: Callable[[int, int, float], None] | None = None,
) -> Finetuned:
    """Train a run's student on, through its integer model; teacher, method, loss weight and, along streams, chunks are the run's.

    Args:
        run: a complete run whose data set can still be loaded.
        interface: int8 or int16x8, what will be exported.
        epochs: passes over the training series, 30 when left out; of streams 8, because a chunk is hundreds of steps.
        learning_rate: of Adam at the start; falls to zero along half a cosine.
        progress: called after each epoch with its number, that of the last, and the integer model's validation score.

    Raises:
        UsageError: the data set is not there any more or has changed, the run has no teacher, or the student is no LSTM or GRU.
        MemkdEdgeError: the run is damaged.
    """
    if not (run.path / TEACHER).is_file():
        raise UsageError(
            f"{run.path} has no teacher.safetensors to fine-tune with (a model of your own taught, or this is a ready-made "
            "student); export without --finetune"
        )
    config = replace(read_config(run), protocol="honest")  # the test series choose no epoch
    try:
        data, _ = load_data(config, _unheard)
    except UsageError as error:
        raise UsageError(
            f"fine-tuning needs the data that {run.path} was trained on: {error}; export without --finetune, or, where a program "
            "gave the data, distil from their files"
        ) from error
    if data.sha256 != run.metadata.dataset_sha256:
        raise UsageError(
            f"{config.dataset} holds other data than {run.path} was trained on, a part of it held out (files have "
            "changed, or a program gave the data); export without --finetune, or distil anew"
        )
    _, folds, measure = material(prepare_for_use(data, config), config, torch.device("cpu"))
    part, held_out = folds[0].train, folds[0].held_out
    along = isinstance(part, StreamSeries)
    epochs = epochs or (STREAM_EPOCHS if along else EPOCHS)
    calibration, never_reset = read_series(run).x_calibration, run.metadata.reset == Reset.NEVER
    student = read_student(run).train()
    teacher = taught_by(
        load_teacher(run.path / TEACHER, student.spec), part, config.memory_limit * 2**20, noise=0.0, seed=config.seed
    )
    kept = (read_recording_metrics if isinstance(data, Recordings) else read_metrics)(run).student
    method = method_named(kept.method)
    weight = torch.tensor([kept.weight])
    lanes = part.lanes if isinstance(part, StreamSeries) else batch_size(config.batch_size, len(part.y))
    recipe = Recipe(epochs, learning_rate, lanes, config.seed, carried(part))
    generator = torch.Generator().manual_seed(config.seed)
    extra = {
        name: tensor.detach().requires_grad_()
        for name, tensor in method.parameters(1, student.spec.width, teacher.width, generator).items()
    }
    trained = [*student.parameters(), *extra.values()]
    optimizer = torch.optim.Adam(trained, lr=learning_rate)

    def score_of(integers: QuantizedClassifier) -> float:
        logits = _held_out_logits(integers, held_out, interface)
        return float(measure.of(logits[None], held_out.y.numpy())[0])

    before = best_score = score_of(quantize(student, calibration, never_reset=never_reset))
    best, best_epoch = copy.deepcopy(student), 0
    steps = epochs * teacher.steps(recipe)
    ended: States = ()
    for epoch in range(epochs):
        settings = settings_of(quantize(student, calibration, fine_tuned=True, never_reset=never_reset))
        for number, lesson in enumerate(teacher.lessons(recipe, epoch)):
            step = epoch * teacher.steps(recipe) + number
            quantized = quantize_nearest(FloatModel.from_model(student), settings)

            def student_logits(altered: Tensor, quantized: QuantizedClassifier = quantized) -> Tensor:
                return integer_outputs(student, quantized, altered, interface).logits[None]

            start = [] if lesson.starts is None else [one.numpy() for one in lesson.starts.after([*map(torch.from_numpy, ended)])]
            outputs, ended = integer_along(student, quantized, lesson.x, interface, start)
            context = StepContext(
                generator=step_generator(recipe, step),
                progress=step / max(steps - 1, 1),
                x=lesson.x,
                student_logits=student_logits,
                teacher_logits=teacher.logits,
                head_weight=student.head.weight[None],
                head_bias=student.head.bias[None],
                teacher_readout=teacher.readout,
                share=lesson.share,
            )
            optimizer.zero_grad()
            loss = method.loss(_wanted(outputs, lesson), lesson.teacher, lesson.labels, weight, extra, context)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.step()
        snapped = snap(student, settings)
        score = score_of(quantize(snapped, calibration, fine_tuned=True, never_reset=never_reset))
        if score > best_score:
            best, best_score, best_epoch = snapped, score, epoch + 1
        if progress is not None:
            progress(epoch + 1, epochs, score)
    return Finetuned(best.eval(), before, best_score, best_epoch)


def _unheard(_: str) -> None:
    """Take a note on the data, which `distill` told already."""


def _wanted(outputs: Outputs, lesson: Lesson) -> Outputs:
    """Return, of logits [B, T, K] and hidden states [B, T, H], the answers that are wanted [1, M, K] and [1, B, T, H]."""
    logits, hidden = outputs.logits, outputs.hidden
    if lesson.starts is not None:
        every = logits.transpose(0, 1).flatten(0, 1)
        return Outputs((every if lesson.at is None else every[lesson.at])[None], hidden[None])
    if lesson.ends is not None:
        logits, hidden = hold(logits, lesson.ends), hold(hidden, lesson.ends)
    return Outputs(logits[None, :, -1], hidden[None])


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


def _held_out_logits(q: QuantizedClassifier, held_out: Series | JudgedStreams, interface: Arithmetic) -> NDArray[np.integer]:
    """Return the integer logits [N, K] after held-out series, or, never reset, at the judged samples of streams."""
    every = BatchRunner(q, interface, len(held_out.x)).logits(held_out.x.numpy())
    if isinstance(held_out, JudgedStreams):
        return np.asarray(every[held_out.stream.numpy(), held_out.time.numpy()])
    return every[:, -1] if held_out.ends is None else every[np.arange(len(every)), held_out.ends.numpy() - 1]
