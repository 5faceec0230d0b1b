# SPDX-License-Identifier: Apache-2.0
"""What a bench measures: the run's student and teacher in each build, with inputs and the answers they must give."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memkd_edge.benchmark.backends.tflm import TflmBuild, tflm_model
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.contents import read_series, read_student, read_teacher
from memkd_edge.errors import GateError, MemkdEdgeError
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import Classifier, GruClassifier, LstmClassifier, logits_over_time
from memkd_edge.padding import samples
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.runs import Run
from memkd_edge.vocabulary import Arithmetic, Reset
from memkd_edge.writers.c_float import emit_c_float
from memkd_edge.writers.c_integer import emit_c
from memkd_edge.writers.onnx import write_onnx_step
from memkd_edge.writers.tflite import write_tflite, write_tflite_float

FLOAT_TOLERANCE = 1e-3  # of the largest logit; float32 sums in another order
LITERT_TOLERANCE = 1  # LSB: LiteRT rounds rare exact ties otherwise than TFLite Micro


@dataclass(frozen=True)
class Build:
    """One model in one build: the generated C, a .tflite, an ONNX file.

    name: of the build, "int8 C", "float32 .tflite". inputs: [steps, C] as it takes them. expected: [steps, K], the reference's
    logits. tolerance: largest allowed difference, 0 for bit-exact builds. source: C sources, or None; flags: how to compile them.
    file: bytes of a .tflite or .onnx, named by `suffix`. weight_bytes: of all weights and biases in this build.
    """

    model: str
    name: str
    inputs: NDArray[np.generic]
    expected: NDArray[np.generic]
    tolerance: float
    weight_bytes: int
    source: CModel | None = None
    file: bytes = b""
    suffix: str = ""
    flags: tuple[str, ...] = ("-O2",)

    def __str__(self) -> str:
        return f"{self.model}, {self.name}"

    def first(self, steps: int) -> "Build":
        """Return this build with its first `steps` inputs only."""
        return replace(self, inputs=self.inputs[:steps], expected=self.expected[:steps])

    def check(self, logits: NDArray[np.generic], where: str) -> None:
        """Compare a run's logits with the reference.

        Raises:
            GateError: they differ by more than the tolerance; the message names the first step and class.
        """
        if logits.shape != self.expected.shape:
            raise GateError(f"{where}: {self}: logits of shape {logits.shape}, expected {self.expected.shape}")
        difference = np.abs(logits.astype(np.float64) - self.expected.astype(np.float64))
        wrong = ~(difference <= self.tolerance)  # NaN is wrong, too
        if wrong.any():
            step, label = (int(index) for index in np.argwhere(wrong)[0])
            got, wanted = logits[step, label], self.expected[step, label]
            hint = "; right from a reset, wrong with a state carried over: is it kept between calls?" if step else ""
            raise GateError(
                f"{where}: {self}: {int(wrong.sum())} of {wrong.size} logits differ from the reference; the "
                f"first at step {step}, class {label}: {got} instead of {wanted}{hint}"
            )


class Builds:
    """Makes the builds of a run; each property is computed once, when it is asked for."""

    def __init__(self, run: Run, steps: int) -> None:
        self._run = run
        kept = read_series(run)
        self.x_calibration, self.x_test, self.y_test = kept.x_calibration, kept.x_test, kept.y_test
        # The test series one after the other, normalised, as one stream.
        self.x: NDArray[np.float32] = samples(self.x_test)[:steps].astype(np.float32)
        self.metadata: Metadata = run.metadata

    @cached_property
    def student(self) -> Classifier:
        """The float student."""
        return read_student(self._run)

    @cached_property
    def teacher(self) -> Classifier:
        """The float teacher."""
        teacher = read_teacher(self._run)
        if teacher is None:
            raise NotExportableError(
                "No rows of the teacher: the run has no teacher.safetensors (a model of your own taught, or this is a ready-made "
                "student)."
            )
        return teacher

    @cached_property
    def quantized(self) -> QuantizedClassifier:
        """The integer student."""
        student = _recurrent(self.student, "student")
        return quantize(student, self.x_calibration, never_reset=self.metadata.reset == Reset.NEVER)

    def student_int8_c(self) -> Build:
        """The generated C, int8 in and out."""
        sources = emit_c(self.quantized, self.metadata, "student")
        return self._integer("int8 C", Arithmetic.INT8, 0, source=CModel("student", sources))

    def student_int16_c(self) -> Build:
        """The generated C, int16 in and out."""
        sources = emit_c(self.quantized, self.metadata, "student")
        return self._integer("int16x8 C", Arithmetic.INT16X8, 0, source=CModel("student", sources))

    def student_medium_c(self) -> Build:
        """The generated C in its medium form."""
        return replace(self.student_int8_c(), name="int8 C, MEMKD_MEDIUM", flags=("-O2", "-DMEMKD_MEDIUM"))

    def student_small_c(self) -> Build:
        """The generated C in its smallest form."""
        return replace(self.student_int8_c(), name="int8 C, MEMKD_SMALL", flags=("-Os", "-DMEMKD_SMALL"))

    def student_int8_tflite(self) -> Build:
        """The int8 .tflite."""
        data = write_tflite(self.quantized, self.metadata, interface=Arithmetic.INT8)
        return self._integer("int8 .tflite", Arithmetic.INT8, LITERT_TOLERANCE, file=data)

    def student_tflm(self, interface: Arithmetic, library: TflmBuild) -> Build:
        """The .tflite for `interface`, int8 or int16x8, in the user's build of TFLite Micro, to be exact to the bit."""
        name = f"{interface} .tflite, TFLite Micro, {library.kernels}"
        data = write_tflite(self.quantized, None, interface=interface, strip=True)
        return self._integer(name, interface, 0, source=tflm_model(self.quantized, data, interface, library), file=data)

    def student_int16_tflite(self) -> Build:
        """The int16x8 .tflite."""
        data = write_tflite(self.quantized, self.metadata, interface=Arithmetic.INT16X8)
        # A state that differs by one LSB moves int16 logits by a few.
        return self._integer("int16x8 .tflite", Arithmetic.INT16X8, 64 * LITERT_TOLERANCE, file=data)

    def float_c(self, model: str) -> Build:
        """`model` ("student", "teacher") as generated float32 C; its inputs are in physical units."""
        classifier = self._classifier(model)
        sources = emit_c_float(_lstm(classifier, model), self.metadata, model)
        mean, std = np.array(self.metadata.mean, np.float32), np.array(self.metadata.std, np.float32)
        physical = (self.x * std + mean).astype(np.float32)
        return self._float(model, "float32 C", physical, (physical - mean) / std, source=CModel(model, sources))

    def float_tflite(self, model: str) -> Build:
        """`model` as a float32 .tflite."""
        data = write_tflite_float(_recurrent(self._classifier(model), model), self.metadata)
        return self._float(model, "float32 .tflite", self.x, self.x, file=data, suffix=".tflite")

    def float_onnx(self, model: str) -> Build:
        """`model` as an ONNX step graph."""
        data = write_onnx_step(_recurrent(self._classifier(model), model), self.metadata)
        return self._float(model, "float32 ONNX", self.x, self.x, file=data, suffix=".onnx")

    def _classifier(self, model: str) -> Classifier:
        return self.student if model == "student" else self.teacher

    def _integer(
        self, name: str, interface: Arithmetic, tolerance: float, *, source: CModel | None = None, file: bytes = b""
    ) -> Build:
        reference = integer_classifier(self.quantized)
        series = reference.quantize_input(self.x[None], interface)
        inputs, expected = series[0], reference.run(series)[0]
        dense = [*(layer.gates for layer in self.quantized.layers), self.quantized.head]
        weight_bytes = sum(part.weight.nbytes + 4 * part.bias.size for part in dense)
        return Build("student", name, inputs, expected, tolerance, weight_bytes, source, file, ".tflite" if file else "")

    def _float(
        self,
        model: str,
        name: str,
        inputs: NDArray[np.float32],
        normalised: NDArray[np.float32],
        *,
        source: CModel | None = None,
        file: bytes = b"",
        suffix: str = "",
    ) -> Build:
        import torch

        classifier = self._classifier(model)
        with torch.no_grad():
            expected = logits_over_time(classifier, torch.from_numpy(normalised)[None])[0].numpy()
        tolerance = FLOAT_TOLERANCE * max(1.0, float(np.abs(expected).max()))
        weight_bytes = 4 * sum(parameter.numel() for parameter in classifier.parameters())
        return Build(model, name, inputs, expected, tolerance, weight_bytes, source, file, suffix)


def _lstm(model: Classifier, name: str) -> LstmClassifier:
    if not isinstance(model, LstmClassifier) or model.spec.bidirectional:
        raise NotExportableError(f"There is no float32 C for the {name}: it is no causal LSTM.")
    return model


def _recurrent(model: Classifier, name: str) -> LstmClassifier | GruClassifier:
    if not isinstance(model, LstmClassifier | GruClassifier) or model.spec.bidirectional:
        raise NotExportableError(f"The {name} does not stream: it is no causal LSTM or GRU.")
    return model


class NotExportableError(MemkdEdgeError):
    """The model has no build of this kind."""


def collect(makers: list[Callable[[], Build]]) -> tuple[list[Build], list[str]]:
    """Make the builds that can be made; return them and why the others cannot."""
    made, reasons = [], []
    for maker in makers:
        try:
            made.append(maker())
        except NotExportableError as error:
            reasons.append(str(error))
    return made, sorted(set(reasons))
