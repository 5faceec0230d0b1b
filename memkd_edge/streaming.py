# SPDX-License-Identifier: Apache-2.0
"""Runs an exported model on a live signal: `StreamingClassifier` takes one raw sample at a time and gives class scores.

    classifier = StreamingClassifier("model.tflite")
    for sample in sensor:                      # physical units, one value per channel
        scores = classifier.push(sample)
        if scores is not None:
            print(classifier.labels[scores.argmax()], scores.max())

All that it needs stands in the file: labels, normalisation, resampling, scales.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memkd_edge.data.normalisation import normalise
from memkd_edge.data.resampling import StreamingResampler
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.toolchain import naming_missing_packages

if TYPE_CHECKING:
    from memkd_edge.formats.step_interface import StepInterface

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

    def push(self, sample: ArrayLike) -> NDArray[np.float32] | None:
        """Take one sample.

        Args:
            sample: [C], physical units, channels in the order of `metadata.channels`.

        Returns:
            Scores (softmax) after this sample, float32 [K], or None if the resampling front end waits for more samples.

        Raises:
            UsageError: not C finite numbers.
        """
        values = np.atleast_1d(np.asarray(sample, dtype=np.float32))
        channels = self.metadata.channels
        if values.shape != (len(channels),):
            raise UsageError(f"a sample has {len(channels)} channels ({', '.join(channels)}); got shape {list(values.shape)}")
        if not np.isfinite(values).all():
            channel = int(np.flatnonzero(~np.isfinite(values))[0])
            raise UsageError(f"{channels[channel]} is {values[channel]}; hold the last good sample, or reset() after a gap")
        logits = None
        for step in self._resampler.push(values):
            logits = self._model.step(self._model_input(step))
        return None if logits is None else _softmax(logits)

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
        samples = np.asarray(series, dtype=np.float32)
        if samples.ndim != 2:
            raise UsageError(f"a series [T, C] is expected; got shape {list(samples.shape)}")
        self.reset()
        scores = None
        for sample in samples:
            latest = self.push(sample)
            scores = scores if latest is None else latest
        self.reset()
        if scores is None:
            raise UsageError(f"a series of {len(samples)} samples is too short for the model's resampling")
        return scores

    def _model_input(self, step: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the file's `x` stands for, from a time step in physical units."""
        if self.metadata.input == "normalised":
            return normalise(step, self.metadata.mean, self.metadata.std)
        if self.metadata.counts_per_unit:
            return step * np.asarray(self.metadata.counts_per_unit, dtype=np.float32)
        return step


class _StepModel(Protocol):
    """A model that carries its state from step to step."""

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the model's input at one time step, [C]; return logits, [K]."""

    def reset(self) -> None:
        """Return to the initial state."""


class _TfliteStepModel:
    """The signatures `step` and `reset` of a .tflite, in the first TFLite runtime that is installed."""

    def __init__(self, path: Path, interface: "StepInterface") -> None:
        self._interface = interface
        # The runners borrow the interpreter's memory: it has to live as long as they do.
        self._interpreter = _interpreter_class()(model_path=str(path), num_threads=1)
        self._step = self._interpreter.get_signature_runner("step")
        self._initial = self._interpreter.get_signature_runner("reset")()
        self.reset()

    def reset(self) -> None:
        self._state = {before.name: self._initial[before.name].copy() for before, _ in self._interface.states}
        self._rest = np.zeros(self._interface.x.width, np.float32)  # of the last sample, for the next

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        quantized, self._rest = self._interface.x.quantize_next(x, self._rest)
        outputs = self._step(x=quantized[None], **self._state)
        self._state = {name: outputs[name] for name in self._state}
        return self._interface.logits.dequantize(outputs["logits"][0]).astype(np.float32)


class _OnnxStepModel:
    """The step graph of an ONNX file, in onnxruntime."""

    def __init__(self, session: Any, interface: "StepInterface") -> None:
        self._session = session
        self._interface = interface
        self._outputs = ["logits", *(after.name for _, after in interface.states)]
        self.reset()

    def reset(self) -> None:
        self._state = {before.name: before.zeros(1) for before, _ in self._interface.states}

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        logits, *states = self._session.run(self._outputs, {"x": x[None], **self._state})
        self._state = dict(zip(self._state, states, strict=True))
        return np.asarray(logits[0], dtype=np.float32)


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
        model = _TfliteStepModel(path, interface)
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
    if not len(metadata.mean) == len(metadata.std) == channels or len(metadata.counts_per_unit) not in (0, channels):
        raise MemkdEdgeError(f"{path}: the metadata's normalisation does not fit its {channels} channels")


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


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials = np.exp(logits - logits.max())
    return np.asarray(exponentials / exponentials.sum(), dtype=np.float32)
