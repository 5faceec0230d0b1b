# SPDX-License-Identifier: Apache-2.0
"""distill: data set -> teacher -> population of students -> the kept student, as files of a run."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from memkd_edge.config import DistillConfig, to_toml
from memkd_edge.contents import read_config
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.loading import load_data
from memkd_edge.data.prepare import Prepared, prepare
from memkd_edge.data.prepare_recordings import PreparedRecordings, Signal, prepare_recordings
from memkd_edge.data.recordings import Recordings
from memkd_edge.distillation.given_teacher import check_given
from memkd_edge.distillation.methods import method_named
from memkd_edge.distillation.population import predict, predict_along
from memkd_edge.distillation.recording_results import measure_recordings
from memkd_edge.distillation.result_rows import curves, method_rows, student_rows
from memkd_edge.distillation.selection import AUC_PRC, MACRO_F1, Measure, teacher_warning
from memkd_edge.distillation.stream_teacher import answers_along
from memkd_edge.distillation.streams import StreamSeries, joined, judged_at_ends, judged_everywhere, recorded
from memkd_edge.distillation.students import Candidate, only, single
from memkd_edge.distillation.study import Fold, Study, Teachers, TrainingContext, given_teacher, study, train_teachers
from memkd_edge.distillation.teacher import Series, TeacherModel, load_teacher, noise_levels, parameter_count
from memkd_edge.errors import UsageError
from memkd_edge.export_names import rename_note
from memkd_edge.freed_memory import freed_memory_kept
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import (
    Classifier,
    ModelSpec,
    answers,
    ends_of,
    hidden_size_for,
    hold,
    logits_over_time,
    save_model,
)
from memkd_edge.options import check, refuse
from memkd_edge.padding import held, is_padded, lengths
from memkd_edge.progress import Reporter
from memkd_edge.runs import CHECKPOINT, CONFIGURATION, CURVES, METADATA, METRICS, SERIES, STUDENT, TEACHER, Run, alone, run_path
from memkd_edge.scores import (
    agreement,
    auc_prc,
    beats_majority,
    classification_metrics,
    majority_class,
    majority_metrics,
    per_class_table,
    retention,
    warm_up_samples,
)
from memkd_edge.threads import torch_threads
from memkd_edge.vocabulary import Cell, Decision, Reset

AUTO = ("base", "kd", "fitnet", "memkd", "memkd-belief")
AUTO_OF_RECORDINGS = ("base", "memkd", "memkd-belief")  # there kd and fitnet do not help, models/streams.md
NOISE = "0.3,0"
STREAM_NOISE = "0.1"
PAPER: dict[str, Any] = {"noise": "0", "batch_size": 32, "folds": 1}  # what the paper's protocol settles
ASKED, ASKED_STEPS = 3, 400  # series that a given teacher is asked first, and their steps where they are cut from recordings
WARM_UP_SHARE = 0.9  # of the test series whose decision must be final


def distill(
    config: DistillConfig,
    *,
    run_root: Path,
    name: str | None = None,
    resume: Run | None = None,
    force: bool = False,
    progress: Reporter | None = None,
    teacher: TeacherModel | None = None,
    data: Dataset | Recordings | None = None,
    teachers: Path | None = None,
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
            [B, T, H]; it takes the place of `config.teacher`. Give it again when resuming.
        data: the data set, when it is loaded already.
        teachers: a file that keeps the trained teachers, for runs on the same data with the same settings of the teacher: the
            first one trains them, the others take them from there.

    Raises:
        UsageError: an option or the data do not allow it.
        MemkdEdgeError: the run could not be read or written.
    """
    began = time.monotonic()
    progress = progress or Reporter()
    if resume is not None:
        config = read_config(resume)
        if resume.is_complete:
            return resume
    check(config)
    device = _device(config)
    notes: list[str] = []
    if data is None:
        progress.step("reading", note=config.dataset)
        data = _data_of(config, resume, notes)
    elif isinstance(data, Dataset):
        notes += data.notes
    config = _resolved(config, data)
    candidates = candidates_of(config)
    prepared = prepare_for_use(data, config)
    _check_streams(config, candidates, prepared.metadata)
    # Both models' shapes are known before anything is trained or written, so what is impossible is refused at once.
    channels, classes = len(prepared.metadata.channels), len(prepared.metadata.labels)
    spec_of_teacher = teacher_spec(config, channels, classes)
    if teacher is None and config.teacher:
        teacher = load_teacher(Path(config.teacher), spec_of_teacher).to(device)
    if teacher is not None:
        along = prepared.metadata.reset == Reset.NEVER
        check_given(teacher, _some_series(prepared).to(device), classes, along_streams=along)
    if isinstance(data, Dataset) and (is_padded(data.x_train) or is_padded(data.x_test)):
        _check_unequal(config, candidates, spec_of_teacher if teacher is None else teacher)
    size = spec_of_teacher.parameters if teacher is None else parameter_count(teacher)
    spec = student_spec(config, channels, classes, size)
    _check_memory(spec_of_teacher, spec)
    path = resume.path if resume is not None else run_path(run_root, name or _free_name(run_root, prepared.metadata.name))
    with alone(path, "trains", "--name", "--run-root"):
        run = resume or Run.create(run_root, path.name, to_toml("distill", config), force=force)
        progress.started(run.path)
        for note in filter(None, (*notes, head_note(config, spec, size), rename_note(prepared.metadata.name))):
            progress.note(note)
        with torch_threads(config.threads), freed_memory_kept():
            everything, folds, measure = material(prepared, config, device)
            context = TrainingContext(config, run, data.sha256, everything, folds, teachers, progress, measure)
            taught_by = train_teachers(context, spec_of_teacher) if teacher is None else given_teacher(context, teacher)
            found = study(context, spec, candidates, taught_by)
            progress.step("test part")
            if isinstance(prepared, PreparedRecordings):
                measure_recordings(context, prepared, spec, candidates, taught_by, found)
            else:
                _finish(context, prepared, spec, candidates, taught_by, found)
        shutil.rmtree(run.path / CHECKPOINT, ignore_errors=True)
        run.set_state("complete", seconds=time.monotonic() - began)
    return run


