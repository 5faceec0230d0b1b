# SPDX-License-Identifier: Apache-2.0
"""Corrupt, truncated, foreign and hostile files: one clear error or a valid answer, never a crash, never anything executed."""

import json
import pickle
import struct
from dataclasses import asdict

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from memkd_edge.cli.export_tables import inspection_parts
from memkd_edge.cli.tables import show
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.formats.digest import with_blank_check, with_digest
from memkd_edge.formats.embedded_metadata import read_onnx, read_onnx_metadata, read_tflite_metadata
from memkd_edge.formats.inspection import inspect
from memkd_edge.formats.step_interface import onnx_step, tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.nets.classifier import load_classifier, save_model
from memkd_edge.pages.run_facts import benched_devices
from memkd_edge.quantization.post_training import quantize
from memkd_edge.verification.pipeline import verify
from memkd_edge.verification.runtimes import RUNTIMES, Job, stream
from memkd_edge.writers.flatbuffer import ModelWriter
from memkd_edge.writers.onnx import write_onnx_step
from memkd_edge.writers.tflite import write_tflite
from tests.writers.toy import make_run, metadata, series, student

FILES = {
    ".tflite": write_tflite(quantize(student(), series()), metadata()),
    ".onnx": write_onnx_step(student(), metadata()),
    ".safetensors": save_model(student()),
}
damage = st.one_of(
    st.tuples(st.just("truncate"), st.floats(0, 1), st.just(0)),
    st.tuples(st.just("flip"), st.floats(0, 0.9999), st.integers(1, 255)),
    st.tuples(st.just("word"), st.floats(0, 0.9999), st.integers(0, 2**32 - 1)),
)


def damaged(data, injuries):
    for kind, where, value in injuries:
        at = int(where * len(data))
        if kind == "truncate":
            data = data[:at]
        elif data and kind == "flip":
            data = data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]
        elif data:
            at &= ~3
            data = data[:at] + struct.pack("<I", value)[: len(data) - at] + data[at + 4 :]
    return data


def survives(action):
    """Run `action`; only our own errors may come out, with a message that says something."""
    try:
        return action()
    except MemkdEdgeError as error:
        if len(str(error)) < 20:
            raise AssertionError("an error without an explanation") from error
        return None


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from(sorted(FILES)), injuries=st.lists(damage, min_size=1, max_size=3))
def test_damaged_files_are_read_or_refused(tmp_path, capsys, suffix, injuries):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(damaged(FILES[suffix], injuries))
    found = survives(lambda: inspect(path))
    if found is not None:
        show(inspection_parts(found))
        found.as_dict()
    reader = {".tflite": read_tflite_metadata, ".onnx": read_onnx_metadata, ".safetensors": load_classifier}[suffix]
    survives(lambda: reader(path))
    capsys.readouterr()


@settings(deadline=None, max_examples=100)
@given(suffix=st.sampled_from(sorted(FILES)), data=st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(tmp_path_factory, suffix, data):
    path = tmp_path_factory.mktemp("any") / f"m{suffix}"
    path.write_bytes(data)
    with pytest.raises(MemkdEdgeError, match=path.name):
        inspect(path)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(injuries=st.lists(damage.filter(lambda d: d[0] != "truncate"), min_size=1, max_size=2))
def test_native_runtimes_survive_damage_in_their_own_process(tmp_path, children, suffix, injuries):
    """Runtimes see what passes our own checks, and what does not; a crash stays in the child."""
    path = tmp_path / f"m{suffix}"
    path.write_bytes(FILES[suffix])
    step = tflite_step(read_tflite(path)) if suffix == ".tflite" else onnx_step(read_onnx(path), str(path))
    path.write_bytes(damaged(FILES[suffix], injuries))
    for runtime in RUNTIMES:
        if runtime.format == suffix and runtime.name in ("litert-xnnpack", "tflite-micro", "onnxruntime"):
            jobs = [Job(step.x.zeros(2)[:, None])]
            survives(lambda runtime=runtime, jobs=jobs: stream(runtime, path, step, jobs, children=children))


@settings(deadline=None, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".tflite", ".onnx"]), injuries=st.lists(damage, min_size=1, max_size=1))
def test_verify_of_damaged_files_ends_in_words(tmp_path, suffix, injuries):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(damaged(FILES[suffix], injuries))
    survives(lambda: verify(path))


@pytest.mark.parametrize("suffix", sorted(FILES))
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"\x1c\x00\x00\x00TFL3" + b"\xff" * 100, b"<html>not found</html>"])
def test_foreign_content_is_one_error_that_names_the_file(tmp_path, suffix, content):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(MemkdEdgeError, match=rf"m\{suffix}: "):
        inspect(path)


class Payload:
    """Executes when unpickled."""

    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("suffix", sorted(FILES))
