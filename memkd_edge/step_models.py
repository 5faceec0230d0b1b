# SPDX-License-Identifier: Apache-2.0
"""An exported file as streams of steps, in whatever runtime takes the file."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from memkd_edge.decisions import margin_steps
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.quantization.batch import BatchRunner
from memkd_edge.quantization.samples import SampleWriter
from memkd_edge.signal_limits import Grid, grids
from memkd_edge.vocabulary import Arithmetic

if TYPE_CHECKING:
    from memkd_edge.formats.step_interface import StepInterface
    from memkd_edge.formats.tflite_reader import TfliteFile
    from memkd_edge.quantization.integer_model import QuantizedClassifier

_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite")


_CHANGED = (
    "changed since export: its content does not match its check digest. A damaged file may crash this process: "
    "`memkd-edge verify` runs it apart and decides; or export it again"
)


class StepStream:
    """A stream through a model, with a state of its own. Logits are in the model's `unit`."""

    def reset(self) -> None:
        """Stand where the stream begins."""
        raise NotImplementedError

    def step(self, x: NDArray[np.float32]) -> list[float]:
        """Take the model's input at one time step, [C]; return K logits."""
        raise NotImplementedError

    def run(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Take steps [T, C]; return logits [T, K]."""
        return np.array([self.step(one) for one in x])


class StepModel:
    """A streaming model.

    Its logits are numbers of `unit` each, all less the same constant: an integer file's integers. What counts, their
    differences, is exact in them.

    dtype: of logits. levels: differences are below it; 0 for real numbers.
    """

    unit = 1.0
    dtype: DTypeLike = np.float64
    levels = 0

    def new_stream(self) -> StepStream:
        """Return a new stream; `reset` begins it."""
        raise NotImplementedError

    def margin(self, logits: float) -> float:
        """Return a margin of logits in units."""
        return logits

    def grids(self, metadata: Metadata) -> tuple[Grid, ...]:
        """Return the integers in which an input monitor sees the samples of each channel."""
        return grids(metadata, "float32", 1.0, 0, 1.0)

    def run_each(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Take series [N, T, C], each from a reset; return logits [N, T, K]."""
        stream, logits = self.new_stream(), []
        for series in x:
            stream.reset()
            logits.append(stream.run(series))
        return np.stack(logits)


class _TfliteStream(StepStream):
    """A stream through an interpreter of its own, in whose memory the state stays.

    A signature runner takes several times as long as the model itself, and setting or getting a tensor a sixth of it. So
    samples, states and logits are copied to and from the tensors' own memory. All states are, each time: a runtime may use an
    input's memory for something else once it has been read.
    """

    def __init__(self, path: Path, interface: StepInterface) -> None:
        interpreter = _interpreter_class()(model_path=str(path), num_threads=1)
        reset = interpreter.get_signature_runner("reset")()
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._invoke = interpreter.invoke  # holds the interpreter
        self._x = _memory(interpreter, inputs[interface.x.position])
        self._logits = _memory(interpreter, outputs[interface.logits.position])
        self._states = [_memory(interpreter, outputs[after.position]) for _, after in interface.states]
        taken = [_memory(interpreter, inputs[before.position]) for before, _ in interface.states]
        self._moves = list(zip(taken, self._states, strict=True))
        self._initial = [reset[before.name].ravel() for before, _ in interface.states]
        self._put: Callable[[NDArray[np.float32]], None] = self._put_float

    def reset(self) -> None:
        for state, initial in zip(self._states, self._initial, strict=True):
            state[:] = initial

    def step(self, x: NDArray[np.float32]) -> list[float]:
        self._put(x)
        for before, after in self._moves:
            before[:] = after
        self._invoke()
        logits: list[float] = self._logits.tolist()
        return logits

    def _put_float(self, x: NDArray[np.float32]) -> None:
        """Write x [C] into the file's x; nothing is rounded."""
        self._x[:] = x.data


class _TfliteModel(StepModel):
    """Subgraph 0 of a float32 .tflite, its signature `step`, in the first TFLite runtime that is installed."""

    def __init__(self, path: Path, interface: StepInterface) -> None:
        self._path, self._interface = path, interface

    def new_stream(self) -> StepStream:
        return _TfliteStream(self._path, self._interface)


class _IntegerStream(_TfliteStream):
    """The same through an integer .tflite. Many samples at once go through its integers, without the interpreter."""

    def __init__(self, model: _IntegerModel, path: Path, interface: StepInterface) -> None:
        super().__init__(path, interface)
        self._model = model
        self._samples = SampleWriter(self._x, interface.x.scale, interface.x.zero_point)
        self._put = self._samples.write

    def reset(self) -> None:
        super().reset()
        self._samples.rest[:] = 0

    def run(self, x: NDArray[np.float32]) -> NDArray[Any]:
        runner = self._model.runner(1)
        runner.reference.states = [np.array(state)[None] for state in self._states]
        runner.rest[0] = self._samples.rest
        logits = runner.logits(x[None])[0]
        for held, state in zip(self._states, runner.reference.states, strict=True):
            held[:] = state[0]
        self._samples.rest[:] = runner.rest[0]
        return np.asarray(logits, np.int32)


class _IntegerModel(_TfliteModel):
    """The same of an integer .tflite."""

    dtype = np.int32

    def __init__(self, path: Path, interface: StepInterface, file: TfliteFile) -> None:
        super().__init__(path, interface)
        self._file = file
        self._arithmetic = Arithmetic.INT8 if interface.logits.dtype == "int8" else Arithmetic.INT16X8
        self.unit = interface.logits.scale
        self.levels = 1 << (8 if self._arithmetic == Arithmetic.INT8 else 16)

    def new_stream(self) -> StepStream:
        return _IntegerStream(self, self._path, self._interface)

    def margin(self, logits: float) -> float:
        return margin_steps(logits, self.unit)

    def grids(self, metadata: Metadata) -> tuple[Grid, ...]:
        x, (state, _) = self._interface.x, self._interface.states[0]
        return grids(metadata, x.dtype, x.scale, x.zero_point, state.scale)

    def run_each(self, x: NDArray[np.float32]) -> NDArray[Any]:
        return self.runner(len(x)).logits(x).astype(np.int32)

    def runner(self, series: int) -> BatchRunner:
        """Return what runs so many series through the file's integers, each from a reset."""
        return BatchRunner(self._integers, self._arithmetic, series)

    @cached_property
    def _integers(self) -> QuantizedClassifier:
        from memkd_edge.formats.integers import read_integers

        return read_integers(self._file)


class _OnnxStream(StepStream):
    """A stream through the step graph of an ONNX file, in onnxruntime."""

    def __init__(self, session: Any, interface: StepInterface) -> None:
        self._session, self._interface = session, interface
        self._outputs = ["logits", *(after.name for _, after in interface.states)]

    def reset(self) -> None:
        self._states = {before.name: before.zeros(1) for before, _ in self._interface.states}

    def step(self, x: NDArray[np.float32]) -> list[float]:
        logits, *states = self._session.run(self._outputs, {"x": x[None], **self._states})
        self._states = dict(zip(self._states, states, strict=True))
        result: list[float] = logits[0].tolist()
        return result


class _OnnxModel(StepModel):
    """The step graph of an ONNX file."""

    def __init__(self, session: Any, interface: StepInterface) -> None:
        self._session, self._interface = session, interface

    def new_stream(self) -> StepStream:
        return _OnnxStream(self._session, self._interface)


def load_step_model(path: Path) -> tuple[Metadata, StepModel]:
    """Load a .tflite or .onnx file; it is checked whole before a native runtime sees it.

    Raises:
        UsageError: no such file, or it is neither .tflite nor .onnx.
        MemkdEdgeError: the file is damaged, foreign or stripped, or no streaming model.
        MissingToolError: no runtime for it is installed.
    """
    match path.suffix.lower():
        case ".tflite":
            return _load_tflite(path)
        case ".onnx":
            return _load_onnx(path)
        case _:
            raise UsageError(f"{path}: expected a file that ends in .tflite or .onnx")


def _load_tflite(path: Path) -> tuple[Metadata, StepModel]:
    from memkd_edge.formats.digest import digest_holds
    from memkd_edge.formats.embedded_metadata import read_tflite_metadata
    from memkd_edge.formats.step_interface import tflite_step
    from memkd_edge.formats.tflite_reader import read_file, read_tflite

    metadata = read_tflite_metadata(path)
    if not digest_holds(read_file(path)):
        raise MemkdEdgeError(f"{path}: {_CHANGED}")
    file = read_tflite(path)
    interface = tflite_step(file)
    _check_widths(path, metadata, interface)
    if file.signature("step") is None or file.signature("reset") is None:
        raise MemkdEdgeError(f"{path}: no signatures `step` and `reset`; this is not a streaming model of memkd-edge")
    try:
        model = _TfliteModel(path, interface) if interface.x.dtype == "float32" else _IntegerModel(path, interface, file)
        _try_out(model, metadata)
        return metadata, model
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise MemkdEdgeError(f"{path}: the TFLite runtime refuses this file ({error})") from error


def _load_onnx(path: Path) -> tuple[Metadata, StepModel]:
    from memkd_edge.formats.digest import is_broken
    from memkd_edge.formats.embedded_metadata import read_onnx, read_onnx_metadata
    from memkd_edge.formats.step_interface import onnx_step
    from memkd_edge.formats.tflite_reader import read_file

    metadata = read_onnx_metadata(path)
    if is_broken(read_file(path)):
        raise MemkdEdgeError(f"{path}: {_CHANGED}")
    interface = onnx_step(read_onnx(path), str(path))
    _check_widths(path, metadata, interface)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = _OnnxModel(session, interface)
        _try_out(model, metadata)
        return metadata, model
    except Exception as error:  # onnxruntime's exceptions share no base class below Exception
        raise MemkdEdgeError(f"{path}: onnxruntime refuses this file ({error})") from error


def _check_widths(path: Path, metadata: Metadata, interface: StepInterface) -> None:
    """Compare the graph with its metadata, so that a mixed-up file fails on loading and not on a device."""
    channels, labels = len(metadata.channels), len(metadata.labels)
    if (interface.x.width, interface.logits.width) != (channels, labels):
        raise MemkdEdgeError(
            f"{path}: x [{interface.x.width}] and logits [{interface.logits.width}] do not fit the metadata's "
            f"{channels} channels and {labels} labels"
        )


def _try_out(model: StepModel, metadata: Metadata) -> None:
    """Run one step, so that what a runtime refuses only then fails on loading too."""
    stream = model.new_stream()
    stream.reset()
    stream.step(np.zeros(len(metadata.channels), dtype=np.float32))


def _memory(interpreter: Any, details: dict[str, Any]) -> Any:
    """Return a tensor's memory, a memoryview, one item an element; it stays where it is until tensors are allocated again.

    The interpreter refuses to run while an array on its memory exists, in case it is to be resized; ours never is.
    """
    tensor = interpreter.tensor(details["index"])()
    place = (ctypes.c_char * tensor.nbytes).from_address(tensor.ctypes.data)
    return memoryview(place).cast("B").cast(tensor.dtype.char)


def _interpreter_class() -> Any:
    for module in _RUNTIMES:
        try:
            return importlib.import_module(module).Interpreter
        except ImportError:
            continue
    raise MissingToolError("no TFLite runtime is installed; pip install ai-edge-litert")
