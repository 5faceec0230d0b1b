# SPDX-License-Identifier: Apache-2.0
"""`memkd-edge inspect`: what is in a .tflite, .onnx or .safetensors file, ours or foreign. Nothing in the file is executed."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.formats.digest import digest_holds, is_broken
from memkd_edge.formats.embedded_metadata import KEY, onnx_metadata, read_onnx, tflite_metadata
from memkd_edge.formats.step_interface import onnx_sequence, onnx_step, tflite_step
from memkd_edge.formats.tflite_reader import TfliteFile, TfliteSubgraph, read_file, read_tflite
from memkd_edge.metadata import Metadata

CHANGED = (
    "changed since export, by what it says about itself: the content does not match the check digest in the metadata. Another "
    "tool edited it, or it is damaged; `memkd-edge verify` decides by running it"
)
MEMORYLESS = (
    "UNIDIRECTIONAL_SEQUENCE_LSTM keeps its state inside the operator. TFLite Micro's CMSIS-NN kernel for it clears that state "
    "on every Invoke() (tflite-micro#3564, CMSIS-NN#219; CMSIS-NN releases up to v7.0.0 with TFLite Micro's adapter as tried; "
    "CMSIS-NN's main has a pointer for the hidden state since June 2026): on a Cortex-M built with "
    "OPTIMIZED_KERNEL_DIR=cmsis_nn a stream is classified sample by sample without memory, and no error is reported. Build that "
    "operator with the reference kernels, or use a model with explicit state, such as `memkd-edge export --format tflite` writes"
)
WHOLE_WINDOW = (
    "UNIDIRECTIONAL_SEQUENCE_LSTM keeps its state inside the operator, and this file takes a whole window of {steps} steps in a "
    "call. Reset between windows (a new interpreter, or its reset of variable tensors): most kernels carry the state of one "
    "window into the next, which decides otherwise; TFLite Micro's CMSIS-NN kernel clears it by itself (releases up to v7.0.0)"
)
VARIABLES = (
    "the file keeps state in variables inside the interpreter ({operators}), not in arguments: it carries over from call to "
    "call, is reset only by a graph of the file that assigns the variables or by a new interpreter (LiteRT's "
    "reset_all_variables() leaves it as it is, TFLite Micro's Reset() makes it 0), and one interpreter serves one stream"
)
SHARED_SCALES = (
    "dynamic int8 on whole series: onnxruntime quantises all time steps of a call, and all its series, on one scale, so the "
    "answers differ from those of the step graph and depend on what shares the call; use the step graph"
)
_VARIABLES = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")


@dataclass(frozen=True)
class TensorInfo:
    """One tensor. scales and zero_points are empty where it is not quantised; bytes: of its stored value, 0 if computed."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    bytes: int = 0


