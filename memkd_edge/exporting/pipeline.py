# SPDX-License-Identifier: Apache-2.0
"""`memkd-edge export`: a run's student as files, verified at once in every runtime that is installed."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import ExportConfig
from memkd_edge.contents import read_series, read_student
from memkd_edge.errors import UsageError
from memkd_edge.export_names import check_export_name, export_name
from memkd_edge.exporting.npu import NpuVerdict, compile_for_npu, find_vela
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import Classifier, GruClassifier, LstmClassifier, answers, ends_of, save_model
from memkd_edge.options import check
from memkd_edge.padding import held
from memkd_edge.progress import Reporter
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.runs import Run
from memkd_edge.scores import auc_prc
from memkd_edge.threads import torch_threads
from memkd_edge.verification.golden import as_input, golden_vectors
from memkd_edge.verification.never_reset import LongStream, float_logits, stream_agreement
from memkd_edge.verification.pipeline import (
    ParityError,
    VerifyReport,
    exported_files,
    feed,
    held_out_stream,
    quantized,
    remedy_of,
    verify_run,
)
from memkd_edge.verification.reference_runner import integer_logits
from memkd_edge.vocabulary import Arithmetic, InputKind, Reset

Answer = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True)
class Rounding:
    """What integers cost: AUC-PRC on the test series, of the float student and of the exported integer model.

    The student was trained on all others, so only these are held out.
    """

    float32: float
    integer: float


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote, and how it does against the float student. files: paths in writing order.

    rounding: None for a float model. advice: what to do about a large loss to rounding, "" when there is none. npu: what Vela
    made of the file, where it was asked for. integers: the student's integer model, where the export made it for normalised
    samples and without fine-tuning; a page runs it.
    """

    run: str
    files: tuple[Path, ...]
    verification: VerifyReport
    rounding: Rounding | None
    advice: str
    npu: NpuVerdict | None = None
    integers: QuantizedClassifier | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "run": self.run,
            "files": [{"path": str(path), "bytes": path.stat().st_size} for path in self.files],
            "test_auc_prc": None if self.rounding is None else vars(self.rounding),
            "advice": self.advice,
            **({} if self.npu is None else {"npu": self.npu.as_dict()}),
            "verification": self.verification.as_dict(),
        }


@dataclass(frozen=True)
class Model:
    """What is exported. name: stem of all files and prefix of C functions. metadata: with the input that the files will take.

    x_calibration: normalised training series [N, T, C]; raw: a test series in physical units [T, C], the source of the golden
    vector. arithmetic: int8, int16x8 or float32. tuned: the student was fine-tuned through its integers. endless: what its
    integers are compared with it along, where it is never reset.
    """

    name: str
    student: Classifier
    metadata: Metadata
    x_calibration: NDArray[np.float32]
    raw: NDArray[np.float32]
    arithmetic: Arithmetic
    tuned: bool
    endless: LongStream | None = None

    @cached_property
    def integers(self) -> QuantizedClassifier:
        """The integer model of the student."""
        return quantized(self.student, self.metadata, self.x_calibration, self.tuned)

    @cached_property
    def of_integers(self) -> Metadata:
        """The metadata with arithmetic and, where the model is never reset, how its integers do along streams."""
        described = replace(self.metadata, arithmetic=self.arithmetic)
        if self.endless is None:
            return described
        expected = float_logits(self.student, self.endless)
        found = stream_agreement(self.integers, self.arithmetic, feed(self.metadata), self.endless, expected)
        return replace(
            described,
            stream_agreement=round(found.agreement, 5),
            stream_samples=found.samples,
            stream_held_out=found.held_out,
        )


