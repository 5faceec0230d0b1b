# SPDX-License-Identifier: Apache-2.0
"""Reads the structure of a .tflite file, ours or foreign, without trusting it.

The flatbuffer is walked with bounds, counts and indices checked before anything native sees the file. The walk runs no kernel and
allocates nothing that the file's own size does not bound, so a corrupt or hostile file ends in one error that names the reason.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from memkd_edge.errors import MemkdEdgeError, UsageError

IDENTIFIER = b"TFL3"
MAX_BYTES = 1 << 30
_MAX_OBJECTS = 100_000  # tensors, operators, buffers and strings together: two orders above the largest recurrent classifier
_MAX_NAME_BYTES = 4096
_ITEM_BYTES = {"FLOAT32": 4, "FLOAT16": 2, "INT32": 4, "UINT8": 1, "INT64": 8, "BOOL": 1, "INT16": 2, "INT8": 1, "FLOAT64": 8}
_DAMAGE = (struct.error, ValueError, TypeError, IndexError, AttributeError, OverflowError, KeyError)


@dataclass(frozen=True)
class TfliteTensor:
    """One tensor: dtype in TFLite's words (INT8, FLOAT32, ...); scales and zero_points are empty where it is not quantised.

    data: its stored value, a constant's bytes, empty for a computed tensor; variable marks a stateful tensor.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    data: bytes = field(repr=False)
    variable: bool


