# SPDX-License-Identifier: Apache-2.0
"""The streaming .tflite file: one LSTM step as a graph of basic operators, with the state passed in and out.

    x, h -> CONCATENATION -> FULLY_CONNECTED [4H, C+H] -> SPLIT -> LOGISTIC x3, TANH -> MUL, MUL -> ADD = c'
         -> TANH -> MUL = h' -> FULLY_CONNECTED = logits

Signature `step` takes x, h, c (and h1, c1, ... of further layers) and returns logits, h, c, ...; signature `reset` returns the
initial state. State in and state out have the same dtype, scale and zero point, so a program copies bytes and never converts.
Every runtime's kernels are exact on this graph; the fused LSTM operator is not used because one of them forgets its state.

A GRU is written from the same operators and SUB; its state is h alone:

    x, h -> CONCATENATION -> FULLY_CONNECTED -> SPLIT (r, z, n_x, n_h) -> LOGISTIC x2 -> MUL(r, n_h) -> ADD n_x -> TANH = n
         -> SUB(1, z) -> MUL(1 - z, n), MUL(z, h) -> ADD = h' -> FULLY_CONNECTED = logits
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.formats.digest import with_blank_check, with_digest
from memkd_edge.formats.embedded_metadata import KEY
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import Classifier
from memkd_edge.quantization.calibration import FloatModel
from memkd_edge.quantization.fixed_point import INT16_MAX
from memkd_edge.quantization.integer_model import (
    ACTIVATION_SCALE,
    QuantizedClassifier,
    QuantizedDense,
    RawInput,
)
from memkd_edge.quantization.sensor_front_end import fold_normalisation
from memkd_edge.vocabulary import Arithmetic, Cell, InputKind
from memkd_edge.writers.flatbuffer import ModelWriter, Subgraph

INTERFACES = (Arithmetic.INT8, Arithmetic.INT16X8)

# Lowest operator versions whose kernels take these types.
_INT16_VERSIONS = {"CONCATENATION": 3, "FULLY_CONNECTED": 7, "SPLIT": 4, "LOGISTIC": 3, "TANH": 3, "MUL": 4, "ADD": 3, "SUB": 5}
_OLDEST_RUNTIME = b"2.14.0".ljust(16, b"\0")  # the oldest one this graph was run on

# Multiplying by this constant int16 1.0 rescales int8 input to the state's scale; tflite-runtime 2.14 has no int8 -> int16
# QUANTIZE.
_ONE, _ONE_SCALE = 1 << 14, 2.0**-14


_COUNT = 1.0  # the scale of a sensor's counts


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
    """One recurrent layer; cell_scale is for LSTM only."""

    gates: _Dense
    hidden_size: int
    cell_scale: float | None = None


@dataclass(frozen=True)
class _Graph:
    """What float and integer, LSTM and GRU graphs differ in."""

    kind: Cell
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

    def states(self, layer: int) -> dict[str, float | None]:
        """Names and scales of a layer's state tensors: h, c of the bottom layer, h1, c1 of the next."""
        suffix = str(layer) if layer else ""
        scales = {f"h{suffix}": self.state_scale}
        return scales if self.kind == Cell.GRU else scales | {f"c{suffix}": self.layers[layer].cell_scale}


def write_tflite(
    q: QuantizedClassifier, metadata: Metadata | None, *, interface: Arithmetic = Arithmetic.INT8, strip: bool = False
) -> bytes:
    """Write the integer model as a streaming .tflite file.

    Args:
        q: the integer model.
        metadata: embedded as buffer `memkd_edge`, arithmetic and input scale filled in; None leaves it out.
        interface: int8 (x and logits int8, state int16) or int16x8 (all int16).
        strip: number the tensors instead of naming them, and leave out metadata.

    Raises:
        UsageError: an unknown interface.
    """
    if interface not in INTERFACES:
        raise UsageError(f"unknown interface {interface!r}; choose {' or '.join(INTERFACES)}")
    gates = [_integer_dense(layer.gates) for layer in q.layers]
    narrow_input = interface == Arithmetic.INT8 and q.raw is None
    if narrow_input:
        gates[0] = _without_zero_point(gates[0], q)
    graph = _Graph(
        kind=q.cell,
        layers=tuple(
            _Layer(dense, layer.hidden_size, layer.state_scales.get("c")) for dense, layer in zip(gates, q.layers, strict=True)
        ),
        head=_integer_dense(q.head),
        dtype="int16",
        state_scale=q.layers[0].state_scale,
        activation_scale=ACTIVATION_SCALE,
    )
    if metadata is not None:
        metadata = replace(metadata, arithmetic=interface, input_zero_point=q.input_zero_point_int8 if narrow_input else 0)
        if q.raw is not None:
            metadata = replace(metadata, input=InputKind.RAW, counts_per_unit=q.raw.counts_per_unit, input_scale=1.0)
        else:
            metadata = replace(metadata, input_scale=q.input_scale if interface == Arithmetic.INT8 else graph.state_scale)
    return _write(graph, metadata, _Interface(q, interface == Arithmetic.INT8), strip=strip)


