"""The streaming .tflite file: one LSTM step as a graph of basic operators, with the state passed in and out.

    x, h -> CONCATENATION -> FULLY_CONNECTED [4H, C+H] -> SPLIT -> LOGISTIC x3, TANH -> MUL, MUL -> ADD = c'
         -> TANH -> MUL = h' -> FULLY_CONNECTED = logits

Signature `step` takes x, h, c (and h1, c1, ... of further layers) and returns logits, h, c, ...; signature `reset` returns the
initial state. State in and state out have the same dtype, scale and zero point, so a program copies bytes and never converts.
Every runtime's kernels are exact on this graph; the fused LSTM operator is not used because one of them forgets its state.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.export.flatbuffer import ModelWriter, Subgraph
from memkd_edge.metadata import Metadata
from memkd_edge.models import LstmClassifier
from memkd_edge.quantize.calibrate import FloatLstm
from memkd_edge.quantize.quantize import ACTIVATION_SCALE
from memkd_edge.quantize.types import QuantizedDense, QuantizedLstm

METADATA_NAME = "memkd_edge"
INTERFACES = ("int8", "int16x8")

# Lowest operator versions whose kernels take these types.
_INT16_VERSIONS = {"CONCATENATION": 3, "FULLY_CONNECTED": 7, "SPLIT": 4, "LOGISTIC": 3, "TANH": 3, "MUL": 4, "ADD": 3}
_OLDEST_RUNTIME = b"2.14.0".ljust(16, b"\0")  # the oldest one this graph was run on

# Multiplying by this constant int16 1.0 rescales int8 input to the state's scale; tflite-runtime 2.14 has no int8 -> int16
# QUANTIZE.
_ONE, _ONE_SCALE = 1 << 14, 2.0**-14


@dataclass(frozen=True)
class _Dense:
    """Constants of a FULLY_CONNECTED, float or integer; scales are None in float."""

    weight: NDArray[Any]
    bias: NDArray[Any]
    weight_scale: float | None = None
    bias_scale: float | None = None
    out_scale: float | None = None


@dataclass(frozen=True)
class _Layer:
    """One recurrent layer; rows of `gates` in the order i, f, o, g."""

    gates: _Dense
    hidden_size: int
    cell_scale: float | None = None


@dataclass(frozen=True)
class _Graph:
    """What float and integer graphs differ in: dtype, scales and operator versions."""

    layers: tuple[_Layer, ...]
    head: _Dense
    dtype: str
    state_scale: float | None
    activation_scale: float | None

    @property
    def input_size(self) -> int:
        return int(self.layers[0].gates.weight.shape[1]) - self.layers[0].hidden_size

    def version(self, kind: str) -> int:
        return 1 if self.dtype == "float32" else _INT16_VERSIONS[kind]


def write_tflite(q: QuantizedLstm, metadata: Metadata | None, *, interface: str = "int8", strip: bool = False) -> bytes:
    """Write the integer model as a streaming .tflite file.

    Args:
        q: the integer model.
        metadata: embedded as buffer `memkd_edge`, arithmetic and input scale filled in; None leaves it out.
        interface: "int8" (x and logits int8, state int16) or "int16x8" (all int16).
        strip: leave out tensor names and metadata.

    Raises:
        UsageError: an unknown interface.
    """
    if interface not in INTERFACES:
        raise UsageError(f"unknown interface {interface!r}; choose {' or '.join(INTERFACES)}")
    graph = _Graph(
        layers=tuple(_Layer(_integer_dense(layer.gates), layer.hidden_size, layer.cell_scale) for layer in q.layers),
        head=_integer_dense(q.head),
        dtype="int16",
        state_scale=q.layers[0].state_scale,
        activation_scale=ACTIVATION_SCALE,
    )
    int8 = q if interface == "int8" else None
    if metadata is not None:
        metadata = replace(
            metadata,
            arithmetic=interface,
            input_scale=q.input_scale if int8 else graph.state_scale,
            input_zero_point=0,
        )
    return _write(graph, metadata, int8=int8, strip=strip)


def write_tflite_float(model: LstmClassifier, metadata: Metadata | None, *, strip: bool = False) -> bytes:
    """Write the float32 classifier as the same streaming graph, all tensors float32."""
    weights = FloatLstm.from_model(model)
    layers = []
    for layer in weights.layers:
        i, f, g, o = np.split(np.arange(len(layer.bias)), 4)
        rows = np.concatenate([i, f, o, g])
        gates = np.concatenate([layer.input_weight, layer.hidden_weight], axis=1)
        layers.append(
            _Layer(_Dense(gates[rows].astype(np.float32), layer.bias[rows].astype(np.float32)), layer.hidden_weight.shape[1])
        )
    head = _Dense(weights.head_weight.astype(np.float32), weights.head_bias.astype(np.float32))
    graph = _Graph(tuple(layers), head, "float32", None, None)
    if metadata is not None:
        metadata = replace(metadata, arithmetic="float32", input_scale=None, input_zero_point=0)
    return _write(graph, metadata, int8=None, strip=strip)


def _integer_dense(layer: QuantizedDense) -> _Dense:
    return _Dense(layer.weight, layer.bias, layer.weight_scale, layer.in_scale * layer.weight_scale, layer.out_scale)


def _write(graph: _Graph, metadata: Metadata | None, *, int8: QuantizedLstm | None, strip: bool) -> bytes:
    writer = ModelWriter(names=not strip)
    _write_step(writer.subgraph("step"), graph, int8)
    _write_reset(writer.subgraph("reset"), graph)
    if not strip:
        writer.metadata("min_runtime_version", _OLDEST_RUNTIME)
        if metadata is not None:
            writer.metadata(METADATA_NAME, metadata.to_json().encode())
    return writer.finish()


def _write_step(step: Subgraph, graph: _Graph, int8: QuantizedLstm | None) -> None:
    shape = (1, graph.input_size)
    if int8 is None:
        x = step.inputs["x"] = step.tensor("x", shape, graph.dtype, graph.state_scale)
    else:
        step.inputs["x"] = step.tensor("x", shape, "int8", int8.input_scale)
    for index, layer in enumerate(graph.layers):
        h, c = _state_names(index)
        state = (1, layer.hidden_size)
        step.inputs[h] = step.tensor(h, state, graph.dtype, graph.state_scale)
        step.inputs[c] = step.tensor(c, state, graph.dtype, layer.cell_scale)
    if int8 is not None:
        x = _widen_input(step, step.inputs["x"], shape, int8.input_scale, int8.layers[0].state_scale)

    states: dict[str, int] = {}
    for index, layer in enumerate(graph.layers):
        h, c = _state_names(index)
        x, cell = _write_layer(step, graph, layer, index, x, step.inputs[h], step.inputs[c])
        states |= {h: x, c: cell}
    logits = _write_dense(step, graph, "classifier", graph.head, x, "logits" if int8 is None else "logits_int16")
    if int8 is not None:
        wide, classes = logits, (1, len(graph.head.bias))
        logits = step.tensor("logits", classes, "int8", int8.logit_scale_int8, int8.logit_zero_point_int8)
        step.operator("QUANTIZE", 2, [wide], [logits], schema.QuantizeOptionsT())
    step.outputs = {"logits": logits, **states}


def _write_reset(reset: Subgraph, graph: _Graph) -> None:
    """A graph without operators: its outputs are constants."""
    for index, layer in enumerate(graph.layers):
        zeros = np.zeros((1, layer.hidden_size), graph.dtype)
        h, c = _state_names(index)
        reset.outputs[h] = reset.constant(h, zeros, graph.state_scale)
        reset.outputs[c] = reset.constant(c, zeros, layer.cell_scale)


def _widen_input(step: Subgraph, x: int, shape: tuple[int, int], scale: float, state_scale: float) -> int:
    """int8 x -> int16 at the state's scale, exactly: the scales' ratio is an integer."""
    cast = step.tensor("x_int16", shape, "int16", scale)
    options = schema.CastOptionsT()
    options.inDataType, options.outDataType = schema.TensorType.INT8, schema.TensorType.INT16
    step.operator("CAST", 1, [x], [cast], options)
    one = step.constant("one", np.full(shape, _ONE, np.int16), _ONE_SCALE)
    wide = step.tensor("x_state_scale", shape, "int16", state_scale)
    step.operator("MUL", _INT16_VERSIONS["MUL"], [cast, one], [wide], schema.MulOptionsT())
    return wide


def _write_layer(step: Subgraph, graph: _Graph, layer: _Layer, index: int, x: int, h: int, c: int) -> tuple[int, int]:
    prefix = f"lstm{index or ''}"
    units = (1, layer.hidden_size)
    columns, activation = layer.gates.weight.shape[1], graph.activation_scale

    def unary(kind: str, name: str, source: int) -> int:
        result = step.tensor(f"{prefix}/{name}", units, graph.dtype, activation)
        step.operator(kind, graph.version(kind), [source], [result])
        return result

    def multiply(name: str, left: int, right: int, scale: float | None) -> int:
        result = step.tensor(f"{prefix}/{name}", units, graph.dtype, scale)
        step.operator("MUL", graph.version("MUL"), [left, right], [result], schema.MulOptionsT())
        return result

    both = step.tensor(f"{prefix}/input_and_hidden", (1, columns), graph.dtype, graph.state_scale)
    concatenation = schema.ConcatenationOptionsT()
    concatenation.axis = 1
    step.operator("CONCATENATION", graph.version("CONCATENATION"), [x, h], [both], concatenation)
    gates = _write_dense(step, graph, prefix, layer.gates, both, f"{prefix}/gates")

    axis = step.constant(f"{prefix}/split_axis", np.array(1, np.int32))
    parts = [step.tensor(f"{prefix}/gate_{gate}", units, graph.dtype, layer.gates.out_scale) for gate in "ifog"]
    split = schema.SplitOptionsT()
    split.numSplits = 4
    step.operator("SPLIT", graph.version("SPLIT"), [axis, gates], parts, split)

    input_gate = unary("LOGISTIC", "input_gate", parts[0])
    forget_gate = unary("LOGISTIC", "forget_gate", parts[1])
    output_gate = unary("LOGISTIC", "output_gate", parts[2])
    candidate = unary("TANH", "candidate", parts[3])
    kept = multiply("kept", forget_gate, c, layer.cell_scale)
    added = multiply("added", input_gate, candidate, layer.cell_scale)
    h_name, c_name = _state_names(index)
    cell = step.tensor(f"{c_name}_out", units, graph.dtype, layer.cell_scale)
    add = schema.AddOptionsT()
    add.potScaleInt16 = False
    step.operator("ADD", graph.version("ADD"), [kept, added], [cell], add)
    bounded = unary("TANH", "cell_tanh", cell)
    hidden = step.tensor(f"{h_name}_out", units, graph.dtype, graph.state_scale)
    step.operator("MUL", graph.version("MUL"), [output_gate, bounded], [hidden], schema.MulOptionsT())
    return hidden, cell


def _write_dense(step: Subgraph, graph: _Graph, prefix: str, dense: _Dense, source: int, name: str) -> int:
    weight = step.constant(f"{prefix}/weight", dense.weight, dense.weight_scale)
    bias = step.constant(f"{prefix}/bias", dense.bias, dense.bias_scale)
    result = step.tensor(name, (1, len(dense.bias)), graph.dtype, dense.out_scale)
    options = schema.FullyConnectedOptionsT()
    step.operator("FULLY_CONNECTED", graph.version("FULLY_CONNECTED"), [source, weight, bias], [result], options)
    return result


def _state_names(layer: int) -> tuple[str, str]:
    """h, c for the bottom layer, then h1, c1, and so on."""
    suffix = str(layer) if layer else ""
    return f"h{suffix}", f"c{suffix}"