def export(run: Run, config: ExportConfig, *, force: bool = False, progress: Reporter | None = None) -> ExportReport:
    """Write the run's student into <run>/export/ and verify it there; the figures also go to <run>/export/verify.json.

    Args:
        force: overwrite files of an earlier export that differ. The same export again writes the same bytes and needs none.

    Raises:
        UsageError: unknown format or arithmetic, one that this kind of student cannot have, or files in the way.
        ParityError: the files are written, but a gate of verification failed; it carries the report.
    """
    progress = progress or Reporter()
    arithmetic = _arithmetic(config)
    if config.npu:
        _check_npu(config, arithmetic)
    if config.name:
        check_export_name(config.name, where="--name")
    name = config.name or export_name(run.metadata.name)
    kept = read_series(run)
    tuned = _finetuned(run, arithmetic, progress) if config.finetune else None
    student = tuned or read_student(run)
    metadata = _with_input(run.metadata, config, arithmetic)
    endless = held_out_stream(run) if run.metadata.reset == Reset.NEVER else None
    model = Model(name, student, metadata, kept.x_calibration, kept.x_raw_golden[0], arithmetic, tuned is not None, endless)
    progress.step("writing", note="in float" if arithmetic == Arithmetic.FLOAT32 else "calibrated in integers")
    files = build_files(model, config)
    verdict = None
    if config.npu:
        verdict, compiled = compile_for_npu(files[f"{name}_{arithmetic}.tflite"], config.npu)
        files[f"npu/{name}_{config.npu}.tflite"] = compiled
        files[f"npu/{name}_{config.npu}.json"] = (json.dumps(verdict.as_dict(), indent=2) + "\n").encode()
    if config.package:
        files |= build_package(model, config)
    _refuse_overwriting(run, files, force)
    if config.package and force:
        _remove_leftovers(run.path / "export", f"{model.name}-{config.package}", files)
    paths = tuple(run.write_bytes(f"export/{name}", data) for name, data in files.items())
    verifiable = [path for path in exported_files(run) if path in paths]
    for path in verifiable:
        # The float weights of a fine-tuned file stand beside it: what it is verified against.
        weights = path.with_suffix(".safetensors")
        if tuned is not None:
            run.write_bytes(weights.relative_to(run.path).as_posix(), save_model(tuned))
        else:
            weights.unlink(missing_ok=True)
    in_float = arithmetic == Arithmetic.FLOAT32 or config.format == "onnx"
    described = replace(metadata, arithmetic=arithmetic)
    report = verify_run(
        run,
        verifiable,
        config.min_agreement,
        described,
        None if in_float else model.integers,
        progress,
        finetuned=config.finetune,
    )
    if report.failures:
        raise ParityError(report)
    rounding = None if in_float else _rounding(model, kept.x_test, kept.y_test)
    plain = None if in_float or tuned is not None or metadata.counts_per_unit else model.integers
    return ExportReport(str(run.path), paths, report, rounding, _advice(rounding, run, model.arithmetic, config), verdict, plain)


def build_files(model: Model, config: ExportConfig) -> dict[str, bytes]:
    """Return the files of one export, by name.

    Raises:
        UsageError: as `export`.
    """
    student, name = model.student, model.name
    if config.format == "onnx":
        return _onnx_files(model, strip=config.strip)
    if not isinstance(student, LstmClassifier | GruClassifier):
        raise UsageError(f"a {student.spec.kind} student has no {config.format} form; distil with --student lstm or gru")
    if config.format == "c":
        return _c_files(model)

    from memkd_edge.writers.tflite import write_tflite, write_tflite_float

    if model.arithmetic == Arithmetic.FLOAT32:
        physical = model.metadata.input == InputKind.RAW
        described = _golden(model, model.metadata, _float_answer(_folded(student, model.metadata) if physical else student))
        return {f"{name}_float32.tflite": write_tflite_float(student, described, physical=physical, strip=config.strip)}
    integers = model.integers
    described = _golden(model, model.of_integers, _integer_answer(integers, model.arithmetic))
    data = write_tflite(integers, described, interface=model.arithmetic, strip=config.strip)
    return {f"{name}_{model.arithmetic}.tflite": data}


def build_package(model: Model, config: ExportConfig) -> dict[str, bytes]:
    """Return the files of the firmware package `config.package`, in the folder <name>-<package>.

    Raises:
        UsageError: a student or an input that it does not take.
    """
    from memkd_edge.packages.folders import package_files

    files = package_files(config.package, model.integers, model.of_integers, name=model.name, interface=model.arithmetic)
    return {f"{model.name}-{config.package}/{path}": data for path, data in files.items()}