def write_tflite_float(model: Classifier, metadata: Metadata | None, *, physical: bool = False, strip: bool = False) -> bytes:
    """Write the float32 classifier as the same streaming graph, all tensors float32.

    With `physical`, x is in physical units: the normalisation of `metadata`, needed then, is folded into the first layer.

    Raises:
        UsageError: a model that has no streaming recurrent step.
    """
    weights = FloatModel.from_model(model)
    if physical:
        if metadata is None:
            raise ValueError("physical units need metadata.mean and .std")
        weights = fold_normalisation(weights, metadata.mean, metadata.std)
        metadata = replace(metadata, input=InputKind.RAW)
    *gates, head = (_Dense(dense.weight.astype(np.float32), dense.bias.astype(np.float32)) for dense in weights.dense())
    layers = tuple(_Layer(dense, layer.hidden_size) for dense, layer in zip(gates, weights.layers, strict=True))
    graph = _Graph(weights.kind, layers, head, "float32", None, None)
    if metadata is not None:
        metadata = replace(metadata, arithmetic=Arithmetic.FLOAT32, input_scale=None, input_zero_point=0)
    return _write(graph, metadata, None, strip=strip)


def _integer_dense(layer: QuantizedDense) -> _Dense:
    return _Dense(layer.weight, layer.bias, layer.weight_scale, layer.in_scale * layer.weight_scale, layer.out_scale)


def _without_zero_point(gates: _Dense, q: QuantizedClassifier) -> _Dense:
    """Take the zero point of int8 x off the bias, since CAST keeps it in the integers; no sum changes."""
    from_x = gates.weight[:, : q.input_size].astype(np.int64)
    return replace(gates, bias=gates.bias - q.input_gain * q.input_zero_point_int8 * from_x.sum(axis=1))


def _write(graph: _Graph, metadata: Metadata | None, interface: "_Interface | None", *, strip: bool) -> bytes:
    writer = ModelWriter(names=not strip)
    _write_step(writer.subgraph("step"), graph, interface)
    _write_reset(writer.subgraph("reset"), graph)
    if not strip:
        writer.metadata("min_runtime_version", _OLDEST_RUNTIME)
        if metadata is not None:
            writer.metadata(KEY, with_blank_check(metadata.to_json()))
    return with_digest(writer.finish())


def _write_step(step: Subgraph, graph: _Graph, interface: "_Interface | None") -> None:
    x_type = (graph.dtype, graph.state_scale) if interface is None else interface.input_type()
    step.inputs["x"] = step.tensor("x", (1, graph.input_size), *x_type)
    for index, layer in enumerate(graph.layers):
        for name, scale in graph.states(index).items():
            step.inputs[name] = step.tensor(name, (1, layer.hidden_size), graph.dtype, scale)
    below = step.inputs["x"] if interface is None else interface.write_input(step)

    states: dict[str, int] = {}
    for index in range(len(graph.layers)):
        names = list(graph.states(index))
        write_layer = _write_gru if graph.kind == Cell.GRU else _write_lstm
        values = write_layer(_Cell(step, graph, index), below, *(step.inputs[name] for name in names))
        states |= dict(zip(names, values, strict=True))
        below = values[0]
    narrow = interface is not None and interface.int8
    logits = _write_dense(step, graph, "classifier", graph.head, below, "logits_int16" if narrow else "logits")
    if interface is not None and narrow:
        logits = interface.write_narrow_logits(step, logits)
    step.outputs = {"logits": logits, **states}


