# SPDX-License-Identifier: Apache-2.0
"""One data set's study: cross-validate every candidate, choose, and train the chosen ones again on all training series.

Four phases, each resumable from its checkpoint:

    1. teachers: one on each fold's training series, and one on all of them
    2. students: every candidate on each fold, taught by that fold's teacher; scored on the series the fold holds out.
       Half way each method goes on with its best weight
    3. the choice, from the pooled scores of all folds: every training series is judged by students that never saw it
    4. students again, on all training series: each method's best weight, every seed, up to its stopping epoch. The folds'
       teachers teach, too: what a teacher says of series that it knows by heart is a poor lesson. Students of recordings, of
       which there is one fold and no sign of overfitting, train on from where they are

On 40 or 100 training series one held-out part is too small to choose by, and training without it wastes a quarter of the data.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge import file_formats, seeds
from memkd_edge.config import DistillConfig
from memkd_edge.distillation.checkpoint import read_checkpoint, write_checkpoint
from memkd_edge.distillation.methods import cross_entropy
from memkd_edge.distillation.population import Population, one_thread_each, train_epoch
from memkd_edge.distillation.recipe import Recipe, TeacherRecipe, batch_size, epochs
from memkd_edge.distillation.selection import AUC_PRC, Choice, Measure, ScoreHistory, choose, going_on
from memkd_edge.distillation.stream_teacher import StreamTeacher, answers_along
from memkd_edge.distillation.streams import JudgedStreams, StreamSeries
from memkd_edge.distillation.students import Candidate, Parameters, single
from memkd_edge.distillation.teacher import Series, Teacher, TeacherModel, TeacherTraining, noise_levels
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.nets.classifier import Classifier, ModelSpec, answers
from memkd_edge.options import values_of
from memkd_edge.progress import Reporter
from memkd_edge.runs import CHECKPOINT, CONFIGURATION, Run
from memkd_edge.threads import torch_threads

SCORINGS = 20  # of the students, while they are trained
CHECKPOINT_EVERY_S = 10.0
NOISE_MARGIN = 0.05  # of the held-out score, by which another noise level must be better than the one before it
MIB = 2**20
STREAM_STEPS = 3000  # of training along streams, when the number of epochs is left open
STREAM_TEACHER_STEPS = 400
LASTING_TEACHER_STEPS = 1200  # where classes last so long that lanes exchange states: neighbouring chunks are alike
STREAM_REFIT_STEPS = 500  # on all training recordings, after those without the held-out ones
LEARNING_RATE, STREAM_LEARNING_RATE = 0.002, 0.004  # peaks of a teacher's, when left open; where classes last, the former
CARRIED = 0.9
PLACES = ("dataset", "data_root", "intervals", "unlabelled", "teacher", "accelerator", "memory_limit")  # may move meanwhile


@dataclass(frozen=True)
class Fold:
    """What a fold trains on, and what it is judged by."""

    train: Series | StreamSeries
    held_out: Series | JudgedStreams


@dataclass(frozen=True)
class TrainingContext:
    """One run's data on its device, and how it is trained.

    teachers: the file that keeps the trained teachers beyond the run; without one a checkpoint of the run does. measure: what
    students and teachers are selected by.
    """

    config: DistillConfig
    run: Run
    data_sha256: str
    all: Series | StreamSeries
    folds: tuple[Fold, ...]
    teachers: Path | None
    progress: Reporter
    measure: Measure = AUC_PRC

    def checkpoint(self, phase: str) -> Path:
        """Return the checkpoint file of a phase."""
        return self.run.path / CHECKPOINT / f"{phase}.safetensors"

    @property
    def settings_sha256(self) -> str:
        """Hash of the settings that decide what is learnt: not of where the data are, nor of what computes."""
        values = {name: value for name, value in values_of(self.config).items() if name not in PLACES}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def batch_size(self) -> int:
        """Series in a batch, or lanes of streams."""
        return self.all.lanes if isinstance(self.all, StreamSeries) else batch_size(self.config.batch_size, len(self.all.y))

    @property
    def epochs(self) -> int:
        """Epochs of the students."""
        if isinstance(self.all, StreamSeries):
            return self.config.epochs or math.ceil(STREAM_STEPS / self.all.epoch_steps)
        return epochs(self.config.epochs, len(self.all.y), self.batch_size)

    def teacher_epochs(self, part: Series | StreamSeries) -> int:
        """Return the epochs of a teacher of `part`, at most."""
        if isinstance(part, StreamSeries):
            steps = LASTING_TEACHER_STEPS if part.exchanges(carried(part)) else STREAM_TEACHER_STEPS
            return self.config.teacher_epochs or math.ceil(steps / part.epoch_steps)
        return epochs(self.config.teacher_epochs, len(self.all.y), self.batch_size)

    @property
    def trains_on(self) -> bool:
        """Whether students that were scored train on with all training data, instead of anew."""
        return carried(self.all) > 0 and len(self.folds) == 1

    @property
    def refit_epochs(self) -> int:
        """Epochs of students that train on."""
        return min(self.epochs, math.ceil(STREAM_REFIT_STEPS / self.all.epoch_steps)) if isinstance(self.all, StreamSeries) else 0

    @property
    def held_out_labels(self) -> NDArray[np.int64]:
        """Classes of the held-out series, fold after fold, int64 [N]."""
        return torch.cat([fold.held_out.y for fold in self.folds]).cpu().numpy()


@dataclass(frozen=True)
class Teachers:
    """The teacher of each fold, the one trained on all training series, and the fold teachers' logits on the held-out series.

    noise: on the inputs, with which the students are trained, too.
    """

    of_fold: tuple[TeacherModel, ...]
    final: TeacherModel
    held_out_logits: NDArray[np.float32]
    noise: float

    @property
    def others(self) -> tuple[TeacherModel, ...]:
        """Those that teach beside the final one: each has not seen a part of the training series."""
        return tuple(one for one in self.of_fold if one is not self.final)


@dataclass(frozen=True)
class Ended:
    """The students that were trained to the end: their weights in each fold, and the first fold's state, to train on from."""

    students: list[Candidate]
    weights: tuple[Parameters, ...]
    state: dict[str, Tensor]


