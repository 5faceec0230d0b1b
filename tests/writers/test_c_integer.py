# SPDX-License-Identifier: Apache-2.0
"""Generated integer C on this machine, against the numpy reference and the TensorFlow Lite Micro wheel: not one bit differs."""

import ctypes
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from experiments.reference_students import reference_student
from memkd_edge.data.registry import load_dataset
from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata, Resampling
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.calibration import FloatModel
from memkd_edge.quantization.integer_model import Multiplier
from memkd_edge.quantization.post_training import first_settings, quantize, quantize_nearest
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd, Sensor
from memkd_edge.vocabulary import Reset
from memkd_edge.writers.c_integer import emit_c
from memkd_edge.writers.tflite import write_tflite
from tests.quantization.helpers import MicroStep, random_model, random_series, step_widths
from tests.writers.c_library import CModel, assert_equal_on_hard_states, compile_library, hard_values, pointer, write

SMALL, MEDIUM = ("-DMEMKD_SMALL",), ("-DMEMKD_MEDIUM",)
FORMS = pytest.mark.parametrize("flags", [(), MEDIUM, SMALL], ids=["fast", "medium", "small"])

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: apt-get install gcc")


def quantized(spec: ModelSpec, seed: int = 7, gain: float = 1.5, sensor: Sensor | None = None):
    return quantize(random_model(spec, seed, gain), random_series(1, 8, 50, spec.input_size), sensor=sensor)


def metadata(channels: int = 1, classes: int = 2, **changes) -> Metadata:
    described = Metadata(
        name="toy",
        labels=tuple(f"class {k}" for k in range(classes)),
        channels=tuple(f"channel {k}" for k in range(channels)),
        units=("g",) * channels,
        sample_rate_hz=50.0,
        mean=tuple(0.25 * k for k in range(channels)),
        std=tuple(1.0 + k for k in range(channels)),
    )
    return replace(described, **changes)


@pytest.mark.parametrize("form", ["fast", "small"])
def test_a_million_random_and_saturating_steps_equal_the_reference(form, tmp_path):
    compiled = CModel(reference_student("A"), tmp_path, SMALL if form == "small" else ())
    assert_equal_on_hard_states(compiled, "i16", steps=900_000)
    assert_equal_on_hard_states(compiled, "i8", steps=100_000, seed=4)