def test_a_pickle_in_disguise_is_not_executed(tmp_path, capsys, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(MemkdEdgeError):
        inspect(path)
    assert "executed" not in capsys.readouterr().out


def unfolding(copies):
    """A small .tflite whose vector of subgraphs holds the same subgraph of 100 tensors over and over."""
    builder = flatbuffers.Builder(1024)
    tensor = schema.TensorT().Pack(builder)
    schema.SubGraphStartTensorsVector(builder, 100)
    for _ in range(100):
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    subgraph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, copies)
    for _ in range(copies):
        builder.PrependUOffsetTRelative(subgraph)
    subgraphs = builder.EndVector()
    buffer = schema.BufferT().Pack(builder)
    schema.ModelStartBuffersVector(builder, 1)
    builder.PrependUOffsetTRelative(buffer)
    buffers = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddBuffers(builder, buffers)
    schema.ModelAddSubgraphs(builder, subgraphs)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_a_small_file_cannot_unfold_into_a_large_tree(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(unfolding(3))
    assert len(inspect(path).tensors) == 300
    path.write_bytes(unfolding(50_000))
    with pytest.raises(MemkdEdgeError, match="more than 100000 objects"):
        inspect(path)


@pytest.mark.parametrize(
    "stated",
    [
        {"hidden_size": 40_000},
        {"num_layers": 10**6},
        {"num_layers": 10**18},
        {"input_size": 0},
        {"num_classes": -1},
        {"hidden_size": 8.0},
        {"kind": "rnn"},
        {"bidirectional": 1},
        {"kind": ["lstm"]},
    ],
)
def test_a_header_that_states_another_model_is_refused_before_any_is_built(tmp_path, monkeypatch, stated):
    model, path = student(), tmp_path / "m.safetensors"
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    path.write_bytes(save(tensors, metadata={"memkd_edge": json.dumps({**asdict(model.spec), **stated})}))
    monkeypatch.setattr("memkd_edge.nets.classifier.build", None)
    with pytest.raises(MemkdEdgeError, match=r"m\.safetensors: not a memkd-edge model \((?!'None)"):
        load_classifier(path)


def test_a_tensor_larger_than_its_buffer_is_refused(tmp_path):
    writer = ModelWriter(names=True)
    graph = writer.subgraph("step")
    graph.constant("w", np.zeros((4, 4), np.float32), None)
    data = writer.finish()
    shape, longer = np.array([4, 4], np.int32).tobytes(), np.array([4, 4096], np.int32).tobytes()
    assert data.count(shape) == 1
    path = tmp_path / "m.tflite"
    path.write_bytes(data.replace(shape, longer))
    with pytest.raises(MemkdEdgeError, match=r"tensor 'w' of shape \[4, 4096\] needs 65536 bytes, its buffer has 64"):
        inspect(path)


@pytest.mark.parametrize(
    "entries",
    [
        {"mean": 5},
        {"mean": ["a", "b", "c"]},
        {"mean": [0.0]},
        {"std": [0.0, 1.0, 1.0]},
        {"labels": [1, 2, 3, 4]},
        {"channels": "abc"},
        {"golden": {"x": []}},
        {"counts_per_unit": [1.0]},
        {"resampling": {"kind": "linear", "input_length": 5, "output_length": 10**12, "factor": 1, "taps": []}},
        {"resampling": {"kind": "linear", "input_length": "5", "output_length": 5, "factor": 1, "taps": []}},
    ],
)
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_sealed_metadata_with_entries_of_the_wrong_kind_is_refused(tmp_path, suffix, entries):
    class Hostile:
        def to_json(self):
            return json.dumps({**json.loads(metadata().to_json()), **entries}, separators=(",", ":"))

    path = tmp_path / f"m{suffix}"
    if suffix == ".onnx":
        path.write_bytes(write_onnx_step(student(), Hostile()))
    else:
        writer = ModelWriter(names=True)
        writer.subgraph("step")
        writer.metadata("memkd_edge", with_blank_check(Hostile().to_json()))
        path.write_bytes(with_digest(writer.finish()))
    for action in (inspect, verify):
        with pytest.raises(MemkdEdgeError, match=path.name):
            action(path)


def test_a_graph_that_breaks_its_word_on_shapes_or_values_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    model = onnx.load_model_from_string(FILES[".onnx"])
    del model.metadata_props[:]
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    path.write_bytes(model.SerializeToString())
    with pytest.raises(MemkdEdgeError, match="onnxruntime"):
        verify(path)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "head_bias")
    bias.raw_data = np.full(4, np.nan, np.float32).tobytes()
    path.write_bytes(model.SerializeToString())
    with pytest.raises(MemkdEdgeError, match="not finite"):
        verify(path)


def test_damaged_metadata_in_a_sound_file_is_named(tmp_path):
    for suffix, read in ((".tflite", read_tflite_metadata), (".onnx", read_onnx_metadata)):
        data = FILES[suffix].replace(b'"labels"', b'"lxbels"')
        path = tmp_path / f"m{suffix}"
        path.write_bytes(data)
        with pytest.raises(MemkdEdgeError, match="not memkd-edge metadata"):
            read(path)


@pytest.mark.parametrize("figures", [0.5, [], None, {"flash": 1}, {"flash": {"kind": "measured"}}])
def test_a_report_of_a_bench_whose_figures_are_none_is_damaged(figures, tmp_path):
    run = make_run(tmp_path, student())
    row = {"model": "toy", "build": "-O2", "figures": figures, "note": ""}
    run.write_json("bench/board.json", {"device": "board", "title": "Board", "rows": [row], "caveats": []})
    with pytest.raises(MemkdEdgeError, match=r"board\.json: damaged"):
        benched_devices(run)
