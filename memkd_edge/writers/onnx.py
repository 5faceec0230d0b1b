# SPDX-License-Identifier: Apache-2.0
"""Writes ONNX files straight from the weights: a step graph and a whole-series graph, a few kilobytes each.

The recurrent layers are ONNX's own LSTM or GRU operator. Exporters that trace the model give files several times larger with
fixed batch and length; built directly, both stay symbolic.

    step      x [N, C], h [N, H], c [N, H]        -> logits [N, K], h_out [N, H], c_out [N, H]
    sequence  x [N, T, C]                         -> logits [N, K] of the last time step

Further layers bring the states h1, c1, ... and h1_out, c1_out, ..., bottom to top; a GRU has no c. `x` is normalised
float32, at the model's time steps; how raw samples become that is in metadata_props["memkd_edge"].
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.formats.digest import with_blank_check, with_digest
from memkd_edge.formats.embedded_metadata import KEY
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import GruClassifier, LstmClassifier
from memkd_edge.scratch import scratch_folder
from memkd_edge.vocabulary import Cell

OPSET = 14  # the first with today's LSTM and GRU; any runtime since 2021 takes it
IR_VERSION = 7  # the one that came with opset 14
# ONNX orders the gates i, o, f, c and z, r, h; torch i, f, g, o and r, z, n.
_GATES = {Cell.LSTM: (0, 3, 1, 2), Cell.GRU: (1, 0, 2)}


def write_onnx_step(model: LstmClassifier | GruClassifier, metadata: Metadata | None) -> bytes:
    """Return the step graph: one time step, the state carried by the caller, batch size symbolic.

    Args:
        model: float classifier with 1-3 layers, LSTM or GRU.
        metadata: embedded in metadata_props; None leaves it out.
    """
    from onnx import TensorProto, helper

    graph = _Graph(model)
    x = graph.add("Unsqueeze", ["x", graph.constant("time_axis", np.array([0]))], "x_1")
    states_in, states_out = [], []
    for layer in range(model.rnn.num_layers):
        names = [f"{kind}{graph.suffix(layer)}" for kind in graph.states]
        stacked = [graph.add("Unsqueeze", [name, "time_axis"], f"{name}_1") for name in names]
        sequence, *finals = graph.recurrent(layer, x, stacked)
        outputs = [graph.add("Squeeze", [final, "time_axis"], f"{name}_out") for final, name in zip(finals, names, strict=True)]
        x = graph.without_directions(sequence) if layer + 1 < model.rnn.num_layers else sequence
        states_in += names
        states_out += outputs
    graph.head(states_out[-len(graph.states)])
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", model.rnn.hidden_size])
        for name in states_in + states_out
    }
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", model.rnn.input_size])]
    return graph.finish("step", inputs + [values[n] for n in states_in], [values[n] for n in states_out], metadata)


def write_onnx_sequence(model: LstmClassifier | GruClassifier, metadata: Metadata | None) -> bytes:
    """Return the whole-series graph: zero state at the start, logits of the last step, batch size and length symbolic.

    Args and metadata as in `write_onnx_step`.
    """
    from onnx import TensorProto, helper

    graph = _Graph(model)
    x = graph.add("Transpose", ["x"], "x_time_major", perm=[1, 0, 2])
    for layer in range(model.rnn.num_layers):
        sequence, *finals = graph.recurrent(layer, x, [])
        if layer + 1 < model.rnn.num_layers:
            x = graph.without_directions(sequence)
    hidden = graph.add("Squeeze", [finals[0], graph.constant("direction_axis", np.array([0]))], "h")
    graph.head(hidden)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", model.rnn.input_size])]
    return graph.finish("sequence", inputs, [], metadata)


def quantize_dynamic(data: bytes) -> bytes:
    """Return ONNX model `data` with int8 weights and activations quantised at run time (onnxruntime's DynamicQuantizeLSTM).

    Raises:
        UsageError: the model is a GRU, for which onnxruntime has no integer operator.
    """
    import logging

    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as quantize

    model = onnx.load_model_from_string(data)
    if any(node.op_type == "GRU" for node in model.graph.node):
        raise UsageError("onnxruntime has no integer GRU; export this student with --format onnx --quantize float32")
    # It advises shape inference before each quantisation; these graphs have nothing that it could fold.
    silenced = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with scratch_folder() as folder:
            target = folder / "model.onnx"
            quantize(model, target, weight_type=QuantType.QInt8)
            return with_digest(onnx.load_model(target).SerializeToString(deterministic=True))
    finally:
        logging.disable(silenced)


class _Graph:
    """Nodes and initialisers of one graph under construction."""

    def __init__(self, model: LstmClassifier | GruClassifier) -> None:
        self._model = model
        self._kind = model.spec.kind
        self.states = ("h",) if self._kind == Cell.GRU else ("h", "c")
        self._weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def suffix(self, layer: int) -> str:
        return str(layer) if layer else ""

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants[name] = value
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def recurrent(self, layer: int, x: str, initial: list[str]) -> list[str]:
        """Add one layer over x [T, N, *]; return its sequence [T, 1, N, H] and final states [1, N, H]."""
        from onnx import helper

        tag = self.suffix(layer)
        w = self.constant(f"W{tag}", self._gates(f"rnn.weight_ih_l{layer}")[None])
        r = self.constant(f"R{tag}", self._gates(f"rnn.weight_hh_l{layer}")[None])
        biases = [self._gates(f"rnn.bias_{side}_l{layer}") for side in ("ih", "hh")]
        b = self.constant(f"B{tag}", np.concatenate(biases)[None])
        outputs = [f"sequence{tag}", *(f"{kind}_last{tag}" for kind in self.states)]
        attributes = {"hidden_size": self._model.rnn.hidden_size}
        if self._kind == Cell.GRU:
            attributes["linear_before_reset"] = 1
        inputs = [x, w, r, b, *(["", *initial] if initial else [])]
        self._nodes.append(helper.make_node(self._kind.upper(), inputs, outputs, **attributes))
        return outputs

    def without_directions(self, sequence: str) -> str:
        axis = self.constant("directions", np.array([1]))
        return self.add("Squeeze", [sequence, axis], f"{sequence}_flat")

    def head(self, hidden: str) -> None:
        weight = self.constant("head_weight", self._weights["head.weight"])
        bias = self.constant("head_bias", self._weights["head.bias"])
        self.add("Gemm", [hidden, weight, bias], "logits", transB=1)

    def finish(self, name: str, inputs: list[Any], states: list[Any], metadata: Metadata | None) -> bytes:
        from onnx import TensorProto, helper, numpy_helper

        from memkd_edge.version import __version__

        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", self._model.head.out_features])
        constants = [numpy_helper.from_array(value, key) for key, value in self._constants.items()]
        graph = helper.make_graph(self._nodes, name, inputs, [logits, *states], constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="memkd-edge",
            producer_version=__version__,
        )
        if metadata is not None:
            helper.set_model_props(model, {KEY: with_blank_check(metadata.to_json()).decode()})
        return with_digest(model.SerializeToString(deterministic=True))

    def _gates(self, name: str) -> NDArray[np.float32]:
        blocks = np.split(self._weights[name], len(_GATES[self._kind]))
        return np.concatenate([blocks[i] for i in _GATES[self._kind]])
