# SPDX-License-Identifier: Apache-2.0
"""Inspect: our files, foreign ones, and what it warns of."""

import json

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from safetensors.numpy import save_file

from memkd_edge.cli.export_tables import inspection_parts
from memkd_edge.cli.tables import show
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.formats.inspection import MEMORYLESS, inspect
from memkd_edge.nets.classifier import save_model
from memkd_edge.quantization.post_training import quantize
from memkd_edge.writers.flatbuffer import ModelWriter
from memkd_edge.writers.onnx import write_onnx_sequence, write_onnx_step
from memkd_edge.writers.tflite import write_tflite, write_tflite_float
from tests.writers.toy import metadata, series, student


def saved(path, data):
    path.write_bytes(data)
    return path


def test_our_tflite_shows_its_contract(tmp_path, capsys):
    model = quantize(student(), series())
    path = saved(tmp_path / "m.tflite", write_tflite(model, metadata()))
    found = inspect(path)
    assert (found.format, found.streaming, found.warnings) == ("tflite", "yes", ())
    step, reset = found.signatures
    assert (step.key, list(step.inputs), list(step.outputs)) == ("step", ["x", "h", "c"], ["logits", "h", "c"])
    assert (reset.key, list(reset.inputs), list(reset.outputs)) == ("reset", [], ["h", "c"])
    assert (step.inputs["x"].shape, step.inputs["x"].dtype, step.inputs["x"].scales) == ((1, 3), "int8", (model.input_scale,))
    for state in ("h", "c"):
        assert (step.inputs[state].scales, step.inputs[state].zero_points) == (step.outputs[state].scales, (0,))
    assert found.operators["LOGISTIC"] == 3
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in found.operators
    assert found.metadata.labels == metadata().labels
    assert 4 * 8 * 11 + 4 * 8 < found.constant_bytes < found.bytes == path.stat().st_size
    show(inspection_parts(found))
    printed = capsys.readouterr().out
    for text in ("Signature step", "FULLY_CONNECTED x2", "class 3", f"{model.input_scale:.9g}"):
        assert text in printed


def test_an_edited_tflite_is_told_by_its_digest(tmp_path):
    data = write_tflite(quantize(student(), series()), metadata())
    found = inspect(saved(tmp_path / "m.tflite", data.replace(b"class 3", b"class 4")))
    assert "does not match the check digest" in found.warnings[0]


def test_our_onnx_files_show_opset_interface_and_metadata(tmp_path):
    step = inspect(saved(tmp_path / "step.onnx", write_onnx_step(student(), metadata())))
    assert (step.streaming, step.other["opset"]) == ("yes", "ai.onnx 14")
    assert step.signatures[0].inputs["h"].shape == ("N", 8)
    assert step.metadata == metadata()
    parameters = {tensor.name: tensor.bytes for tensor in step.tensors}
    assert parameters["R"] == 4 * 4 * 8 * 8
    sequence = inspect(saved(tmp_path / "sequence.onnx", write_onnx_sequence(student(), None)))
    assert sequence.streaming.startswith("no: takes whole series")
    assert sequence.metadata is None


def test_a_safetensors_shows_its_weights_and_specification(tmp_path):
    model = student()
    found = inspect(saved(tmp_path / "student.safetensors", save_model(model)))
    assert found.constant_bytes == 4 * model.spec.parameters
    assert json.loads(found.other["specification"])["hidden_size"] == 8
    save_file({"w": np.zeros((2, 3), np.float16), "flag": np.zeros(5, bool)}, tmp_path / "foreign.safetensors", {"a": "b"})
    foreign = inspect(tmp_path / "foreign.safetensors")
    assert {t.name: (t.shape, t.bytes) for t in foreign.tensors} == {"w": ((2, 3), 12), "flag": ((5,), 5)}
    assert foreign.other == {"a": "b"}


def foreign_lstm(steps=1):
    """A .tflite with one fused LSTM operator whose state is inside, as other converters write it; names only, no weights."""
    writer = ModelWriter(names=True)
    graph = writer.subgraph("main")
    x = graph.inputs["x"] = graph.tensor("x", (1, steps, 3), "float32")
    y = graph.outputs["y"] = graph.tensor("y", (1, steps, 8), "float32")
    graph.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", 1, [x], [y], schema.UnidirectionalSequenceLSTMOptionsT())
    return writer.finish()