@dataclass(frozen=True)
class _Interface:
    """What stands around the int16 graph: int8 x and logits, or raw sensor counts."""

    q: QuantizedClassifier
    int8: bool

    def input_type(self) -> tuple[str, float, int]:
        """Dtype, scale and zero point of x."""
        if self.q.raw is not None:
            return "int16", _COUNT, 0
        if self.int8:
            return "int8", self.q.input_scale, self.q.input_zero_point_int8
        return "int16", self.q.layers[0].state_scale, 0

    def write_input(self, step: Subgraph) -> int:
        """Bring x to int16 at the state's scale."""
        if self.q.raw is not None:
            return self._normalise_counts(step, self.q.raw)
        return self._widen(step) if self.int8 else step.inputs["x"]

    def write_narrow_logits(self, step: Subgraph, logits: int) -> int:
        """int16 logits -> int8."""
        narrow = step.tensor("logits", (1, self.q.num_classes), "int8", self.q.logit_scale_int8, self.q.logit_zero_point_int8)
        step.operator("QUANTIZE", 2, [logits], [narrow], schema.QuantizeOptionsT())
        return narrow

    def _widen(self, step: Subgraph) -> int:
        """int8 x -> int16 at the state's scale, exactly but for x's zero point: the scales' ratio is an integer."""
        shape = (1, self.q.input_size)
        cast = step.tensor("x_int16", shape, "int16", self.q.input_scale)
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = schema.TensorType.INT8, schema.TensorType.INT16
        step.operator("CAST", 1, [step.inputs["x"]], [cast], options)
        one = step.constant("one", np.full(shape, _ONE, np.int16), _ONE_SCALE)
        return self._to_state_scale(step, cast, one)

    def _normalise_counts(self, step: Subgraph, raw: RawInput) -> int:
        """int16 counts -> (counts - offset) * gain at the state's scale."""
        shape = (1, self.q.input_size)
        centred = step.tensor("x_centred", shape, "int16", _COUNT)
        options = schema.SubOptionsT()
        options.potScaleInt16 = False
        offset = step.constant("offset", raw.offset[None], _COUNT)
        step.operator("SUB", _INT16_VERSIONS["SUB"], [step.inputs["x"], offset], [centred], options)
        factor = raw.rescale.mantissa / 2**31 * 2.0**raw.rescale.exponent
        gain = step.constant("gain", raw.gain[None], factor * self.q.layers[0].state_scale)
        return self._to_state_scale(step, centred, gain)

    def _to_state_scale(self, step: Subgraph, left: int, right: int) -> int:
        result = step.tensor("x_state_scale", (1, self.q.input_size), "int16", self.q.layers[0].state_scale)
        step.operator("MUL", _INT16_VERSIONS["MUL"], [left, right], [result], schema.MulOptionsT())
        return result


def _write_reset(reset: Subgraph, graph: _Graph) -> None:
    """A graph without operators: its outputs are constants. Tools know tensors by name, so no name stands twice in a file."""
    for index, layer in enumerate(graph.layers):
        for name, scale in graph.states(index).items():
            reset.outputs[name] = reset.constant(f"{name}_reset", np.zeros((1, layer.hidden_size), graph.dtype), scale)


