# SPDX-License-Identifier: Apache-2.0
"""Runs an exported model on a live signal: `StreamingClassifier` takes one raw sample at a time and gives class scores.

    classifier = StreamingClassifier("model.tflite")
    for sample in sensor:                      # physical units, one value per channel
        scores = classifier.push(sample)
        if scores is not None:
            print(classifier.labels[scores.argmax()], scores.max())

All that it needs stands in the file: labels, normalisation, resampling, scales. Recordings that lie there whole go through
`stream` and `classify`, which run the file's integers without an interpreter, hundreds of times as fast.
"""

import importlib
import math
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memkd_edge.data.resampling import StreamingResampler, resample
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.quantization.batch import CHUNK, BatchRunner
from memkd_edge.quantization.samples import Int8Stream
from memkd_edge.toolchain import naming_missing_packages
from memkd_edge.vocabulary import InputKind

if TYPE_CHECKING:
    from memkd_edge.formats.step_interface import StepInterface
    from memkd_edge.formats.tflite_reader import TfliteFile
    from memkd_edge.quantization.integer_model import QuantizedGru, QuantizedLstm

_LARGEST = 1e15  # a larger sample counts as this one: float32 arithmetic on it stays finite, and it saturates all the same
_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")


class StreamingClassifier:
    """A streaming model loaded from an exported .tflite or .onnx file.

    metadata: what the file says about itself. labels: class names, in the order of the scores.
    """

    @naming_missing_packages()
    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Load the file; it is checked whole before a native runtime sees it.

        Raises:
            UsageError: no such file, or it is neither .tflite nor .onnx.
            MemkdEdgeError: the file is damaged, foreign or stripped, or no streaming model.
            MissingToolError: no runtime for it is installed.
        """
        path = Path(path)
        match path.suffix.lower():
            case ".tflite":
                self.metadata, self._model = _load_tflite(path)
            case ".onnx":
                self.metadata, self._model = _load_onnx(path)
            case _:
                raise UsageError(f"{path}: expected a file that ends in .tflite or .onnx")
        self.labels = self.metadata.labels
        self._resampler = StreamingResampler(self.metadata.resampling)
        self._mean, self._std = (np.asarray(values, np.float32) for values in (self.metadata.mean, self.metadata.std))
        self._counts = np.asarray(self.metadata.counts_per_unit, np.float32)

    def push(self, sample: ArrayLike) -> NDArray[np.float32] | None:
        """Take one sample.

        Args:
            sample: [C], physical units, channels in the order of `metadata.channels`.

        Returns:
            Scores (softmax) after this sample, float32 [K], or None if the resampling front end waits for more samples.

        Raises:
            UsageError: not C finite numbers.
        """
        values = np.asarray(sample, np.float32)
        if values.shape != self._mean.shape or not sum(map(abs, values.tolist())) < _LARGEST:
            values = self._checked(values)
        if self.metadata.resampling.kind == "none":
            return _softmax(self._model.step(self._model_input(values)))
        logits = None
        for step in self._resampler.push(values):
            logits = self._model.step(self._model_input(step))
        return None if logits is None else _softmax(logits)

    def stream(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Take many samples at once, as `push` takes them one by one, and go on from where it stood.

        Args:
            samples: [T, C], physical units.

        Returns:
            Scores after each time step of the model, float32 [T, K]; fewer rows than samples where the model resamples. Of an
            integer file they are those of its integers in TensorFlow Lite Micro; `push` runs LiteRT, which an exact tie in
            rounding takes one unit lower (SPEC.md).

        Raises:
            UsageError: not C finite numbers each.
        """
        values = self._checked_series(np.asarray(samples, np.float32), 2)
        scores = []
        for start in range(0, len(values), CHUNK):
            steps = self._steps(values[start : start + CHUNK])
            if len(steps):
                scores.append(_softmax(self._model.run_on(self._model_input(steps))))
        return np.concatenate([np.empty((0, len(self.labels)), np.float32), *scores])

    def classify(self, windows: ArrayLike) -> NDArray[np.float32]:
        """Classify whole series, each from a reset. The stream that `push` is in goes on undisturbed.

        Args:
            windows: [N, T, C], physical units.

        Returns:
            Scores after the last sample of each, float32 [N, K]; equal to the file in TensorFlow Lite Micro, as of `stream`.

        Raises:
            UsageError: not such series, values that are not finite, or series too short for the resampling front end.
        """
        values = self._checked_series(np.asarray(windows, np.float32), 3)
        resampled = resample(values, self.metadata.resampling)
        if resampled.shape[1] == 0:
            raise UsageError(f"series of {values.shape[1]} samples are too short for the model's resampling")
        at_once = max(1, CHUNK // resampled.shape[1])
        parts = [resampled[start : start + at_once] for start in range(0, len(resampled), at_once)]
        scores = [_softmax(self._model.run_fresh(self._model_input(part))[:, -1]) for part in parts]
        return np.concatenate([np.empty((0, len(self.labels)), np.float32), *scores])

    def reset(self) -> None:
        """Forget the signal so far: the next sample is the first."""
        self._resampler.reset()
        self._model.reset()

    def predict(self, series: ArrayLike) -> NDArray[np.float32]:
        """Classify a whole series [T, C] in physical units; return the scores after its last sample, float32 [K].

        The stream is reset before and after.

        Raises:
            UsageError: not such a series, or too short for the resampling front end.
        """
        self.reset()
        scores = self.stream(series)
        self.reset()
        if len(scores) == 0:
            raise UsageError(f"a series of {len(np.asarray(series))} samples is too short for the model's resampling")
        last: NDArray[np.float32] = scores[-1]
        return last

    def _steps(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the model's time steps [T', C] that samples [T, C] complete."""
        if self.metadata.resampling.kind == "none":
            return samples
        steps = [step for sample in samples for step in self._resampler.push(sample)]
        return np.array(steps, np.float32).reshape(-1, samples.shape[1])

    def _model_input(self, step: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the file's `x` stands for, from time steps [..., C] in physical units."""
        if self.metadata.input == InputKind.NORMALISED:
            return (step - self._mean) / self._std
        return step * self._counts if self._counts.size else step

    def _checked(self, sample: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a sample as [C]; refuse one that is none."""
        values, channels = np.atleast_1d(sample), self.metadata.channels
        if values.shape != (len(channels),):
            raise UsageError(f"a sample has {len(channels)} channels ({', '.join(channels)}); got shape {list(values.shape)}")
        if not np.isfinite(values).all():
            channel = int(np.flatnonzero(~np.isfinite(values))[0])
            raise UsageError(f"{channels[channel]} is {values[channel]}; hold the last good sample, or reset() after a gap")
        return np.clip(values, -_LARGEST, _LARGEST)  # of no other consequence than what they saturate

    def _checked_series(self, series: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
        """Return series [..., T, C] with that many dimensions; refuse what is none."""
        channels = self.metadata.channels
        if series.ndim != dimensions or series.shape[-1] != len(channels):
            wanted = "a series [T, C]" if dimensions == 2 else "series [N, T, C]"
            raise UsageError(
                f"{wanted} is expected; got shape {list(series.shape)}; the model's channels are {', '.join(channels)}"
            )
        if not np.isfinite(series).all():
            *where, channel = (int(index) for index in np.argwhere(~np.isfinite(series))[0])
            at = f"sample {where[-1]}" if dimensions == 2 else f"series {where[0]}, sample {where[-1]}"
            raise UsageError(
                f"{channels[channel]} is {series[(*where, channel)]} at {at}; fill the gap or split the series there"
            )
        return np.clip(series, -_LARGEST, _LARGEST)


class _StepModel:
    """A model that carries its `state`, a list of arrays, from step to step."""

    state: list[NDArray[Any]]

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Take the model's input at one time step, [C]; return logits, [K]."""
        raise NotImplementedError

    def reset(self) -> None:
        """Return to the initial state."""
        raise NotImplementedError

    def run_on(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Take steps [T, C] from the present state on; return logits [T, K]."""
        return np.stack([self.step(one) for one in x])

    def run_fresh(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Take series [N, T, C], each from a reset; return logits [N, T, K]. The present state stays."""
        before = self.state
        logits = []
        for series in x:
            self.reset()
            logits.append(self.run_on(series))
        self.state = before
        return np.stack(logits)


class _TfliteStepModel(_StepModel):
    """Subgraph 0 of a float32 .tflite, its signature `step`, in the first TFLite runtime that is installed.

    It is fed by tensor index: a signature runner takes several times as long as the model itself.
    """

    def __init__(self, path: Path, interface: "StepInterface") -> None:
        interpreter = _interpreter_class()(model_path=str(path), num_threads=1)
        initial = interpreter.get_signature_runner("reset")()
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._interpreter = interpreter
        self._x, self._logits = inputs[interface.x.position]["index"], outputs[interface.logits.position]["index"]
        self._before = [inputs[before.position]["index"] for before, _ in interface.states]
        self._after = [outputs[after.position]["index"] for _, after in interface.states]
        self._initial = [initial[before.name].copy() for before, _ in interface.states]
        self._dequantize = interface.logits.dequantize
        self.reset()

    def reset(self) -> None:
        self.state = self._initial

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        interpreter = self._interpreter
        interpreter.set_tensor(self._x, self._sample(x))
        for index, value in zip(self._before, self.state, strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        self.state = [interpreter.get_tensor(index) for index in self._after]
        return self._dequantize(interpreter.get_tensor(self._logits)[0])

    def _sample(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Return x [C] as the file takes it, [1, C]."""
        return x[None]


class _IntegerStepModel(_TfliteStepModel):
    """The same of an integer .tflite. Many samples at once go through its integers, without the interpreter."""

    def __init__(self, path: Path, interface: "StepInterface", file: "TfliteFile") -> None:
        self._interface, self._file = interface, file
        self._int8 = (
            Int8Stream(interface.x.scale, interface.x.zero_point, interface.x.width) if interface.x.dtype == "int8" else None
        )
        super().__init__(path, interface)

    def reset(self) -> None:
        super().reset()
        if self._int8 is not None:
            self._int8.rest[:] = 0

    def run_on(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        runner = BatchRunner(self._integers, self._interface.logits.dtype)
        runner.reference.states = self.state
        if self._int8 is not None:
            runner.rest = self._int8.rest[None]
        logits = runner.logits(x[None])[0]
        self.state = list(runner.reference.states)
        if self._int8 is not None:
            self._int8.rest[:] = runner.rest[0]
        return self._dequantize(logits)

    def run_fresh(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        return self._dequantize(BatchRunner(self._integers, self._interface.logits.dtype, len(x)).logits(x))

    @cached_property
    def _integers(self) -> "QuantizedLstm | QuantizedGru":
        from memkd_edge.formats.integers import read_integers

        return read_integers(self._file)

    def _sample(self, x: NDArray[np.float32]) -> NDArray[Any]:
        return self._interface.x.quantize(x[None]) if self._int8 is None else self._int8.next(x)


class _OnnxStepModel(_StepModel):
    """The step graph of an ONNX file, in onnxruntime."""

    def __init__(self, session: Any, interface: "StepInterface") -> None:
        self._session = session
        self._names = [before.name for before, _ in interface.states]
        self._outputs = ["logits", *(after.name for _, after in interface.states)]
        self._initial = [before.zeros(1) for before, _ in interface.states]
        self.reset()

    def reset(self) -> None:
        self.state = self._initial

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        state = dict(zip(self._names, self.state, strict=True))
        logits, *self.state = self._session.run(self._outputs, {"x": x[None], **state})
        return np.asarray(logits[0], np.float64)


def _load_tflite(path: Path) -> tuple[Metadata, _StepModel]:
    from memkd_edge.formats.digest import digest_holds
    from memkd_edge.formats.embedded_metadata import read_tflite_metadata
    from memkd_edge.formats.step_interface import tflite_step
    from memkd_edge.formats.tflite_reader import read_file, read_tflite

    metadata = read_tflite_metadata(path)
    if not digest_holds(read_file(path)):
        raise MemkdEdgeError(f"{path}: damaged .tflite file (its content does not match its check digest); export it again")
    file = read_tflite(path)
    interface = tflite_step(file)
    _check_widths(path, metadata, interface)
    if file.signature("step") is None or file.signature("reset") is None:
        raise MemkdEdgeError(f"{path}: no signatures `step` and `reset`; this is not a streaming model of memkd-edge")
    try:
        model = _TfliteStepModel(path, interface) if interface.x.dtype == "float32" else _IntegerStepModel(path, interface, file)
        _try_out(model, metadata)
        return metadata, model
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise MemkdEdgeError(f"{path}: the TFLite runtime refuses this file ({error})") from error


def _load_onnx(path: Path) -> tuple[Metadata, _StepModel]:
    from memkd_edge.formats.digest import is_broken
    from memkd_edge.formats.embedded_metadata import read_onnx, read_onnx_metadata
    from memkd_edge.formats.step_interface import onnx_step
    from memkd_edge.formats.tflite_reader import read_file

    metadata = read_onnx_metadata(path)
    if is_broken(read_file(path)):
        raise MemkdEdgeError(f"{path}: damaged .onnx file (its content does not match its check digest); export it again")
    interface = onnx_step(read_onnx(path), str(path))
    _check_widths(path, metadata, interface)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = _OnnxStepModel(session, interface)
        _try_out(model, metadata)
        return metadata, model
    except Exception as error:  # onnxruntime's exceptions share no base class below Exception
        raise MemkdEdgeError(f"{path}: onnxruntime refuses this file ({error})") from error


def _check_widths(path: Path, metadata: Metadata, interface: "StepInterface") -> None:
    """Compare the graph with its metadata, so that a mixed-up file fails on loading and not on a device."""
    channels, labels = len(metadata.channels), len(metadata.labels)
    if (interface.x.width, interface.logits.width) != (channels, labels):
        raise MemkdEdgeError(
            f"{path}: x [{interface.x.width}] and logits [{interface.logits.width}] do not fit the metadata's "
            f"{channels} channels and {labels} labels"
        )


def _try_out(model: _StepModel, metadata: Metadata) -> None:
    """Run one step, so that what a runtime refuses only then fails on loading too."""
    model.step(np.zeros(len(metadata.channels), dtype=np.float32))
    model.reset()


def _interpreter_class() -> Any:
    for module in _RUNTIMES:
        try:
            return importlib.import_module(module).Interpreter
        except ImportError:
            continue
    raise MissingToolError("no TFLite runtime is installed; pip install ai-edge-litert")


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the softmax over the last axis."""
    if logits.ndim == 1:  # a single step: a few numbers are quicker without numpy
        values = logits.tolist()
        largest = max(values)
        exponentials = [math.exp(value - largest) for value in values]
        total = sum(exponentials)
        return np.array([value / total for value in exponentials], np.float32)
    exponential = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exponential / exponential.sum(-1, keepdims=True), np.float32)