def test_a_foreign_fused_lstm_is_read_and_warned_of(tmp_path, capsys):
    found = inspect(saved(tmp_path / "foreign.tflite", foreign_lstm()))
    assert found.warnings == (MEMORYLESS,)
    assert found.streaming.startswith("no: ")
    assert found.metadata is None
    assert found.operators == {"UNIDIRECTIONAL_SEQUENCE_LSTM": 1}
    show(inspection_parts(found))
    assert "warning: UNIDIRECTIONAL_SEQUENCE_LSTM" in capsys.readouterr().out


def test_a_fused_lstm_over_a_whole_window_is_to_be_reset_between_windows(tmp_path):
    (warning,) = inspect(saved(tmp_path / "foreign.tflite", foreign_lstm(10))).warnings
    assert "a whole window of 10 steps" in warning
    assert "Reset between windows" in warning
    assert "Build that operator with the reference kernels" not in warning


def test_state_in_variables_is_told(tmp_path):
    writer = ModelWriter(names=True)
    graph = writer.subgraph("main")
    graph.inputs["x"] = graph.outputs["y"] = graph.tensor("x", (1, 3), "float32")
    handle = graph.tensor("h", (), "int32")
    graph.operator("VAR_HANDLE", 1, [], [handle], schema.VarHandleOptionsT())
    graph.operator("ASSIGN_VARIABLE", 1, [handle, graph.inputs["x"]], [])
    (warning,) = inspect(saved(tmp_path / "m.tflite", writer.finish())).warnings
    assert "keeps state in variables inside the interpreter (VAR_HANDLE, ASSIGN_VARIABLE)" in warning


def test_bodies_of_control_flow_count_and_unknown_dimensions_are_question_marks(tmp_path):
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT

    def branch(name, weight):
        tensor = onnx.numpy_helper.from_array(np.zeros((4, 1000), np.float32), weight)
        out = helper.make_tensor_value_info(name, float32, ["n", 1000])
        return helper.make_graph([helper.make_node("MatMul", ["x", weight], [name])], name, [], [out], [tensor])

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a", "w"), else_branch=branch("b", "v"))
    inputs = [
        helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", float32, [None, 4]),
    ]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", float32, [None, 1000])])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 16)])
    found = inspect(saved(tmp_path / "m.onnx", model.SerializeToString()))
    assert found.constant_bytes == 2 * 4 * 4000
    assert found.operators == {"If": 1, "MatMul": 2}
    assert found.signatures[0].inputs["x"].shape == ("?", 4)
    assert found.signatures[0].outputs["y"].shape == ("?", 1000)


def test_a_foreign_onnx_is_read(tmp_path):
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    x, y = (helper.make_tensor_value_info(name, float32, ["batch", 4]) for name in "ab")
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "foreign", [x], [y])
    found = inspect(saved(tmp_path / "m.onnx", helper.make_model(graph, ir_version=8).SerializeToString()))
    assert found.operators == {"Relu": 1}
    assert found.signatures[0].inputs["a"].shape == ("batch", 4)
    assert "not a streaming step" in found.streaming


def test_a_type_that_our_onnx_does_not_know_is_shown_by_its_number(tmp_path):
    model = onnx.load_model_from_string(write_onnx_step(student(), metadata()))
    model.graph.initializer[0].data_type = 65
    model.graph.output[0].type.tensor_type.elem_type = 66
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = inspect(tmp_path / "m.onnx")
    assert "type 65" in {tensor.dtype for tensor in found.tensors}
    assert next(iter(found.signatures[0].outputs.values())).dtype == "type 66"


def test_an_onnx_with_tensors_in_other_files_is_refused(tmp_path):
    model = onnx.load_model_from_string(write_onnx_step(student(), None))
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(MemkdEdgeError, match="stored outside of the file"):
        inspect(saved(tmp_path / "m.onnx", model.SerializeToString()))


def test_inspection_is_json(tmp_path):
    found = inspect(saved(tmp_path / "m.tflite", write_tflite_float(student(), metadata())))
    record = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert record["metadata"]["name"] == metadata().name
    assert record["signatures"][0]["inputs"]["x"]["shape"] == [1, 3]


@pytest.mark.parametrize("name", ["m.h5", "m"])
def test_other_kinds_of_files_are_named_as_such(tmp_path, name):
    with pytest.raises(UsageError, match=r"inspect reads \.tflite, \.onnx, \.safetensors"):
        inspect(saved(tmp_path / name, b"x"))
