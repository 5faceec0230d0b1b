# SPDX-License-Identifier: Apache-2.0
"""One dataclass per stage. A value comes from, in rising priority: the default here, a TOML file, the environment, a flag.

The TOML file has one table per stage ([distill], [export], [bench], [compare]); an environment variable is
MEMKD_EDGE_<STAGE>_<FIELD>, as in MEMKD_EDGE_DISTILL_EPOCHS=200. The resolved configuration is saved with the run.
"""

import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from memkd_edge.errors import UsageError
from memkd_edge.export_names import FORM, LONGEST
from memkd_edge.file_formats import CONFIGURATION, KEY, check_format
from memkd_edge.options import build, option, part, settings, values_of
from memkd_edge.parsing import toml_table
from memkd_edge.vocabulary import Arithmetic, Cell, InputKind, Reset

T = TypeVar("T")

LEAST_AGREEMENT = 0.98
NPUS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
PACKAGE_KINDS = ("c", "cmake", "arduino", "platformio", "zephyr", "esp-idf", "tflm")


@dataclass(frozen=True)
class DataConfig:
    """Which data, and how they are read; the group Recordings is for recordings with a label in every row."""

    dataset: str = option("SPSW", group="Data", help="Folder or file of recordings, UCR/UEA name, or file of windows.")
    data_root: str = option("", group="Data", help="Folder with UCR/UEA sets (.ts, .tsv, 2015 text, .npz).")
    groups: str = option(
        "",
        group="Data",
        help="Of windows: column (CSV) or array (.npz) that names the subject; splits keep a subject on one side.",
    )

    label: str = option("", group="Recordings", help="Column of labels, one a row. Default: told by its name.")
    time: str = option(
        "", group="Recordings", help="Column of time stamps; none: rows are evenly spaced at --rate. Default: told by its name."
    )
    time_unit: str = option(
        "",
        group="Recordings",
        choices=("s", "ms", "us", "ns"),
        help="Of the time stamps. Default: told by name, size or spacing.",
    )
    subject: str = option("", group="Recordings", help="Column of people. Default: told by its name, or --name-pattern.")
    channels: tuple[str, ...] = option(
        (), group="Recordings", help="Columns that are signals, joined by commas. Default: all that are nothing else."
    )
    name_pattern: str = option(
        "", group="Recordings", help="Files to read, and what their names say, as in '{subject}_{recording}.csv'; * is any text."
    )
    intervals: str = option("", group="Recordings", help="File with labels by interval: recording,start,end,label.")
    rate: float = option(
        0.0, group="Recordings", minimum=0, help="Samples per second, to which all are resampled; 0: that of the recordings."
    )
    max_gap: str = option(
        "", group="Recordings", help="Longest gap that is bridged, as in 200ms; others split. Default: 10 sample intervals."
    )
    ignore: tuple[str, ...] = option((), group="Recordings", help="Labels that are neither learnt nor judged, joined by commas.")
    other: str = option("", group="Recordings", help="Class of the samples without a label, the null class.")
    unlabelled: str = option("", group="Recordings", help="Folder or file of more recordings, on which only the teacher teaches.")
    balance: bool = option(False, group="Recordings", help="Weigh all classes alike in training.")
    decision_delay: float = option(
        0.0, group="Recordings", minimum=0, help="Seconds that a decision may come late: calmer, and surer."
    )
    max_delay: float = option(
        0.2,
        group="Recordings",
        minimum=0,
        help="Median delay in seconds up to which a decision may wait for a lead in the scores, for fewer false switches.",
    )
    refuse: float = option(
        0.0,
        group="Recordings",
        minimum=0,
        help="Share of the right decisions given up so that the model may answer none where it is unsure. 0: it always answers.",
    )
    windows: str = option("", group="Recordings", help="Cut windows of one label, of this length, as in 2s.")
    hop: str = option("", group="Recordings", help="From the start of a window to the next, as in 0.5s. Default: half a window.")
    test_fraction: float = option(
        0.25, group="Recordings", share=True, help="Share of the subjects (recordings, where those are unknown) held out."
    )
    test_subjects: tuple[str, ...] = option(
        (), group="Recordings", help="Subjects held out, joined by commas, instead of --test-fraction."
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            if isinstance(path := getattr(self, one.name), os.PathLike):
                object.__setattr__(self, one.name, os.fspath(path))


@dataclass(frozen=True)
class DistillConfig(DataConfig):
    """How `memkd-edge distill` makes a student."""

    resample: str = option("none", group="Data", help="none, linear:LENGTH or decimate:FACTOR.")

    reset: str = option(
        "",
        group="Data",
        choices=tuple(Reset),
        help="When the state is reset in use. Of windows: event, where the caller starts each; window, cut anywhere; never, "
        "trained joined. Default: event; of recordings never.",
    )

    teacher: str = option("", group="Teacher", help="Trained teacher (.safetensors); trained here when left out.")
    teacher_kind: str = option(Cell.LSTM, group="Teacher", choices=(Cell.LSTM, Cell.GRU), help="Its recurrent cell.")
    teacher_bidirectional: bool = option(False, group="Teacher", help="Let the teacher see the future; students never do.")
    teacher_hidden: int = option(100, group="Teacher", minimum=1, help="Units of each layer.")
    teacher_layers: int = option(3, group="Teacher", minimum=1, help="Layers.")
    teacher_seeds: int = option(
        3,
        group="Teacher",
        minimum=1,
        help="Initialisations tried until one gets off the ground; the lowest training loss teaches.",
    )
    teacher_epochs: int = option(
        0, group="Teacher", minimum=0, help="Epochs, at most: training ends when its loss is small. 0: as --epochs."
    )
    teacher_learning_rate: float = option(
        0.0, group="Teacher", minimum=0, help="Peak learning rate; 0: .002, along streams .004."
    )

    student: str = option(Cell.LSTM, group="Students", choices=tuple(Cell), help="Kind of the students.")
    compression: float = option(
        500.0, group="Students", help="Teacher / student parameters: students get the most units that reach it."
    )
    hidden: int = option(0, group="Students", minimum=0, help="Units, instead of --compression.")
    method: str = option(
        "auto",
        group="Students",
        flags=("--method", "--methods"),
        help="auto, or methods joined by commas: base, kd, memkd-belief, memkd+kd, ...",
    )
    weights: int = option(3, group="Students", minimum=1, help="Loss weights to try for each method.")
    seeds: int = option(8, group="Students", minimum=1, help="Students for each method and weight.")
    epochs: int = option(0, group="Students", minimum=0, help="Epochs; 0: as many as make 3,000 steps, but at least 50.")
    learning_rate: float = option(0.01, group="Students", above=0, help="Learning rate.")
    batch_size: int = option(0, group="Students", minimum=0, help="Series in a batch; 0 chooses.")

    folds: int = option(
        0,
        group="Selection",
        help="Cross-validation folds; 1: one held-out part; 0: 4 below 200 training series, else 1.",
    )
    validation: float = option(
        0.25, group="Selection", share=True, help="Share of the training series held out when there is one fold."
    )
    noise: str = option(
        "",
        group="Selection",
        help="Gaussian noise on the normalised inputs in training; a later level must be clearly better on held-out series. "
        "Default: 0.3,0; along streams 0.1.",
    )
    protocol: str = option(
        "honest",
        group="Selection",
        choices=("honest", "paper"),
        help="paper: batches of 32, no noise, and selection on the test series.",
    )

    seed: int = option(0, group="Run", minimum=0, help="Seed of splits, initialisation and batches. Default: 0.")
    accelerator: str = option(
        "auto", group="Run", choices=("auto", "cpu", "cuda"), was="device", help="What trains; auto: a GPU when there is one."
    )
    threads: int = option(0, group="Run", minimum=0, help="CPU threads; 0 leaves it to torch.")
    memory_limit: int = option(
        2048, group="Run", minimum=1, help="MiB for the teacher's cached outputs, and again for the students in training."
    )


@dataclass(frozen=True)
class ExportConfig:
    """How `memkd-edge export` turns a run's student into files."""

    name: str = option(
        "",
        group="Files",
        help=f"Of files, C functions and packages: {FORM}, at most {LONGEST} characters. Default: the data set's.",
    )
    format: str = option("tflite", group="Files", choices=("tflite", "onnx", "c"), help="What is written.")
    quantize: str = option("", group="Files", choices=tuple(Arithmetic), help="Arithmetic. Default: int8, and for onnx float32.")
    samples: str = option(
        "",
        group="Files",
        choices=("int8", "int16"),
        help="Of integers: samples and logits; int16 is int16x8, the same int8 weights. Default: as --quantize says.",
    )
    input: str = option(
        InputKind.NORMALISED,
        group="Files",
        choices=tuple(InputKind),
        help="What a step takes; raw: the sensor's int16 counts or, of a float model, physical units.",
    )
    counts_per_unit: tuple[float, ...] = option(
        (), group="Files", help="Of raw counts: the counts of one unit, joined by commas, for each channel or one for all."
    )
    strip: bool = option(False, group="Files", help="Number tensors instead of naming them, leave out metadata.")
    package: str = option("", group="Files", choices=PACKAGE_KINDS, help="Also write a firmware package.")
    npu: str = option(
        "",
        group="Files",
        choices=NPUS,
        help="Also compile the int16x8 .tflite for this Ethos-U, with Vela; says what it costs there.",
    )
    finetune: bool = option(False, group="Accuracy", help="Train on through the exported integer arithmetic first.")
    min_agreement: float = option(
        LEAST_AGREEMENT,
        group="Accuracy",
        fraction=True,
        help="Prediction agreement with the float student below which the command exits 4. Of a model that is never reset also "
        "along streams: int8 0.99, int16x8 0.995, unless less is asked for here.",
    )
    max_drop: float = option(0.005, group="Accuracy", help="Test AUC-PRC lost to rounding above which --finetune is advised.")


@dataclass(frozen=True)
class BenchConfig:
    """What `memkd-edge bench` measures."""

    device: tuple[str, ...] = option(
        ("rpi4",), group="Measurement", repeats=True, help="Device name or ./profile.toml; repeat to compare."
    )
    steps: int = option(64, group="Measurement", minimum=2, help="Time steps of one measured pass.")
    timeout_s: float = option(
        120.0, group="Measurement", above=0, flags=("--timeout",), help="Seconds after which an emulator is ended."
    )
    budget: str = option(
        "",
        group="Measurement",
        help="Exit 4 beyond it, as in flash=8k,ram=1k,latency=1ms (k: 1,024 bytes); also instructions=4000, energy=5uJ.",
    )
    firmware: str = option(
        "",
        group="Measurement",
        help="Write the sources for a board on a serial port into this folder, and measure nothing.",
    )
    tflm_dir: str = option(
        "",
        group="Measurement",
        help="Folder with TFLite Micro built for the microcontroller's core: adds its rows to the student's.",
    )
    battery: str = option("", group="Battery life", help="Battery capacity, as in 100mAh.")
    sleep_current: str = option("", group="Battery life", help="Current between samples, as in 2uA. Default: the profile's.")
    rate: float = option(0.0, group="Battery life", minimum=0, help="Samples per second; 0: the data set's. --battery needs one.")


@dataclass(frozen=True)
class CompareConfig:
    """What `memkd-edge compare` compares: `distillation` is what the runs of all data sets share."""

    suite: str = option("", group="Data", help="ucr12, or bundled: the sets that come with aeon.")
    datasets: tuple[str, ...] = option((), group="Data", help="Names or paths joined by commas; with --suite, some of its sets.")
    # The paper's eight, and ours.
    methods: tuple[str, ...] = option(
        ("base", "kd", "fitnet", "rkd", "attention", "dkd", "dt2w", "memkd", "memkd-belief"),
        group="Students",
        flags=("--methods", "--method"),
        help="Methods joined by commas.",
    )
    students: tuple[str, ...] = option((Cell.LSTM,), group="Students", help=f"Kinds joined by commas: {','.join(Cell)}.")
    sweep: str = option("", group="Students", help="Several sizes: compression=50,100,250,500.")
    distillation: DistillConfig = part(
        DistillConfig(seeds=5, resample=""),
        without=(
            *(set(settings(DataConfig)) - {"data_root", "name_pattern", "windows", "hop"}),
            "decision_delay",
            "max_delay",
            "teacher",
            "student",
            "hidden",
            "method",
        ),
        help={
            "compression": "Teacher / student parameters to reach; in ucr12 8 units for 37 and 60 classes.",
            "resample": "none, linear:LENGTH for longer series, or decimate:FACTOR. Default: the suite's, linear:100.",
            "threads": "CPU threads; with ray, also the CPUs that a data set asks for. 0: all, with ray 1.",
        },
    )
    executor: str = option(
        "local", group="Run", choices=("local", "ray"), help="local: one set after the other; ray: on a cluster."
    )
    ray_address: str = option("", group="Run", help="Running cluster, host:port; one on this machine if left out.")


def resolve(cls: type[T], stage: str, *, toml: Path | None = None, flags: Mapping[str, Any] | None = None) -> T:
    """Merge defaults, the TOML file's [stage] table, MEMKD_EDGE_<STAGE>_* variables and the flags that are not None.

    Raises:
        UsageError: an unknown key, or a value of the wrong type; the message names file or variable, and key.
        MemkdEdgeError: the TOML file is of a newer format.
    """
    known = settings(cls)
    values: dict[str, Any] = {}
    if toml is not None:
        for key, value in _present(cls, _table(toml, stage)).items():
            if key not in known:
                raise UsageError(f"{toml}: [{stage}] has no key {key!r}; it takes {', '.join(sorted(known))}")
            values[key] = _checked(value, known[key].type, f"{toml}: [{stage}] {key}")
    for key, one in known.items():
        variable = f"MEMKD_EDGE_{stage.upper()}_{key.upper()}"
        if variable in os.environ:
            values[key] = _parsed(os.environ[variable], one.type, variable)
    for key, value in (flags or {}).items():
        if key not in known:
            raise UsageError(f"{stage} takes no option {key!r}; it takes {', '.join(sorted(known))}")
        if value is not None:
            values[key] = _checked(value, known[key].type, known[key].flags[0])
    return build(cls, values)


def to_toml(stage: str, config: Any) -> str:
    """Return `config` as the TOML table [stage] that `resolve` reads back.

    Raises:
        UsageError: a value that TOML cannot hold: a path that is not UTF-8.
    """
    import tomli_w

    values = values_of(config)
    for key, value in values.items():
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"{key.replace('_', '-')} {value!r} is not UTF-8; rename it") from error
    return tomli_w.dumps({KEY: CONFIGURATION, stage: values})


