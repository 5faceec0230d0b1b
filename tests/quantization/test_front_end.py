# SPDX-License-Identifier: Apache-2.0
"""`--input raw`: sensor counts to logits, all in integers."""

import numpy as np
import pytest
import torch

from memkd_edge.data.resampling import low_pass, resample
from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata, Resampling
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.integer_model import Multiplier, RawInput
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd, Sensor, raw_input
from memkd_edge.writers.c_text import runtime_files
from memkd_edge.writers.tflite import write_tflite, write_tflite_float
from tests.quantization.helpers import (
    RESOLVERS,
    LiteRtStep,
    MicroStep,
    hard_states,
    random_model,
    random_series,
    reference_step,
    step_widths,
)
from tests.writers.c_library import compile_library, pointer, write

SPEC = ModelSpec(3, 6, 4)
# An accelerometer that sees gravity on one axis, and a gyroscope whose counts are far finer for its signal.
SENSOR = Sensor(counts_per_unit=(2048.0, 2048.0, -131.0), mean=(0.1, 9.3 / 9.81, 3.5), std=(0.3, 0.05, 90.0))


def counts_of(normalised: np.ndarray) -> np.ndarray:
    physical = normalised * np.array(SENSOR.std) + np.array(SENSOR.mean)
    return np.clip(np.round(physical * np.array(SENSOR.counts_per_unit)), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("runtime", [*RESOLVERS, "tflite-micro"])
@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_raw_file_equals_front_end_and_reference(kind, interface, runtime):
    spec = ModelSpec(3, 6, 4, kind=kind)
    q = quantize(random_model(spec, 1), random_series(1, 8, 50, 3), sensor=SENSOR)
    assert q.raw is not None
    file = write_tflite(q, None, interface=interface)
    step = MicroStep(file) if runtime == "tflite-micro" else LiteRtStep(file, runtime, spec)
    runner, front_end = integer_classifier(q), IntegerFrontEnd(q.raw)
    for counts, *states in hard_states(2, 400, step_widths(spec), np.int16):
        logits, *next_states = reference_step(runner, [front_end.normalise(counts), *states])
        expected = [runner.narrow(logits) if interface == "int8" else logits, *next_states]
        for want, got in zip(expected, step([counts, *states]), strict=True):
            np.testing.assert_array_equal(got, want)


def test_counts_give_the_logits_of_the_normalised_signal():
    x = random_series(4, 6, 120, 3)
    model = random_model(SPEC, 3)
    q = quantize(model, x, sensor=SENSOR)
    runner = integer_classifier(q, len(x))
    front_end = IntegerFrontEnd(q.raw)
    for sample in np.moveaxis(counts_of(x), 1, 0):
        logits = runner.step(front_end.push(sample))
    with torch.no_grad():
        expected = model(torch.from_numpy(x))[0].numpy()
    assert np.abs(logits * q.head.out_scale - expected).mean() < 0.02


@pytest.mark.parametrize("shift", [1, 2, 7, 15])
def test_c_normalises_every_count_as_the_reference(shift, tmp_path, require_tool):
    require_tool("gcc", package="gcc")
    source = """#include "memkd_front_end.h"
void every(const int16_t *counts, int n, int16_t offset, int16_t gain, int shift, int16_t *out);
void every(const int16_t *counts, int n, int16_t offset, int16_t gain, int shift, int16_t *out) {
    for (int k = 0; k < n; k++) {
        out[k] = memkd_normalise(counts[k], offset, gain, shift);
    }
}
"""
    files = {"every.c": source, **runtime_files(["memkd_front_end.h", "memkd_port.h"])}
    library = compile_library(tmp_path, write(tmp_path, files))
    counts = np.arange(-32768, 32768).astype(np.int16)
    for offset, gain in ((0, 1), (0, -1), (5, 3), (-1000, -16384), (32767, 32767), (-7, 20000)):
        one = np.array([1 << 15], np.int32)
        raw = RawInput((1.0,), np.int16([offset]), np.int16([gain]), Multiplier(1 << 30, 1 - shift), one, 1)
        found = np.empty(len(counts), np.int16)
        library.every(pointer(counts), len(counts), offset, gain, shift, pointer(found))
        np.testing.assert_array_equal(found, IntegerFrontEnd(raw).normalise(counts[:, None])[:, 0])


def test_a_mean_between_two_counts_is_kept():
    coarse = Sensor(counts_per_unit=(1.0,), mean=(20.5,), std=(1.0,))
    model, x = random_model(ModelSpec(1, 4, 2), 5), random_series(6, 4, 50, 1)
    with_sensor = quantize(model, x, sensor=coarse)
    without = quantize(model, x)
    one = with_sensor.raw
    assert one is not None
    # At 20 counts the normalised input is -0.5.
    first = integer_classifier(with_sensor).step(IntegerFrontEnd(one).normalise(np.array([[20]], np.int16)))
    runner = integer_classifier(without)
    second = runner.step(runner.quantize_input(np.array([[-0.5]], np.float32)))
    assert np.abs(first * with_sensor.head.out_scale - second * without.head.out_scale).max() < 2e-3


def test_the_integer_low_pass_follows_the_float_one_and_passes_a_constant_unchanged():
    resampling = Resampling("decimate", 200, 50, 4, low_pass(4))
    raw = raw_input(Sensor((1000.0, 1000.0), (0.0, 0.0), (8.0, 8.0), resampling), 2.0**-12)
    signal = np.random.default_rng(0).integers(-9000, 9000, (3, 200, 2)).astype(np.int16)
    signal[:, :, 1] = 1234
    front_end = IntegerFrontEnd(raw)
    outputs = [front_end.push(sample) for sample in np.moveaxis(signal, 1, 0)]
    assert [index for index, output in enumerate(outputs) if output is not None] == list(range(3, 200, 4))
    kept = np.stack([output for output in outputs if output is not None], axis=1)
    expected = resample(signal.astype(np.float32), resampling) / 1000 / 8
    assert np.abs(kept * 2.0**-12 - expected).max() < 2 * 2.0**-12 + 1.5 / 1000 / 8
    assert len(np.unique(kept[:, :, 1])) == 1


def test_the_accumulator_of_the_low_pass_fits_32_bits():
    for factor in range(2, 40):
        raw = raw_input(Sensor((1.0,), (0.0,), (100.0,), Resampling("decimate", 999, 9, factor, low_pass(factor))), 2.0**-12)
        assert raw.taps.sum() == 1 << 15
        assert np.abs(raw.taps).sum() * 32768 + (1 << 14) < 1 << 31


def test_the_float_file_takes_physical_units():
    metadata = Metadata("test", ("a", "b", "c", "d"), ("x", "y", "z"), ("g", "g", "dps"), 50.0, SENSOR.mean, SENSOR.std)
    model, x = random_model(SPEC, 3), random_series(4, 1, 40, 3)
    step = LiteRtStep(write_tflite_float(model, metadata, physical=True), "builtin", SPEC)
    state = [np.zeros((1, 6), np.float32)] * 2
    for sample in np.moveaxis(x, 1, 0):
        logits, *state = step([(sample * np.array(SENSOR.std) + np.array(SENSOR.mean)).astype(np.float32), *state])
    with torch.no_grad():
        np.testing.assert_allclose(logits, model(torch.from_numpy(x))[0].numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts_per_unit": (1.0, 1.0)}, "gives 2 values and the model has 3 channels"),
        ({"counts_per_unit": (1.0, 0.0, 1.0)}, "other than 0"),
        ({"counts_per_unit": (1.0, float("nan"), 1.0)}, "other than 0"),
        ({"counts_per_unit": (1e-6, 1e-6, 1e-6)}, "standard deviations"),
        ({"counts_per_unit": (1e12, 1e12, 1e12)}, "standard deviations"),
        ({"counts_per_unit": (1.0, 20000.0, 1.0)}, "times finer"),
        ({"resampling": Resampling("linear", 100, 50)}, "decimate:FACTOR"),
    ],
)
def test_a_sensor_that_16_bits_cannot_serve_is_refused(changes, message):
    settings = {"counts_per_unit": (2048.0, 2048.0, 131.0), "mean": (0.0,) * 3, "std": (1.0, 1.0, 16.0)} | changes
    with pytest.raises(UsageError, match=message):
        raw_input(Sensor(**settings), 2.0**-13)
