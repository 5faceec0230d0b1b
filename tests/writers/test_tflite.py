# SPDX-License-Identifier: Apache-2.0
"""The streaming .tflite file: contract, contents, sizes, and its arithmetic in LiteRT."""

import json

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.integer_model import QuantizedClassifier, QuantizedDense
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.writers.tflite import write_tflite, write_tflite_float
from tests.quantization.helpers import (
    DTYPES,
    RESOLVERS,
    LiteRtStep,
    MicroStep,
    hard_states,
    litert_interpreter,
    random_model,
    random_series,
    reference_step,
    state_names,
    step_widths,
)

STEP_OPERATORS = [
    ("CONCATENATION", 3),
    ("FULLY_CONNECTED", 7),
    ("SPLIT", 4),
    ("LOGISTIC", 3),
    ("LOGISTIC", 3),
    ("LOGISTIC", 3),
    ("TANH", 3),
    ("MUL", 4),
    ("MUL", 4),
    ("ADD", 3),
    ("TANH", 3),
    ("MUL", 4),
    ("FULLY_CONNECTED", 7),
]

GRU_OPERATORS = [
    ("CONCATENATION", 3),
    ("FULLY_CONNECTED", 7),
    ("SPLIT", 4),
    ("LOGISTIC", 3),
    ("LOGISTIC", 3),
    ("MUL", 4),
    ("ADD", 3),
    ("TANH", 3),
    ("MUL", 4),
    ("SUB", 5),
    ("MUL", 4),
    ("ADD", 3),
    ("FULLY_CONNECTED", 7),
]


@pytest.fixture(scope="module")
def metadata() -> Metadata:
    return Metadata("test", ("a", "b"), ("x",), ("g",), 50.0, (0.0,), (1.0,))


def quantized(spec: ModelSpec, seed: int = 3) -> QuantizedClassifier:
    return quantize(random_model(spec, seed, gain=1.5), random_series(seed, 8, 60, spec.input_size))


def parsed(file: bytes):
    return schema.ModelT.InitFromPackedBuf(file, 0)