def parse_toml(text: bytes, source: object) -> dict[str, Any]:
    """Return the tables of a TOML file that `to_toml`, or a user, wrote.

    Raises:
        UsageError: it is no TOML; `source` names the file.
        MemkdEdgeError: it is of a newer format.
    """
    try:
        found = toml_table(text)
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from error
    check_format(found.get(KEY, 1), CONFIGURATION, source)
    return found


def from_table(cls: type[T], table: Mapping[str, Any]) -> T:
    """Rebuild a configuration from the parsed table that `to_toml` wrote, of this version or an older one.

    Raises:
        UsageError: it is no table, or a value is of the wrong type.
    """
    if not isinstance(table, dict):
        raise UsageError(f"{table!r:.60} is no table")
    known = settings(cls)
    return build(cls, {k: _checked(v, known[k].type, k) for k, v in _present(cls, table).items() if k in known})


def _table(toml: Path, stage: str) -> Mapping[str, Any]:
    """Return a stage's table of a user's TOML file."""
    try:
        table = parse_toml(toml.read_bytes(), toml).get(stage, {})
    except FileNotFoundError as error:
        raise UsageError(f"no configuration file at {toml}") from error
    except OSError as error:
        raise UsageError(f"cannot read {toml}: {error.strerror}") from error
    if not isinstance(table, dict):
        raise UsageError(f"{toml}: {stage} must be a table, [{stage}], not {table!r:.60}")
    return table


