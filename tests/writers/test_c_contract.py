# SPDX-License-Identifier: Apache-2.0
"""What a model is for, in the generated C: the decisions of `StreamingClassifier` under every contract, sample by sample."""

import dataclasses
import shutil
import zlib
from functools import cache

import numpy as np
import pytest

from experiments.pinned_costs import followed
from memkd_edge.benchmark.emulation.firmware import measure_firmware
from memkd_edge.contract import contract
from memkd_edge.decisions import held_classes
from memkd_edge.metadata import Resampling
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd, Sensor
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.vocabulary import Decision, Reset
from memkd_edge.writers.c_float import emit_c_float
from memkd_edge.writers.c_integer import emit_c
from memkd_edge.writers.onnx import write_onnx_step
from memkd_edge.writers.tflite import write_tflite
from tests.writers import toy
from tests.writers.c_library import compile_library, pointer, write

CONTRACTS = {
    "never": {"reset": Reset.NEVER, "decides": Decision.EVERY_SAMPLE, "decision_margin": 0.6, "warm_up": 7},
    "window end": {"reset": Reset.NEVER, "decides": Decision.WINDOW_END, "window_length": 20, "decision_margin": 0.3},
    "window": {"reset": Reset.WINDOW, "window_length": 30},
    "odd window": {"reset": Reset.WINDOW, "window_length": 13, "decision_margin": 0.25, "warm_up": 4},
    "event": {"reset": Reset.EVENT, "decides": Decision.WINDOW_END, "window_length": 30, "warm_up": 9},
    "refusing": {
        "reset": Reset.NEVER,
        "decides": Decision.EVERY_SAMPLE,
        "decision_margin": 0.3,
        "refuse_below": 0.5,
        "warm_up": 3,
    },
    "refusing window": {"reset": Reset.WINDOW, "window_length": 13, "refuse_below": 0.2},
    "whole series": {"reset": Reset.WINDOW, "window_length": 0},
}
STEPS = 1000


@pytest.fixture(autouse=True)
def compiler(require_tool):
    require_tool("gcc", package="gcc")


@pytest.fixture(scope="module")
def student():
    return toy.student()


@pytest.fixture(scope="module")
def integers(student):
    return quantize(student, toy.series())


def described(name):
    return dataclasses.replace(toy.metadata(), **CONTRACTS[name])


