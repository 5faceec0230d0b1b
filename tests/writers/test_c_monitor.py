# SPDX-License-Identifier: Apache-2.0
"""The input monitor of the generated C, Python and their definition: the same readings, and faults that they notice."""

import ctypes
import dataclasses
import math

import numpy as np
import pytest

from memkd_edge.metadata import SignalRange
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.sensor_front_end import Sensor
from memkd_edge.signal_limits import Odd, limits
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.writers.c_float import emit_c_float
from memkd_edge.writers.c_integer import emit_c
from memkd_edge.writers.onnx import write_onnx_step
from memkd_edge.writers.tflite import write_tflite
from tests.writers import toy
from tests.writers.c_library import compile_library, pointer, write

USUAL = SignalRange(128, (-0.3, -0.2, -0.4), (0.3, 0.4, 0.2), (0.5, 0.6, 0.7), (1.3, 1.2, 1.4), 0.1, 1.6)


class Reading(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in ("mean", "deviation", "change")] + [
        (name, ctypes.c_uint16) for name in ("rails", "odd")
    ]


@pytest.fixture(autouse=True)
def compiler(require_tool):
    require_tool("gcc", package="gcc")


@pytest.fixture(scope="module")
def integers():
    return quantize(toy.student(), toy.series())


@pytest.fixture
def described():
    return dataclasses.replace(toy.metadata(), usual=USUAL)


def signal(steps, channels=3, seed=0):
    """Normalised [T, C]: slow, still, wild, fast and plain stretches."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((steps, channels)).cumsum(0) * 0.1
    x[steps // 4 : steps // 3] = 0.7
    x[steps // 2 : 5 * steps // 8] = 20 * random.standard_normal((5 * steps // 8 - steps // 2, channels))
    x[5 * steps // 8 : 3 * steps // 4] = 1 - 2 * (np.arange(3 * steps // 4 - 5 * steps // 8)[:, None] % 2)
    x[3 * steps // 4 :] = random.standard_normal((steps - 3 * steps // 4, channels))
    return x.astype(np.float32)


def readings_in_c(library, entry, x, channels=3):
    """Every reading of a series [T, C] in the entry's type, and the flags of all channels."""
    memory = np.zeros(4096, np.uint8)
    found = []
    for sample in np.ascontiguousarray(x):
        out = (Reading * channels)()
        odd = getattr(library, f"demo_monitor_{entry}")(pointer(memory), pointer(sample), out)
        if odd >= 0:
            found.append(([[getattr(one, name) for name, _ in Reading._fields_] for one in out], odd))
    return found


def as_in_c(readings):
    return [
        (
            [list(row) for row in zip(one.mean, one.deviation, one.change, one.rails, map(int, one.odd_channels), strict=True)],
            int(one.odd),
        )
        for one in readings
    ]


@pytest.mark.parametrize("entry", ["i8", "i16", "f32"])
def test_c_and_the_streaming_classifier_read_the_same(entry, integers, described, tmp_path):
    library = compile_library(tmp_path, write(tmp_path, emit_c(integers, described, "demo")))
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(integers, described, interface="int8" if entry == "i8" else "int16x8"))
    x = signal(2000)
    scale, zero = (integers.input_scale, integers.input_zero_point_int8) if entry == "i8" else (integers.layers[0].state_scale, 0)
    limits = np.iinfo(np.int8 if entry == "i8" else np.int16)
    q = np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(limits.dtype)
    physical = ((q.astype(np.float64) - zero) * scale * described.std + described.mean).astype(np.float32)
    monitor = StreamingClassifier(path).monitor()
    found = as_in_c(monitor.stream(physical[:300])) + as_in_c(monitor.stream(physical[300:]))
    assert len(found) == 2000 // 128
    assert {flag for _, flags in found for flag in Odd if flags & flag} == set(Odd)
    assert readings_in_c(library, entry, physical if entry == "f32" else q) == found


def test_a_reading_is_what_its_definition_says(integers, described, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(integers, described, interface="int16x8"))
    x = signal(1024)
    monitor = StreamingClassifier(path).monitor()
    found = monitor.stream(x * np.float32(described.std) + np.float32(described.mean))
    scale = integers.layers[0].state_scale
    x = np.clip(x, -32768 * scale, 32767 * scale).astype(np.float64)
    for start, one in zip(range(0, 1024, 128), found, strict=True):
        part = x[start : start + 128]
        changes = np.diff(x[max(start - 1, 0) : start + 128], axis=0)
        np.testing.assert_allclose(np.array(one.mean) / 1024, part.mean(0), atol=1e-3)
        np.testing.assert_allclose(np.array(one.deviation) / 1024, part.std(0), atol=1e-3)
        np.testing.assert_allclose(np.array(one.change) / 1024, np.sqrt((changes**2).sum(0) / 128), atol=1e-3)
        np.testing.assert_array_equal(one.rails, (np.abs(part) >= 32767 * scale).sum(0))
        pace = np.sqrt((changes**2).sum(0) / 128).sum() / max(part.std(0).sum(), 1e-9)
        if not math.isclose(pace, 1.6 * 1.1, rel_tol=0.02) and not math.isclose(pace, 0.1 / 1.1, rel_tol=0.02):
            assert bool(one.odd & Odd.PACE) == (part.std(0).sum() > 0 and not 0.1 / 1.1 <= pace <= 1.6 * 1.1)


