"""`memkd-edge export`: a run's student as files, verified at once in every runtime that is installed."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import ExportConfig
from memkd_edge.errors import UsageError
from memkd_edge.export.golden import golden_vectors
from memkd_edge.export.verify import ParityError, VerifyReport, exported_files, verify_run
from memkd_edge.metadata import Metadata
from memkd_edge.models import Classifier, GruClassifier, LstmClassifier, load_classifier
from memkd_edge.quantize import IntegerLstm, QuantizedLstm, quantize
from memkd_edge.runs import Run

FORMATS = ("tflite", "onnx", "c")
ARITHMETICS = ("int8", "int16x8", "float32")


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote, and how it does against the float student. files: paths in writing order."""

    run: str
    files: tuple[Path, ...]
    verification: VerifyReport

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "run": self.run,
            "files": [{"path": str(path), "bytes": path.stat().st_size} for path in self.files],
            "verification": self.verification.as_dict(),
        }


def export(run: Run, config: ExportConfig, *, force: bool = False) -> ExportReport:
    """Write the run's student into <run>/export/ and verify it there; the figures also go to <run>/export/verify.json.

    Args:
        force: overwrite files of an earlier export that differ. The same export again writes the same bytes and needs none.

    Raises:
        UsageError: unknown format or arithmetic, one that this kind of student cannot have, or files in the way.
        ParityError: the files are written, but a gate of verification failed; it carries the report.
    """
    student = load_classifier(run.path / "student.safetensors")
    arrays = run.read_arrays("calibration.npz")
    files = build_files(student, run.metadata, arrays["x_calibration"], arrays["x_raw_golden"], config)
    if config.package:
        files |= build_package(student, run.metadata, arrays["x_calibration"], config)
    _refuse_overwriting(run, files, force)
    paths = tuple(run.write_bytes(f"export/{name}", data) for name, data in files.items())
    verifiable = [path for path in exported_files(run) if path in paths]
    report = verify_run(run, verifiable, config.min_agreement)
    if report.failures:
        raise ParityError(report)
    return ExportReport(str(run.path), paths, report)


def build_files(
    student: Classifier,
    metadata: Metadata,
    x_calibration: NDArray[np.float32],
    x_raw_golden: NDArray[np.float32],
    config: ExportConfig,
) -> dict[str, bytes]:
    """Return the files of one export, by name.

    Args:
        x_calibration: normalised training series [N, T, C].
        x_raw_golden: test series in physical units [>= 1, T, C], whose beginning becomes the golden vector.

    Raises:
        UsageError: as `export`.
    """
    arithmetic = config.quantize or ("float32" if config.format == "onnx" else "int8")
    if config.format not in FORMATS:
        raise UsageError(f"--format {config.format}: choose {', '.join(FORMATS)}")
    if arithmetic not in ARITHMETICS:
        raise UsageError(f"--quantize {arithmetic}: choose {', '.join(ARITHMETICS)}")
    name = file_stem(metadata.name)
    if config.format == "onnx":
        return _onnx_files(student, metadata, x_raw_golden[0], name, arithmetic, strip=config.strip)
    if not isinstance(student, LstmClassifier):
        raise UsageError(f"a {student.spec.kind} student has no {config.format} form; --format onnx takes it")
    if config.format == "c":
        return _c_files(student, metadata, x_calibration, name, arithmetic)

    from memkd_edge.export.tflite import write_tflite, write_tflite_float

    if arithmetic == "float32":
        described = replace(metadata, golden=golden_vectors(metadata, x_raw_golden[0], _float_answer(student)))
        return {f"{name}_float32.tflite": write_tflite_float(student, described, strip=config.strip)}
    model = quantize(student, x_calibration)
    described = replace(metadata, golden=golden_vectors(metadata, x_raw_golden[0], _integer_answer(model, arithmetic)))
    return {f"{name}_{arithmetic}.tflite": write_tflite(model, described, interface=arithmetic, strip=config.strip)}