def _data_of(config: DistillConfig, resume: Run | None, notes: list[str]) -> Dataset | Recordings:
    """Return the data that the configuration names, as seen from here."""
    try:
        return load_data(config, notes.append)[0]
    except UsageError as error:
        if resume is None:
            raise
        raise UsageError(
            f"{resume.path} was begun with data that are not found from here: {error}; resume in the folder where it was begun, "
            f"or correct the path in its {CONFIGURATION}; where a program gave the data, let it begin anew"
        ) from error


def _resolved(config: DistillConfig, data: Dataset | Recordings) -> DistillConfig:
    """Return `config` with what is left open, as the run keeps it."""
    along = isinstance(data, Recordings) or config.reset == Reset.NEVER
    noise = config.noise or (STREAM_NOISE if along else NOISE)
    open_method = isinstance(data, Recordings) and config.method == "auto"
    method = ",".join(AUTO_OF_RECORDINGS) if open_method else config.method
    # The number of threads decides in which order sums are taken.
    settled = replace(config, noise=noise, method=method, threads=config.threads or torch.get_num_threads())
    return replace(settled, **PAPER) if config.protocol == "paper" else settled


def prepare_for_use(data: Dataset | Recordings, config: DistillConfig) -> Prepared | PreparedRecordings:
    """Return recordings or windows ready to train on, with what a model of them is for.

    Raises:
        UsageError: options that do not fit the data.
    """
    if isinstance(data, Recordings):
        return prepare_recordings(data, config)
    prepared = prepare(data, config)
    return replace(prepared, metadata=replace(prepared.metadata, reset=Reset(config.reset or Reset.EVENT)))