@dataclass(frozen=True)
class Study:
    """What came of it: the choice, each candidate's scores, and the students `refitted` on all series, in `population`.

    of_fold: the chosen candidate as each fold trained it to the end: it has not seen what the fold holds out.
    """

    choice: Choice
    history: ScoreHistory
    refitted: list[Candidate]
    population: Population
    of_fold: tuple[Classifier, ...]


def carried(train: Series | StreamSeries) -> float:
    """Return the share of the lanes of recordings that go on from the state they ended in; joined windows start from a reset."""
    return CARRIED if isinstance(train, StreamSeries) and train.grain == 1 else 0.0


def given_teacher(context: TrainingContext, model: TeacherModel) -> Teachers:
    """Let one trained model teach everywhere, with the first noise level. Its own training series are its maker's business."""
    noise = noise_levels(context.config.noise)[0]
    return Teachers((model,) * len(context.folds), model, _logits([model] * len(context.folds), context), noise)


@dataclass(frozen=True)
class Tries:
    """Teachers of several seeds for one set of training series, one after the other until one gets off the ground.

    Now and then a deep LSTM does not; its training loss shows that without any held-out series. When all are stuck, the one with
    the lowest loss goes on to the end.
    """

    trainings: tuple[TeacherTraining, ...]

    @property
    def epochs(self) -> int:
        """Epochs of a try, at most."""
        return self.trainings[0].recipe.epochs

    @property
    def current(self) -> TeacherTraining | None:
        """The try to go on with; None when one has ended well, or all are stuck and the best of them has ended."""
        training = next((one for one in self.trainings if not one.stuck), self._lowest)
        return None if training.finished else training

    @property
    def done(self) -> int:
        """Epochs that the present try has behind it; all of them when none is left to train."""
        return self.current.epoch if self.current else self.epochs

    @property
    def best(self) -> Classifier:
        """The try with the lowest training loss, frozen."""
        return self._lowest.result()

    @property
    def _lowest(self) -> TeacherTraining:
        return min(self.trainings, key=lambda training: training.lowest)