def build_package(
    student: Classifier, metadata: Metadata, x_calibration: NDArray[np.float32], config: ExportConfig
) -> dict[str, bytes]:
    """Return the files of the firmware package `config.package`, in the folder <name>-<package>.

    Raises:
        UsageError: unknown package, or a student or an arithmetic that has none.
    """
    from memkd_edge.export.packages import package_files

    arithmetic = config.quantize or "int8"
    if not isinstance(student, LstmClassifier):
        raise UsageError(f"a {student.spec.kind} student has no firmware package; --format onnx takes it")
    if arithmetic == "float32":
        raise UsageError(f"--package {config.package} is an integer model; take --quantize int8 or int16x8")
    name = file_stem(metadata.name)
    model = quantize(student, x_calibration)
    files = package_files(config.package, model, metadata, name=name, interface=arithmetic)
    return {f"{name}-{config.package}/{path}": data for path, data in files.items()}


def file_stem(name: str) -> str:
    """Return a model's name as file names and C identifiers spell it: lower-case letters, digits and underscores."""
    stem = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return stem if re.match(r"[a-z]", stem) else f"model_{stem}".rstrip("_")


def _c_files(
    student: LstmClassifier, metadata: Metadata, x_calibration: NDArray[np.float32], name: str, arithmetic: str
) -> dict[str, bytes]:
    from memkd_edge.export.c import emit_c
    from memkd_edge.export.c_float import emit_c_float

    if arithmetic == "float32":
        sources = emit_c_float(student, replace(metadata, arithmetic=arithmetic), name)
        return {f"c_float32/{file}": text.encode() for file, text in sources.items()}
    # The same sources serve both integer interfaces.
    sources = emit_c(quantize(student, x_calibration), replace(metadata, arithmetic=arithmetic), name)
    return {f"c/{file}": text.encode() for file, text in sources.items()}


def _onnx_files(
    student: Classifier, metadata: Metadata, raw: NDArray[np.float32], name: str, arithmetic: str, *, strip: bool
) -> dict[str, bytes]:
    from memkd_edge.export.onnx import quantize_dynamic, write_onnx_sequence, write_onnx_step

    if arithmetic == "int16x8":
        raise UsageError("ONNX has no int16 recurrent layers; take --quantize int8 (dynamic) or float32, or --format tflite")
    if not isinstance(student, LstmClassifier | GruClassifier):
        raise UsageError(f"a {student.spec.kind} student has no streaming ONNX form")
    described = replace(metadata, arithmetic=arithmetic, input_scale=None, input_zero_point=0)
    if arithmetic == "float32":
        described = replace(described, golden=golden_vectors(metadata, raw, _float_answer(student)))
    embedded = None if strip else described
    step, sequence = write_onnx_step(student, embedded), write_onnx_sequence(student, embedded)
    if arithmetic == "int8":
        return {f"{name}_int8_step.onnx": quantize_dynamic(step), f"{name}_int8_sequence.onnx": quantize_dynamic(sequence)}
    return {f"{name}_step.onnx": step, f"{name}_sequence.onnx": sequence}


def _float_answer(student: Classifier) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    import torch

    def answer(x: NDArray[np.float32]) -> NDArray[Any]:
        with torch.inference_mode():
            logits, _ = student(torch.from_numpy(x))
        return np.asarray(logits[0])

    return answer


def _integer_answer(model: QuantizedLstm, interface: str) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    def answer(x: NDArray[np.float32]) -> NDArray[Any]:
        lstm = IntegerLstm(model)
        logits = lstm.run(lstm.quantize_input(x, interface))[0, -1].astype(np.float64)
        if interface == "int8":
            return np.asarray((logits - model.logit_zero_point_int8) * model.logit_scale_int8)
        return np.asarray(logits * model.head.out_scale)

    return answer


def _refuse_overwriting(run: Run, files: dict[str, bytes], force: bool) -> None:
    for name, data in files.items():
        path = run.path / "export" / name
        if path.is_file() and path.read_bytes() != data and not force:
            raise UsageError(f"{path} exists and would change; overwrite it with --force")
