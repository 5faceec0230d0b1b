# SPDX-License-Identifier: Apache-2.0
"""One dataclass per stage. A value comes from, in rising priority: the default here, a TOML file, the environment, a flag.

The TOML file has one table per stage ([distill], [export], [bench], [compare]); an environment variable is
MEMKD_EDGE_<STAGE>_<FIELD>, as in MEMKD_EDGE_DISTILL_EPOCHS=200. The resolved configuration is saved with the run.
"""

import json
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from memkd_edge.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class DistillConfig:
    """How `memkd-edge distill` makes a student."""

    dataset: str = "BasicMotions"  # aeon-bundled name, name under data_root, or path to .npz / .csv
    data_root: str = ""  # folder with UCR/UEA sets in .ts, .tsv, 2015 text or .npz
    groups: str = ""  # column (CSV) or array (.npz) naming the subject; splits keep a subject on one side
    folds: int = 0  # cross-validation folds for selection; 1: one held-out part; 0: 4 below 200 training series, else 1
    validation: float = 0.25  # fraction of the training set held out when there is one fold
    resample: str = "none"  # none | linear:LENGTH | decimate:FACTOR
    noise: str = "0.3,0"  # Gaussian, on normalised inputs in training; a later level must teach clearly better when held out
    teacher: str = ""  # safetensors file of a trained teacher; trained here when empty
    teacher_kind: str = "lstm"  # lstm | gru
    teacher_bidirectional: bool = False
    teacher_hidden: int = 100
    teacher_layers: int = 3
    teacher_seeds: int = 3  # initialisations tried until one gets off the ground; the one of lowest training loss teaches
    teacher_epochs: int = 0  # at most; training ends when the training loss has become small. 0: as for the students
    teacher_learning_rate: float = 0.002
    student: str = "lstm"  # lstm | gru | cnn
    compression: float = 500.0  # the student's hidden size is the largest that reaches it
    hidden: int = 0  # the student's hidden size; 0: from compression
    method: str = "auto"  # a registered method, several joined by commas, or auto
    weights: int = 3  # loss weights of each method's grid to try
    seeds: int = 8  # students of each method and weight
    epochs: int = 0  # 0: as many as make 3,000 steps, but no fewer than 50
    learning_rate: float = 0.01
    batch_size: int = 0  # 0: chosen from the number of series
    protocol: str = "honest"  # honest | paper: as the authors did, batches of 32, no noise, selection on the test set
    seed: int = 0
    device: str = "auto"  # auto | cpu | cuda
    threads: int = 0  # 0: torch's default
    memory_limit: int = 2048  # MiB for the teacher's cached outputs, and again for the students in training


@dataclass(frozen=True)
class ExportConfig:
    """How `memkd-edge export` turns a run's student into files."""

    format: str = "tflite"  # tflite | onnx | c
    quantize: str = ""  # int8 | int16x8 | float32; "": int8, and for onnx float32
    min_agreement: float = 0.98  # below this prediction agreement with the float student: exit 4
    strip: bool = False  # drop tensor names and metadata for the last bytes
    input: str = "normalised"  # normalised | raw: the sensor's int16 counts or, of a float32 model, physical units
    counts_per_unit: tuple[float, ...] = ()  # of raw counts: the counts of one physical unit, for each channel
    finetune: bool = False  # train on through the integer arithmetic before exporting
    max_drop: float = 0.005  # test AUC-PRC that rounding may cost before the command advises to fine-tune
    package: str = ""  # also a firmware package: c | cmake | arduino | platformio | zephyr | esp-idf | tflm


@dataclass(frozen=True)
class BenchConfig:
    """What `memkd-edge bench` measures."""

    device: tuple[str, ...] = ("rpi4",)
    steps: int = 64  # time steps per measured run
    timeout_s: float = 120.0  # an emulator that runs longer is ended
    budget: str = ""  # flash=8k,ram=1k,instructions=4000,latency=1ms: beyond it, exit 4
    battery: str = ""  # capacity, as in 100mAh: gives battery life
    sleep_current: str = ""  # between samples, as in 2uA; the device profile's when empty
    rate: float = 0.0  # samples per second; 0: the data set's
    firmware: str = ""  # write the sources for a serial board into this folder instead of measuring
    tflm_dir: str = ""  # TFLite Micro's library and headers, built for the core of the emulated Cortex-M devices: adds its rows