@dataclass(frozen=True)
class GraphInfo:
    """One signature (.tflite), or the main graph (.onnx): its arguments and results by name. Shapes have "?" where unknown."""

    key: str
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found. streaming: "yes", or why the file is no streaming step. operators: name -> how many.

    metadata: ours, as in `Metadata`, or None. other: further facts the format has (opset, producer, specification, ...).
    """

    path: str
    format: str
    bytes: int
    sha256: str
    streaming: str
    signatures: tuple[GraphInfo, ...]
    tensors: tuple[TensorInfo, ...]
    operators: dict[str, int]
    metadata: Metadata | None
    warnings: tuple[str, ...] = ()
    other: dict[str, str] = field(default_factory=dict)

    @property
    def constant_bytes(self) -> int:
        """Bytes of all stored tensor values: weights, biases, constants."""
        return sum(tensor.bytes for tensor in self.tensors)

    def as_dict(self) -> dict[str, Any]:
        """Return the inspection as JSON-ready values."""
        return {**asdict(self), "constant_bytes": self.constant_bytes}


def inspect(path: Path) -> Inspection:
    """Read a model file and describe it.

    Raises:
        UsageError: no such file, or of a kind not known here.
        MemkdEdgeError: the file is damaged or truncated.
    """
    readers = {".tflite": _inspect_tflite, ".onnx": _inspect_onnx, ".safetensors": _inspect_safetensors}
    if path.suffix not in readers:
        raise UsageError(f"{path}: inspect reads {', '.join(readers)}")
    return readers[path.suffix](path, hashlib.sha256(read_file(path)).hexdigest())


def _inspect_tflite(path: Path, sha256: str) -> Inspection:
    file = read_tflite(path)
    graphs = [
        GraphInfo(
            s.key,
            {name: _tflite_tensor(file.subgraphs[s.subgraph], index) for name, index in s.inputs.items()},
            {name: _tflite_tensor(file.subgraphs[s.subgraph], index) for name, index in s.outputs.items()},
        )
        for s in file.signatures
    ]
    named = {signature.subgraph for signature in file.signatures}
    graphs += [_unnamed(k, graph) for k, graph in enumerate(file.subgraphs) if k not in named]
    operators = Counter(operator.name for graph in file.subgraphs for operator in graph.operators)
    other = {"subgraphs": str(len(file.subgraphs)), "metadata entries": ", ".join(file.metadata)}
    if file.description:
        other["description"] = file.description
    return Inspection(
        str(path),
        "tflite",
        file.size,
        sha256,
        _streaming(lambda: tflite_step(file)),
        tuple(graphs),
        tuple(_tflite_tensor(graph, index) for graph in file.subgraphs for index in range(len(graph.tensors))),
        dict(operators),
        tflite_metadata(file),
        tuple(_tflite_warnings(file, operators)),
        other,
    )


def _tflite_warnings(file: TfliteFile, operators: Iterable[str]) -> list[str]:
    warnings = []
    if KEY in file.metadata and not digest_holds(read_file(file.path)):
        warnings.append(CHANGED)
    if steps := _fused_lstm_steps(file):
        warnings.append(MEMORYLESS if steps == 1 else WHOLE_WINDOW.format(steps=steps))
    if variables := [name for name in _VARIABLES if name in operators]:
        warnings.append(VARIABLES.format(operators=", ".join(variables)))
    step = file.signature("step")
    if step is not None and step.subgraph != 0:
        warnings.append(f"signature `step` is subgraph {step.subgraph}; TFLite Micro runs only subgraph 0")
    return warnings


def _fused_lstm_steps(file: TfliteFile) -> int:
    """Return how many time steps the fused LSTM operators take in a call, batch x time of their input; 0 without any."""
    inputs = [
        graph.tensors[operator.inputs[0]]
        for graph in file.subgraphs
        for operator in graph.operators
        if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM"
    ]
    return max((prod(tensor.shape[:-1]) for tensor in inputs), default=0)


def _unnamed(number: int, graph: TfliteSubgraph) -> GraphInfo:
    def side(indices: tuple[int, ...]) -> dict[str, TensorInfo]:
        return {f"{k}: {graph.tensors[index].name}": _tflite_tensor(graph, index) for k, index in enumerate(indices)}

    return GraphInfo(f"subgraph {number} {graph.name}".strip(), side(graph.inputs), side(graph.outputs))


def _tflite_tensor(graph: TfliteSubgraph, index: int) -> TensorInfo:
    tensor = graph.tensors[index]
    dtype = tensor.dtype.lower() + (" variable" if tensor.variable else "")
    return TensorInfo(tensor.name, tensor.shape, dtype, tensor.scales, tensor.zero_points, len(tensor.data))


def _inspect_onnx(path: Path, sha256: str) -> Inspection:
    from onnx import TensorProto

    model = read_onnx(path)
    graph = model.graph
    graphs = [*_onnx_graphs(graph), *model.functions]
    nodes = [node for one in graphs for node in one.node]
    constants = [tensor for one in graphs for tensor in getattr(one, "initializer", ())]
    constants += [
        attribute.t for node in nodes if node.op_type == "Constant" for attribute in node.attribute if attribute.name == "value"
    ]

    def dtype(number: int) -> str:  # newer ONNX than ours may have more types
        known = number in TensorProto.DataType.values()
        return TensorProto.DataType.Name(number).lower() if known else f"type {number}"

    def value(info: Any) -> TensorInfo:
        tensor = info.type.tensor_type
        shape = tuple(dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?") for dim in tensor.shape.dim)
        return TensorInfo(info.name, shape, dtype(tensor.elem_type))

    def constant(tensor: Any) -> TensorInfo:
        stored = len(tensor.raw_data) or tensor.ByteSize()
        return TensorInfo(tensor.name, tuple(tensor.dims), dtype(tensor.data_type), bytes=stored)

    warnings = [CHANGED] if is_broken(read_file(path)) else []
    if onnx_sequence(model, str(path)) is not None:
        if any(node.op_type.startswith("DynamicQuantize") for node in nodes):
            warnings.append(SHARED_SCALES)
        streaming = "no: takes whole series, each from a zero state"
    else:
        streaming = _streaming(lambda: onnx_step(model, str(path)))
    return Inspection(
        str(path),
        "onnx",
        path.stat().st_size,
        sha256,
        streaming,
        (GraphInfo(graph.name, {v.name: value(v) for v in graph.input}, {v.name: value(v) for v in graph.output}),),
        tuple(constant(tensor) for tensor in constants),
        dict(Counter(node.op_type for node in nodes)),
        onnx_metadata(model, path),
        tuple(warnings),
        {
            "opset": ", ".join(f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import),
            "IR version": str(model.ir_version),
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "metadata entries": ", ".join(entry.key for entry in model.metadata_props),
        },
    )


def _onnx_graphs(graph: Any) -> Iterator[Any]:
    """Yield a GraphProto and all graphs in its nodes' attributes: bodies of If, Loop and Scan."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _onnx_graphs(inner)


def _inspect_safetensors(path: Path, sha256: str) -> Inspection:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as archive:
            header = dict(archive.metadata() or {})
            slices = {name: archive.get_slice(name) for name in archive.keys()}  # noqa: SIM118 (no iterator)
            tensors = [_stored(name, tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()]
    except (SafetensorError, OSError, ValueError) as error:
        raise MemkdEdgeError(f"{path}: not a readable safetensors file ({error})") from error
    if KEY in header:
        header["specification"] = header.pop(KEY)
    return Inspection(
        str(path),
        "safetensors",
        path.stat().st_size,
        sha256,
        "no: weights only; `memkd-edge export` turns a run's student into files that run",
        (),
        tuple(tensors),
        {},
        None,
        other=header,
    )


def _stored(name: str, shape: tuple[int, ...], dtype: str) -> TensorInfo:
    bits = int("".join(filter(str.isdigit, dtype.split("_")[0])) or 8)  # F32, BF16, I8, F8_E4M3, BOOL
    return TensorInfo(name, shape, dtype.lower(), bytes=prod(shape) * bits // 8)


def _streaming(interface: Callable[[], object]) -> str:
    try:
        interface()
    except MemkdEdgeError as error:
        return f"no: {error}"
    return "yes"
