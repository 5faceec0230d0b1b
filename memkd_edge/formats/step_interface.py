# SPDX-License-Identifier: Apache-2.0
"""What a streaming model file takes and gives: the tensors of its step, whatever the format.

A step graph takes one sample `x` and the states, and gives the logits and the next states. A .tflite says so in its signature
`step` (or, stripped, by order: x first, logits first, states in the same order on both sides); an ONNX file by its names.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.formats.tflite_reader import TfliteFile, TfliteSubgraph
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.samples import quantize_array, quantize_series
from memkd_edge.vocabulary import Arithmetic

if TYPE_CHECKING:
    from memkd_edge.nets.classifier import ModelSpec  # loads torch, which who only runs a model has no use for

_DTYPES = {"FLOAT32": "float32", "INT16": "int16", "INT8": "int8"}


@dataclass(frozen=True)
class Port:
    """One tensor at the interface, [N, width].

    name: in the signature; tensor: in the graph; position: among the graph's inputs or outputs. real = scale * (q - zero_point)
    for the integer dtypes, scale 1 and zero_point 0 for float32.
    """

    name: str
    tensor: str
    position: int
    width: int
    dtype: str
    scale: float = 1.0
    zero_point: int = 0

    def quantize(self, x: NDArray[np.floating]) -> NDArray[Any]:
        """Return real series x [N, T, width], from a reset, in this tensor's dtype; int8 samples carry over (samples.py)."""
        if self.dtype == "int8":
            return quantize_series(x, self.scale, self.zero_point)
        return x.astype(np.float32) if self.dtype == "float32" else quantize_array(x, self.scale, self.zero_point)

    def dequantize(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the real values of `values`."""
        return (values.astype(np.float64) - self.zero_point) * self.scale

    def zeros(self, series: int) -> NDArray[Any]:
        """Return the reset value, real 0, for that many series."""
        return np.full((series, self.width), self.zero_point, self.dtype)


@dataclass(frozen=True)
class StepInterface:
    """The tensors of a step: states[k] is the pair (in, out) of one state. A graph that takes series whole has no states."""

    x: Port
    logits: Port
    states: tuple[tuple[Port, Port], ...]


def integer_step(model: QuantizedClassifier, arithmetic: Arithmetic) -> StepInterface:
    """Return the step that an integer model takes through the int8 or the int16x8 interface."""
    channels, classes = model.input_size, model.num_classes
    if model.raw is not None:
        x = Port("x", "x", 0, channels, "int16")  # counts
    elif arithmetic == Arithmetic.INT8:
        x = Port("x", "x", 0, channels, "int8", model.input_scale, model.input_zero_point_int8)
    else:
        x = Port("x", "x", 0, channels, "int16", model.layers[0].state_scale)
    if arithmetic == Arithmetic.INT8:
        logits = Port("logits", "logits", 0, classes, "int8", model.logit_scale_int8, model.logit_zero_point_int8)
    else:
        logits = Port("logits", "logits", 0, classes, "int16", model.head.out_scale)
    states = [
        Port(name, name, 0, layer.hidden_size, "int16", scale)
        for layer in model.layers
        for name, scale in layer.state_scales.items()
    ]
    return StepInterface(x, logits, tuple((state, state) for state in states))


def float_step(spec: "ModelSpec") -> StepInterface:
    """Return the step of a float LSTM."""
    x, logits = Port("x", "x", 0, spec.input_size, "float32"), Port("logits", "logits", 0, spec.num_classes, "float32")
    states = [Port(name, name, 0, spec.hidden_size, "float32") for name in ("h", "c") * spec.num_layers]
    return StepInterface(x, logits, tuple((state, state) for state in states))


def tflite_step(file: TfliteFile) -> StepInterface:
    """Return the step interface of a .tflite file.

    Raises:
        MemkdEdgeError: the file is no streaming step, or a state comes out quantised otherwise than it goes in.
    """
    graph = file.subgraphs[0]
    signature = file.signature("step")
    if signature is not None and signature.subgraph != 0:
        raise MemkdEdgeError(
            f"{file.path}: `step` must be subgraph 0, the only one TFLite Micro runs; it is {signature.subgraph}"
        )
    if signature is not None:
        inputs, outputs = signature.inputs, signature.outputs
    else:
        states = [f"state{k}" for k in range(1, len(graph.inputs))]
        inputs = dict(zip(["x", *states], graph.inputs, strict=False))
        outputs = dict(zip(["logits", *states], graph.outputs, strict=False))
    states = [name for name in inputs if name != "x"]
    if "x" not in inputs or not states or set(outputs) != {"logits", *states} or len(graph.outputs) != len(graph.inputs):
        raise _no_step(str(file.path))
    if not (set(inputs.values()) <= set(graph.inputs) and set(outputs.values()) <= set(graph.outputs)):
        raise MemkdEdgeError(f"{file.path}: signature `step` names tensors that are no inputs or outputs of its graph")
    source = str(file.path)
    pairs = tuple(
        (_tflite_port(graph, graph.inputs, n, inputs[n], source), _tflite_port(graph, graph.outputs, n, outputs[n], source))
        for n in states
    )
    for before, after in pairs:
        if (before.width, before.dtype, before.scale, before.zero_point) != (
            after.width,
            after.dtype,
            after.scale,
            after.zero_point,
        ):
            raise MemkdEdgeError(
                f"{file.path}: state {before.name} goes in as {before.dtype}[{before.width}] * {before.scale:g} and comes out as "
                f"{after.dtype}[{after.width}] * {after.scale:g}; a caller that copies it back would corrupt the stream"
            )
    return StepInterface(
        _tflite_port(graph, graph.inputs, "x", inputs["x"], source),
        _tflite_port(graph, graph.outputs, "logits", outputs["logits"], source),
        pairs,
    )


def _tflite_port(graph: TfliteSubgraph, side: tuple[int, ...], name: str, index: int, source: str) -> Port:
    tensor = graph.tensors[index]
    if tensor.dtype not in _DTYPES or len(tensor.shape) != 2 or tensor.shape[1] < 1:
        raise MemkdEdgeError(
            f"{source}: `{name}` is {tensor.dtype} {list(tensor.shape)}; a step takes [1, width] of int8, int16, float"
        )
    dtype = _DTYPES[tensor.dtype]
    if dtype != "float32" and (len(tensor.scales) != 1 or len(tensor.zero_points) != 1 or not 0 < tensor.scales[0] < np.inf):
        raise MemkdEdgeError(f"{source}: `{name}` is {dtype} without one positive scale")
    scale, zero_point = (1.0, 0) if dtype == "float32" else (tensor.scales[0], tensor.zero_points[0])
    return Port(name, tensor.name, side.index(index), tensor.shape[1], dtype, scale, zero_point)


def onnx_step(model: Any, source: str) -> StepInterface:
    """Return the step interface of an onnx.ModelProto.

    Raises:
        MemkdEdgeError: the graph is no streaming step (our sequence graph is none either).
    """
    inputs = [_onnx_port(value, position, source) for position, value in enumerate(model.graph.input)]
    outputs = {value.name: _onnx_port(value, position, source) for position, value in enumerate(model.graph.output)}
    states = [port for port in inputs if port.name != "x"]
    if len(states) + 1 != len(inputs) or not states or set(outputs) != {"logits", *(f"{port.name}_out" for port in states)}:
        raise _no_step(source)
    x = next(port for port in inputs if port.name == "x")
    return StepInterface(x, outputs["logits"], tuple((port, outputs[f"{port.name}_out"]) for port in states))


def onnx_sequence(model: Any, source: str) -> StepInterface | None:
    """Return the interface of an onnx.ModelProto that takes whole series x [N, T, C], without states; None for any other."""
    inputs, outputs = model.graph.input, model.graph.output
    if [value.name for value in inputs] != ["x"] or [value.name for value in outputs] != ["logits"]:
        return None
    return StepInterface(_onnx_port(inputs[0], 0, source, rank=3), _onnx_port(outputs[0], 0, source), ())


def _onnx_port(value: Any, position: int, source: str, rank: int = 2) -> Port:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    sizes = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT or len(sizes) != rank or sizes[-1] < 1:
        raise _no_step(source)
    return Port(value.name, value.name, position, sizes[-1], "float32")


def _no_step(source: str) -> MemkdEdgeError:
    return MemkdEdgeError(
        f"{source}: not a streaming step (x and states in, logits and the same states out); `memkd-edge inspect` shows it"
    )
