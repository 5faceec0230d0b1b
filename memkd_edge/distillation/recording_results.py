# SPDX-License-Identifier: Apache-2.0
"""What came of distilling recordings: teacher and students along the test streams, once, as files of the run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from memkd_edge.config import DistillConfig
from memkd_edge.data.prepare_recordings import PreparedRecordings, Signal, joined
from memkd_edge.decisions import (
    OperatingPoint,
    Refusal,
    chosen_point,
    chosen_refusal,
    held_classes,
    keeps_classes,
    operating_point,
    operating_points,
)
from memkd_edge.distillation.population import predict_along
from memkd_edge.distillation.result_rows import curves, method_rows, student_rows
from memkd_edge.distillation.selection import teacher_warning
from memkd_edge.distillation.stream_teacher import answers_along
from memkd_edge.distillation.streams import JudgedStreams, StreamSeries, judged_everywhere
from memkd_edge.distillation.students import Candidate, only, single
from memkd_edge.distillation.study import Study, Teachers, TrainingContext
from memkd_edge.distillation.teacher import parameter_count
from memkd_edge.errors import UsageError
from memkd_edge.nets.classifier import Classifier, ModelSpec, logits_over_time, save_model
from memkd_edge.quantization.batch import decisions_along
from memkd_edge.quantization.post_training import quantize
from memkd_edge.runs import CURVES, METADATA, METRICS, SERIES, STUDENT, TEACHER
from memkd_edge.stream_scores import StreamScores, confusion, macro_f1, sample_accuracy, stream_scores
from memkd_edge.vocabulary import Arithmetic

WARM_UP_LOSS = 0.02  # of accuracy, by which a student that is warm may still be worse than one that was never reset
WARM_UP_CHUNKS = 2000  # at most, by which that is judged
RESETS_AT_ONCE = 256
SELDOM = 0.1  # of a class's samples decided right: of a rare class, accuracy hardly shows it


def measure_recordings(
    context: TrainingContext,
    prepared: PreparedRecordings,
    spec: ModelSpec,
    candidates: list[Candidate],
    teachers: Teachers,
    found: Study,
) -> None:
    """Measure everything along the test streams, never reset, and write the run's files."""
    assert isinstance(context.all, StreamSeries)
    choice, students = found.choice, found.population.kept
    index = found.refitted.index(candidates[choice.index])
    student = single(spec, students, index)
    context.run.write_bytes(STUDENT, save_model(student))
    if isinstance(teachers.final, Classifier):
        context.run.write_bytes(TEACHER, save_model(teachers.final))

    device, labels = context.all.x.device, prepared.metadata.labels
    # Judged at every sample, whether it has a class or not: what is not judged still belongs to the decisions along a stream.
    everywhere = judged_everywhere(
        [(x, np.zeros_like(y)) for x, y in prepared.test], device, most=sum(len(y) for _, y in prepared.test)
    )
    order = np.lexsort((everywhere.time.cpu(), everywhere.stream.cpu()))  # stream after stream
    decisions = np.stack([_decided(spec, students, one, everywhere)[order] for one in range(len(found.refitted))])
    taught = answers_along(teachers.final, everywhere).argmax(-1).cpu().numpy()[order]
    ends = np.cumsum([len(y) for _, y in prepared.test])[:-1]
    truth = np.concatenate([y for _, y in prepared.test])
    tables = confusion(np.concatenate([decisions, taught[None]]), truth, len(labels))
    accuracy, f1 = sample_accuracy(tables), macro_f1(tables)

    def scores(one: NDArray[np.int64]) -> StreamScores:
        rate = prepared.metadata.sample_rate_hz or 1.0
        return stream_scores(np.split(one, ends), [y for _, y in prepared.test], len(labels), rate)

    def along(one: NDArray[np.int64]) -> dict[str, Any]:
        return scores(one).as_dict()

    point, refusal = _decision_layer(found.of_fold, student, prepared, context.config)
    never_reset = _logits_along(student, [x for x, _ in prepared.test])
    held = scores(np.concatenate([held_classes(logits, point.margin) for logits in never_reset]))
    parameters = parameter_count(teachers.final)
    kept_series = prepared.kept_series(context.all.chunk)
    integers = _integers_along(student, kept_series["x_calibration"], [x for x, _ in prepared.test], point.margin)
    warm = warm_up(student, joined(prepared.train, prepared.subjects), context.all.chunk)
    agreements = (decisions == taught)[:, truth >= 0].mean(-1)
    test = {"test_accuracy": accuracy, "test_f1_macro": f1}
    member = choice.kept.members.index(choice.index)
    validation = context.measure.of(teachers.held_out_logits[None], context.held_out_labels)[0]
    context.run.write_json(CURVES, curves(found, context.measure.name))
    context.run.write_json(
        METRICS,
        {
            "protocol": context.config.protocol,
            "folds": len(context.folds),
            "decision_delay": context.config.decision_delay,
            "teacher": {
                "parameters": parameters,
                "noise": teachers.noise,
                "stream": along(taught),
                "validation": {"f1_macro": float(validation)},
            },
            "student": {
                "parameters": spec.parameters,
                "compression": parameters / spec.parameters,
                "hidden_size": spec.hidden_size,
                "kind": spec.kind,
                "method": choice.kept.method,
                "weight": choice.kept.weight,
                "seed": candidates[choice.index].seed,
                "stop_epoch": choice.kept.epoch,
                "stream": along(decisions[index]),
                "held": held.as_dict(),
                "integers": {arithmetic: along(decided) for arithmetic, decided in integers.items()},
                "decision_margin": point.margin,
                "refusal": None if refusal is None else refusal.as_dict(),
                "validation": {"f1_macro": float(choice.kept.score[member]), "cross_entropy": float(choice.kept.loss[member])},
                "agreement_with_teacher": float(agreements[index]),
                "warm_up_samples": warm,
            },
            "methods": method_rows(candidates, found, "f1_macro", test),
            "students": student_rows(found, "f1_macro", test | {"agreement_with_teacher": agreements}),
            "kept_because": choice.reason,
            "warning": teacher_warning(
                {one.method: float(one.score.mean()) for one in choice.methods}, float(validation), context.measure.name
            ),
            "seldom": seldom_warning(held, labels, context.config.balance),
        },
    )
    metadata = replace(
        prepared.metadata,
        warm_up=warm,
        decision_margin=point.margin,
        refuse_below=None if refusal is None else refusal.floor,
        accuracy=float(accuracy[index]),
        run_id=context.run.run_id,
    )
    context.run.write_text(METADATA, metadata.to_json() + "\n")
    context.run.write_arrays(SERIES, kept_series)


