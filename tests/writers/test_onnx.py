# SPDX-License-Identifier: Apache-2.0
"""The ONNX writer against onnx.checker, onnxruntime and torch."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.errors import UsageError
from memkd_edge.formats.embedded_metadata import read_onnx_metadata
from memkd_edge.writers.onnx import OPSET, quantize_dynamic, write_onnx_sequence, write_onnx_step
from tests.writers.toy import metadata, series, student

KINDS = [("lstm", 1), ("lstm", 2), ("lstm", 3), ("gru", 1), ("gru", 2), ("gru", 3)]


def stream(data, x):
    """Stream x [N, T, C] through a step graph; return the logits of the last step [N, K]."""
    session = onnxruntime.InferenceSession(data)
    names = [value.name for value in session.get_inputs()][1:]
    states = {v.name: np.zeros((len(x), v.shape[1]), np.float32) for v in session.get_inputs()[1:]}
    for t in range(x.shape[1]):
        logits, *after = session.run(["logits", *(f"{name}_out" for name in names)], {"x": x[:, t], **states})
        states = dict(zip(names, after, strict=True))
    return logits


def in_torch(model, x):
    with torch.no_grad():
        return model(torch.from_numpy(x))[0].numpy()


@pytest.mark.parametrize(("kind", "layers"), KINDS)
def test_both_graphs_pass_the_checker_and_give_torch_logits(kind, layers):
    model, x = student(kind, layers=layers), series()
    step, sequence = write_onnx_step(model, None), write_onnx_sequence(model, None)
    for data in (step, sequence):
        onnx.checker.check_model(data, full_check=True)
    expected = in_torch(model, x)
    np.testing.assert_allclose(stream(step, x), expected, atol=1e-6)
    (whole,) = onnxruntime.InferenceSession(sequence).run(["logits"], {"x": x})
    np.testing.assert_allclose(whole, expected, atol=1e-6)


@settings(deadline=None, max_examples=15)
@given(
    channels=st.integers(1, 16),
    hidden=st.integers(1, 64),
    classes=st.integers(2, 60),
    steps=st.integers(1, 200),
    n=st.integers(1, 5),
)
def test_every_size_batch_and_length_runs(channels, hidden, classes, steps, n):
    model, x = student("lstm", channels, hidden, classes), series(n, steps, channels)
    expected = in_torch(model, x)
    np.testing.assert_allclose(stream(write_onnx_step(model, None), x), expected, atol=2e-5)
    (whole,) = onnxruntime.InferenceSession(write_onnx_sequence(model, None)).run(None, {"x": x})
    np.testing.assert_allclose(whole, expected, atol=2e-5)


def test_an_8_unit_student_takes_two_to_three_kilobytes():
    model = student("lstm", 1, 8, 2)
    assert len(write_onnx_step(model, None)) < 2200
    assert len(write_onnx_sequence(model, None)) < 2000
    assert len(quantize_dynamic(write_onnx_step(model, None))) < 2400


def test_the_file_states_its_opset_and_carries_its_metadata(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(write_onnx_step(student(), metadata()))
    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert model.producer_name == "memkd-edge"
    assert read_onnx_metadata(path) == metadata()


def test_the_same_student_gives_the_same_bytes():
    assert write_onnx_step(student(), metadata()) == write_onnx_step(student(), metadata())
    assert quantize_dynamic(write_onnx_step(student(), metadata())) == quantize_dynamic(write_onnx_step(student(), metadata()))


def test_dynamic_int8_quantises_the_recurrent_layers_and_stays_close(tmp_path, caplog):
    model, x = student("lstm", layers=2), series()
    data = quantize_dynamic(write_onnx_step(model, metadata()))
    operators = [node.op_type for node in onnx.load_model_from_string(data).graph.node]
    assert operators.count("DynamicQuantizeLSTM") == 2
    assert "LSTM" not in operators
    expected = in_torch(model, x)
    np.testing.assert_allclose(stream(data, x), expected, atol=0.1 * np.abs(expected).max())
    (tmp_path / "m.onnx").write_bytes(data)
    assert read_onnx_metadata(tmp_path / "m.onnx") == metadata()
    assert not caplog.records
    assert logging.root.manager.disable == 0


def test_a_gru_cannot_be_quantised_and_the_message_names_what_can_be_done():
    with pytest.raises(UsageError, match="--quantize float32"):
        quantize_dynamic(write_onnx_step(student("gru"), None))