@dataclass(frozen=True)
class CompareConfig:
    """What `memkd-edge compare` compares. Fields that DistillConfig has, too, are those of every data set's run."""

    suite: str = ""  # ucr12 | bundled: names the data sets and their resampling
    datasets: tuple[str, ...] = ()  # as DistillConfig.dataset, instead of a suite
    data_root: str = ""
    # The paper's eight, and ours.
    methods: tuple[str, ...] = ("base", "kd", "fitnet", "rkd", "attention", "dkd", "dt2w", "memkd", "memkd-belief")
    weights: int = DistillConfig.weights
    seeds: int = 5
    students: tuple[str, ...] = ("lstm",)
    compression: float = DistillConfig.compression
    sweep: str = ""  # compression=50,100,250: several sizes instead of one
    resample: str = ""  # linear:LENGTH is for longer series only; "": the suite's own, else none
    noise: str = DistillConfig.noise
    folds: int = DistillConfig.folds
    validation: float = DistillConfig.validation
    teacher_kind: str = DistillConfig.teacher_kind
    teacher_bidirectional: bool = DistillConfig.teacher_bidirectional
    teacher_hidden: int = DistillConfig.teacher_hidden
    teacher_layers: int = DistillConfig.teacher_layers
    teacher_seeds: int = DistillConfig.teacher_seeds
    teacher_epochs: int = DistillConfig.teacher_epochs
    teacher_learning_rate: float = DistillConfig.teacher_learning_rate
    epochs: int = DistillConfig.epochs
    learning_rate: float = DistillConfig.learning_rate
    batch_size: int = DistillConfig.batch_size
    protocol: str = DistillConfig.protocol
    seed: int = DistillConfig.seed
    device: str = DistillConfig.device
    threads: int = DistillConfig.threads  # with ray also the CPUs that a data set asks for, at least 1
    memory_limit: int = DistillConfig.memory_limit
    executor: str = "local"  # local | ray
    ray_address: str = ""  # of a running cluster; a cluster on this machine alone when empty


def resolve(cls: type[T], stage: str, *, toml: Path | None = None, flags: Mapping[str, Any] | None = None) -> T:
    """Merge defaults, the TOML file's [stage] table, MEMKD_EDGE_<STAGE>_* variables and the flags that are not None.

    Raises:
        UsageError: an unknown key, or a value of the wrong type; the message names file or variable, and key.
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    if toml is not None:
        try:
            table = tomllib.loads(toml.read_text()).get(stage, {})
        except FileNotFoundError as error:
            raise UsageError(f"no configuration file at {toml}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{toml}: {error}") from error
        for key, value in table.items():
            if key not in hints:
                raise UsageError(f"{toml}: [{stage}] has no key {key!r}; it takes {', '.join(sorted(hints))}")
            values[key] = _checked(value, hints[key], f"{toml}: [{stage}] {key}")
    for key, hint in hints.items():
        variable = f"MEMKD_EDGE_{stage.upper()}_{key.upper()}"
        if variable in os.environ:
            values[key] = _parsed(os.environ[variable], hint, variable)
    for key, value in (flags or {}).items():
        if key not in hints:
            raise UsageError(f"{stage} takes no option {key!r}; it takes {', '.join(sorted(hints))}")
        if value is not None:
            values[key] = _checked(value, hints[key], f"--{key.replace('_', '-')}")
    return cls(**values)


def to_toml(stage: str, config: Any) -> str:
    """Return `config` as the TOML table [stage] that `resolve` reads back."""
    lines = [f"[{stage}]"]
    # JSON's strings, numbers, booleans and arrays are TOML's.
    lines += [f"{key} = {json.dumps(value)}" for key, value in asdict(config).items()]
    return "\n".join(lines) + "\n"


def from_table(cls: type[T], table: Mapping[str, Any]) -> T:
    """Rebuild a configuration from the parsed table that `to_toml` wrote."""
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items() if k in known})


def _checked(value: Any, hint: Any, where: str) -> Any:
    if typing.get_origin(hint) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if isinstance(parts, list | tuple):
            return tuple(_element(part, hint, where) for part in parts)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = hint if isinstance(hint, type | types.UnionType) else object
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{where}: {value!r} is not of type {getattr(hint, '__name__', hint)}")
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
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {value!r} is not of type {element.__name__}") from error