def tries_of(context: TrainingContext, spec: ModelSpec, part: Series | StreamSeries, noise: float) -> Tries:
    """Return the untrained teachers of `part`, with `noise` on their inputs."""
    config = context.config
    changing = isinstance(part, StreamSeries) and not part.exchanges(carried(part))
    peak = config.teacher_learning_rate or (STREAM_LEARNING_RATE if changing else LEARNING_RATE)
    recipe = TeacherRecipe(context.teacher_epochs(part), peak, context.batch_size, noise, carried(context.all))
    numbers = range(config.teacher_seeds)
    return Tries(tuple(TeacherTraining(spec, recipe, seeds.of_teacher(config.seed, number), part) for number in numbers))


def _tries_of_all(context: TrainingContext, spec: ModelSpec, noise: float) -> list[Tries]:
    """Return the untrained teachers of each fold, and the final one; a fold that trains on everything has that one, too."""

    def of(part: Series | StreamSeries) -> Tries:
        return tries_of(context, spec, part.for_teachers() if isinstance(part, StreamSeries) else part, noise)

    final = of(context.all)
    return [*(final if fold.train is context.all else of(fold.train) for fold in context.folds), final]


def train_teachers(context: TrainingContext, spec: ModelSpec) -> Teachers:
    """Train, for each noise level, a teacher for every fold; keep one level; train one with it on all training series.

    Noise on its inputs keeps a large teacher from learning a small training set by heart, which its student then copies; on other
    sets it blurs what tells the classes apart. The first level stands unless a later one is clearly better on held-out series.
    """
    levels = noise_levels(context.config.noise)
    with torch_threads(1):  # orthogonal weights are rounded by the number of threads, and what follows is chaotic
        tries = {noise: _tries_of_all(context, spec, noise) for noise in levels}
    flat = list(dict.fromkeys(training for of_level in tries.values() for one in of_level for training in one.trainings))
    checkpoint = Checkpoint(context.teachers or context.checkpoint("teachers"), context)
    for name, state in checkpoint.groups().items():
        flat[int(name)].load(state)

    def trained() -> dict[str, dict[str, Tensor]]:
        return {str(number): one.state() for number, one in enumerate(flat) if one.epoch}

    def train(of_level: list[Tries]) -> None:
        wanted = list(dict.fromkeys(of_level))  # by the paper's protocol the fold's teacher is the final one
        complete = not any(one.current for one in wanted)
        while now := [training for one in wanted if (training := one.current)][: context.config.threads]:
            with one_thread_each(context.config.threads) as pool:
                for finished in [pool.submit(training.train_epoch) for training in now]:
                    finished.result()
            done, epochs = sum(one.done for one in wanted), sum(one.epochs for one in wanted)
            context.progress.step("teacher", done, epochs, "epochs", f"training loss {now[0].loss:.3f}")
            checkpoint.save_when_due(trained)
        if not complete:
            checkpoint.save(trained())

    kept, kept_score, kept_logits = levels[0], -math.inf, np.empty(0, np.float32)
    for noise, of_level in tries.items():
        if kept_score + NOISE_MARGIN >= 1:
            break  # no other level can be that much better
        # The final teacher of the first level, which mostly stands, keeps a core busy that would else wait for the last fold.
        train(of_level if noise == levels[0] else of_level[:-1])
        logits = _logits([one.best for one in of_level[:-1]], context)
        score = float(context.measure.of(logits[None], context.held_out_labels)[0])
        if score > kept_score + NOISE_MARGIN:
            kept, kept_score, kept_logits = noise, score, logits
    train([tries[kept][-1]])
    *of_fold, final = (one.best for one in tries[kept])
    return Teachers(tuple(of_fold), final, kept_logits, kept)


def _logits(models: list[Any], context: TrainingContext) -> NDArray[np.float32]:
    parts = [_answers(model, fold.held_out) for model, fold in zip(models, context.folds, strict=True)]
    return torch.cat(parts).cpu().numpy()


def _answers(model: TeacherModel, held_out: Series | JudgedStreams) -> Tensor:
    if isinstance(held_out, JudgedStreams):
        return answers_along(model, held_out)
    with torch.no_grad():
        return answers(model, held_out.x, held_out.ends)[0]


def _answers_of_all(population: Population, held_out: Series | JudgedStreams) -> Tensor:
    if isinstance(held_out, JudgedStreams):
        return population.predict_along(held_out)
    return population.predict(held_out.x, held_out.ends)