def operators(model) -> list[tuple[str, int]]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    codes = [(names[code.builtinCode], code.version) for code in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def ties_in(layer: QuantizedDense, x: np.ndarray) -> bool:
    """Whether a negative accumulator falls exactly between two results: LiteRT rounds it down, everything else up."""
    accumulator = x.astype(np.int64) @ layer.weight.T.astype(np.int64) + layer.bias
    half = 1 << (layer.shift - 1)
    return bool(((accumulator < 0) & ((accumulator * layer.reduced) % (2 * half) == half)).any())


def test_the_int16_graph_is_the_thirteen_portable_operators():
    assert operators(parsed(write_tflite(quantized(ModelSpec(3, 4, 2)), None, interface="int16x8"))) == STEP_OPERATORS


def test_the_int8_graph_adds_cast_and_mul_before_and_quantize_after():
    found = operators(parsed(write_tflite(quantized(ModelSpec(3, 4, 2)), None)))
    assert found == [("CAST", 1), ("MUL", 4), *STEP_OPERATORS, ("QUANTIZE", 2)]


def test_the_gru_graph_adds_sub():
    assert operators(parsed(write_tflite(quantized(ModelSpec(3, 4, 2, kind="gru")), None, interface="int16x8"))) == GRU_OPERATORS


@pytest.mark.parametrize(("kind", "expected"), [("lstm", STEP_OPERATORS), ("gru", GRU_OPERATORS)])
def test_the_float_graph_is_the_same_operators_in_their_first_version(kind, expected):
    found = operators(parsed(write_tflite_float(random_model(ModelSpec(3, 4, 2, kind=kind), 1), None)))
    assert found == [(name, 1) for name, _ in expected]


@pytest.mark.parametrize("spec", [ModelSpec(3, 4, 2, num_layers=2), ModelSpec(3, 4, 2, kind="gru")], ids=str)
def test_no_tensor_name_stands_twice_in_a_file(spec):
    # ai-edge-quantizer 0.10 knows tensors by name and refuses a file with two of one name (test_field_tools.py).
    q, model = quantized(spec), random_model(spec, 1)
    files = []
    for strip in (False, True):
        files += [write_tflite(q, None, interface=interface, strip=strip) for interface in ("int8", "int16x8")]
        files.append(write_tflite_float(model, None, strip=strip))
    for data in files:
        graphs = parsed(data).subgraphs
        names = [tensor.name for graph in graphs for tensor in graph.tensors]
        assert None not in names
        assert len(set(names)) == len(names)
        assert len(graphs) == 2


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_state_in_and_state_out_are_quantised_identically(layers, kind, interface):
    spec = ModelSpec(3, 4, 2, layers, kind)
    q = quantized(spec)
    model = parsed(write_tflite(q, None, interface=interface))
    step, reset = model.signatureDefs
    assert (step.signatureKey, reset.signatureKey) == (b"step", b"reset")
    tensors = model.subgraphs[0].tensors

    def described(tensor):
        return tensor.type, list(tensor.shape), list(tensor.quantization.scale), list(tensor.quantization.zeroPoint)

    inputs = {entry.name.decode(): described(tensors[entry.tensorIndex]) for entry in step.inputs}
    outputs = {entry.name.decode(): described(tensors[entry.tensorIndex]) for entry in step.outputs}
    zeros = {entry.name.decode(): described(model.subgraphs[1].tensors[entry.tensorIndex]) for entry in reset.outputs}
    names = state_names(spec)
    assert list(inputs) == ["x", *names]
    assert list(outputs) == ["logits", *names]
    for name in names:
        assert inputs[name] == outputs[name] == zeros[name]
        assert inputs[name][0] == schema.TensorType.INT16
        assert inputs[name][3] == [0]
    assert inputs["x"][0] == (schema.TensorType.INT8 if interface == "int8" else schema.TensorType.INT16)
    assert inputs["x"][2] == [q.input_scale if interface == "int8" else q.layers[0].state_scale]


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
def test_reset_gives_zeros(interface):
    interpreter = litert_interpreter(write_tflite(quantized(ModelSpec(3, 4, 2, num_layers=2)), None, interface=interface))
    state = interpreter.get_signature_runner("reset")()
    assert sorted(state) == ["c", "c1", "h", "h1"]
    for value in state.values():
        assert value.dtype == np.int16
        assert not value.any()


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize(
    "spec", [ModelSpec(1, 8, 2), ModelSpec(6, 16, 6), ModelSpec(2, 5, 3, num_layers=3), ModelSpec(3, 6, 4, 2, "gru")], ids=str
)
def test_litert_equals_the_reference_on_hard_states_except_at_exact_ties(spec, interface, resolver):
    q = quantized(spec)
    step = LiteRtStep(write_tflite(q, None, interface=interface), resolver, spec)
    runner, ties = integer_classifier(q), 0
    for inputs in hard_states(5, 500, step_widths(spec), DTYPES[interface]):
        expected = reference_step(runner, inputs)
        below = inputs[0].astype(np.int64)
        if interface == "int8":
            below = (below - q.input_zero_point_int8) * q.input_gain
        tie = ties_in(q.head, runner.h[-1])
        before = inputs[1 :: 1 if spec.kind == "gru" else 2]
        for layer, h, next_h in zip(q.layers, before, runner.h, strict=True):
            tie |= ties_in(layer.gates, np.concatenate([below, h], axis=1))
            below = next_h
        ties += tie
        if not tie:
            for want, got in zip(expected, step(inputs), strict=True):
                np.testing.assert_array_equal(got, want)
    assert ties <= 3


@pytest.mark.parametrize("runtime", [*RESOLVERS, "tflite-micro"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_float_file_equals_torch_over_a_stream(layers, kind, runtime):
    spec = ModelSpec(3, 6, 4, layers, kind)
    model, x = random_model(spec, 2), random_series(3, 1, 50, 3)
    file = write_tflite_float(model, None)
    step = MicroStep(file) if runtime == "tflite-micro" else LiteRtStep(file, runtime, spec)
    state = [np.zeros((1, 6), np.float32) for _ in state_names(spec)]
    for t in range(x.shape[1]):
        logits, *state = step([x[:, t], *state])
    with torch.no_grad():
        expected = model(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
def test_metadata_travels_inside_with_arithmetic_and_input_scale(metadata, interface):
    q = quantized(ModelSpec(1, 8, 2))
    model = parsed(write_tflite(q, metadata, interface=interface))
    buffers = {entry.name: bytes(bytearray(model.buffers[entry.buffer].data)) for entry in model.metadata}
    found = Metadata.from_json(buffers[b"memkd_edge"])
    zero_point = q.input_zero_point_int8 if interface == "int8" else 0
    assert (found.arithmetic, found.labels, found.input_zero_point) == (interface, ("a", "b"), zero_point)
    assert found.input_scale == (q.input_scale if interface == "int8" else q.layers[0].state_scale)
    assert buffers[b"min_runtime_version"].rstrip(b"\0") == b"2.14.0"
    assert json.loads(buffers[b"memkd_edge"])["format"] == 1


def test_tensor_names_read_well_and_are_unique():
    graph = parsed(write_tflite(quantized(ModelSpec(3, 4, 2, num_layers=2)), None)).subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    assert {"x", "h", "c", "h1", "c1", "logits", "lstm/forget_gate", "lstm1/candidate", "classifier/weight"} <= set(names)


def test_strip_numbers_the_tensors_and_drops_metadata_but_keeps_the_signatures(metadata):
    file = write_tflite(quantized(ModelSpec(1, 8, 2)), metadata, strip=True)
    model = parsed(file)
    assert not model.metadata
    names = {tensor.name.decode() for graph in model.subgraphs for tensor in graph.tensors}
    assert names == {"x", "h", "c", "logits", *map(str, range(len(names) - 4))}
    runner = litert_interpreter(file).get_signature_runner("step")
    assert sorted(runner.get_input_details()) == ["c", "h", "x"]
    assert sorted(runner.get_output_details()) == ["c", "h", "logits"]


@pytest.mark.parametrize(("interface", "limit"), [("int8", 3650), ("int16x8", 3150)])
def test_a_stripped_student_of_eight_units_keeps_its_size(interface, limit):
    assert len(write_tflite(quantized(ModelSpec(1, 8, 2)), None, interface=interface, strip=True)) <= limit


def test_constants_are_aligned_to_16_bytes(metadata):
    file = write_tflite(quantized(ModelSpec(3, 5, 3)), metadata)
    root = schema.Model.GetRootAs(file, 0)
    for index in range(root.BuffersLength()):
        if root.Buffers(index).DataLength():
            vector = root.Buffers(index)._tab.Vector(root.Buffers(index)._tab.Offset(4))
            assert vector % 16 == 0


def test_equal_models_give_equal_bytes(metadata):
    first, second = (write_tflite(quantized(ModelSpec(3, 5, 3)), metadata) for _ in range(2))
    assert first == second


def test_an_unknown_interface_is_refused():
    with pytest.raises(UsageError, match="choose int8 or int16x8"):
        write_tflite(quantized(ModelSpec(1, 2, 2)), None, interface="int4")
