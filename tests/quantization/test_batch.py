# SPDX-License-Identifier: Apache-2.0
"""Many samples at once: compiled and in numpy, against the step-wise reference and the tflite-micro wheel, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.formats.integers import read_integers
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization import batch, compiled
from memkd_edge.quantization.batch import BatchRunner
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.samples import SampleWriter, quantize_array, quantize_sample, quantize_series
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd, Sensor
from memkd_edge.writers.tflite import write_tflite
from tests.quantization.helpers import MicroStep, random_model, random_series

SPECS = {
    "one unit": ModelSpec(1, 1, 2),
    "lstm": ModelSpec(6, 8, 4),
    "two layers": ModelSpec(3, 9, 3, 2),
    "gru": ModelSpec(2, 7, 3, 1, "gru"),
    "gru, two layers": ModelSpec(2, 5, 3, 2, "gru"),
    "gru, large weights": ModelSpec(2, 5, 3, 1, "gru"),
}


@pytest.fixture(scope="module", params=SPECS)
def model(request):
    spec = SPECS[request.param]
    gain = 40.0 if "large" in request.param else 2.0
    return quantize(random_model(spec, 3, gain), random_series(4, 12, 40, spec.input_size))


def _hard_samples(channels: int, seed: int = 0) -> np.ndarray:
    """int16 samples [6, 80, C]: quiet ones, ones over the whole range, and ones at the rails."""
    generator = np.random.default_rng(seed)
    x = generator.integers(-(1 << 15), 1 << 15, (6, 80, channels))
    x[:2] >>= 5
    x[2:4] = np.where(generator.random((2, 80, channels)) < 0.5, -(1 << 15), (1 << 15) - 1)
    return x.astype(np.int16)


def test_compiled_steps_are_the_references_from_any_state(model):
    x = _hard_samples(model.input_size)
    wanted, found = integer_classifier(model, len(x)), integer_classifier(model, len(x))
    for _ in range(2):  # the second time from the state that the first one left
        assert np.array_equal(compiled.run(found, x), wanted.run(x))
        assert all(np.array_equal(one, other) for one, other in zip(found.h, wanted.h, strict=True))
    if hasattr(wanted, "c"):
        assert all(np.array_equal(one, other) for one, other in zip(found.c, wanted.c, strict=True))


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
def test_the_files_integers_are_the_models(model, interface, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(model, None, interface=interface))
    back = read_integers(read_tflite(path))
    assert type(back) is type(model)
    x = random_series(7, 5, 60, model.input_size)
    assert np.array_equal(BatchRunner(back, interface, 5).logits(x), BatchRunner(model, interface, 5).logits(x))


@pytest.mark.parametrize("interface", ["int8", "int16x8"])
@pytest.mark.parametrize("with_numba", [True, False])
def test_logits_are_tflite_micros(model, interface, with_numba, monkeypatch):
    if not with_numba:
        monkeypatch.setattr(batch, "_compiled", lambda: None)
    x = 3 * random_series(8, 1, 60, model.input_size)
    runner = BatchRunner(model, interface)
    found = np.concatenate([runner.logits(x[:, :25]), runner.logits(x[:, 25:])], axis=1)[0]
    step = MicroStep(write_tflite(model, None, interface=interface))
    states = [np.zeros((1, model.hidden_size), np.int16) for _ in runner.reference.states]
    integers = integer_classifier(model).quantize_input(x, interface)[0]
    for t, sample in enumerate(integers):
        logits, *states = step([sample[None], *states])
        assert np.array_equal(found[t], logits[0]), f"sample {t}"


def test_counts_pass_the_sensor_front_end(tmp_path):
    spec = ModelSpec(3, 6, 4)
    sensor = Sensor((2048.0, 2048.0, 16.4), (0.1, -0.2, 5.0), (0.5, 0.4, 60.0))
    q = quantize(random_model(spec, 5), random_series(6, 12, 40, 3), sensor=sensor)
    path = tmp_path / "raw.tflite"
    path.write_bytes(write_tflite(q, None, interface="int16x8"))
    counts = np.random.default_rng(1).integers(-4000, 4000, (2, 50, 3)).astype(np.float32)
    back = read_integers(read_tflite(path))
    assert back.raw is not None
    reference, front_end = integer_classifier(q, 2), IntegerFrontEnd(q.raw)
    wanted = np.stack([reference.step(front_end.normalise(counts[:, t].astype(np.int16))) for t in range(50)], axis=1)
    assert np.array_equal(BatchRunner(back, "int16x8", 2).logits(counts), wanted)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(2.0**-20, 4.0, width=32),
    zero=st.integers(-128, 127),
    gain=st.sampled_from([0.01, 1.0, 300.0]),
    seed=st.integers(0, 999),
)
def test_samples_carry_over_alike_in_all_three_forms(scale, zero, gain, seed):
    x = (gain * np.random.default_rng(seed).normal(size=(2, 40, 3))).astype(np.float32)
    wanted = quantize_series(x, scale, zero)
    rest = np.zeros((2, 3), np.float32)
    cuts = [compiled.carry_over(np.ascontiguousarray(part), np.float32(scale), zero, rest) for part in np.split(x, [11], axis=1)]
    assert np.array_equal(np.concatenate(cuts, axis=1), wanted)
    row, left = np.zeros(3, np.int8), np.zeros(3, np.float32)
    single = SampleWriter(row.data, scale, zero)
    for sample, quantized in zip(x[0], wanted[0], strict=True):
        single.write(sample)
        assert np.array_equal(row, quantized)
        _, left = quantize_sample(sample, left, scale, zero)
        assert np.array_equal(single.rest, left)


@pytest.mark.parametrize("with_numba", [True, False])
def test_decisions_and_scores_are_those_of_every_sample_by_itself(with_numba, monkeypatch):
    if not with_numba:
        monkeypatch.setattr(batch, "_compiled", lambda: None)
    logits = np.random.default_rng(2).integers(-20, 20, (3000, 9)).astype(np.int32)
    exponentials = np.exp(-0.1 * np.arange(256))
    scores = batch.softmax(logits, exponentials)
    np.testing.assert_allclose(scores, torch.softmax(0.1 * torch.from_numpy(logits).double(), dim=1), rtol=1e-6)
    for margin, start in ((0, None), (7, None), (7, 4)):
        held, wanted = start, []
        for row in logits.tolist():
            if held is None or max(row) - row[held] > margin:
                held = row.index(max(row))
            wanted.append(held)
        np.testing.assert_array_equal(batch.held_classes(logits, margin, start), wanted)


BELOW = np.nextafter(np.float32(0.5), np.float32(0))  # float32 rounds the sum of this and 1/2 to 1


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
@pytest.mark.parametrize("zero", [0, -7])
def test_single_samples_are_rounded_and_clamped_as_arrays_are(dtype, zero):
    ends = np.iinfo(dtype)
    reals = [0, BELOW, 0.5, 1.5, 2.5, 1 - BELOW, 126.5, 127.49, 127.5, 2e4 + BELOW, 3e9, 1e30]
    reals += [end - zero + step for end in (ends.min, ends.max) for step in (-1, -0.5, -0.49, 0, 0.49, 0.5, 1)]
    x = np.array([*reals, *(-np.array(reals))], np.float32)
    row = np.zeros(len(x), dtype)
    writer = SampleWriter(row.data, 1.0, zero)
    writer.write(x)
    if dtype == np.int8:
        wanted, left = quantize_sample(x, np.zeros(len(x), np.float32), 1.0, zero)
        assert np.array_equal(writer.rest, left)
    else:
        wanted = quantize_array(x, 1.0, zero)
    assert np.array_equal(row, wanted)
