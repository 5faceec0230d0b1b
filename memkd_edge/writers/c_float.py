# SPDX-License-Identifier: Apache-2.0
"""Float LSTM classifier -> C99 in float32: for teachers, and for devices with a floating-point unit. Same API as the integer C.

files = emit_c_float(model, metadata, "teacher")        # text by file name
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.export_names import check_export_name
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import Classifier, LstmClassifier
from memkd_edge.vocabulary import Cell
from memkd_edge.writers.c_text import LAST, c_float, content_id, render, runtime_files

RUNTIME_FILES = ("memkd_lstm_f32.h", "memkd_front_end.h", "memkd_port.h", "memkd_state.h", "memkd_state.c")


def emit_c_float(model: Classifier, metadata: Metadata | None, name: str) -> dict[str, str]:
    """Return the C sources of `model`, text by file name; they need expf and tanhf.

    Args:
        model: a unidirectional LSTM of any depth.
        metadata: labels, channels, normalisation and provenance for the header; None gives numbered labels and no
            normalisation.
        name: prefix of all functions, a lower-case C identifier.

    Raises:
        UsageError: `name` is no such identifier; metadata of another model; a model that is no such LSTM.
    """
    check_export_name(name)
    spec = model.spec
    if not isinstance(model, LstmClassifier) or spec.bidirectional:
        raise UsageError(f"C is generated for unidirectional LSTM models, not for this {spec.kind}; --format onnx takes it")
    tensors = {key: tensor.detach().numpy().astype(np.float32) for key, tensor in model.state_dict().items()}
    layers = [_layer_rows(tensors, layer) for layer in range(spec.num_layers)]
    head = np.concatenate([tensors["head.bias"][:, None], tensors["head.weight"]], axis=1)
    fields: dict[str, Any] = {
        "integer": False,
        "channels": spec.input_size,
        "classes": spec.num_classes,
        "hidden": spec.hidden_size,
        "layers": spec.num_layers,
        "kind": Cell.LSTM.value,
        "raw": None,
        "taps": 0,
        "state_type": "float",
        "state_bytes": 8 * spec.hidden_size * spec.num_layers,
        "interfaces": [("f32", "float", "float")],
        "pushes": [("f32", "float", "float")],
        "last": {"float": LAST["float"]},
        "id": content_id([*layers, head]),
    }
    variables = {
        "layers": [_literals(rows) for rows in layers],
        "head": _literals(head),
        "columns": max(rows.shape[1] for rows in layers) - 1,
    }
    header = render("model.h.j2", name, fields, metadata, {})
    source = render("model_f32.c.j2", name, fields, metadata, variables)
    files = {f"{name}_{part}.c": render(f"{part}.c.j2", name, fields, metadata, {}) for part in ("stream", "monitor")}
    return {f"{name}.h": header, f"{name}.c": source} | files | runtime_files(RUNTIME_FILES)


def _layer_rows(tensors: dict[str, NDArray[np.float32]], layer: int) -> NDArray[np.float32]:
    """Return [4H, 1 + C + H]: bias, input weights, hidden weights; the four gates of a unit are consecutive rows."""
    bias = tensors[f"rnn.bias_ih_l{layer}"] + tensors[f"rnn.bias_hh_l{layer}"]
    rows = np.concatenate([bias[:, None], tensors[f"rnn.weight_ih_l{layer}"], tensors[f"rnn.weight_hh_l{layer}"]], axis=1)
    hidden = len(rows) // 4
    return np.concatenate([rows[unit::hidden] for unit in range(hidden)])


def _literals(values: NDArray[np.float32]) -> str:
    text = [c_float(float(value)) for value in values.ravel()]
    return "".join(f"    {', '.join(text[at : at + 8])},\n" for at in range(0, len(text), 8))
