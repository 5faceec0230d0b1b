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
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memkd_edge.data.normalise import normalise
from memkd_edge.data.resample import StreamingResampler
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.metadata import Metadata

_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")


class StreamingClassifier:
    """A streaming model loaded from an exported .tflite or .onnx file.

    metadata: what the file says about itself. labels: class names, in the order of the scores.
    """

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
            logits = self._model.step(normalise(step, self.metadata.mean, self.metadata.std))
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


class _StepModel(Protocol):
    """A model that carries its state from step to step."""

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take one normalised time step, [C]; return logits, [K]."""

    def reset(self) -> None:
        """Return to the initial state."""


class _TfliteStepModel:
    """The signatures `step` and `reset` of a .tflite, in the first TFLite runtime that is installed."""

    def __init__(self, path: Path, x: "_Quantization", logits: "_Quantization") -> None:
        self._x, self._logits = x, logits
        # The runners borrow the interpreter's memory: it has to live as long as they do.
        self._interpreter = _interpreter_class()(model_path=str(path), num_threads=1)
        self._step = self._interpreter.get_signature_runner("step")
        self._initial = self._interpreter.get_signature_runner("reset")()
        self.reset()

    def reset(self) -> None:
        self._state = {name: value.copy() for name, value in self._initial.items()}

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs = self._step(x=self._x.quantize(x)[None], **self._state)
        self._state = {name: outputs[name] for name in self._state}
        return self._logits.dequantize(outputs["logits"][0])


class _OnnxStepModel:
    """The step graph of an ONNX file, in onnxruntime: states in `<name>`, states out `<name>_out`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._shapes = {item.name: (1, item.shape[1]) for item in session.get_inputs() if item.name != "x"}
        self._outputs = ["logits", *(f"{name}_out" for name in self._shapes)]
        self.reset()

    def reset(self) -> None:
        self._state = {name: np.zeros(shape, dtype=np.float32) for name, shape in self._shapes.items()}

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        logits, *states = self._session.run(self._outputs, {"x": x[None], **self._state})
        self._state = dict(zip(self._shapes, states, strict=True))
        return np.asarray(logits[0], dtype=np.float32)


class _Quantization:
    """Between float32 and a tensor's own type: real = scale * (q - zero_point); no conversion where scale is None."""

    def __init__(self, dtype: str, scales: tuple[float, ...], zero_points: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype.lower())
        self._scale = np.float32(scales[0]) if scales else None
        self._zero_point = zero_points[0] if zero_points else 0

    def quantize(self, x: NDArray[np.float32]) -> NDArray[Any]:
        if self._scale is None:
            return x
        scaled = x / self._scale
        # Halves are rounded away from zero, as C's lround does on the device.
        rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)) + np.float32(self._zero_point)
        limits = np.iinfo(self._dtype)
        return np.asarray(np.clip(rounded, limits.min, limits.max), dtype=self._dtype)

    def dequantize(self, q: NDArray[Any]) -> NDArray[np.float32]:
        if self._scale is None:
            return np.asarray(q, dtype=np.float32)
        return np.asarray((q.astype(np.float32) - np.float32(self._zero_point)) * self._scale, dtype=np.float32)


def _load_tflite(path: Path) -> tuple[Metadata, _StepModel]:
    from memkd_edge.export.embedded import read_tflite_metadata
    from memkd_edge.export.tflite_file import read_tflite

    metadata = read_tflite_metadata(path)
    file = read_tflite(path)
    step, reset = file.signature("step"), file.signature("reset")
    if step is None or reset is None:
        raise MemkdEdgeError(f"{path}: no signatures `step` and `reset`; this is not a streaming model of memkd-edge")
    states = set(step.inputs) - {"x"}
    if "x" not in step.inputs or set(step.outputs) != {"logits", *states} or set(reset.outputs) != states:
        raise MemkdEdgeError(f"{path}: signature `step` does not take x and a state and return logits and that state")
    tensors = file.subgraphs[step.subgraph].tensors
    x, logits = tensors[step.inputs["x"]], tensors[step.outputs["logits"]]
    _check_widths(path, metadata, x.shape, logits.shape)
    try:
        quantizations = [_Quantization(tensor.dtype, tensor.scales, tensor.zero_points) for tensor in (x, logits)]
        model = _TfliteStepModel(path, *quantizations)
        _try_out(model, metadata)
        return metadata, model
    except (ValueError, RuntimeError, TypeError) as error:
        raise MemkdEdgeError(f"{path}: the TFLite runtime refuses this file ({error})") from error


def _load_onnx(path: Path) -> tuple[Metadata, _StepModel]:
    from memkd_edge.export.embedded import read_onnx, read_onnx_metadata

    metadata = read_onnx_metadata(path)
    graph = read_onnx(path).graph
    inputs, outputs = ({item.name: item for item in items} for items in (graph.input, graph.output))
    states = set(inputs) - {"x"}
    if "x" not in inputs or not states or set(outputs) != {"logits", *(f"{name}_out" for name in states)}:
        raise MemkdEdgeError(
            f"{path}: the graph does not take x and a state and return logits and that state; of the exported ONNX files, load "
            "the step graph"
        )
    x, logits = (tuple(size.dim_value for size in item.type.tensor_type.shape.dim) for item in (inputs["x"], outputs["logits"]))
    _check_widths(path, metadata, x, logits)
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingToolError("onnxruntime is not installed; pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = _OnnxStepModel(session)
        _try_out(model, metadata)
        return metadata, model
    except Exception as error:  # onnxruntime's exceptions share no base class below Exception
        raise MemkdEdgeError(f"{path}: onnxruntime refuses this file ({error})") from error


def _check_widths(path: Path, metadata: Metadata, x: tuple[int, ...], logits: tuple[int, ...]) -> None:
    """Compare the graph with its metadata, so that a mixed-up file fails on loading and not on a device."""
    if len(x) != 2 or x[1] != len(metadata.channels) or len(logits) != 2 or logits[1] != len(metadata.labels):
        raise MemkdEdgeError(
            f"{path}: x {list(x)} and logits {list(logits)} do not fit the metadata's {len(metadata.channels)} channels and "
            f"{len(metadata.labels)} labels"
        )
    if not len(metadata.mean) == len(metadata.std) == len(metadata.channels):
        raise MemkdEdgeError(f"{path}: the metadata's normalisation does not fit its {len(metadata.channels)} channels")


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
