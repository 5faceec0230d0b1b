# SPDX-License-Identifier: Apache-2.0
"""The step interface of our files, of stripped ones and of broken ones."""

import numpy as np
import pytest

from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.formats.embedded_metadata import read_onnx, read_onnx_metadata, read_tflite_metadata
from memkd_edge.formats.step_interface import onnx_sequence, onnx_step, tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.quantization.post_training import quantize
from memkd_edge.writers.onnx import write_onnx_sequence, write_onnx_step
from memkd_edge.writers.tflite import write_tflite, write_tflite_float
from tests.writers.toy import metadata, series, student


def saved(path, data):
    path.write_bytes(data)
    return path


def test_a_tflite_says_what_its_step_takes(tmp_path):
    model = quantize(student(layers=2), series())
    path = saved(tmp_path / "m.tflite", write_tflite(model, metadata()))
    step = tflite_step(read_tflite(path))
    assert (step.x.width, step.x.dtype, step.x.scale) == (3, "int8", model.input_scale)
    assert (step.logits.width, step.logits.dtype, step.logits.zero_point) == (4, "int8", model.logit_zero_point_int8)
    assert [before.name for before, _ in step.states] == ["h", "c", "h1", "c1"]
    for before, after in step.states:
        assert (before.width, before.dtype, before.scale) == (8, "int16", after.scale)
    assert read_tflite_metadata(path).labels == metadata().labels


def test_a_stripped_file_has_the_interface_but_no_metadata(tmp_path):
    model = quantize(student(), series())
    path = saved(tmp_path / "m.tflite", write_tflite(model, metadata(), strip=True))
    full = saved(tmp_path / "full.tflite", write_tflite(model, metadata()))
    stripped, named = tflite_step(read_tflite(path)), tflite_step(read_tflite(full))
    assert [p.position for p in (stripped.x, stripped.logits)] == [p.position for p in (named.x, named.logits)]
    assert [before.scale for before, _ in stripped.states] == [before.scale for before, _ in named.states]
    with pytest.raises(MemkdEdgeError, match=r"m\.tflite: no memkd-edge metadata"):
        read_tflite_metadata(path)


def test_an_onnx_says_what_its_step_takes(tmp_path):
    step = onnx_step(read_onnx(saved(tmp_path / "m.onnx", write_onnx_step(student(layers=2), None))), "m.onnx")
    assert [(before.tensor, after.tensor) for before, after in step.states] == [
        ("h", "h_out"),
        ("c", "c_out"),
        ("h1", "h1_out"),
        ("c1", "c1_out"),
    ]
    model = read_onnx(saved(tmp_path / "s.onnx", write_onnx_sequence(student(), None)))
    assert onnx_sequence(model, "s.onnx").x.width == 3
    with pytest.raises(MemkdEdgeError, match=r"s\.onnx: not a streaming step"):
        onnx_step(model, "s.onnx")
    with pytest.raises(MemkdEdgeError, match="no memkd-edge metadata"):
        read_onnx_metadata(tmp_path / "s.onnx")


def test_quantising_a_port_rounds_halves_away_from_zero_and_clamps(tmp_path):
    path = saved(tmp_path / "m.tflite", write_tflite(quantize(student(), series()), None, interface="int16x8"))
    x = tflite_step(read_tflite(path)).x
    values = np.array([0.5, -0.5, 1.5, 0.49, 1e9, -1e9], np.float32) * np.float32(x.scale)
    assert x.quantize(values[None, :, None])[0, :, 0].tolist() == [1, -1, 2, 0, 32767, -32768]
    np.testing.assert_allclose(x.dequantize(np.array([3])), [3 * x.scale])


def test_a_float_port_passes_values_through(tmp_path):
    path = saved(tmp_path / "m.tflite", write_tflite_float(student(), None))
    x = tflite_step(read_tflite(path)).x
    values = np.array([0.1, -7.25], np.float32)
    assert x.quantize(values[None, :, None])[0, :, 0].tolist() == values.tolist()
    assert x.dequantize(values).tolist() == values.astype(np.float64).tolist()


@pytest.mark.parametrize("reader", [read_tflite_metadata, read_onnx_metadata])
def test_a_missing_file_is_a_usage_error(tmp_path, reader):
    with pytest.raises(UsageError, match="no file at"):
        reader(tmp_path / "absent")