def taught_by(
    model: TeacherModel,
    train: Series | StreamSeries,
    memory_limit: int,
    noise: float,
    seed: int,
    others: Sequence[TeacherModel] = (),
) -> Teacher | StreamTeacher:
    """Return `model` with its answers to what students learn from; `noise`, of `seed`, on copies of series from a reset.

    `others` teach such series, too, as in `Teacher`; along streams that has not paid.
    """
    if isinstance(train, StreamSeries):
        return StreamTeacher(model, train, memory_limit=memory_limit)
    return Teacher(model, train, memory_limit=memory_limit, noise=noise, seed=seed, others=others)


def study(context: TrainingContext, spec: ModelSpec, candidates: list[Candidate], teachers: Teachers) -> Study:
    """Train, choose, and train again."""
    history, ended = _cross_validate(context, spec, candidates, teachers)
    choice = choose(candidates, history, "test" if context.config.protocol == "paper" else "validation", context.measure.name)
    refitted = [candidates[member] for score in choice.methods for member in score.members]
    stops = torch.tensor([score.epoch for score in choice.methods for _ in score.members])
    at = ended.students.index(candidates[choice.index])
    of_fold = tuple(single(spec, weights, at) for weights in ended.weights)
    started = ended if context.trains_on else None
    return Study(choice, history, refitted, _refit(context, spec, refitted, stops, teachers, started), of_fold)