def test_usual_is_the_training_signals_range_and_what_a_new_wearer_may_add(described):
    found = limits(described, resampled=True)
    for j in range(3):
        assert np.array(found.mean[j]) / 1024 == pytest.approx((USUAL.mean_low[j] - 0.25, USUAL.mean_high[j] + 0.25), abs=1e-3)
        assert np.array(found.deviation[j]) / 1024 == pytest.approx(
            (USUAL.deviation_low[j] / 1.5, USUAL.deviation_high[j] * 1.5), abs=1e-3
        )
    assert np.array(found.pace) / 1024 == pytest.approx((0.1 / 1.1, 1.6 * 1.1), abs=1e-3)


def test_one_sample_in_64_at_the_rails_is_usual_and_one_more_is_odd(integers, described, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(integers, described, interface="int16x8"))
    library = compile_library(tmp_path, write(tmp_path, emit_c(integers, described, "demo")))
    x = 1000 * np.random.default_rng(0).integers(-3, 4, (2 * 128, 3)).astype(np.int16)
    x[[0, 127], 1] = -32768, 32767
    x[[128, 200, 255], 1] = 32767
    readings = readings_in_c(library, "i16", x)
    assert [[row[3] for row in rows] for rows, _ in readings] == [[0, 2, 0], [0, 3, 0]]
    assert [bool(odd & Odd.RAILS) for _, odd in readings] == [False, True]
    physical = x * np.float32(integers.layers[0].state_scale) * np.float32(described.std) + np.float32(described.mean)
    assert as_in_c(StreamingClassifier(path).monitor().stream(physical)) == readings


def test_too_slow_and_too_fast_are_odd(integers, described, tmp_path):
    library = compile_library(tmp_path, write(tmp_path, emit_c(integers, described, "demo")))
    ramp, plain, turns = np.arange(128) * 60 - 3840, np.arange(128) % 16 * 500 - 3750, np.arange(128) % 2 * 8000 - 4000
    x = np.concatenate([ramp, plain, turns]).astype(np.int16)[:, None].repeat(3, axis=1)
    assert [bool(odd & Odd.PACE) for _, odd in readings_in_c(library, "i16", x)] == [True, False, True]


def test_the_float_student_reads_as_its_onnx_file(described, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(write_onnx_step(toy.student(), described))
    library = compile_library(tmp_path, write(tmp_path, emit_c_float(toy.student(), described, "demo")))
    physical = signal(600) * np.float32(described.std) + np.float32(described.mean)
    assert readings_in_c(library, "f32", physical) == as_in_c(StreamingClassifier(path).monitor().stream(physical))


def test_counts_are_read_as_they_come(described, tmp_path):
    per_unit = (300.0, -250.0, 4000.0)
    metadata = dataclasses.replace(described, input="raw", counts_per_unit=per_unit)
    model = quantize(toy.student(), toy.series(), sensor=Sensor(per_unit, metadata.mean, metadata.std))
    library = compile_library(tmp_path, write(tmp_path, emit_c(model, metadata, "demo")))
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(model, metadata, interface="int8"))
    physical = signal(1500) * np.float32(metadata.std) + np.float32(metadata.mean)
    counts = np.clip(np.round(physical * np.float32(per_unit)), -32768, 32767).astype(np.int16)
    found = as_in_c(StreamingClassifier(path).monitor().stream(counts / np.float32(per_unit)))
    assert readings_in_c(library, "i16", counts) == found
    assert max(row[3] for rows, _ in found for row in rows) > 2


def test_the_memory_begins_anew_and_a_sample_is_no_change(integers, described, tmp_path):
    library = compile_library(tmp_path, write(tmp_path, emit_c(integers, described, "demo")))
    memory = np.full(4096, 7, np.uint8)
    library.demo_monitor_begin(pointer(memory))
    out = (Reading * 3)()
    answers = [library.demo_monitor_i16(pointer(memory), pointer(np.full(3, 3000, np.int16)), out) for _ in range(128)]
    assert answers[:127] == [-1] * 127
    assert [one.change for one in out] == [0, 0, 0]  # the first sample, too
    assert [one.deviation for one in out] == [0, 0, 0]


def test_of_an_older_file_only_the_rails_are_odd(integers, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(integers, toy.metadata(), interface="int8"))
    monitor = StreamingClassifier(path).monitor()
    (found,) = monitor.stream(np.full((2048, 3), 1e6, np.float32))
    assert found.odd == Odd.RAILS
    assert "2048 of 2048 samples at the rails" in found.sentences[0]