def _arithmetic(config: ExportConfig) -> Arithmetic:
    check(config)
    integer = Arithmetic.INT16X8 if config.npu else Arithmetic.INT8
    default = Arithmetic.FLOAT32 if config.format == "onnx" else integer
    arithmetic = Arithmetic(config.quantize) if config.quantize else default
    in_float = arithmetic == Arithmetic.FLOAT32 or config.format == "onnx"
    if config.samples:
        if in_float:
            raise UsageError(f"--samples {config.samples} is for integer models; take --quantize int8 with --format tflite or c")
        if config.samples == "int8" and arithmetic == Arithmetic.INT16X8:
            raise UsageError("--quantize int16x8 has int16 samples; leave out --samples int8, or take --quantize int8")
        arithmetic = Arithmetic.INT16X8 if config.samples == "int16" else Arithmetic.INT8
    if config.finetune and in_float:
        raise UsageError("--finetune trains through the integer arithmetic of .tflite and C; take --quantize int8 or int16x8")
    if config.package and in_float:  # integers that nothing here would verify
        raise UsageError(f"--package {config.package} is an integer model; take --quantize int8 or int16x8, and no --format onnx")
    if config.strip and config.format == "c":
        raise UsageError("--strip is for .tflite and .onnx; C names what it needs")
    return arithmetic


def _check_npu(config: ExportConfig, arithmetic: Arithmetic) -> None:
    if config.format != "tflite" or arithmetic != Arithmetic.INT16X8:
        raise UsageError(
            f"--npu {config.npu} takes the .tflite file with --quantize int16x8, of which no operator is left to the CPU"
        )
    find_vela()


def _with_input(metadata: Metadata, config: ExportConfig, arithmetic: Arithmetic) -> Metadata:
    """Return `metadata` with what the exported files take as x."""
    counts = config.counts_per_unit
    if config.input == InputKind.NORMALISED:
        if counts:
            raise UsageError("--counts-per-unit describes a sensor's counts: it goes with --input raw")
        return metadata
    if config.format == "onnx" or arithmetic == Arithmetic.FLOAT32:
        if counts:
            raise UsageError("a float model takes physical units with --input raw; leave out --counts-per-unit")
        return replace(metadata, input=InputKind.RAW)
    channels = len(metadata.channels)
    if len(counts) == 1:
        counts *= channels
    if len(counts) != channels:
        named = (f"{name} ({unit})" if unit else name for name, unit in zip(metadata.channels, metadata.units, strict=True))
        raise UsageError(
            "--input raw of an integer model takes the sensor's counts: give --counts-per-unit, the counts of one unit, for each "
            f"of {', '.join(named)}"
        )
    return replace(metadata, input=InputKind.RAW, counts_per_unit=counts)


def _finetuned(run: Run, arithmetic: Arithmetic, progress: Reporter) -> Classifier | None:
    """Return the fine-tuned student, None where no epoch of fine-tuning was better than none."""
    from memkd_edge.finetuning.pipeline import finetune

    scores: list[float] = []

    def told(epoch: int, epochs: int, score: float) -> None:
        scores.append(score)
        progress.step("fine-tuning", epoch, epochs, "epochs", f"validation score best {max(scores):.3f}")

    result = finetune(run, interface=arithmetic, progress=told)
    return result.model if result.epoch else None


def _c_files(model: Model) -> dict[str, bytes]:
    from memkd_edge.writers.c_float import emit_c_float
    from memkd_edge.writers.c_integer import emit_c
    from memkd_edge.writers.c_text import licence

    if model.arithmetic == Arithmetic.FLOAT32:
        folder, sources = "c_float32", emit_c_float(model.student, model.metadata, model.name)
    else:  # the same sources serve both integer interfaces
        folder, sources = "c", emit_c(model.integers, model.of_integers, model.name)
    files = {file: text.encode() for file, text in sources.items()} | licence()
    return {f"{folder}/{file}": data for file, data in files.items()}