def _cross_validate(
    context: TrainingContext, spec: ModelSpec, candidates: list[Candidate], teachers: Teachers
) -> tuple[ScoreHistory, Ended]:
    """Return how the candidates scored, and those that were trained to the end."""
    config = context.config
    limit = config.memory_limit * MIB // len(context.folds)
    taught = [
        taught_by(model, fold.train, limit, teachers.noise, config.seed)
        for model, fold in zip(teachers.of_fold, context.folds, strict=True)
    ]
    threads = -(-config.threads // len(context.folds))
    how = recipe(context, teachers.noise)

    def populations_of(students: list[Candidate]) -> list[Population]:
        return [Population(spec, students, one, how, threads=threads, memory_limit=limit) for one in taught]

    checkpoint = Checkpoint(context.checkpoint("students"), context)
    saved = checkpoint.groups()
    scores: dict[str, list[Any]] = {"epochs": [], "score": [], "loss": []}
    half_way = math.ceil(context.epochs / 2)

    def state() -> dict[str, dict[str, Tensor]]:
        return {str(number): population.state() for number, population in enumerate(populations)} | {
            "scores": {name: torch.from_numpy(np.array(values)) for name, values in scores.items()}
        }

    def history() -> ScoreHistory:
        return ScoreHistory(
            np.array(scores["epochs"]), np.array(scores["score"]), np.array(scores["loss"]), to_the_end=context.trains_on
        )

    going = candidates
    if saved:
        scores = {name: list(saved["scores"][name].numpy()) for name in scores}
        if checkpoint.epoch >= half_way:
            going = going_on(candidates, history().until(half_way))
    populations = populations_of(going)
    if saved:
        for number, population in enumerate(populations):
            population.load(saved[str(number)])
    labels = torch.from_numpy(context.held_out_labels)
    every = max(1, context.epochs // SCORINGS)
    for epoch in range(checkpoint.epoch, context.epochs):
        train_epoch(populations, epoch, config.threads)
        if (epoch + 1) % every == 0 or epoch + 1 in (half_way, context.epochs):
            parts = [_answers_of_all(one, fold.held_out).cpu() for one, fold in zip(populations, context.folds, strict=True)]
            logits = torch.cat(parts, 1)
            scores["epochs"].append(epoch + 1)
            for name, found in (
                ("score", context.measure.of(logits.numpy(), labels.numpy())),
                ("loss", cross_entropy(logits, labels).double().numpy()),
            ):
                row = np.full(len(candidates), np.nan)
                row[[candidates.index(one) for one in going]] = found
                scores[name].append(row)
        if epoch + 1 == half_way:
            before, going = going, going_on(candidates, history())
            if going != before:
                ended = [one.state() for one in populations]
                populations = populations_of(going)
                for population, one in zip(populations, ended, strict=True):
                    population.load(one, before)
        best = ""
        if scores["score"]:
            so_far, now = np.nanmax(scores["score"]), np.nanmedian(scores["score"][-1])
            best = f"{context.measure.name} best {so_far:.3f}, median {now:.3f}"
        context.progress.step("students", epoch + 1, context.epochs, "epochs", best)
        checkpoint.save_when_due(state, epoch + 1)
    return history(), Ended(going, tuple(one.weights for one in populations), populations[0].state())


def _refit(
    context: TrainingContext,
    spec: ModelSpec,
    candidates: list[Candidate],
    stops: Tensor,
    teachers: Teachers,
    started: Ended | None,
) -> Population:
    """Train the chosen students on all training data: up to their `stops` [P], or `started` ones for some epochs more."""
    limit = context.config.memory_limit * MIB
    taught = taught_by(teachers.final, context.all, limit, teachers.noise, context.config.seed, teachers.others)
    how = recipe(context, teachers.noise)
    population = Population(spec, candidates, taught, how, threads=context.config.threads, memory_limit=limit)
    checkpoint = Checkpoint(context.checkpoint("refit"), context)
    saved = checkpoint.groups()
    first, last = 0, int(stops.max())
    if started is not None:
        first, last = context.epochs, context.epochs + context.refit_epochs
        stops = torch.full_like(stops, last)
    if saved:
        population.load(saved["0"])
    elif started is not None:
        population.load(started.state, started.students)
        population.reset()
    for epoch in range(max(first, checkpoint.epoch), last):
        population.train_epoch(epoch)
        population.keep(stops == epoch + 1)
        context.progress.step("refit", epoch + 1 - first, last - first, "epochs", "the chosen, on all training data")
        checkpoint.save_when_due(lambda: {"0": population.state()}, epoch + 1)
    return population


def recipe(context: TrainingContext, noise: float) -> Recipe:
    """Return how the run trains its students, with `noise` along streams; the copies of series have theirs already."""
    config = context.config
    return Recipe(context.epochs, config.learning_rate, context.batch_size, config.seed, carried(context.all), noise)


class Checkpoint:
    """The checkpoint file of one phase: named groups of tensors; written at most every few seconds.

    Its header tells data and settings, but for a file of teachers that runs of several settings share.
    """

    def __init__(self, path: Path, context: TrainingContext) -> None:
        self.path = path
        settings = "" if path == context.teachers else context.settings_sha256
        self.header: dict[str, Any] = {"data": context.data_sha256, "settings": settings}
        self.run, self.progress = context.run, context.progress
        self.written = time.monotonic()
        self.epoch = 0

    def groups(self) -> dict[str, dict[str, Tensor]]:
        """Return the saved groups, none if nothing was saved, and take up the number of finished epochs.

        What an older version saved does not count, and a note says so.

        Raises:
            MemkdEdgeError: the file is damaged, of a newer version, or was made with other data or settings.
        """
        found = read_checkpoint(self.path)
        if found is None:
            return {}
        tensors, header = found
        number, epoch = header.pop(file_formats.KEY), header.pop("epoch")
        if header["data"] != self.header["data"]:
            raise MemkdEdgeError(f"{self.path} was written for other data than {self.header['data']}; resume with the same data")
        if header.get("settings", self.header["settings"]) != self.header["settings"]:
            raise MemkdEdgeError(
                f"{self.path} was written with other settings than {self.run.path / CONFIGURATION} has now; set that back, or "
                f"delete {self.path.parent} to begin anew"
            )
        if number < file_formats.CHECKPOINT:
            self.progress.note(f"{self.path} was written by an older version; what it holds is trained anew")
            return {}
        self.epoch = epoch
        groups: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            group, name = key.split("|", 1)
            groups.setdefault(group, {})[name] = tensor
        return groups

    def save_when_due(self, state: Callable[[], Mapping[str, Mapping[str, Tensor]]], epoch: int = 0) -> None:
        """Save `state()` after `epoch` finished epochs, unless the last save was a moment ago."""
        if time.monotonic() - self.written >= CHECKPOINT_EVERY_S:
            self.save(state(), epoch)

    def save(self, state: Mapping[str, Mapping[str, Tensor]], epoch: int = 0) -> None:
        """Save `state` after `epoch` finished epochs."""
        self.run.check_there()
        tensors = {f"{group}|{name}": tensor for group, named in state.items() for name, tensor in named.items()}
        write_checkpoint(self.path, tensors, {**self.header, "epoch": epoch})
        self.written = time.monotonic()
