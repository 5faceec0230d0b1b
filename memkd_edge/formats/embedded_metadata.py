# SPDX-License-Identifier: Apache-2.0
"""Reads the metadata that an exported model carries: the one place that knows where each file format keeps it.

A .tflite keeps it in a metadata buffer, an ONNX file in metadata_props, both under the key `memkd_edge`, as `Metadata.to_json`.
"""

from pathlib import Path
from typing import Any

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.formats.tflite_reader import TfliteFile, read_file, read_tflite
from memkd_edge.metadata import Metadata

KEY = "memkd_edge"


def read_tflite_metadata(path: Path) -> Metadata:
    """Return the metadata embedded in the .tflite file at `path`, after validating the file's structure.

    Raises:
        UsageError: there is no such file.
        MemkdEdgeError: the file is damaged, or carries no metadata of ours (a foreign or stripped file).
    """
    metadata = tflite_metadata(read_tflite(path))
    if metadata is None:
        raise _without_metadata(path)
    return metadata


def tflite_metadata(file: TfliteFile) -> Metadata | None:
    """Return the metadata embedded in an already read .tflite file, or None if it carries none.

    Raises:
        MemkdEdgeError: the metadata is damaged.
    """
    text = file.metadata.get(KEY)
    return None if text is None else Metadata.from_json(text, source=str(file.path))


def read_onnx_metadata(path: Path) -> Metadata:
    """Return the metadata embedded in the ONNX file at `path`, after validating the file with onnx.checker.

    Raises:
        UsageError: there is no such file.
        MemkdEdgeError: the file is damaged, or carries no metadata of ours (a foreign or stripped file).
    """
    metadata = onnx_metadata(read_onnx(path), path)
    if metadata is None:
        raise _without_metadata(path)
    return metadata


def onnx_metadata(model: Any, path: Path) -> Metadata | None:
    """Return the metadata embedded in an onnx.ModelProto read from `path`, or None if it carries none.

    Raises:
        MemkdEdgeError: the metadata is damaged.
    """
    text = next((entry.value for entry in model.metadata_props if entry.key == KEY), None)
    return None if text is None else Metadata.from_json(text, source=str(path))


def read_onnx(path: Path) -> Any:
    """Read and validate the ONNX file at `path` and return its onnx.ModelProto.

    Tensors stored outside of the file are refused: a model file must not make its reader open other files.

    Raises:
        UsageError: there is no such file.
        MemkdEdgeError: the file is no ONNX model, is truncated or damaged, or keeps tensors in other files.
    """
    import onnx
    from google.protobuf.message import DecodeError

    data = read_file(path)
    try:
        model = onnx.load_model_from_string(data)
        _check_texts(model)
    except (DecodeError, ValueError, TypeError) as error:
        raise MemkdEdgeError(f"{path}: not an ONNX file, or a damaged or truncated one ({error})") from error
    outside = [t.name for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise MemkdEdgeError(f"{path}: tensor {outside[0]!r} is stored outside of the file; save the model as one file")
    try:
        onnx.checker.check_model(data)
    except (onnx.checker.ValidationError, ValueError, TypeError, RuntimeError) as error:
        raise MemkdEdgeError(f"{path}: damaged ONNX file ({_first_line(error)})") from error
    return model


def _check_texts(message: Any) -> None:
    """Raise ValueError for a string that is not UTF-8: protobuf hands such a one out as bytes."""
    from google.protobuf.message import Message

    for field, value in message.ListFields():
        values = [value] if isinstance(value, str | bytes | Message | int | float) else value
        if field.type == field.TYPE_STRING and any(isinstance(text, bytes) for text in values):
            raise ValueError(f"{field.name} is not UTF-8 text")
        if field.type == field.TYPE_MESSAGE:
            for nested in values:
                _check_texts(nested)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _without_metadata(path: Path) -> MemkdEdgeError:
    return MemkdEdgeError(
        f"{path}: no memkd-edge metadata inside; it is foreign or was exported with --strip; export it again without --strip"
    )