def _onnx_files(model: Model, *, strip: bool) -> dict[str, bytes]:
    from memkd_edge.writers.onnx import quantize_dynamic, write_onnx_sequence, write_onnx_step

    student, name = model.student, model.name
    if model.arithmetic == Arithmetic.INT16X8:
        raise UsageError("ONNX has no int16 recurrent layers; take --quantize int8 (dynamic) or float32, or --format tflite")
    if not isinstance(student, LstmClassifier | GruClassifier):
        raise UsageError(f"a {student.spec.kind} student has no streaming ONNX form; distil with --student lstm or gru")
    if model.metadata.input == InputKind.RAW:
        student = _folded(student, model.metadata)
    described = (
        _golden(model, model.metadata, _float_answer(student)) if model.arithmetic == Arithmetic.FLOAT32 else model.metadata
    )
    embedded = None if strip else replace(described, arithmetic=model.arithmetic)
    step, sequence = write_onnx_step(student, embedded), write_onnx_sequence(student, embedded)
    if model.arithmetic == Arithmetic.INT8:
        return {f"{name}_int8_step.onnx": quantize_dynamic(step), f"{name}_int8_sequence.onnx": quantize_dynamic(sequence)}
    return {f"{name}_step.onnx": step, f"{name}_sequence.onnx": sequence}


def _folded(student: LstmClassifier | GruClassifier, metadata: Metadata) -> LstmClassifier | GruClassifier:
    """Return a copy of `student` that takes physical units: the normalisation is folded into its first layer."""
    import torch

    folded = copy.deepcopy(student)
    weight, bias = (folded.rnn.get_parameter(name) for name in ("weight_ih_l0", "bias_ih_l0"))
    with torch.no_grad():
        weight.div_(torch.tensor(metadata.std))
        bias.sub_(weight @ torch.tensor(metadata.mean))
    return folded


def _golden(model: Model, metadata: Metadata, answer: Answer) -> Metadata:
    """Return `metadata` with a golden vector; `answer` gives the real logits [K] after the file's x [1, T, C]."""
    return replace(metadata, golden=golden_vectors(metadata, model.raw, answer))


def _float_answer(student: Classifier) -> Answer:
    import torch

    def answer(x: NDArray[np.float32]) -> NDArray[Any]:
        with torch.inference_mode():
            logits, _ = student(torch.from_numpy(x))
        return np.asarray(logits[0])

    return answer


def _integer_answer(integers: QuantizedClassifier, arithmetic: Arithmetic) -> Answer:
    def answer(x: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(integer_logits(integers, arithmetic, x)[0])

    return answer


def _rounding(model: Model, x: NDArray[np.float32], y: NDArray[np.int64]) -> Rounding:
    import torch

    with torch.inference_mode(), torch_threads(1):
        in_float, _ = answers(model.student, torch.from_numpy(held(x)), ends_of(x))
    metadata = model.metadata
    if metadata.input == InputKind.RAW:
        x = as_input(metadata, x * np.asarray(metadata.std, np.float32) + np.asarray(metadata.mean, np.float32))
    in_integers = integer_logits(model.integers, model.arithmetic, x)
    return Rounding(*(float(auc_prc(logits[None], y)[0]) for logits in (in_float.numpy(), in_integers)))


def _advice(rounding: Rounding | None, run: Run, arithmetic: Arithmetic, config: ExportConfig) -> str:
    if rounding is None or rounding.float32 - rounding.integer <= config.max_drop:
        return ""
    remedy = remedy_of(run, arithmetic, tuned=config.finetune)
    return (
        f"rounding costs {100 * (rounding.float32 - rounding.integer):.1f} points of test AUC-PRC ({rounding.float32:.4f} "
        f"-> {rounding.integer:.4f}), more than --max-drop {config.max_drop:g}: {remedy}"
    )


def _refuse_overwriting(run: Run, files: dict[str, bytes], force: bool) -> None:
    for name, data in files.items():
        path = run.path / "export" / name
        if path.is_file() and path.read_bytes() != data and not force:
            raise UsageError(f"{path} exists and would change; overwrite it with --force")


def _remove_leftovers(folder: Path, package: str, files: dict[str, bytes]) -> None:
    """Delete what an earlier export left in a package's folder: some build systems compile every source they find there."""
    for path in (folder / package).rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