def _present(cls: type[Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """Return `table` with the settings' names of today."""
    renamed = {one.option.was: name for name, one in settings(cls).items() if one.option.was}
    return {renamed.get(key, key): value for key, value in table.items()}


def _checked(value: Any, hint: Any, where: str) -> Any:
    if typing.get_origin(hint) is tuple:
        parts = value.split(",") if isinstance(value, str) else [value] if isinstance(value, os.PathLike) else value
        if isinstance(parts, list | tuple):
            return tuple(_element(part, hint, where) for part in parts)
    if hint is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise UsageError(f"{where}: {value!r:.60} is too large") from error
    wanted = hint if isinstance(hint, type | types.UnionType) else typing.get_origin(hint)
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{where}: {value!r:.60} is not of type {getattr(hint, '__name__', hint)}")
    return value


def _parsed(text: str, hint: Any, where: str) -> Any:
    if hint is bool:
        if text.lower() not in ("0", "1", "true", "false"):
            raise UsageError(f"{where}: {text!r} is not true or false")
        return text.lower() in ("1", "true")
    if typing.get_origin(hint) is tuple:
        return tuple(_element(part, hint, where) for part in text.split(",") if part)
    try:
        return hint(text)
    except ValueError as error:
        raise UsageError(f"{where}: {text!r} is not of type {hint.__name__}") from error


def _element(value: Any, hint: Any, where: str) -> Any:
    """Return one value of a tuple[str, ...] or tuple[float, ...]."""
    element = typing.get_args(hint)[0]
    try:
        return element(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{where}: {value!r:.60} is not of type {element.__name__}") from error
