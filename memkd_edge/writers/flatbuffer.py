# SPDX-License-Identifier: Apache-2.0
"""Writes a TensorFlow Lite flatbuffer, table by table: small, deterministic, and with buffers aligned as the kernels need.

Equal strings, shapes, scales and constants are stored once. The object API of the generated schema is not used for the tables
because it neither shares them nor honours `force_align: 16` of constant buffers.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

BUFFER_ALIGNMENT = 16
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
}


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: int
    scale: float | None
    zero_point: int


@dataclass(frozen=True)
class _Operator:
    opcode: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any  # an options object of the generated schema, or None


@dataclass
class Subgraph:
    """Tensors and operators of one graph. Tensors are known by their index."""

    model: "ModelWriter"
    name: str
    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)

    def tensor(self, name: str, shape: Sequence[int], dtype: str, scale: float | None = None, zero_point: int = 0) -> int:
        """Add an activation tensor and return its index."""
        return self._add(_Tensor(name, tuple(shape), dtype, 0, scale, zero_point))

    def constant(self, name: str, data: NDArray[Any], scale: float | None = None) -> int:
        """Add a constant with the dtype and shape of `data` and return its index."""
        buffer = self.model.buffer(np.ascontiguousarray(data).tobytes())
        return self._add(_Tensor(name, data.shape, data.dtype.name, buffer, scale, 0))

    def operator(self, kind: str, version: int, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> None:
        """Append operator `kind` ("FULLY_CONNECTED") with the schema's options object for it."""
        self.operators.append(_Operator(self.model.opcode(kind, version), tuple(inputs), tuple(outputs), options))

    def _add(self, tensor: _Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1


class ModelWriter:
    """Collects subgraphs and metadata, then `finish` writes the file.

    Every subgraph becomes a signature of the same name over its `inputs` and `outputs`. With `names` False subgraphs go
    nameless, and tensors are numbered, 12 bytes each, because tools tell them apart by name; those called as in a signature keep
    their name.
    """

    def __init__(self, *, names: bool = True) -> None:
        self._names = names
        self._subgraphs: list[Subgraph] = []
        self._opcodes: dict[tuple[str, int], int] = {}
        self._buffers: dict[bytes, int] = {b"": 0}  # buffer 0 is empty by convention
        self._metadata: dict[str, int] = {}
        self._builder = flatbuffers.Builder(4096)
        self._shared: dict[Hashable, int] = {}
        self._numbering = count()

    def subgraph(self, name: str) -> Subgraph:
        """Append an empty subgraph."""
        self._subgraphs.append(Subgraph(self, name))
        return self._subgraphs[-1]

    def opcode(self, kind: str, version: int) -> int:
        """Return the index of an operator code."""
        return self._opcodes.setdefault((kind, version), len(self._opcodes))

    def buffer(self, data: bytes) -> int:
        """Return the index of the buffer that holds `data`."""
        return self._buffers.setdefault(data, len(self._buffers))

    def metadata(self, name: str, data: bytes) -> None:
        """Attach a named buffer, which runtimes ignore."""
        self._metadata[name] = self.buffer(data)

    def finish(self) -> bytes:
        """Return the file's bytes."""
        builder = self._builder
        opcodes = self._tables([self._write_opcode(kind, version) for kind, version in self._opcodes])
        subgraphs = self._tables([self._write_subgraph(graph) for graph in self._subgraphs])
        signatures = self._tables([self._write_signature(index, graph) for index, graph in enumerate(self._subgraphs)])
        metadata = [self._write_metadata(name, buffer) for name, buffer in self._metadata.items()]
        metadata_vector = self._tables(metadata) if metadata else None
        buffers = self._tables([self._write_buffer(data) for data in self._buffers])
        schema.ModelStart(builder)
        schema.ModelAddVersion(builder, 3)
        schema.ModelAddOperatorCodes(builder, opcodes)
        schema.ModelAddSubgraphs(builder, subgraphs)
        schema.ModelAddBuffers(builder, buffers)
        if metadata_vector is not None:
            schema.ModelAddMetadata(builder, metadata_vector)
        schema.ModelAddSignatureDefs(builder, signatures)
        builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _write_opcode(self, kind: str, version: int) -> int:
        builder = self._builder
        schema.OperatorCodeStart(builder)
        schema.OperatorCodeAddBuiltinCode(builder, getattr(schema.BuiltinOperator, kind))
        schema.OperatorCodeAddVersion(builder, version)
        return int(schema.OperatorCodeEnd(builder))

    def _write_subgraph(self, graph: Subgraph) -> int:
        builder = self._builder
        tensors = self._tables([self._write_tensor(tensor) for tensor in graph.tensors])
        operators = self._tables([self._write_operator(operator) for operator in graph.operators])
        inputs = self._numbers(graph.inputs.values(), np.int32)
        outputs = self._numbers(graph.outputs.values(), np.int32)
        name = self._string(graph.name) if self._names else None
        schema.SubGraphStart(builder)
        schema.SubGraphAddTensors(builder, tensors)
        schema.SubGraphAddInputs(builder, inputs)
        schema.SubGraphAddOutputs(builder, outputs)
        schema.SubGraphAddOperators(builder, operators)
        if name is not None:
            schema.SubGraphAddName(builder, name)
        return int(schema.SubGraphEnd(builder))

    def _write_tensor(self, tensor: _Tensor) -> int:
        builder = self._builder
        shape = self._numbers(tensor.shape, np.int32)
        name = self._string(self._tensor_name(tensor))
        quantization = None if tensor.scale is None else self._quantization(tensor.scale, tensor.zero_point)
        schema.TensorStart(builder)
        schema.TensorAddShape(builder, shape)
        schema.TensorAddBuffer(builder, tensor.buffer)
        schema.TensorAddName(builder, name)
        if quantization is not None:
            schema.TensorAddQuantization(builder, quantization)
        schema.TensorAddType(builder, _TYPES[tensor.dtype])
        return int(schema.TensorEnd(builder))

    def _tensor_name(self, tensor: _Tensor) -> str:
        """The name as given or, in a file without names, a number unless a signature has the name anyway."""
        if self._names or any(tensor.name in (*graph.inputs, *graph.outputs) for graph in self._subgraphs):
            return tensor.name
        return str(next(self._numbering))

    def _quantization(self, scale: float, zero_point: int) -> int:
        scales = self._numbers([scale], np.float32)
        zero_points = self._numbers([zero_point], np.int64)

        def write() -> int:
            schema.QuantizationParametersStart(self._builder)
            schema.QuantizationParametersAddScale(self._builder, scales)
            schema.QuantizationParametersAddZeroPoint(self._builder, zero_points)
            return int(schema.QuantizationParametersEnd(self._builder))

        return self._once(("quantization", scales, zero_points), write)

    def _write_operator(self, operator: _Operator) -> int:
        builder = self._builder
        inputs = self._numbers(operator.inputs, np.int32)
        outputs = self._numbers(operator.outputs, np.int32)
        options = None if operator.options is None else self._options(operator.options)
        schema.OperatorStart(builder)
        schema.OperatorAddOpcodeIndex(builder, operator.opcode)
        schema.OperatorAddInputs(builder, inputs)
        schema.OperatorAddOutputs(builder, outputs)
        if options is not None:
            kind = type(operator.options).__name__.removesuffix("T")
            schema.OperatorAddBuiltinOptionsType(builder, getattr(schema.BuiltinOptions, kind))
            schema.OperatorAddBuiltinOptions(builder, options)
        return int(schema.OperatorEnd(builder))

    def _options(self, options: Any) -> int:
        key = (type(options).__name__, *sorted(vars(options).items()))
        return self._once(key, lambda: int(options.Pack(self._builder)))

    def _write_signature(self, index: int, graph: Subgraph) -> int:
        inputs, outputs = self._tensor_map(graph.inputs), self._tensor_map(graph.outputs)
        key = self._string(graph.name)
        schema.SignatureDefStart(self._builder)
        schema.SignatureDefAddInputs(self._builder, inputs)
        schema.SignatureDefAddOutputs(self._builder, outputs)
        schema.SignatureDefAddSignatureKey(self._builder, key)
        schema.SignatureDefAddSubgraphIndex(self._builder, index)
        return int(schema.SignatureDefEnd(self._builder))

    def _tensor_map(self, tensors: Mapping[str, int]) -> int:
        return self._tables([self._write_tensor_map(name, index) for name, index in tensors.items()])

    def _write_tensor_map(self, name: str, index: int) -> int:
        text = self._string(name)

        def write() -> int:
            schema.TensorMapStart(self._builder)
            schema.TensorMapAddName(self._builder, text)
            schema.TensorMapAddTensorIndex(self._builder, index)
            return int(schema.TensorMapEnd(self._builder))

        return self._once(("map", name, index), write)

    def _write_metadata(self, name: str, buffer: int) -> int:
        text = self._string(name)
        schema.MetadataStart(self._builder)
        schema.MetadataAddName(self._builder, text)
        schema.MetadataAddBuffer(self._builder, buffer)
        return int(schema.MetadataEnd(self._builder))

    def _write_buffer(self, data: bytes) -> int:
        content = None
        if data:
            self._builder.Prep(BUFFER_ALIGNMENT, len(data))
            content = self._builder.CreateByteVector(data)
        schema.BufferStart(self._builder)
        if content is not None:
            schema.BufferAddData(self._builder, content)
        return int(schema.BufferEnd(self._builder))

    def _tables(self, offsets: Sequence[int]) -> int:
        def write() -> int:
            self._builder.StartVector(4, len(offsets), 4)
            for offset in reversed(offsets):
                self._builder.PrependUOffsetTRelative(offset)
            return int(self._builder.EndVector())

        return self._once(("tables", *offsets), write)

    def _numbers(self, values: Any, dtype: Any) -> int:
        array = np.array(list(values), dtype)
        return self._once((array.dtype.name, array.tobytes()), lambda: int(self._builder.CreateNumpyVector(array)))

    def _string(self, text: str) -> int:
        return self._once(text, lambda: int(self._builder.CreateString(text)))

    def _once(self, key: Hashable, write: Callable[[], int]) -> int:
        if key not in self._shared:
            self._shared[key] = write()
        return self._shared[key]
