# SPDX-License-Identifier: Apache-2.0
"""What a finished run holds, typed: its student, teacher, series and metrics. All reading of a run's contents is here."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DistillConfig, from_table, parse_toml
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.padding import held
from memkd_edge.runs import CONFIGURATION, CURVES, METRICS, SERIES, STUDENT, TEACHER, Run
from memkd_edge.stream_scores import StreamScores

if TYPE_CHECKING:  # it loads torch, which those who read figures have no use for
    from memkd_edge.nets.classifier import Classifier

T = TypeVar("T")


@dataclass(frozen=True)
class RunSeries:
    """The series that a run keeps, resampled; x normalised.

    x_calibration: float32 [N, T, C], of the training series. x_test: float32 [M, T, C], shorter ones padded (padding.py);
    y_test: int64 [M], class indices.
    x_raw_golden: float32 [G, T', C], test series in physical units at the sensor's rate.
    """

    x_calibration: NDArray[np.float32]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    x_raw_golden: NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """Figures of one model on one part of the data, each in [0, 1]; None where the part does not define it."""

    accuracy: float
    auc_prc: float
    f1_macro: float | None = None
    roc_auc: float | None = None
    calibration_error: float | None = None


@dataclass(frozen=True)
class MajorityMetrics:
    """What always saying `label`, the most frequent class of the training series, reaches."""

    label: str
    test: Scores
    validation: Scores


@dataclass(frozen=True)
class TeacherMetrics:
    """validation: on held-out series. noise: the level it was trained with."""

    parameters: int
    test: Scores
    validation: Scores
    noise: float | None = None


@dataclass(frozen=True)
class StudentMetrics:
    """The kept student. compression: teacher / student parameters. validation: auc_prc and cross_entropy on held-out series.

    retention: student / teacher of the test figures. per_class: label, support, precision, recall, f1, auc_prc of each class.
    warm_up_samples: time steps after a reset until the decision is final for 90 % of the test series. test_never_reset: at the
    ends of the test series, one after another in one stream; None where that is not known.
    """

    kind: str
    hidden_size: int
    parameters: int
    compression: float
    method: str
    weight: float
    seed: int
    stop_epoch: int
    test: Scores
    validation: dict[str, float]
    agreement_with_teacher: float
    retention: dict[str, float]
    per_class: list[dict[str, Any]]
    warm_up_samples: int
    test_never_reset: Scores | None = None


@dataclass(frozen=True)
class MethodMetrics:
    """A method with one weight: mean and standard deviation over its seeds; test figures of a method's best weight only."""

    method: str
    weight: float
    seeds: int
    stop_epoch: int
    kept: bool
    validation_auc_prc_mean: float
    validation_auc_prc_std: float
    test_auc_prc_mean: float | None = None
    test_auc_prc_std: float | None = None
    test_accuracy_mean: float | None = None
    test_accuracy_std: float | None = None


@dataclass(frozen=True)
class SeedMetrics:
    """One student that was trained on all training series: its held-out score as a candidate, its test figures."""

    method: str
    weight: float
    seed: int
    stop_epoch: int
    validation_auc_prc: float
    test_auc_prc: float
    test_accuracy: float
    agreement_with_teacher: float


@dataclass(frozen=True)
class Metrics:
    """What metrics.json says. protocol: honest or paper. kept_because, chance, warning: in words.

    majority, chance: not in runs of before they were known.
    """

    protocol: str
    folds: int
    teacher: TeacherMetrics
    student: StudentMetrics
    methods: tuple[MethodMetrics, ...]
    students: tuple[SeedMetrics, ...]
    kept_because: str
    warning: str
    majority: MajorityMetrics | None = None
    chance: str = ""


@dataclass(frozen=True)
class RecordingTeacherMetrics:
    """stream: `StreamScores.as_dict` along the test streams. validation: f1_macro along held-out streams."""

    parameters: int
    stream: dict[str, Any]
    validation: dict[str, float]
    noise: float


@dataclass(frozen=True)
class RecordingStudentMetrics:
    """The kept student of recordings; stream and validation as of the teacher.

    warm_up_samples: after a reset, until its decisions are right nearly as often as those of a student that was never reset.
    held: as stream, of the class that is held until another leads by decision_margin (logits); None of older runs. refusal: floor
    (logits) below whose lead the answer is none, and the shares of the right, wrong and unlabelled samples along the held-out
    streams that are refused with it; None where nothing is. integers: as held, of its int8 and int16x8; None of
    older runs.
    """

    kind: str
    hidden_size: int
    parameters: int
    compression: float
    method: str
    weight: float
    seed: int
    stop_epoch: int
    stream: dict[str, Any]
    validation: dict[str, float]
    agreement_with_teacher: float
    warm_up_samples: int
    held: dict[str, Any] | None = None
    decision_margin: float = 0.0
    refusal: dict[str, float | None] | None = None
    integers: dict[str, Any] | None = None


@dataclass(frozen=True)
class RecordingMethodMetrics:
    """As `MethodMetrics`, at every sample along streams."""

    method: str
    weight: float
    seeds: int
    stop_epoch: int
    kept: bool
    validation_f1_macro_mean: float
    validation_f1_macro_std: float
    test_accuracy_mean: float | None = None
    test_accuracy_std: float | None = None
    test_f1_macro_mean: float | None = None
    test_f1_macro_std: float | None = None


@dataclass(frozen=True)
class RecordingSeedMetrics:
    """As `SeedMetrics`, at every sample along streams."""

    method: str
    weight: float
    seed: int
    stop_epoch: int
    validation_f1_macro: float
    test_accuracy: float
    test_f1_macro: float
    agreement_with_teacher: float


@dataclass(frozen=True)
class RecordingMetrics:
    """What metrics.json says of a run of recordings, where every sample is decided. decision_delay: seconds.

    kept_because, warning, seldom: in words. seldom: not in runs of before it was known.
    """

    protocol: str
    folds: int
    decision_delay: float
    teacher: RecordingTeacherMetrics
    student: RecordingStudentMetrics
    methods: tuple[RecordingMethodMetrics, ...]
    students: tuple[RecordingSeedMetrics, ...]
    kept_because: str
    warning: str
    seldom: str = ""

    @property
    def judged(self) -> dict[str, dict[str, Any]]:
        """`StreamScores.as_dict` of teacher and student, and of the class held where another has to lead by a margin."""
        judged = {"teacher": self.teacher.stream, "student": self.student.stream}
        if self.student.held is not None and self.student.decision_margin > 0:
            judged["student, held"] = self.student.held
        return judged

    @property
    def judged_with_integers(self) -> dict[str, dict[str, Any]]:
        """The same, and of the class that the student's integers hold, by arithmetic."""
        return self.judged | {f"{arithmetic}, held": one for arithmetic, one in (self.student.integers or {}).items()}


@dataclass(frozen=True)
class Curve:
    """A method's mean score over its seeds at each of `Curves.epochs`."""

    method: str
    weight: float
    score: list[float]


@dataclass(frozen=True)
class Curves:
    """How methods scored on held-out data while they were trained. measure: what the scores are, in words."""

    measure: str
    epochs: list[int]
    methods: tuple[Curve, ...]


def read_config(run: Run) -> DistillConfig:
    """Return the configuration that the run was made with.

    Raises:
        MemkdEdgeError: config.toml is missing, damaged or of a newer format.
    """
    path = run.path / CONFIGURATION
    try:
        table = parse_toml(run.read_bytes(CONFIGURATION), path)["distill"]
    except UsageError as error:
        raise MemkdEdgeError(f"{path}: damaged TOML ({error})") from error
    except KeyError as error:
        raise MemkdEdgeError(f"{path}: no table [distill]; distil the run again") from error
    try:
        return from_table(DistillConfig, table)
    except UsageError as error:
        raise MemkdEdgeError(f"{path}: {error}; distil the run again") from error


def read_metrics(run: Run) -> Metrics:
    """Return the metrics of a run of windows.

    Raises:
        MemkdEdgeError: metrics.json is missing, damaged, of recordings or of a newer format.
    """
    return _read_metrics(run, Metrics)


def read_recording_metrics(run: Run) -> RecordingMetrics:
    """Return the metrics of a run of recordings.

    Raises:
        MemkdEdgeError: metrics.json is missing, damaged, of windows or of a newer format.
    """
    metrics = _read_metrics(run, RecordingMetrics)
    for title, figures in metrics.judged_with_integers.items():
        for name, hint in typing.get_type_hints(StreamScores).items():
            if hint in (int, float) and not isinstance(figures.get(name, ""), int | float | None):
                raise MemkdEdgeError(
                    f"{run.path / METRICS}: {name} of the {title} is {figures.get(name)!r:.40}; distil the run again"
                )
    return metrics


def read_curves(run: Run) -> Curves | None:
    """Return how the methods scored while they were trained; None of a run that does not keep it.

    Raises:
        MemkdEdgeError: curves.json is damaged or of a newer format.
    """
    return _read(run, CURVES, Curves) if (run.path / CURVES).is_file() else None


def _read_metrics(run: Run, cls: type[T]) -> T:
    return _read(run, METRICS, cls)


def _read(run: Run, name: str, cls: type[T]) -> T:
    try:
        return _typed(cls, run.read_json(name))
    except ValueError as error:
        raise MemkdEdgeError(f"{run.path / name}: {error}; distil the run again") from error


def read_student(run: Run) -> Classifier:
    """Return the run's student.

    Raises:
        MemkdEdgeError: student.safetensors is missing, damaged, or was changed since the run was made.
    """
    from memkd_edge.nets.classifier import load_classifier

    return load_classifier(run.check_unchanged(STUDENT))


def read_teacher(run: Run) -> Classifier | None:
    """Return the run's teacher; None where it keeps none: a model of one's own taught, or this is a ready-made run.

    Raises:
        MemkdEdgeError: teacher.safetensors is damaged, or was changed since the run was made.
    """
    from memkd_edge.nets.classifier import load_classifier

    return load_classifier(run.check_unchanged(TEACHER)) if (run.path / TEACHER).is_file() else None


def read_series(run: Run) -> RunSeries:
    """Return the series that the run keeps.

    Raises:
        MemkdEdgeError: calibration.npz is missing, damaged or of a newer format, or does not fit the run's metadata.
    """
    arrays = run.read_arrays(SERIES)
    channels, classes = len(run.metadata.channels), len(run.metadata.labels)

    def fault() -> str:
        for name in (one.name for one in fields(RunSeries)):
            if name not in arrays:
                return f"has no {name}"
            if not len(arrays[name]):
                return f"{name} is empty"
            if name.startswith("x_") and (arrays[name].ndim != 3 or arrays[name].shape[2] != channels):
                return f"{name} is {list(arrays[name].shape)}, not [N, T, {channels}]"
            if (
                arrays[name].dtype.kind not in "fiu"
                or not np.isfinite(held(arrays[name]) if name == "x_test" else arrays[name]).all()
            ):
                return f"{name} holds something else than finite numbers"
        y = arrays["y_test"]
        if y.shape != arrays["x_test"].shape[:1] or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= classes:
            return f"y_test is not one of {classes} classes for each series of x_test"
        return ""

    found = fault()
    if found:
        raise MemkdEdgeError(f"{run.path / SERIES}: {found}; distil the run again")
    return RunSeries(**{one.name: arrays[one.name] for one in fields(RunSeries)})


def read_streams(run: Run) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Return the test streams that a run of recordings keeps: x [T, C], normalised, and y [T], class or -1; none of windows.

    Raises:
        MemkdEdgeError: calibration.npz is missing, damaged or of a newer format, or does not fit the run's metadata.
    """
    arrays = run.read_arrays(SERIES)
    if "x_streams" not in arrays:
        return []
    x, y, lengths = (arrays.get(name, np.empty(0)) for name in ("x_streams", "y_streams", "stream_lengths"))
    fits = x.ndim == 2 and x.shape[1] == len(run.metadata.channels) and y.shape == x.shape[:1] == (lengths.sum(),)
    if not fits or not np.isfinite(x).all() or y.max() >= len(run.metadata.labels):
        raise MemkdEdgeError(
            f"{run.path / SERIES}: the streams do not fit each other or the run's metadata; distil the run again"
        )
    ends = np.cumsum(lengths)[:-1]
    return list(zip(np.split(x, ends), np.split(y, ends), strict=True))


def _typed(cls: type[T], record: Any) -> T:
    """Return dataclass `cls` from a JSON object; keys of other versions are left out.

    Raises:
        ValueError: a field is missing or of another type.
    """
    if not isinstance(record, dict):
        raise ValueError(f"{record!r:.60} is no object")
    values = {}
    hints = typing.get_type_hints(cls)
    for one in fields(cls):  # type: ignore[arg-type]
        if one.name in record:
            values[one.name] = _value(hints[one.name], record[one.name], one.name)
        elif one.default is MISSING:
            raise ValueError(f"no {one.name}")
    return cls(**values)


def _value(hint: Any, value: Any, name: str) -> Any:
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return _typed(typing.cast(type[Any], hint), value)
    if kind is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], one, name) for one in value)
    if kind is types.UnionType:
        return None if value is None else _value(arguments[0], value, name)
    if kind is dict and isinstance(value, dict):
        return value if arguments[1] is Any else {key: _value(arguments[1], one, f"{name}.{key}") for key, one in value.items()}
    if kind is list and isinstance(value, list):
        return [_value(arguments[0], one, name) for one in value]
    wanted = (int, float) if hint is float else hint
    if kind is not None or not isinstance(value, wanted) or isinstance(value, bool) != (hint is bool):
        raise ValueError(f"{name} is {value!r:.60}")
    return float(value) if hint is float else value