@FORMS
@pytest.mark.parametrize(
    "spec",
    [ModelSpec(6, 16, 6), ModelSpec(3, 5, 4, num_layers=3), ModelSpec(1, 8, 2, kind="gru"), ModelSpec(4, 9, 5, 2, "gru")],
    ids=str,
)
def test_steps_of_other_shapes_equal_the_reference(spec, flags, tmp_path):
    compiled = CModel(quantized(spec), tmp_path, flags)
    assert_equal_on_hard_states(compiled, "i16", steps=50_000)
    assert_equal_on_hard_states(compiled, "i8", steps=50_000)


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("spec", [ModelSpec(1, 8, 2), ModelSpec(6, 16, 6, num_layers=2), ModelSpec(2, 7, 3, kind="gru")], ids=str)
def test_steps_equal_tflite_micro(spec, interface, tmp_path):
    model = quantized(spec)
    compiled = CModel(model, tmp_path)
    suffix = {"int8": "i8", "int16x8": "i16"}[interface]
    micro = MicroStep(write_tflite(model, None, interface=interface))
    generator = np.random.default_rng(5)
    x_width, *state_widths = step_widths(spec)
    x = hard_values(generator, (600, x_width), {"i8": np.int8, "i16": np.int16}[suffix])
    states = hard_values(generator, (600, compiled.state_width), np.int16)
    logits, after = compiled.each(suffix, x, states)
    count, units = spec.num_layers, spec.hidden_size
    kinds = len(state_widths) // count
    for n in range(600):
        parts = states[n].reshape(kinds, count, units)
        in_order = [parts[kind, layer][None] for layer in range(count) for kind in range(kinds)]
        expected_logits, *expected_states = micro([x[n : n + 1], *in_order])
        np.testing.assert_array_equal(logits[n], expected_logits[0])
        got = after[n].reshape(kinds, count, units)
        for position, expected in enumerate(expected_states):
            np.testing.assert_array_equal(got[position % kinds, position // kinds], expected[0])


@pytest.mark.parametrize("name", ["A", "B"])
def test_a_stream_of_ten_thousand_steps_equals_the_reference(name, tmp_path):
    model = reference_student(name)
    compiled, runner = CModel(model, tmp_path), integer_classifier(model)
    series = random_series(9, 1, 10_000, model.input_size)
    for suffix, interface in (("i16", "int16x8"), ("i8", "int8"))[: 2 if name == "A" else 1]:
        x = runner.quantize_input(series, interface)
        runner.reset()
        np.testing.assert_array_equal(compiled.stream(suffix, x[0]), runner.run(x)[0])


@pytest.mark.parametrize("dataset", ["BasicMotions", "GunPoint", "ItalyPowerDemand", "ArrowHead", "OSULeaf", "UnitTest"])
def test_the_bundled_test_sets_streamed_equal_the_reference(dataset, tmp_path):
    data = load_dataset(dataset)
    mean, std = data.x_train.mean((0, 1)), data.x_train.std((0, 1))
    x_train, x_test = (data.x_train - mean) / std, (data.x_test - mean) / std
    model = quantize(random_model(ModelSpec(x_train.shape[2], 8, len(data.labels)), seed=2, gain=1.5), x_train[:64])
    compiled, runner = CModel(model, tmp_path), integer_classifier(model, len(x_test))
    x = runner.quantize_input(x_test.astype(np.float32))
    states = np.zeros((len(x), compiled.state_width), np.int16)
    for sample in np.moveaxis(x, 1, 0):
        logits, states = compiled.each("i16", sample, states)
        np.testing.assert_array_equal(logits, runner.step(sample))
    np.testing.assert_array_equal(states, np.concatenate([*runner.h, *runner.c], axis=1))


@hypothesis_settings(deadline=None, max_examples=10)
@given(
    kind=st.sampled_from(["lstm", "gru"]),
    units=st.integers(1, 64),
    channels=st.integers(1, 16),
    classes=st.integers(2, 60),
    layers=st.integers(1, 3),
    gain=st.floats(0.05, 4),
    peak=st.floats(0.01, 3000),
    seed=st.integers(0, 2**31),
    flags=st.sampled_from([(), MEDIUM, SMALL]),
)
def test_every_size_equals_the_reference(tmp_path_factory, kind, units, channels, classes, layers, gain, peak, seed, flags):
    x = random_series(seed, 1, 30, channels) * np.float32(peak / 3)
    model = quantize(random_model(ModelSpec(channels, units, classes, layers, kind), seed, gain), x)
    compiled = CModel(model, tmp_path_factory.mktemp("c"), flags)
    assert_equal_on_hard_states(compiled, "i16", steps=400, seed=seed)
    assert_equal_on_hard_states(compiled, "i8", steps=400, seed=seed)


@FORMS
@pytest.mark.parametrize("cell_shift", [-2, -1, 1, 2, 3])
def test_every_scale_of_the_cell_equals_the_reference(cell_shift, flags, tmp_path):
    weights = FloatModel.from_model(random_model(ModelSpec(1, 8, 2), seed=3, gain=1.5))
    settings = replace(first_settings(weights, random_series(1, 4, 50, 1)), cell_shift=cell_shift)
    assert_equal_on_hard_states(CModel(quantize_nearest(weights, settings), tmp_path, flags), "i16", steps=50_000)


def test_a_model_whose_gates_leave_the_tables_range_is_clamped_and_equals_the_reference(tmp_path):
    # A large input scale and large weights: the factor of the pre-activations nears 1.
    spec = ModelSpec(2, 40, 2)
    model = quantize(random_model(spec, seed=1, gain=60.0), random_series(1, 2, 20, 2) * np.float32(1000))
    assert re.search(r"gates0 = \{gates0_weights, \d+, \d+, 1, [01]\}", emit_c(model, None, "demo")["demo.c"])
    assert_equal_on_hard_states(CModel(model, tmp_path), "i16", steps=20_000)


# ---- the other entry points ----


def test_float_samples_are_normalised_and_quantised_as_the_reference_does(tmp_path):
    model = quantized(ModelSpec(2, 6, 3))
    described = metadata(2, 3)
    library = compile_library(tmp_path, write(tmp_path, emit_c(model, described, "demo")))
    physical = np.random.default_rng(0).normal(0, 4, (200, 2)).astype(np.float32)
    physical[3:7] = [[np.inf, 1], [-np.inf, 1], [1e30, -1e30], [0.25, 0.25]]
    normalised = (physical - np.array(described.mean, np.float32)) / np.array(described.std, np.float32)
    runner = integer_classifier(model)
    state, logits = np.zeros(12 * 2, np.int16), np.zeros(3, np.float32)
    for t in range(len(physical)):
        library.demo_step_f32(pointer(state), pointer(physical[t]), pointer(logits))
        expected = runner.step(runner.quantize_input(normalised[t][None]))[0] * model.head.out_scale
        np.testing.assert_array_equal(logits, expected.astype(np.float32))


def test_nan_counts_as_the_mean(tmp_path):
    library = compile_library(tmp_path, write(tmp_path, emit_c(quantized(ModelSpec(1, 4, 2)), metadata(mean=(5.0,)), "demo")))
    answers = []
    for value in (np.nan, 5.0):
        state, logits = np.zeros(8, np.int16), np.zeros(2, np.float32)
        library.demo_step_f32(pointer(state), pointer(np.array([value], np.float32)), pointer(logits))
        answers.append((logits.tolist(), state.tolist()))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("suffix", ["i8", "i16", "f32"])
def test_a_window_is_the_stream_from_reset(suffix, tmp_path):
    compiled = CModel(quantized(ModelSpec(2, 5, 4)), tmp_path)
    dtype = {"i8": np.int8, "i16": np.int16, "f32": np.float32}[suffix]
    generator = np.random.default_rng(8)
    x = generator.normal(size=(30, 2)).astype(dtype) if suffix == "f32" else hard_values(generator, (30, 2), dtype)
    state, logits = np.full(compiled.state_width, 77, np.int16), np.zeros(4, dtype)
    getattr(compiled.library, f"demo_window_{suffix}")(pointer(state), pointer(x), 30, pointer(logits))
    np.testing.assert_array_equal(logits, compiled.stream(suffix, x)[-1])


@pytest.mark.parametrize(("logits", "best"), [([3, 9, 9, -1], 1), ([-128, -128, -128, -128], 0), ([-5, -4, -3, -2], 3)])
def test_argmax_takes_the_first_largest(logits, best, tmp_path):
    library = CModel(quantized(ModelSpec(1, 2, 4)), tmp_path).library
    for suffix, dtype in (("i8", np.int8), ("i16", np.int16), ("f32", np.float32)):
        assert getattr(library, f"demo_argmax_{suffix}")(pointer(np.array(logits, dtype))) == best


def test_init_and_reset_make_the_zero_state(tmp_path):
    compiled = CModel(quantized(ModelSpec(1, 3, 2, num_layers=2)), tmp_path)
    for function in ("demo_init", "demo_reset"):
        state = np.full(compiled.state_width, -1, np.int16)
        getattr(compiled.library, function)(pointer(state))
        assert not state.any()


def test_a_saved_state_continues_the_stream(tmp_path):
    compiled = CModel(quantized(ModelSpec(1, 4, 2)), tmp_path)
    x = hard_values(np.random.default_rng(1), (40, 1), np.int16)
    whole = compiled.stream("i16", x)
    state, saved = np.zeros(8, np.int16), np.zeros(16 + 12, np.uint8)
    logits = np.zeros((40, 2), np.int16)
    compiled.library.stream_i16(20, pointer(x), pointer(state), pointer(logits))
    compiled.library.demo_state_save(pointer(state), pointer(saved))
    awake = np.full(8, 99, np.int16)
    assert compiled.library.demo_state_load(pointer(awake), pointer(saved)) == 0
    compiled.library.stream_i16(20, pointer(x[20:]), pointer(awake), pointer(logits[20:]))
    np.testing.assert_array_equal(logits, whole)


def test_a_saved_state_that_is_damaged_or_of_another_model_is_refused_and_changes_nothing(tmp_path):
    compiled = CModel(quantized(ModelSpec(1, 4, 2)), tmp_path / "one")
    other = CModel(quantized(ModelSpec(1, 4, 2), seed=8), tmp_path / "other")
    state, saved = np.arange(8, dtype=np.int16), np.zeros(28, np.uint8)
    compiled.library.demo_state_save(pointer(state), pointer(saved))
    target = np.full(8, 5, np.int16)

    def load(library: ctypes.CDLL, data: np.ndarray) -> int:
        return library.demo_state_load(pointer(target), pointer(data))

    assert load(other.library, saved) == -2
    assert load(compiled.library, np.zeros(28, np.uint8)) == -1
    for position in range(28):
        damaged = saved.copy()
        damaged[position] ^= 0x10
        assert load(compiled.library, damaged) == (-1 if position < 4 else -2 if position < 8 else -3)
    assert (target == 5).all()
    assert load(compiled.library, saved) == 0
    np.testing.assert_array_equal(target, state)


def test_two_models_live_in_one_program(tmp_path):
    one, two = quantized(ModelSpec(1, 4, 2)), quantized(ModelSpec(3, 6, 5), seed=9)
    files = emit_c(one, None, "first") | emit_c(two, None, "second")
    library = compile_library(tmp_path, write(tmp_path, files))
    for name, model in (("first", one), ("second", two)):
        x = hard_values(np.random.default_rng(3), (1, model.input_size), np.int16)
        state, logits = np.zeros(2 * model.hidden_size, np.int16), np.zeros(model.num_classes, np.int16)
        getattr(library, f"{name}_step_i16")(pointer(state), pointer(x), pointer(logits))
        np.testing.assert_array_equal(logits, integer_classifier(model).step(x)[0])


# ---- models that take a sensor's counts ----


def sensor(resampling: Resampling | None = None) -> Sensor:
    return Sensor((2000.0, -350.5), (0.3, -8.0), (0.9, 14.0), resampling or Resampling())


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_counts_go_through_the_integer_front_end(kind, tmp_path):
    model = quantized(ModelSpec(2, 6, 3, kind=kind), sensor=sensor())
    compiled, front_end, runner = CModel(model, tmp_path), IntegerFrontEnd(model.raw), integer_classifier(model)
    counts = hard_values(np.random.default_rng(4), (2000, 2), np.int16)
    wide, narrow = [], []
    for sample in counts:
        logits = runner.step(front_end.normalise(sample[None]))
        wide.append(logits[0])
        narrow.append(runner.narrow(logits)[0])
    np.testing.assert_array_equal(compiled.stream("i16", counts), wide)
    # the int8 entry of such a model takes int16 counts, too
    state, logits8 = np.zeros(compiled.state_width, np.int16), np.zeros((2000, 3), np.int8)
    compiled.library.stream_i8(2000, pointer(counts), pointer(state), pointer(logits8))
    np.testing.assert_array_equal(logits8, narrow)


def test_counts_equal_tflite_micro(tmp_path):
    spec = ModelSpec(2, 6, 3)
    model = quantized(spec, sensor=sensor())
    compiled = CModel(model, tmp_path)
    micro = MicroStep(write_tflite(model, None, interface="int16x8"))
    counts = hard_values(np.random.default_rng(4), (400, 2), np.int16)
    states = [np.zeros((1, 6), np.int16)] * 2
    logits = compiled.stream("i16", counts)
    for t in range(400):
        expected, *states = micro([counts[t : t + 1], *states])
        np.testing.assert_array_equal(logits[t], expected[0])


@pytest.mark.parametrize("factor", [2, 5])
def test_take_filters_and_decimates_as_the_reference_front_end(factor, tmp_path):
    taps = np.hanning(2 * factor + 3)[1:-1]
    resampling = Resampling("decimate", factor=factor, taps=tuple(taps / taps.sum()))
    model = quantized(ModelSpec(2, 6, 3), sensor=sensor(resampling))
    described = metadata(2, 3, resampling=resampling)
    folder = write(tmp_path, emit_c(model, described, "demo"))
    library = compile_library(tmp_path, folder)
    front_end, runner = IntegerFrontEnd(model.raw), integer_classifier(model)
    size = int(re.search(r"DEMO_STATE_BYTES (\d+)", (tmp_path / "demo.h").read_text())[1])
    state, logits, logits8 = np.zeros(size, np.uint8), np.zeros(3, np.int16), np.zeros(3, np.int8)
    second = state.copy()
    for round_ in range(2):  # the second round starts from a reset
        front_end.reset()
        runner.reset()
        library.demo_reset(pointer(state))
        second[:] = state
        for sample in hard_values(np.random.default_rng(round_), (300, 2), np.int16):
            x = front_end.push(sample[None])
            written = library.demo_take_i16(pointer(state), pointer(sample), pointer(logits))
            assert library.demo_take_i8(pointer(second), pointer(sample), pointer(logits8)) == written
            assert written == (x is not None)
            if x is not None:
                expected = runner.step(x)
                np.testing.assert_array_equal(logits, expected[0])
                np.testing.assert_array_equal(logits8, runner.narrow(expected)[0])


# ---- header and refusals ----


def test_the_header_states_sizes_signal_and_provenance():
    described = metadata(
        labels=("quiet", 'a "b" ?? \\ ü'),
        warm_up=12,
        reset=Reset.EVENT,
        run_id="gunpoint-3",
        dataset="Gun*/Point",
        dataset_sha256="ab" * 32,
        version="1.2.3",
        accuracy=0.9731,
    )
    header = emit_c(quantized(ModelSpec(1, 8, 2)), described, "demo")["demo.h"]
    for line in (
        "#define DEMO_CHANNELS 1",
        "#define DEMO_CLASSES 2",
        "#define DEMO_HIDDEN 8",
        "#define DEMO_STATE_BYTES 32",
        "#define DEMO_SAVE_BYTES 44",
        "#define DEMO_SAMPLE_RATE_HZ 50.0f",
        "#define DEMO_WARM_UP 12",
        '#define DEMO_RUN "gunpoint-3"',
        f'#define DEMO_DATASET_SHA256 "{"ab" * 32}"',
    ):
        assert line in header
    assert "It decides at every sample after the first 12 samples." in header
    assert "Gun* /Point" in header


def test_labels_come_out_as_they_were(tmp_path):
    labels = ("quiet", 'a "b" ??/ \\ ü\n', "100%")
    files = emit_c(quantized(ModelSpec(1, 2, 3)), metadata(classes=3, labels=labels), "demo")
    library = compile_library(tmp_path, write(tmp_path, files))
    table = (ctypes.c_char_p * 3).in_dll(library, "demo_labels")
    assert tuple(text.decode() for text in table) == labels


@pytest.mark.parametrize("name", ["", "Demo", "2d", "a-b", "int", "memkd_x", "a" * 60])
def test_a_name_that_c_cannot_take_is_refused(name):
    with pytest.raises(UsageError, match="cannot name an exported model"):
        emit_c(quantized(ModelSpec(1, 2, 2)), None, name)


def test_metadata_of_another_model_is_refused():
    with pytest.raises(UsageError, match="2 channels and 2 classes, the model has 1 and 2"):
        emit_c(quantized(ModelSpec(1, 2, 2)), metadata(channels=2), "demo")


def test_scales_that_the_runtime_does_not_compute_with_are_refused():
    model = quantized(ModelSpec(1, 2, 2))
    layer = replace(model.layers[0], cell_rescale=Multiplier(1 << 30, -18))
    with pytest.raises(UsageError, match="SPEC"):
        emit_c(replace(model, layers=(layer,)), None, "demo")