@dataclass(frozen=True)
class TfliteOperator:
    """One operator: its builtin (or custom) name, version and tensor indices; -1 is an optional input left out."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TfliteSubgraph:
    """One subgraph; inputs and outputs are tensor indices in the order a runtime without signatures sees them."""

    name: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TfliteSignature:
    """One signature: argument and result names mapped to tensor indices of its subgraph."""

    key: str
    subgraph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class TfliteFile:
    """The structure of one .tflite file. `metadata` maps the name of each metadata entry to its bytes."""

    path: Path
    size: int
    description: str
    subgraphs: tuple[TfliteSubgraph, ...]
    signatures: tuple[TfliteSignature, ...]
    metadata: dict[str, bytes]

    def signature(self, key: str) -> TfliteSignature | None:
        """Return the signature named `key`, or None."""
        return next((signature for signature in self.signatures if signature.key == key), None)


def read_file(path: Path) -> bytes:
    """Return the bytes of a model file.

    Raises:
        UsageError: there is no such file.
        MemkdEdgeError: it cannot be read, or is larger than any model this project handles.
    """
    if not os.path.isfile(path):
        raise UsageError(f"no file at {path}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise MemkdEdgeError(f"{path}: {path.stat().st_size} bytes; files over {MAX_BYTES} bytes are not read")
        return path.read_bytes()
    except OSError as error:
        raise MemkdEdgeError(f"cannot read {path}: {error.strerror}") from error


def read_tflite(path: Path) -> TfliteFile:
    """Read and validate the structure of the .tflite file at `path`.

    Raises:
        UsageError: there is no such file.
        MemkdEdgeError: the file is no TFLite flatbuffer, is truncated or damaged, or points outside of itself.
    """
    data = read_file(path)
    if len(data) < 16 or data[4:8] != IDENTIFIER:
        raise MemkdEdgeError(f"{path}: not a .tflite file (the identifier TFL3 is missing at byte 4)")
    try:
        return _Walk(path, data).file()
    except _DAMAGE as error:
        raise MemkdEdgeError(f"{path}: damaged or truncated .tflite file ({error or type(error).__name__})") from error


class _Walk:
    """One pass over the flatbuffer; `_count` bounds the work a file with aliased offsets can cause."""

    def __init__(self, path: Path, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._path, self._data = path, data
        self._model = schema.Model.GetRootAs(data, 0)
        self._dtypes = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
        self._builtins = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        self._budget = _MAX_OBJECTS

    def file(self) -> TfliteFile:
        model = self._model
        if model.SubgraphsLength() == 0:
            raise ValueError("it holds no subgraph")
        buffers = tuple(self._values(model.Buffers(i), "Data") for i in self._count(model.BuffersLength()))
        codes = tuple(self._code(model.OperatorCodes(i)) for i in self._count(model.OperatorCodesLength()))
        subgraphs = tuple(self._subgraph(model.Subgraphs(i), buffers, codes) for i in self._count(model.SubgraphsLength()))
        metadata = {}
        for i in self._count(model.MetadataLength()):
            entry = model.Metadata(i)
            metadata[self._text(entry.Name())] = bytes(buffers[self._index(entry.Buffer(), len(buffers), "metadata buffer")])
        signatures = tuple(self._signature(model.SignatureDefs(i), subgraphs) for i in self._count(model.SignatureDefsLength()))
        return TfliteFile(self._path, len(self._data), self._text(model.Description()), subgraphs, signatures, metadata)

    def _count(self, length: int) -> Iterator[int]:
        self._budget -= length
        if self._budget < 0:
            raise ValueError(f"more than {_MAX_OBJECTS} objects")
        return iter(range(length))

    def _text(self, value: bytes | None) -> str:
        if value is None:
            return ""
        if len(value) > _MAX_NAME_BYTES:
            raise ValueError(f"a name of {len(value)} bytes")
        return value.decode("utf-8")

    def _values(self, table: Any, field: str) -> Any:
        """Return the scalar vector `field` of `table` as a numpy view; numpy refuses one that leaves the file."""
        if getattr(table, f"{field}Length")() == 0:
            return ()
        return getattr(table, f"{field}AsNumpy")()

    def _index(self, index: int, length: int, what: str) -> int:
        if not 0 <= index < length:
            raise ValueError(f"{what} {index} of {length}")
        return index

    def _indices(self, table: Any, field: str, length: int, *, optional: bool = False) -> tuple[int, ...]:
        self._count(getattr(table, f"{field}Length")())
        indices = tuple(int(i) for i in self._values(table, field))
        for index in indices:
            if not (optional and index == -1):
                self._index(index, length, "tensor")
        return indices

    def _code(self, code: Any) -> tuple[str, int]:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self._builtins.get(number)
        if name is None:
            raise ValueError(f"unknown builtin operator {number}")
        return (self._text(code.CustomCode()) or "CUSTOM") if name == "CUSTOM" else name, code.Version()

    def _subgraph(self, graph: Any, buffers: tuple[Any, ...], codes: tuple[tuple[str, int], ...]) -> TfliteSubgraph:
        tensors = tuple(self._tensor(graph.Tensors(i), buffers) for i in self._count(graph.TensorsLength()))
        operators = []
        for i in self._count(graph.OperatorsLength()):
            operator = graph.Operators(i)
            name, version = codes[self._index(operator.OpcodeIndex(), len(codes), "operator code")]
            operators.append(
                TfliteOperator(
                    name,
                    version,
                    self._indices(operator, "Inputs", len(tensors), optional=True),
                    self._indices(operator, "Outputs", len(tensors)),
                )
            )
        return TfliteSubgraph(
            self._text(graph.Name()),
            tensors,
            tuple(operators),
            self._indices(graph, "Inputs", len(tensors)),
            self._indices(graph, "Outputs", len(tensors)),
        )

    def _tensor(self, tensor: Any, buffers: tuple[Any, ...]) -> TfliteTensor:
        name, dtype = self._text(tensor.Name()), self._dtypes[tensor.Type()]
        self._count(tensor.ShapeLength())
        shape = tuple(int(size) for size in self._values(tensor, "Shape"))
        if any(size < -1 for size in shape):
            raise ValueError(f"tensor {name!r} has shape {list(shape)}")
        data = buffers[self._index(tensor.Buffer(), len(buffers), "buffer")]
        stored, wanted = len(data), prod(shape) * _ITEM_BYTES.get(dtype, 0)
        if stored and wanted and stored != wanted and tensor.Sparsity() is None:
            raise ValueError(f"tensor {name!r} of shape {list(shape)} needs {wanted} bytes, its buffer has {stored}")
        quantization = tensor.Quantization()
        scales: tuple[float, ...] = ()
        zero_points: tuple[int, ...] = ()
        if quantization is not None:
            self._count(quantization.ScaleLength() + quantization.ZeroPointLength())
            scales = tuple(float(scale) for scale in self._values(quantization, "Scale"))
            zero_points = tuple(int(point) for point in self._values(quantization, "ZeroPoint"))
        return TfliteTensor(name, shape, dtype, scales, zero_points, bytes(data), bool(tensor.IsVariable()))

    def _signature(self, signature: Any, subgraphs: tuple[TfliteSubgraph, ...]) -> TfliteSignature:
        graph = self._index(signature.SubgraphIndex(), len(subgraphs), "subgraph")
        tensors = len(subgraphs[graph].tensors)
        sides = []
        for side in ("Inputs", "Outputs"):
            entries = [getattr(signature, side)(i) for i in self._count(getattr(signature, f"{side}Length")())]
            sides.append({self._text(e.Name()): self._index(e.TensorIndex(), tensors, "tensor") for e in entries})
        return TfliteSignature(self._text(signature.SignatureKey()), graph, sides[0], sides[1])