def _some_series(prepared: Prepared | PreparedRecordings) -> torch.Tensor:
    """Return a few series [B, T, C] to ask a teacher."""
    if isinstance(prepared, Prepared):
        return torch.from_numpy(held(prepared.x_train[:ASKED]))
    longest = max((x for x, _ in prepared.train), key=len)
    steps = min(len(longest) // ASKED, ASKED_STEPS)
    return torch.from_numpy(longest[: ASKED * steps].reshape(ASKED, steps, -1))


def material(
    prepared: Prepared | PreparedRecordings, config: DistillConfig, device: torch.device
) -> tuple[Series | StreamSeries, tuple[Fold, ...], Measure]:
    """Return what all of the training data teaches, the folds of it, and what selects."""
    if isinstance(prepared, PreparedRecordings):
        return *_stretches(prepared, config, device), MACRO_F1
    return *_parts(prepared, config, device), AUC_PRC


def _check_streams(config: DistillConfig, candidates: list[Candidate], metadata: Metadata) -> None:
    """Refuse what does not go along streams.

    Raises:
        UsageError: a method, student or teacher that does not; or a delay of windows.
    """
    if metadata.decides != Decision.EVERY_SAMPLE:
        asked = ("refuse", "decision_delay")
        refuse(config, asked, "is for recordings that are learnt sample by sample, not for windows; leave it out")
    if metadata.reset != Reset.NEVER:
        return
    for name in dict.fromkeys(candidate.method for candidate in candidates):
        if not method_named(name).along_streams:
            raise UsageError(
                f"method {name} is for windows from a reset; along streams there are base, kd, fitnet, memkd, memkd-belief and "
                "combinations of them"
            )
    if config.student == Cell.CNN:
        raise UsageError("a cnn student answers for whole windows and has no state; along streams take --student lstm or gru")
    if config.teacher_bidirectional:
        raise UsageError("a bidirectional teacher looks ahead to the end of a series, and streams have none")


def _check_memory(teacher: ModelSpec, student: ModelSpec) -> None:
    """Refuse models that this machine cannot hold in training: weights, gradients and two moments of each, float32.

    Raises:
        UsageError: a size out of reach.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for option, spec in (("--teacher-hidden", teacher), ("--hidden", student)):
        needed = 16 * spec.parameters
        if needed > memory:
            raise UsageError(
                f"{option} {spec.hidden_size}: {spec.parameters:,} parameters take {needed / 2**30:,.0f} GiB in training, and "
                f"this machine has {memory / 2**30:,.0f}; give less"
            )


def _check_unequal(config: DistillConfig, candidates: list[Candidate], teacher: ModelSpec | TeacherModel) -> None:
    """Refuse what series of unequal length, padded to one, would mislead.

    Raises:
        UsageError: a model that looks at the padding or is not ours, a method that runs models anew, windows of a stream.
    """
    if config.reset in (Reset.NEVER, Reset.WINDOW):
        raise UsageError(
            f"--reset {config.reset} is for windows of one length; series of unequal length are events: --reset event"
        )
    spec = teacher.spec if isinstance(teacher, Classifier) else teacher
    if not isinstance(spec, ModelSpec) or spec.bidirectional or Cell.CNN in (config.student, spec.kind):
        raise UsageError(
            "series of unequal length are learnt by an lstm or gru that looks back only, the teacher too; a cnn, a bidirectional "
            "teacher or a module of your own would look at the padding"
        )
    if any("tsd" in one.method for one in candidates):
        raise UsageError("method tsd is for series of one length: it runs the models again on cut-outs of one place in time")


def _device(config: DistillConfig) -> torch.device:
    if config.accelerator == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch sees no CUDA device; use --accelerator cpu, or install a CUDA build of torch and its driver")
    if config.accelerator == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.accelerator)


def candidates_of(config: DistillConfig) -> list[Candidate]:
    """Return the population: every method with every weight of its grid and every seed.

    Raises:
        UsageError: an unknown method, or another option that no data set allows.
    """
    check(config)
    if config.noise:
        noise_levels(config.noise)
    names = AUTO if config.method == "auto" else tuple(name.strip() for name in config.method.split(","))
    candidates = []
    for name in names:
        weights = method_named(name).weights[: config.weights]
        candidates += [Candidate(name, weight, seed) for weight in weights for seed in range(config.seeds)]
    return candidates


def _free_name(root: Path, dataset: str) -> str:
    number = 1
    while (root / f"{dataset}-{number}").exists():
        number += 1
    return f"{dataset}-{number}"


def _stretches(
    prepared: PreparedRecordings, config: DistillConfig, device: torch.device
) -> tuple[StreamSeries, tuple[Fold, ...]]:
    """Return all training recordings, and the folds of them, each judged along the streams of its held-out subjects."""
    rate = prepared.metadata.sample_rate_hz or 0.0
    classes = len(prepared.metadata.labels)
    counts = sum(np.bincount(y[y >= 0], minlength=classes) for _, y in prepared.train)
    weight = _class_weight(np.asarray(counts), config.balance).to(device)

    def learnt(labelled: list[Signal]) -> StreamSeries:
        stretches = [(x, y, False) for x, y in labelled] + [(x, y, True) for x, y in prepared.unlabelled]
        return recorded(stretches, rate, config.decision_delay, weight, device)

    folds = [
        Fold(
            learnt([one for one, fold in zip(prepared.train, prepared.folds, strict=True) if fold != number]),
            judged_everywhere(prepared.held_out(number), device),
        )
        for number in range(prepared.folds.max() + 1)
    ]
    return learnt(list(prepared.train)), tuple(folds)


def _class_weight(counts: NDArray[np.int64], balance: bool) -> torch.Tensor:
    """Return the classes' weights [K] in the cross-entropy: equal, or inverse to how often each occurs."""
    if not balance:
        return torch.ones(len(counts))
    return torch.from_numpy(counts.sum() / (len(counts) * np.maximum(counts, 1))).float()


def _parts(prepared: Prepared, config: DistillConfig, device: torch.device) -> tuple[Series | StreamSeries, tuple[Fold, ...]]:
    """Return all training series, and the folds: of the training series, or by the paper's protocol the test series."""

    def series(x: NDArray[np.float32], y: NDArray[np.int64]) -> Series:
        ends = ends_of(x)
        return Series(
            torch.from_numpy(held(x)).to(device),
            torch.from_numpy(y).to(device),
            balanced if config.balance else None,
            None if ends is None else ends.to(device),
        )

    x, y, folds = prepared.x_train, prepared.y_train, prepared.folds
    classes = len(prepared.metadata.labels)
    balanced = _class_weight(np.bincount(y, minlength=classes), config.balance).to(device)
    if prepared.metadata.reset == Reset.NEVER:
        parts = [(folds != fold, folds == fold) for fold in range(folds.max() + 1)]
        return joined(x, y, config.seed, balanced, device), tuple(
            Fold(joined(x[inside], y[inside], config.seed, balanced, device), judged_at_ends(x[out], y[out], config.seed, device))
            for inside, out in parts
        )
    everything = series(x, y)
    if config.protocol == "paper":
        return everything, (Fold(everything, series(prepared.x_test, prepared.y_test)),)
    parts = [(folds != fold, folds == fold) for fold in range(folds.max() + 1)]
    return everything, tuple(Fold(series(x[inside], y[inside]), series(x[out], y[out])) for inside, out in parts)


def teacher_spec(config: DistillConfig, channels: int, classes: int) -> ModelSpec:
    """Return the architecture of the teacher that is trained."""
    return ModelSpec(
        input_size=channels,
        hidden_size=config.teacher_hidden,
        num_classes=classes,
        num_layers=config.teacher_layers,
        kind=Cell(config.teacher_kind),
        bidirectional=config.teacher_bidirectional,
    )


def student_spec(config: DistillConfig, channels: int, classes: int, teacher_parameters: int) -> ModelSpec:
    """Return the architecture of the students.

    Raises:
        UsageError: the compression is out of reach.
    """
    spec = ModelSpec(channels, max(config.hidden, 1), classes, kind=Cell(config.student))
    if config.hidden:
        return spec
    return replace(spec, hidden_size=hidden_size_for(config.compression, teacher_parameters, spec))


def head_note(config: DistillConfig, spec: ModelSpec, teacher_parameters: int) -> str:
    """Say so where many classes leave few units to a student of the asked-for compression; "" elsewhere."""
    if config.hidden or 2 * spec.head_parameters <= spec.parameters:
        return ""
    compression = config.compression / 2
    larger = hidden_size_for(compression, teacher_parameters, spec)
    return (
        f"{spec.num_classes} classes take {spec.head_parameters} of the student's {spec.parameters} parameters and leave it a "
        f"hidden size of {spec.hidden_size}; --compression {compression:g} leaves {larger}, which mostly decides better"
    )


def _finish(
    context: TrainingContext, prepared: Prepared, spec: ModelSpec, candidates: list[Candidate], teachers: Teachers, found: Study
) -> None:
    """Measure everything on the test series, once, and write the run's files."""
    choice, kept_students = found.choice, found.population.kept
    index = found.refitted.index(candidates[choice.index])
    student = single(spec, kept_students, index)
    context.run.write_bytes(STUDENT, save_model(student))
    if isinstance(teachers.final, Classifier):
        context.run.write_bytes(TEACHER, save_model(teachers.final))

    device, seed = context.all.x.device, context.config.seed
    x_test, y_test, ends = torch.from_numpy(held(prepared.x_test)).to(device), prepared.y_test, ends_of(prepared.x_test)
    ends = None if ends is None else ends.to(device)
    joined_test = None if spec.kind == Cell.CNN else judged_at_ends(prepared.x_test, y_test, seed, device)
    from_reset = classification_metrics(predict(spec, only(kept_students, index), x_test, ends)[0].cpu().numpy(), y_test)
    never_reset = None
    if joined_test is not None:
        joined_logits = predict_along(spec, only(kept_students, index), joined_test)[0]
        never_reset = classification_metrics(joined_logits.cpu().numpy(), joined_test.y.cpu().numpy())
    if joined_test is not None and prepared.metadata.reset == Reset.NEVER:
        y_test = joined_test.y.cpu().numpy()
        test_logits = predict_along(spec, kept_students, joined_test).cpu().numpy()
        teacher_test = answers_along(teachers.final, joined_test).cpu().numpy()
    else:
        test_logits = predict(spec, kept_students, x_test, ends).cpu().numpy()
        with torch.no_grad():
            rows = torch.split(torch.arange(len(x_test), device=device), 256)
            teacher_test = (
                torch.cat([answers(teachers.final, x_test[part], None if ends is None else ends[part])[0] for part in rows])
                .cpu()
                .numpy()
            )
    with torch.no_grad():
        over_time = torch.cat([logits_over_time(student, part) for part in torch.split(x_test.cpu(), 256)])
        if ends is not None:
            over_time = hold(over_time, ends.cpu())
    kept = test_logits[index]
    test = {"test_auc_prc": auc_prc(test_logits, y_test), "test_accuracy": (test_logits.argmax(-1) == y_test).mean(-1)}
    agreements = np.array([agreement(logits, teacher_test) for logits in test_logits])
    teacher_metrics = classification_metrics(teacher_test, y_test)
    student_metrics = classification_metrics(kept, y_test)
    teacher_parameters = parameter_count(teachers.final)
    warm_up = int(np.quantile(warm_up_samples(over_time.numpy()), WARM_UP_SHARE, method="higher"))
    if prepared.metadata.window_length == 0:  # the shortest series gets a decision, too
        warm_up = min(warm_up, int(min(lengths(prepared.x_train).min(), lengths(prepared.x_test).min())) - 1)
    member = choice.kept.members.index(choice.index)
    teacher_validation = classification_metrics(teachers.held_out_logits, context.held_out_labels)
    context.run.write_json(CURVES, curves(found, context.measure.name))
    context.run.write_json(
        METRICS,
        {
            "protocol": context.config.protocol,
            "folds": len(context.folds),
            "teacher": {
                "parameters": teacher_parameters,
                "noise": teachers.noise,
                "test": teacher_metrics,
                "validation": teacher_validation,
            },
            "student": {
                "parameters": spec.parameters,
                "compression": teacher_parameters / spec.parameters,
                "hidden_size": spec.hidden_size,
                "kind": spec.kind,
                "method": choice.kept.method,
                "weight": choice.kept.weight,
                "seed": candidates[choice.index].seed,
                "stop_epoch": choice.kept.epoch,
                "validation": {"auc_prc": float(choice.kept.score[member]), "cross_entropy": float(choice.kept.loss[member])},
                "test": student_metrics,
                "test_from_reset": from_reset,
                "test_never_reset": never_reset,
                "agreement_with_teacher": float(agreements[index]),
                "retention": retention(student_metrics, teacher_metrics),
                "per_class": per_class_table(kept, y_test, prepared.metadata.labels),
                "warm_up_samples": warm_up,
            },
            "majority": {
                "label": prepared.metadata.labels[majority_class(prepared.y_train)],
                "test": majority_metrics(prepared.y_train, prepared.y_test),
                "validation": majority_metrics(prepared.y_train, context.held_out_labels),
            },
            "methods": method_rows(candidates, found, "auc_prc", test),
            "students": student_rows(found, "auc_prc", test | {"agreement_with_teacher": agreements}),
            "kept_because": choice.reason,
            "warning": teacher_warning(
                {one.method: float(one.score.mean()) for one in choice.methods}, teacher_validation["auc_prc"]
            ),
            "chance": chance_warning(student_metrics["accuracy"], prepared),
        },
    )
    metadata = replace(prepared.metadata, warm_up=warm_up, accuracy=student_metrics["accuracy"], run_id=context.run.run_id)
    context.run.write_text(METADATA, metadata.to_json() + "\n")
    context.run.write_arrays(SERIES, prepared.kept_series())


def chance_warning(accuracy: float, prepared: Prepared) -> str:
    """Say so when a test accuracy is not above that of always saying the most frequent class, by more than chance."""
    majority = majority_metrics(prepared.y_train, prepared.y_test)["accuracy"]
    if beats_majority(accuracy, majority, len(prepared.y_test)):
        return ""
    label = prepared.metadata.labels[majority_class(prepared.y_train)]
    return (
        f"the student is not better than always saying {label!r}: it decides {accuracy:.3f} of {len(prepared.y_test)} test "
        f"series correctly, {label!r} alone {majority:.3f} (within two standard errors)"
    )
