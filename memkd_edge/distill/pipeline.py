"""distill: data set -> teacher -> population of students -> the kept student, as files of a run."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.config import DistillConfig, from_table, to_toml
from memkd_edge.data import Prepared, load_dataset, prepare
from memkd_edge.distill.checkpoint import read_checkpoint, write_checkpoint
from memkd_edge.distill.methods import method_named
from memkd_edge.distill.metrics import agreement, auc_prc, classification_metrics, per_class_table, retention, warm_up_samples
from memkd_edge.distill.population import Population, Recipe, predict
from memkd_edge.distill.selection import Choice, choose, groups
from memkd_edge.distill.students import Candidate, Parameters
from memkd_edge.distill.teacher import Series, Teacher, TeacherModel, TeacherRecipe, TeacherTraining, load_teacher
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.models import Classifier, ModelSpec, build, hidden_size_for, logits_over_time, save_model
from memkd_edge.progress import Reporter
from memkd_edge.runs import Run

AUTO = ("base", "kd", "memkd", "memkd+kd")
AUTO_WEIGHTS = 3  # of each method's grid
TEACHER_PATIENCE = 30  # epochs
VALIDATIONS = 40  # in the course of the students' training
CALIBRATION_SERIES = 256
WARM_UP_SHARE = 0.9  # of the test series whose decision must be final
CHECKPOINT_EVERY_S = 10.0
MIB = 2**20


@dataclass(frozen=True)
class Job:
    """One run's data on its device, and how it is trained."""

    config: DistillConfig
    run: Run
    prepared: Prepared
    train: Series
    validation: Series
    test: Series
    progress: Reporter

    @property
    def batch_size(self) -> int:
        """Series in a batch: asked for, or a quarter of the training series within 8 .. 64."""
        return self.config.batch_size or min(64, max(8, len(self.train.y) // 4))


def distill(
    config: DistillConfig,
    *,
    run_root: Path,
    name: str | None = None,
    resume: Run | None = None,
    force: bool = False,
    progress: Reporter | None = None,
    teacher: TeacherModel | None = None,
) -> Run:
    """Train a teacher, distil it into a student, and return the finished run.

    Interrupted at any moment, the run continues with `resume` and ends with the same bytes (CPU, same number of threads).

    Args:
        config: what to do; when resuming, the run's own saved configuration is taken instead.
        run_root: folder in which the run directory is made.
        name: of the run directory; the data set's name and a number when left out.
        resume: the run to continue.
        force: overwrite a run of that name.
        progress: told of each epoch.
        teacher: a trained model of your own that takes normalised series x [B, T, C] to logits [B, K] and a hidden sequence
            [B, T, H]; it takes the place of `config.teacher`.

    Raises:
        UsageError: an option or the data do not allow it.
        MemkdEdgeError: the run could not be read or written.
    """
    if resume is not None:
        config = from_table(DistillConfig, resume.read_config()["distill"])
        if resume.environment()["state"] == "complete":
            return resume
    # The number of threads decides in which order sums are taken, so the run keeps it.
    config = replace(config, threads=config.threads or torch.get_num_threads())
    device = _device(config)
    candidates = _candidates(config)
    prepared = prepare(load_dataset(config.dataset, data_root=config.data_root, groups=config.groups), config)
    run = resume or _create(config, run_root, name or _free_name(run_root, prepared.metadata.name), force)
    progress = progress or Reporter()
    progress.started(run.path)
    train, validation, test = (
        Series(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
        for x, y in (
            (prepared.x_train, prepared.y_train),
            (prepared.x_val, prepared.y_val),
            (prepared.x_test, prepared.y_test),
        )
    )
    job = Job(config, run, prepared, train, validation, test, progress)
    with _threads(config.threads):
        model = teacher or _teacher(job)
        frozen = Teacher(model, train, memory_limit=config.memory_limit * MIB)
        spec = _student_spec(job, _parameters(model))
        population = _train_students(job, spec, candidates, frozen)
        _finish(job, spec, population, frozen)
    shutil.rmtree(run.path / "checkpoint", ignore_errors=True)
    run.set_state("complete")
    return run


def _device(config: DistillConfig) -> torch.device:
    if config.device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {config.device!r}; it is auto, cpu or cuda")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch sees no CUDA device; use --device cpu, or install a CUDA build of torch and its driver")
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def _candidates(config: DistillConfig) -> list[Candidate]:
    """Return the population: every method with every weight of its grid and every seed."""
    if config.seeds < 1 or config.epochs < 1:
        raise UsageError(f"--seeds and --epochs must be at least 1, not {config.seeds} and {config.epochs}")
    if config.protocol not in ("honest", "paper"):
        raise UsageError(f"unknown protocol {config.protocol!r}; it is honest or paper")
    names = AUTO if config.method == "auto" else tuple(name.strip() for name in config.method.split(","))
    candidates = []
    for name in names:
        weights = method_named(name).weights
        if config.method == "auto":
            weights = weights[:AUTO_WEIGHTS]
        candidates += [Candidate(name, weight, seed) for weight in weights for seed in range(config.seeds)]
    return candidates


def _create(config: DistillConfig, root: Path, name: str, force: bool) -> Run:
    path = root / name
    if force and (path / "env.json").is_file():
        shutil.rmtree(path)  # an old run's files must not pass for the new one's
    return Run.create(root, name, to_toml("distill", config), force=force)


def _free_name(root: Path, dataset: str) -> str:
    number = 1
    while (root / f"{dataset}-{number}").exists():
        number += 1
    return f"{dataset}-{number}"


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Checkpoint:
    """The checkpoint file of one phase; written at most every few seconds."""

    def __init__(self, job: Job, phase: str) -> None:
        self.path = job.run.path / "checkpoint" / f"{phase}.safetensors"
        self.data = job.prepared.metadata.dataset_sha256
        self.written = time.monotonic()

    def read(self) -> tuple[dict[str, Tensor], int] | None:
        """Return the saved tensors and the number of finished epochs.

        Raises:
            MemkdEdgeError: it is damaged, or was made with other data.
        """
        found = read_checkpoint(self.path)
        if found is None:
            return None
        tensors, header = found
        if header["data"] != self.data:
            raise MemkdEdgeError(f"{self.path} belongs to other data than the data set now has; distil in a new run")
        return tensors, header["epoch"]

    def write(self, tensors: dict[str, Tensor], epoch: int) -> None:
        """Save the state after `epoch` finished epochs."""
        write_checkpoint(self.path, tensors, {"data": self.data, "epoch": epoch})
        self.written = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self.written >= CHECKPOINT_EVERY_S


def _teacher(job: Job) -> Classifier:
    """Load the teacher, or train some and keep the best on validation; either way it ends in teacher.safetensors."""
    config, path = job.config, job.run.path / "teacher.safetensors"
    spec = ModelSpec(
        input_size=job.train.x.shape[2],
        hidden_size=config.teacher_hidden,
        num_classes=len(job.prepared.metadata.labels),
        num_layers=config.teacher_layers,
        kind=config.teacher_kind,
        bidirectional=config.teacher_bidirectional,
    )
    if path.is_file():  # an earlier part of this run made it
        return load_teacher(path, spec).to(job.train.x.device)
    model = load_teacher(Path(config.teacher), spec) if config.teacher else _train_teachers(job, spec)
    model.to(job.train.x.device)
    job.run.write_bytes("teacher.safetensors", save_model(model))
    return model


def _train_teachers(job: Job, spec: ModelSpec) -> Classifier:
    config = job.config
    recipe = TeacherRecipe(config.teacher_epochs, config.teacher_learning_rate, job.batch_size, TEACHER_PATIENCE)
    seeds = [config.seed * 1_009 + number for number in range(config.teacher_seeds)]
    trainings = [TeacherTraining(spec, recipe, seed, job.train, job.validation) for seed in seeds]
    checkpoint = _Checkpoint(job, "teacher")
    saved = checkpoint.read()
    if saved is not None:
        for number, training in enumerate(trainings):
            prefix = f"{number}/"
            training.load({key.removeprefix(prefix): value for key, value in saved[0].items() if key.startswith(prefix)})
    while unfinished := [training for training in trainings if not training.finished]:
        for training in unfinished:
            training.train_epoch()
        epoch = max(training.epoch for training in trainings)
        best = max(trainings, key=_standing)
        job.progress.teacher(epoch, recipe.epochs, best.loss, best.best_auc)
        if checkpoint.due:
            states = {f"{n}/{key}": value for n, training in enumerate(trainings) for key, value in training.state().items()}
            checkpoint.write(states, epoch)
    return max(trainings, key=_standing).result()


def _standing(training: TeacherTraining) -> tuple[float, float]:
    return training.best_auc, -training.best_loss


def _parameters(model: TeacherModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _student_spec(job: Job, teacher_parameters: int) -> ModelSpec:
    config = job.config
    spec = ModelSpec(job.train.x.shape[2], max(config.hidden, 1), len(job.prepared.metadata.labels), kind=config.student)
    if config.hidden:
        return spec
    return replace(spec, hidden_size=hidden_size_for(config.compression, teacher_parameters, spec))


def _train_students(job: Job, spec: ModelSpec, candidates: list[Candidate], teacher: Teacher) -> Population:
    config = job.config
    recipe = Recipe(config.epochs, config.learning_rate, job.batch_size, config.seed)
    population = Population(spec, candidates, teacher, recipe, threads=config.threads, memory_limit=config.memory_limit * MIB)
    held_out = job.test if config.protocol == "paper" else job.validation
    checkpoint = _Checkpoint(job, "students")
    saved = checkpoint.read()
    first = 0
    if saved is not None:
        population.load(saved[0])
        first = saved[1]
    every = max(1, config.epochs // VALIDATIONS)
    for epoch in range(first, config.epochs):
        population.train_epoch(epoch)
        if (epoch + 1) % every == 0 or epoch + 1 == config.epochs:
            population.evaluate(held_out.x, held_out.y, epoch + 1)
        job.progress.population(epoch + 1, config.epochs, float(population.best_auc.max()), float(np.median(population.best_auc)))
        if checkpoint.due:
            checkpoint.write(population.state(), epoch + 1)
    return population


def _finish(job: Job, spec: ModelSpec, population: Population, teacher: Teacher) -> None:
    """Choose the student, measure everything on the test series once, and write the run's files."""
    part = "test" if job.config.protocol == "paper" else "validation"
    choice = choose(population.candidates, population.best_auc, population.best_loss, part)
    best = population.best
    student = _single(spec, best, choice.index)
    job.run.write_bytes("student.safetensors", save_model(student))

    test_logits = predict(spec, best, job.test.x).cpu().numpy()
    validation_logits = predict(spec, best, job.validation.x).cpu().numpy()
    kept = test_logits[choice.index]
    teacher_test = teacher.logits(job.test.x).cpu().numpy()
    teacher_metrics = classification_metrics(teacher_test, job.prepared.y_test)
    student_metrics = classification_metrics(kept, job.prepared.y_test)
    teacher_parameters = _parameters(teacher.model)
    with torch.no_grad():
        over_time = torch.cat([logits_over_time(student, x.cpu()) for x in torch.split(job.test.x, 256)]).numpy()
    warm_up = int(np.quantile(warm_up_samples(over_time), WARM_UP_SHARE, method="higher"))
    job.run.write_json(
        "metrics.json",
        {
            "protocol": job.config.protocol,
            "teacher": {
                "parameters": teacher_parameters,
                "test": teacher_metrics,
                "validation": classification_metrics(teacher.logits(job.validation.x).cpu().numpy(), job.prepared.y_val),
            },
            "student": {
                "parameters": spec.parameters,
                "compression": teacher_parameters / spec.parameters,
                "hidden_size": spec.hidden_size,
                "kind": spec.kind,
                "method": choice.method,
                "weight": choice.weight,
                "seed": population.candidates[choice.index].seed,
                "validation": classification_metrics(validation_logits[choice.index], job.prepared.y_val),
                "test": student_metrics,
                "agreement_with_teacher": agreement(kept, teacher_test),
                "retention": retention(student_metrics, teacher_metrics),
                "per_class": per_class_table(kept, job.prepared.y_test, job.prepared.metadata.labels),
                "warm_up_samples": warm_up,
            },
            "methods": _method_rows(job, population, choice, validation_logits, test_logits),
            "kept_because": choice.reason,
        },
    )
    metadata = replace(job.prepared.metadata, warm_up=warm_up, accuracy=student_metrics["accuracy"], run_id=job.run.run_id)
    job.run.write_text("model.json", metadata.to_json() + "\n")
    job.run.write_arrays(
        "calibration.npz",
        {
            "x_calibration": job.prepared.x_train[:CALIBRATION_SERIES],
            "x_val": job.prepared.x_val,
            "y_val": job.prepared.y_val,
            "x_test": job.prepared.x_test,
            "y_test": job.prepared.y_test,
            "x_raw_golden": job.prepared.x_raw_golden,
        },
    )


def _single(spec: ModelSpec, parameters: Parameters, index: int) -> Classifier:
    model = build(spec)
    model.load_state_dict({name: tensor[index] for name, tensor in parameters.items()})
    return model.eval()


def _method_rows(
    job: Job, population: Population, choice: Choice, validation: NDArray[np.float32], test: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """Return one row per (method, weight): mean and standard deviation over its seeds."""
    figures = {
        "validation_auc_prc": auc_prc(validation, job.prepared.y_val),
        "validation_accuracy": (validation.argmax(-1) == job.prepared.y_val).mean(-1),
        "test_auc_prc": auc_prc(test, job.prepared.y_test),
        "test_accuracy": (test.argmax(-1) == job.prepared.y_test).mean(-1),
    }
    rows = []
    for (method, weight), members in groups(population.candidates).items():
        row: dict[str, Any] = {
            "method": method,
            "weight": weight,
            "seeds": len(members),
            "kept": (method, weight) == (choice.method, choice.weight),
        }
        for name, values in figures.items():
            row |= {f"{name}_mean": float(values[members].mean()), f"{name}_std": float(values[members].std())}
        rows.append(row)
    return rows