class _Cell:
    """Writes the operators of one recurrent layer; its tensors have the names lstm/…, lstm1/… or gru/…"""

    def __init__(self, step: Subgraph, graph: _Graph, index: int) -> None:
        self.graph, self.layer = graph, graph.layers[index]
        self.states = list(graph.states(index))
        self._step = step
        self._prefix = f"{graph.kind}{index or ''}"

    def tensor(self, name: str, scale: float | None) -> int:
        """A row of one value per unit; state outputs have no prefix."""
        full = name if name.endswith("_out") else f"{self._prefix}/{name}"
        return self._step.tensor(full, (1, self.layer.hidden_size), self.graph.dtype, scale)

    def gates(self, x: int, h: int, names: str) -> list[int]:
        """The four gate pre-activations of concatenated x and h, named by the words in `names`."""
        columns = self.layer.gates.weight.shape[1]
        both = self._step.tensor(f"{self._prefix}/x_and_h", (1, columns), self.graph.dtype, self.graph.state_scale)
        concatenation = schema.ConcatenationOptionsT()
        concatenation.axis = 1
        self._step.operator("CONCATENATION", self.graph.version("CONCATENATION"), [x, h], [both], concatenation)
        gates = _write_dense(self._step, self.graph, self._prefix, self.layer.gates, both, f"{self._prefix}/gates")
        axis = self._step.constant(f"{self._prefix}/split_axis", np.array(1, np.int32))
        parts = [self.tensor(name, self.layer.gates.out_scale) for name in names.split()]
        split = schema.SplitOptionsT()
        split.numSplits = len(parts)
        self._step.operator("SPLIT", self.graph.version("SPLIT"), [axis, gates], parts, split)
        return parts

    def activation(self, kind: str, name: str, source: int) -> int:
        """LOGISTIC or TANH."""
        result = self.tensor(name, self.graph.activation_scale)
        self._step.operator(kind, self.graph.version(kind), [source], [result])
        return result

    def multiply(self, name: str, left: int, right: int, scale: float | None) -> int:
        """MUL."""
        result = self.tensor(name, scale)
        self._step.operator("MUL", self.graph.version("MUL"), [left, right], [result], schema.MulOptionsT())
        return result

    def add(self, name: str, left: int, right: int, scale: float | None) -> int:
        """ADD of two tensors of the result's scale: no rescaling, only saturation."""
        result = self.tensor(name, scale)
        options = schema.AddOptionsT()
        options.potScaleInt16 = False
        self._step.operator("ADD", self.graph.version("ADD"), [left, right], [result], options)
        return result

    def one_minus(self, name: str, source: int) -> int:
        """SUB from the largest activation."""
        scale = self.graph.activation_scale
        value = 1.0 if scale is None else INT16_MAX
        one = self._step.constant(f"{self._prefix}/one", np.full((1, self.layer.hidden_size), value, self.graph.dtype), scale)
        result = self.tensor(name, scale)
        options = schema.SubOptionsT()
        options.potScaleInt16 = False
        self._step.operator("SUB", self.graph.version("SUB"), [one, source], [result], options)
        return result


def _write_lstm(cell: _Cell, x: int, h: int, c: int) -> list[int]:
    """c' = f c + i g, h' = o tanh(c'); returns h', c'."""
    cell_scale = cell.layer.cell_scale
    i, f, o, g = cell.gates(x, h, "gate_i gate_f gate_o gate_g")
    input_gate = cell.activation("LOGISTIC", "input_gate", i)
    forget_gate = cell.activation("LOGISTIC", "forget_gate", f)
    output_gate = cell.activation("LOGISTIC", "output_gate", o)
    candidate = cell.activation("TANH", "candidate", g)
    kept = cell.multiply("kept", forget_gate, c, cell_scale)
    added = cell.multiply("added", input_gate, candidate, cell_scale)
    next_c = cell.add(f"{cell.states[1]}_out", kept, added, cell_scale)
    bounded = cell.activation("TANH", "cell_tanh", next_c)
    next_h = cell.multiply(f"{cell.states[0]}_out", output_gate, bounded, cell.graph.state_scale)
    return [next_h, next_c]


def _write_gru(cell: _Cell, x: int, h: int) -> list[int]:
    """n = tanh(n_x + r n_h), h' = (1 - z) n + z h; returns h'."""
    gate_scale, state_scale = cell.layer.gates.out_scale, cell.graph.state_scale
    reset, update, from_x, from_h = cell.gates(x, h, "gate_r gate_z candidate_x candidate_h")
    reset_gate = cell.activation("LOGISTIC", "reset_gate", reset)
    update_gate = cell.activation("LOGISTIC", "update_gate", update)
    let_through = cell.multiply("let_through", reset_gate, from_h, gate_scale)
    candidate = cell.activation("TANH", "candidate", cell.add("gate_n", from_x, let_through, gate_scale))
    kept = cell.multiply("kept", update_gate, h, state_scale)
    added = cell.multiply("added", cell.one_minus("renewal", update_gate), candidate, state_scale)
    return [cell.add(f"{cell.states[0]}_out", kept, added, state_scale)]


def _write_dense(step: Subgraph, graph: _Graph, prefix: str, dense: _Dense, source: int, name: str) -> int:
    weight = step.constant(f"{prefix}/weight", dense.weight, dense.weight_scale)
    bias = step.constant(f"{prefix}/bias", dense.bias, dense.bias_scale)
    result = step.tensor(name, (1, len(dense.bias)), graph.dtype, dense.out_scale)
    options = schema.FullyConnectedOptionsT()
    step.operator("FULLY_CONNECTED", graph.version("FULLY_CONNECTED"), [source, weight, bias], [result], options)
    return result