def seldom_warning(scores: StreamScores, labels: Sequence[str], balance: bool) -> str:
    """Say which classes are decided right at less than `SELDOM` of their samples, and the remedy.

    labels: the classes' names. balance: they were weighed alike in training.
    """
    total = sum(one.samples for one in scores.classes)
    seldom = [
        f"of class {label!r}, {one.samples / total:.1%} of the test samples, the student decides {one.recall:.1%} right"
        for label, one in zip(labels, scores.classes, strict=True)
        if one.samples and one.recall < SELDOM
    ]
    weigh = "" if balance else "weigh classes alike in training with --balance, "
    return f"{'; '.join(seldom)}: {weigh}record more of it, or leave it out with --ignore" if seldom else ""


def _logits_along(student: Classifier, streams: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return the student's logits [T, K] along streams [T, C], each from a reset."""
    with torch.no_grad():
        return [logits_over_time(student, torch.from_numpy(x)[None])[0].numpy() for x in streams]


def _integers_along(
    student: Classifier, x_calibration: NDArray[np.float32], streams: Sequence[NDArray[np.float32]], margin: float
) -> dict[Arithmetic, NDArray[np.int64]]:
    """Return the classes [N] held along streams [T, C], one after the other, by the student's integers, where it has any."""
    try:
        model = quantize(student, x_calibration, never_reset=True)
    except UsageError:  # a layer that is too wide; `export` says so
        return {}
    return {
        one: np.concatenate([decisions_along(model, one, x, margin) for x in streams])
        for one in (Arithmetic.INT8, Arithmetic.INT16X8)
    }


def _decision_layer(
    of_fold: Sequence[Classifier], kept: Classifier, prepared: PreparedRecordings, config: DistillConfig
) -> tuple[OperatingPoint, Refusal | None]:
    """Choose the margin, and if asked what is refused, along held-out streams, by students that never saw them.

    The student `kept`, trained again on all, may have smaller scores than they: its classes must outlast the margin, too, along
    the training streams.
    """
    logits, labels = [], []
    for fold, student in enumerate(of_fold):
        judged = [(x, y) for x, y in prepared.held_out(fold) if (y >= 0).any()]
        logits += _logits_along(student, [x for x, _ in judged])
        labels += [y for _, y in judged]
    rate, classes = prepared.metadata.sample_rate_hz or 1.0, len(prepared.metadata.labels)
    training = joined(prepared.train, prepared.subjects)
    own = _logits_along(kept, [x for x, _ in training])

    def held(margin: float) -> OperatingPoint:
        return operating_point(own, [y for _, y in training], classes, rate, margin)

    plain = held(0.0)
    points = operating_points(logits, labels, classes, rate)
    point = chosen_point(points, config.max_delay, lambda margin: keeps_classes(plain, held(margin)))
    return point, chosen_refusal(logits, labels, point.margin, config.refuse) if config.refuse else None


def _decided(spec: ModelSpec, students: dict[str, torch.Tensor], number: int, streams: JudgedStreams) -> NDArray[np.int64]:
    """Return the decisions [N] of one student; one at a time, because streams may be long."""
    return predict_along(spec, only(students, number), streams)[0].argmax(-1).cpu().numpy()


def _from_resets(student: Classifier, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the student's decisions [N, T] along chunks [N, T, C], each from a reset."""
    with torch.no_grad():
        return logits_over_time(student, torch.from_numpy(x)).argmax(-1).numpy()


def warm_up(student: Classifier, streams: Sequence[Signal], chunk: int) -> int:
    """Return the samples after a reset from which a student of recordings is nearly as good as one that was never reset.

    Resets are tried at every quarter of a chunk. The first fortieth of a chunk (.1 s) in which the decisions after them are right
    nearly as often as those of the student that goes on, over all these resets, begins there: within `WARM_UP_LOSS`.

    Args:
        streams: x [T, C] normalised, y [T] class or -1; the training streams, as the test streams are looked at once.
        chunk: samples that training joined; the longest warm-up.
    """
    chunk = min(chunk, max(len(y) for _, y in streams))
    starts = [(number, at) for number, (_, y) in enumerate(streams) for at in range(0, len(y) - chunk + 1, max(1, chunk // 4))]
    some = np.linspace(0, len(starts) - 1, min(WARM_UP_CHUNKS, len(starts))).astype(np.int64)
    never = [logits.argmax(-1) for logits in _logits_along(student, [x for x, _ in streams])]
    right = np.zeros((2, chunk), np.int64)  # from a reset, never reset
    judged = np.zeros(chunk, np.int64)
    for few in np.array_split(some, -(-len(some) // RESETS_AT_ONCE) or 1):
        parts = [(number, slice(at, at + chunk)) for number, at in (starts[one] for one in few)]
        x, y = (np.stack([streams[number][which][part] for number, part in parts]) for which in (0, 1))
        went_on = np.stack([never[number][part] for number, part in parts])
        right += [(_from_resets(student, x) == y).sum(0), (went_on == y).sum(0)]
        judged += (y >= 0).sum(0)
    step = max(1, chunk // 40)
    edges = np.arange(0, chunk, step)
    loss = np.diff(np.add.reduceat(right, edges, axis=1), axis=0)[0] / np.maximum(np.add.reduceat(judged, edges), 1)
    warm = np.flatnonzero(loss <= WARM_UP_LOSS)
    return int(edges[warm[0]]) if len(warm) else chunk