def slow_signal(steps, channels=3, seed=5):
    """Normalised samples [T, C] that stay long enough near one value for a decision to settle."""
    generator = np.random.default_rng(seed)
    levels = np.repeat(generator.standard_normal((steps // 25 + 1, channels)) * 1.5, 25, axis=0)[:steps]
    return (levels + 0.3 * generator.standard_normal((steps, channels))).astype(np.float32)


def samples(integers, metadata, form):
    """Return a stream as integers that `form` takes, and the physical units that it stands for, both [T, C]."""
    x = slow_signal(STEPS)
    if form == "i8":
        scale, zero = integers.input_scale, integers.input_zero_point_int8
        q = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
    else:
        scale, zero = integers.layers[0].state_scale, 0
        q = np.clip(np.round(x / scale), -32768, 32767).astype(np.int16)
    physical = (q.astype(np.float64) - zero) * scale * np.array(metadata.std) + np.array(metadata.mean)
    return q, physical.astype(np.float32)


class Stream:
    """A stream of the generated C, in this process."""

    def __init__(self, library, entry):
        self.library, self.entry = library, entry
        self.memory = np.zeros(4096, np.uint8)

    def call(self, function, *arguments):
        return getattr(self.library, f"demo_{function}")(pointer(self.memory), *arguments)

    def push(self, series):
        """The answers to a series [T, C]."""
        return np.array([self.call(f"push_{self.entry}", pointer(np.ascontiguousarray(sample))) for sample in series])


def compiled(folder, sources):
    return compile_library(folder, write(folder, sources))


@pytest.fixture(scope="module")
def library(integers, tmp_path_factory):
    """Return a function that compiles the model under a contract, once."""
    folder = tmp_path_factory.mktemp("c")
    return cache(lambda name: compiled(folder / name, emit_c(integers, described(name), "demo")))


@pytest.fixture(scope="module")
def file(integers, tmp_path_factory):
    """Return a function that writes the .tflite of a contract, once."""

    def write_file(name, interface):
        path = tmp_path_factory.mktemp("file") / "model.tflite"
        path.write_bytes(write_tflite(integers, described(name), interface=interface))
        return path

    return cache(write_file)


@pytest.fixture
def file_and_c(integers, library, file):
    """Return a function: contract and entry -> the classifier of the file, the stream in C, samples for C, for the file."""

    def make(name, entry):
        x, physical = samples(integers, described(name), entry)
        classifier = StreamingClassifier(file(name, "int8" if entry == "i8" else "int16x8"))
        return classifier, Stream(library(name), entry), physical if entry == "f32" else x, physical

    return make


@pytest.mark.parametrize("entry", ["i8", "i16", "f32"])
@pytest.mark.parametrize("name", CONTRACTS)
def test_c_decides_as_the_streaming_classifier(name, entry, file_and_c):
    classifier, stream, x, physical = file_and_c(name, entry)
    expected = classifier.stream(physical).decisions
    assert len(np.unique(expected)) >= 3
    np.testing.assert_array_equal(stream.push(x), expected)  # all zero is a stream that begins
    stream.call("begin")
    classifier.reset()
    np.testing.assert_array_equal(stream.push(x[:200]), classifier.stream(physical[:200]).decisions)


@pytest.mark.parametrize("name", CONTRACTS)
def test_not_yet_is_as_long_as_the_header_says(name, file_and_c):
    _, stream, x, _ = file_and_c(name, "i16")
    not_yet = contract(described(name), resampled=True).not_yet
    np.testing.assert_array_equal(np.flatnonzero(stream.push(x[:100]) == -1), np.arange(not_yet))


@pytest.mark.parametrize("entry", ["i8", "i16", "f32"])
@pytest.mark.parametrize("name", CONTRACTS)
def test_a_gap_is_filled_or_begins_anew(name, entry, file_and_c):
    classifier, stream, x, physical = file_and_c(name, entry)
    limit = classifier.metadata.hold_limit
    assert limit == 10
    stream.call("gap", limit)  # before the first sample there is nothing to hold
    at = 0
    for missing in (1, limit, limit + 1, 3, 2**32 - 1, limit):
        part = slice(at, at + 77)
        np.testing.assert_array_equal(stream.push(x[part]), classifier.stream(physical[part]).decisions)
        stream.call("gap", missing)
        classifier.gap(missing if missing < 1000 else limit + 1)
        at += 77 + missing % 7
    np.testing.assert_array_equal(stream.push(x[at:]), classifier.stream(physical[at:]).decisions)


def test_missing_samples_one_by_one_are_one_gap(file_and_c):
    _, stream, x, _ = file_and_c("never", "i16")
    stream.push(x[:50])
    for _ in range(10):
        stream.call("gap", 1)
    assert stream.push(x[50:51])[0] >= 0
    for _ in range(11):
        stream.call("gap", 1)
    assert stream.push(x[51:52])[0] == -1


@pytest.mark.parametrize(("entry", "dtype"), [("i8", np.int8), ("i16", np.int16)])
def test_decide_is_the_margin_rule_in_whole_steps(entry, dtype, integers, library):
    scale = integers.logit_scale_int8 if entry == "i8" else integers.head.out_scale
    margin = round(0.6 / scale)
    limits = np.iinfo(dtype)
    rows = np.array(
        [[0, margin, 0, 0], [0, margin + 1, 0, 0], [0, 2, 2, 1], [limits.max, limits.min, limits.max, 0], [limits.min] * 4], dtype
    )
    generator = np.random.default_rng(1)
    near = generator.integers(-2, 3, (500, 4)) + margin * generator.integers(0, 2, (500, 4))
    rows = np.concatenate([rows, near.clip(limits.min, limits.max).astype(dtype)])
    decide = getattr(library("never"), f"demo_decide_{entry}")
    assert [decide(0, pointer(rows[k].copy())) for k in (0, 1, 2)] == [0, 1, 0]
    for row in rows:
        for held in range(-1, 4):
            expected = held_classes(row[None].astype(np.int64), margin, None if held < 0 else held)[0]
            assert decide(held, pointer(row.copy())) == expected, (row, held)


@pytest.mark.parametrize(("entry", "dtype"), [("i8", np.int8), ("i16", np.int16)])
def test_the_answer_is_none_below_a_lead_in_whole_steps(entry, dtype, integers, library):
    floor = round(0.5 / (integers.logit_scale_int8 if entry == "i8" else integers.head.out_scale))
    refuse = getattr(library("refusing"), f"demo_refuse_{entry}")
    limits = np.iinfo(dtype)
    for lead in (floor - 1, floor, floor + 1, -1):
        for held in range(4):
            logits = np.full(4, 3, dtype)
            logits[held] += lead
            assert refuse(held, pointer(logits)) == (lead < floor)
            logits[:] = limits.min
            logits[held] = limits.max
            assert refuse(held, pointer(logits)) == 0
    assert refuse(0, pointer(np.array([limits.min, 0, 0, limits.max], dtype))) == 1


def test_the_float_student_decides_as_its_onnx_file(student, tmp_path):
    for name in ("refusing", "odd window"):
        metadata = described(name)
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(write_onnx_step(student, metadata))
        x = slow_signal(400) * np.float32(metadata.std) + np.float32(metadata.mean)
        stream = Stream(compiled(tmp_path / name, emit_c_float(student, metadata, "demo")), "f32")
        np.testing.assert_array_equal(stream.push(x), StreamingClassifier(path).stream(x).decisions)


# ---- counts: every state has a low-pass filter of its own ----

COUNTS = {
    "never": {"reset": Reset.NEVER, "decides": Decision.EVERY_SAMPLE, "decision_margin": 0.2, "warm_up": 7},
    "window end": {"reset": Reset.NEVER, "decides": Decision.WINDOW_END, "window_length": 12},
    "odd window end": {"reset": Reset.NEVER, "decides": Decision.WINDOW_END, "window_length": 13},
    "window": {"reset": Reset.WINDOW, "window_length": 31, "decision_margin": 0.1},
    "event": {"reset": Reset.EVENT},
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("factor", [1, 3])
def test_a_model_for_counts_keeps_its_contract_in_samples_of_the_sensor(name, factor, tmp_path):
    resampling = Resampling("decimate", factor=factor, taps=(0.25, 0.5, 0.25)) if factor > 1 else Resampling()
    metadata = dataclasses.replace(toy.metadata(2, 3), resampling=resampling, **COUNTS[name])
    sensor = Sensor((100.0, 250.0), metadata.mean, metadata.std, resampling)
    model = quantize(toy.student("lstm", 2, 6, 3), toy.series(channels=2), sensor=sensor)
    physical = slow_signal(600, 2) * metadata.std + metadata.mean
    counts = np.round(physical * sensor.counts_per_unit).astype(np.int16)

    @cache
    def logits_from(start, samples):
        """Logits after each of so many samples from a reset; None while the filter waits."""
        front_end, runner = IntegerFrontEnd(model.raw), integer_classifier(model)
        steps = [front_end.push(sample[None]) for sample in counts[start : start + samples]]
        return [None if x is None else runner.step(x)[0].astype(int) for x in steps]

    window, deciding = metadata.window_length, {}
    for t in range(600):
        if metadata.reset == Reset.WINDOW:
            starts = [*range(0, t + 1, window), *range(window // 2, t + 1, window)]
            start = min(s for s in starts if s + window > t)
            logits, decides = logits_from(start, window)[t - start], t - start + 1 >= window // 2
        else:
            logits = logits_from(0, 600)[t]
            # Of 13 samples the filter makes four steps: so long is a window of the stream.
            at_end = metadata.decides == Decision.EVERY_SAMPLE or (t + 1) % (window // factor * factor) == 0
            at_end = at_end or metadata.reset == Reset.EVENT
            decides = at_end and t >= metadata.warm_up * factor
        if logits is not None and decides:
            deciding[t] = logits
    margin = round(metadata.decision_margin / model.head.out_scale)
    held, expected = None, []
    for t in range(600):
        if t in deciding:
            held = int(held_classes(deciding[t][None], margin, held)[0])
        expected.append(-1 if held is None else held)
    assert len(set(expected)) >= 3
    assert expected.count(-1) == contract(metadata, resampled=False).not_yet
    stream = Stream(compiled(tmp_path, emit_c(model, metadata, "demo")), "i16")
    np.testing.assert_array_equal(stream.push(counts), expected)


@pytest.mark.parametrize("name", COUNTS)
def test_a_gap_in_counts_is_the_last_sample_again_or_a_new_stream(name, tmp_path):
    """Gaps of every length at every place of a window, through the low-pass filter, and a save now and then."""
    resampling = Resampling("decimate", factor=3, taps=(0.25, 0.5, 0.25))
    metadata = dataclasses.replace(toy.metadata(2, 3), resampling=resampling, **COUNTS[name])
    sensor = Sensor((100.0, 250.0), metadata.mean, metadata.std, resampling)
    model = quantize(toy.student("lstm", 2, 6, 3), toy.series(channels=2), sensor=sensor)
    x = np.round((slow_signal(4000, 2) * metadata.std + metadata.mean) * sensor.counts_per_unit).astype(np.int16)
    library, limit = compiled(tmp_path, emit_c(model, metadata, "demo")), metadata.hold_limit
    stream, expected = Stream(library, "i16"), Stream(library, "i16")
    generator, saved, answers, at = np.random.default_rng(0), np.zeros(4096, np.uint8), set(), 0
    while at < 3900:
        part = x[at : at + generator.integers(1, 40)]
        at += len(part)
        found = stream.push(part)
        np.testing.assert_array_equal(found, expected.push(part))
        answers |= set(found.tolist())
        missing = int(generator.integers(limit + 2))
        stream.call("gap", missing)
        stream.call("stream_save", pointer(saved))
        stream.memory[:] = 0x5A
        assert stream.call("stream_load", pointer(saved)) == 0
        if missing > limit:
            expected.call("begin")
        else:
            expected.push(part[[-1] * missing])
    assert len(answers) >= 3


# ---- saved streams ----


def test_a_saved_stream_goes_on_and_another_is_refused(integers, library):
    x, _ = samples(integers, described("window"), "i16")
    stream = Stream(library("window"), "i16")
    stream.push(x[:100])
    saved = np.zeros(4096, np.uint8)
    stream.call("stream_save", pointer(saved))
    expected = stream.push(x[100:300])
    stream.memory[:] = 0
    assert stream.call("stream_load", pointer(saved)) == 0
    np.testing.assert_array_equal(stream.push(x[100:300]), expected)
    other = Stream(library("odd window"), "i16")
    assert other.call("stream_load", pointer(saved)) == -2
    damaged = saved.copy()
    damaged[20] ^= 1
    assert stream.call("stream_load", pointer(damaged)) == -3
    older = saved.copy()
    older[0] += 1  # the layout's version
    assert stream.call("stream_load", pointer(older)) == -1


@pytest.mark.parametrize("name", ["window", "window end", "refusing", "never"])
def test_a_stream_that_was_damaged_before_it_was_saved_is_refused_or_harmless(name, integers, library):
    x, _ = samples(integers, described(name), "i16")
    stream = Stream(library(name), "i16")
    stream.push(x[:100])
    saved = np.zeros(4096, np.uint8)
    stream.call("stream_save", pointer(saved))
    (end,) = (
        n for n in range(12, 4096, 4) if zlib.crc32(saved[:n]) == saved[n : n + 4].view(np.uint32)[0] and saved[n : n + 4].any()
    )
    before, refused = stream.memory.copy(), []
    words = (0xFFFFFFFF, 0x7FFFFFFF, 0x00007FFF, described(name).window_length)
    for at in range(8, end, 4):
        for word in words:
            damaged = saved.copy()
            damaged[at : at + 4].view(np.uint32)[0] = word
            damaged[end : end + 4].view(np.uint32)[0] = zlib.crc32(damaged[:end])
            result = stream.call("stream_load", pointer(damaged))
            if result == 0:
                stream.push(x[:40])
                stream.memory[:] = before
            else:
                assert result == -3
                assert (stream.memory == before).all()
                refused.append((at - end, word))
    fields = (-12, -8, -4) if name in ("window", "window end") else (-8, -4)  # place, missing, held
    assert set(refused) == {(field, word) for field in fields for word in words}


def test_a_filter_that_stands_outside_its_ring_is_refused(tmp_path):
    resampling = Resampling("decimate", factor=3, taps=(0.25, 0.5, 0.25))
    metadata = dataclasses.replace(toy.metadata(2, 3), resampling=resampling, **COUNTS["window"])
    sensor = Sensor((100.0, 250.0), metadata.mean, metadata.std, resampling)
    model = quantize(toy.student("lstm", 2, 6, 3), toy.series(channels=2), sensor=sensor)
    stream = Stream(compiled(tmp_path, emit_c(model, metadata, "demo")), "i16")
    state_bytes = 2 * (6 + 6) + 2 * 3 * 2 + 4  # h, c, history, newest and phase
    for function in ("state", "stream"):
        stream.memory[:] = 0
        stream.push(np.ones((5, 2), np.int16))
        saved = np.zeros(4096, np.uint8)
        for newest, phase, result in ((2, 3, 0), (3, 3, -3), (0xFFFF, 0, -3), (0, 4, -3)):
            stream.memory[state_bytes - 4 : state_bytes].view(np.uint16)[:] = newest, phase
            stream.call(f"{function}_save", pointer(saved))
            stream.memory[:state_bytes] = 0
            assert stream.call(f"{function}_load", pointer(saved)) == result


# ---- an emulated core ----


@pytest.mark.parametrize("name", ["window", "refusing"])
def test_a_cortex_m4_decides_as_the_streaming_classifier(name, file_and_c, integers):
    if any(shutil.which(tool) is None for tool in ("arm-none-eabi-gcc", "qemu-system-arm")):
        pytest.skip("needs arm-none-eabi-gcc and qemu-system-arm: apt-get install gcc-arm-none-eabi qemu-system-arm")
    classifier, _, x, physical = file_and_c(name, "i16")
    measured = measure_firmware("m4", followed(emit_c(integers, described(name), "demo"), "demo"), x)
    np.testing.assert_array_equal(measured.logits[:, 0], classifier.stream(physical).decisions)
