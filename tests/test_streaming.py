# SPDX-License-Identifier: Apache-2.0
"""The streaming classifier: exported files, one raw sample at a time, against torch and the integer reference."""

import dataclasses
import struct
import sys
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.config import DistillConfig
from memkd_edge.data.normalisation import normalise
from memkd_edge.data.prepare import prepare
from memkd_edge.data.registry import load_dataset
from memkd_edge.data.resampling import resample
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UsageError
from memkd_edge.metadata import Resampling
from memkd_edge.nets.classifier import GruClassifier, LstmClassifier, ModelSpec
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import IntegerLstm
from memkd_edge.quantization.sensor_front_end import Sensor
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.writers.onnx import write_onnx_sequence, write_onnx_step
from memkd_edge.writers.tflite import write_tflite, write_tflite_float

FRONT_ENDS = ["none", "linear:40", "linear:130", "decimate:3"]
FORMATS = ["onnx", "float32", "int8", "int16x8"]


@pytest.fixture(scope="module")
def data():
    return load_dataset("BasicMotions")


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """Return a function that exports an untrained student once: (path, model, prepared, integer model)."""
    cache = {}

    def export(form="int8", resampling="none", layers=1):
        key = form, resampling, layers
        if key not in cache:
            torch.manual_seed(1)
            model = LstmClassifier(ModelSpec(6, 6, 4, layers)).eval()
            prepared = prepare(data, DistillConfig(resample=resampling))
            with torch.no_grad():  # so that every class has its moments
                model.head.weight *= 5
                model.head.bias -= model(torch.from_numpy(prepared.x_train))[0].mean(0)
            q = quantize(model, prepared.x_train)
            folder = tmp_path_factory.mktemp("exported")
            path = folder / ("model.onnx" if form == "onnx" else "model.tflite")
            match form:
                case "onnx":
                    path.write_bytes(write_onnx_step(model, prepared.metadata))
                case "float32":
                    path.write_bytes(write_tflite_float(model, prepared.metadata))
                case _:
                    path.write_bytes(write_tflite(q, prepared.metadata, interface=form))
            cache[key] = path, model, prepared, q
        return cache[key]

    return export


def scores_over_time(model, prepared, raw):
    """torch's scores after each model time step of one raw series [T, C]: float32 [T', K]."""
    metadata = prepared.metadata
    x = torch.from_numpy(normalise(resample(raw[None], metadata.resampling), metadata.mean, metadata.std))
    with torch.no_grad():
        return torch.softmax(model.head(model(x)[1]), dim=-1)[0].numpy()


def tolerance(form, q):
    """How far scores of LiteRT and of TensorFlow Lite Micro may lie apart: an exact tie in rounding moves a logit by one step."""
    return 1e-6 if form in ("onnx", "float32") else 2 * (q.logit_scale_int8 if form == "int8" else q.head.out_scale)


def pushed(classifier, series):
    """Return the scores that pushing a series gave, without the pauses of the front end."""
    return [scores for sample in series if (scores := classifier.push(sample)) is not None]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("resampling", FRONT_ENDS)
@pytest.mark.parametrize("form", ["onnx", "float32"])
def test_float_scores_are_torchs_at_every_sample(exported, form, resampling, layers):
    path, model, prepared, _ = exported(form, resampling, layers)
    classifier = StreamingClassifier(path)
    for raw in prepared.x_raw_golden[:2]:
        classifier.reset()
        all_scores = [classifier.push(sample) for sample in raw]
        expected = scores_over_time(model, prepared, raw)
        given = [scores for scores in all_scores if scores is not None]
        np.testing.assert_allclose(given[-1], expected[-1], atol=1e-5)
        if resampling in ("none", "linear:40", "decimate:3"):  # at most one model step per sample
            np.testing.assert_allclose(np.stack(given), expected, atol=1e-5)
        if resampling == "decimate:3":
            assert [scores is None for scores in all_scores[:6]] == [True, True, False] * 2
        np.testing.assert_allclose(classifier.predict(raw), expected[-1], atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", ["int8", "int16x8"])
def test_integer_scores_are_those_of_the_integer_reference(exported, form, layers):
    path, _, prepared, q = exported(form, "decimate:3", layers)
    classifier = StreamingClassifier(path)
    metadata = prepared.metadata
    raw = prepared.x_raw_golden
    reference = IntegerLstm(q, len(raw))
    x = reference.quantize_input(normalise(resample(raw, metadata.resampling), metadata.mean, metadata.std), form)
    logits = reference.run(x)
    if form == "int8":
        real = (logits.astype(np.float32) - q.logit_zero_point_int8) * np.float32(q.logit_scale_int8)
    else:
        real = logits.astype(np.float32) * np.float32(q.head.out_scale)
    expected = torch.softmax(torch.from_numpy(real), dim=-1).numpy()
    one_step = 2 * (q.logit_scale_int8 if form == "int8" else q.head.out_scale)  # LiteRT may round an exact tie by one step
    for index in range(len(raw)):
        classifier.reset()
        np.testing.assert_allclose(np.stack(pushed(classifier, raw[index])), expected[index], atol=one_step)


@pytest.mark.parametrize("form", FORMATS)
def test_integer_and_float_files_decide_alike(exported, form):
    path, model, prepared, _ = exported(form)
    classifier = StreamingClassifier(path)
    for raw in prepared.x_raw_golden:
        np.testing.assert_allclose(classifier.predict(raw), scores_over_time(model, prepared, raw)[-1], atol=0.02)


@pytest.mark.parametrize("resampling", ["none", "decimate:3"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_stream_of_many_samples_is_that_of_single_ones(exported, form, resampling):
    path, _, prepared, q = exported(form, resampling, 2)
    series = np.concatenate(list(prepared.x_raw_golden))[:370]  # of windows of 100: two states by turns
    one_by_one, at_once = StreamingClassifier(path), StreamingClassifier(path)
    wanted = np.stack(pushed(one_by_one, series))
    cuts = [at_once.stream(part) for part in np.split(series, [0, 1, 7, 130])]
    atol = tolerance(form, q)
    np.testing.assert_allclose(np.concatenate([cut.scores for cut in cuts]), wanted, atol=atol)
    # Both stand at the same place of the stream, also for what comes one by one.
    for sample in series[:6]:
        after, others = one_by_one.push(sample), at_once.push(sample)
        assert (after is None) == (others is None)
        if after is not None:
            np.testing.assert_allclose(others, after, atol=atol)


@pytest.mark.parametrize("form", FORMATS)
def test_windows_are_classified_each_from_a_reset_beside_a_running_stream(exported, form):
    path, _, prepared, q = exported(form)
    classifier, alone = StreamingClassifier(path), StreamingClassifier(path)
    windows = prepared.x_raw_golden
    for sample in windows[0][:20]:
        classifier.push(sample)
        alone.push(sample)
    found = classifier.classify(windows)
    np.testing.assert_allclose(found, [alone_scores(path, window) for window in windows], atol=tolerance(form, q))
    np.testing.assert_array_equal(classifier.push(windows[0][20]), alone.push(windows[0][20]))


def contracted(exported, tmp_path, form="int8", **fields):
    """Return a classifier of the same model whose metadata has other fields."""
    _, model, prepared, q = exported(form)
    metadata = dataclasses.replace(prepared.metadata, **fields)
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tflite"  # LiteRT maps a file: one that is overwritten changes under it
    path.write_bytes(write_tflite_float(model, metadata) if form == "float32" else write_tflite(q, metadata, interface=form))
    return StreamingClassifier(path)


def decisions(classifier, series):
    """Return the decision after every sample, -1 for not yet."""
    found = []
    for sample in series:
        classifier.push(sample)
        found.append(-1 if classifier.decision is None else classifier.decision)
    return np.array(found)


def test_a_window_model_on_an_endless_stream_is_two_states_by_turns(exported, tmp_path):
    classifier = contracted(exported, tmp_path)  # windows of 100: reset "window" is what files say that say nothing
    _, _, prepared, _ = exported("int8")
    series = np.concatenate(list(prepared.x_raw_golden))[:330]
    never = contracted(exported, tmp_path, reset="never", decides="every_sample")
    found = np.stack(pushed(classifier, series))
    for start, judged in ((0, (0, 100)), (50, (100, 150)), (100, (150, 200)), (150, (200, 250)), (250, (300, 330))):
        # Between samples `judged` the state that began at `start` is the older one.
        never.reset()
        alone = np.stack(pushed(never, series[start : judged[1]]))
        np.testing.assert_array_equal(found[slice(*judged)], alone[judged[0] - start :], err_msg=f"state of {start}")


@pytest.mark.parametrize("form", ["int8", "int16x8", "float32"])
@pytest.mark.parametrize(
    "fields",
    [
        {"reset": "never", "decides": "every_sample", "decision_margin": 0.4},
        {"reset": "never", "decides": "window_end", "window_length": 30},
        {"reset": "window", "decides": "window_end", "window_length": 30},
        {"reset": "event", "decides": "window_end", "warm_up": 7},
    ],
    ids=lambda fields: f"{fields['reset']}, {fields['decides']}",
)
def test_decisions_of_many_samples_are_those_of_single_ones_under_every_contract(exported, tmp_path, form, fields):
    series = np.concatenate(list(exported(form)[2].x_raw_golden))[60:310]
    one_by_one, at_once = contracted(exported, tmp_path, form, **fields), contracted(exported, tmp_path, form, **fields)
    wanted = decisions(one_by_one, series)
    found = np.concatenate([at_once.stream(part).decisions for part in np.split(series, [1, 29, 30, 31, 170])])
    assert np.mean(found == wanted) > 0.99  # an exact tie in LiteRT may move a switch by a sample
    assert len(np.unique(wanted)) > 1


def test_decisions_begin_and_change_where_the_contract_says(exported, tmp_path):
    series = np.concatenate(list(exported("int8")[2].x_raw_golden))[:250]
    ends = decisions(contracted(exported, tmp_path, reset="never", decides="window_end", window_length=30), series)
    assert (ends[:29] == -1).all()
    assert set(np.flatnonzero(np.diff(ends)) + 1) <= set(range(29, 250, 30))
    # Of 31 samples a front end that keeps every third makes ten steps: so long is a window of the stream.
    kept = Resampling("decimate", 31, 10, 3, (0.25, 0.5, 0.25))
    thirds = contracted(exported, tmp_path, reset="never", decides="window_end", window_length=31, resampling=kept)
    ends = decisions(thirds, series)
    assert (ends[:29] == -1).all()
    assert ends[29] >= 0
    assert set(np.flatnonzero(np.diff(ends)) + 1) <= set(range(29, 250, 30))
    event = contracted(exported, tmp_path, reset="event", decides="window_end", warm_up=7)
    assert np.flatnonzero(decisions(event, series) >= 0)[0] == 7
    event.reset()
    assert event.decision is None
    windows = decisions(contracted(exported, tmp_path, window_length=30), series)
    assert np.flatnonzero(windows >= 0)[0] == 14


def test_another_class_takes_over_only_by_more_than_the_margin(exported, tmp_path):
    series = np.concatenate(list(exported("int8")[2].x_raw_golden))
    held = {}
    for margin in (0.0, 0.3, 1000.0):
        fields = {"reset": "never", "decides": "every_sample", "decision_margin": margin}
        classifier = contracted(exported, tmp_path, "int16x8", **fields)  # in int8 equal scores are common
        held[margin] = classifier.stream(series)
    scores = np.log(held[0.0].scores)
    assert np.array_equal(held[0.0].decisions, scores.argmax(-1))
    assert len(np.unique(held[0.3].decisions)) > 1
    present, wanted = scores[0].argmax(), []
    for row in scores:
        if row.max() - row[present] > 0.3:
            present = row.argmax()
        wanted.append(present)
    assert np.mean(held[0.3].decisions == wanted) > 0.99  # the margin is a whole number of logit steps
    assert len(np.unique(held[1000.0].decisions)) == 1


def test_short_gaps_hold_the_last_sample_and_long_ones_begin_anew(exported, tmp_path):
    series = exported("int8")[2].x_raw_golden[0]
    fields = {"reset": "never", "decides": "every_sample", "sample_rate_hz": 50.0}
    gapped, filled = contracted(exported, tmp_path, **fields), contracted(exported, tmp_path, **fields)
    for sample in series[:20]:
        gapped.push(sample)
        filled.push(sample)
    gapped.gap(10)  # .2 s
    for _ in range(10):
        filled.push(series[19])
    np.testing.assert_allclose(gapped.push(series[20]), filled.push(series[20]), atol=tolerance("int8", exported("int8")[3]))
    gapped.gap(11)
    assert gapped.decision is None
    with pytest.raises(UsageError, match="not -1"):
        gapped.gap(-1)
    fresh = contracted(exported, tmp_path, **fields)
    np.testing.assert_array_equal(gapped.push(series[0]), fresh.push(series[0]))


def test_missing_samples_one_by_one_are_one_gap(exported, tmp_path):
    series = exported("int8")[2].x_raw_golden[0]
    fields = {"reset": "never", "decides": "every_sample", "sample_rate_hz": 50.0}
    single, whole = contracted(exported, tmp_path, **fields), contracted(exported, tmp_path, **fields)
    for one in (single, whole):
        one.stream(series[:20])
    whole.gap(7)
    for _ in range(7):
        single.gap(1)
    np.testing.assert_array_equal(single.push(series[20]), whole.push(series[20]))
    for _ in range(11):
        single.gap(1)
    assert single.decision is None


def test_where_no_class_leads_enough_the_answer_is_none(exported, tmp_path):
    series = np.concatenate(list(exported("int16x8")[2].x_raw_golden))
    fields = {"reset": "never", "decides": "every_sample"}
    always = contracted(exported, tmp_path, "int16x8", decision_margin=0.4, **fields).stream(series)
    refusing = contracted(exported, tmp_path, "int16x8", decision_margin=0.4, refuse_below=0.5, **fields)
    found = refusing.stream(series)
    logits = np.log(found.scores.astype(np.float64))
    held = logits[np.arange(len(logits)), always.decisions]
    others = np.where(np.eye(4, dtype=bool)[always.decisions], -np.inf, logits).max(1)
    near = np.abs(held - others - 0.5) < 1e-3  # the floor is a whole number of steps
    wanted = np.where(held - others < 0.5, -2, always.decisions)
    np.testing.assert_array_equal(found.decisions[~near], wanted[~near])
    assert 0.02 < np.mean(found.decisions == -2) < 0.98
    refusing.reset()
    for sample, answer in zip(series[:150], found.decisions, strict=False):
        refusing.push(sample)
        assert (refusing.decision, refusing.refused) == ((None, True) if answer == -2 else (answer, False))


def test_a_gap_holds_the_sample_as_it_was_when_its_array_is_used_again(exported, tmp_path):
    series = exported("int8")[2].x_raw_golden[0].astype(np.float32)
    fields = {"reset": "never", "decides": "every_sample", "sample_rate_hz": 50.0}
    gapped, filled = contracted(exported, tmp_path, **fields), contracted(exported, tmp_path, **fields)
    buffer = series[0].copy()
    for classifier in (gapped, filled):
        classifier.push(buffer)
    filled.gap(10)
    buffer[:] = series[60]
    gapped.gap(10)
    np.testing.assert_array_equal(gapped.push(series[1]), filled.push(series[1]))


def test_long_streams_and_many_windows_take_little_memory_beside_their_scores(exported, tmp_path):
    classifier = contracted(exported, tmp_path, reset="never", decides="every_sample")
    x = np.zeros((600_000, 6), np.float32)
    classifier.stream(x[:100])
    tracemalloc.start()
    try:
        streamed = classifier.stream(x)
        _, peak = tracemalloc.get_traced_memory()
        results = 2 * (streamed.scores.nbytes + streamed.decisions.nbytes)  # in pieces, and joined
        finite = x.size  # a byte each
        assert peak < max(results, finite) + 25e6
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        scores = classifier.classify(x.reshape(-1, 100, 6))
        _, peak = tracemalloc.get_traced_memory()
        assert peak - before < scores.nbytes + finite + 25e6
    finally:
        tracemalloc.stop()


def alone_scores(path, window):
    return pushed(StreamingClassifier(path), window)[-1]


def test_series_that_are_none_are_refused_with_their_place(exported):
    path, *_ = exported("int8")
    classifier = StreamingClassifier(path)
    gap = np.zeros((2, 30, 6), np.float32)
    gap[1, 17, 2] = np.nan
    with pytest.raises(UsageError, match="nan at series 1, sample 17"):
        classifier.classify(gap)
    with pytest.raises(UsageError, match="nan at sample 17"):
        classifier.stream(gap[1])
    with pytest.raises(UsageError, match=r"series \[N, T, C\] is expected; got shape \[30, 6\]"):
        classifier.classify(np.zeros((30, 6)))
    for call in (classifier.stream, classifier.classify, classifier.push):
        for nothing in ([[1, "x"]], [[1, 2], [3]], "abc", [1j] * 6):
            with pytest.raises(UsageError, match=r"numbers[:,] "):
                call(nothing)  # type: ignore[operator]
    for samples in (-1, 1.5, float("nan"), "x"):
        with pytest.raises(UsageError, match="a gap has a whole number of samples, 0 or more, not"):
            classifier.gap(samples)
    classifier.gap(np.int64(2))
    classifier.push(gap[0, 0])
    classifier.reset()
    assert classifier.stream(np.zeros((0, 6))).scores.shape == (0, 4)
    assert classifier.classify(np.zeros((0, 30, 6))).shape == (0, 4)


@pytest.mark.parametrize("form", FORMATS)
def test_the_file_alone_tells_labels_channels_and_data(exported, data, form):
    classifier = StreamingClassifier(str(exported(form)[0]))
    assert classifier.labels == data.labels
    assert classifier.metadata.channels == data.channels
    assert classifier.metadata.dataset_sha256 == data.sha256


@pytest.mark.parametrize("form", FORMATS)
def test_reset_forgets_the_past_and_without_it_the_past_counts(exported, form):
    path, _, prepared, _ = exported(form, "decimate:3")
    classifier = StreamingClassifier(path)
    first, second = prepared.x_raw_golden[:2]
    fresh = pushed(classifier, first)[-1]
    pushed(classifier, second)
    after_past = pushed(classifier, first[:3])[-1]
    classifier.reset()
    after_reset = pushed(classifier, first[:3])[-1]
    classifier.reset()
    again = pushed(classifier, first)[-1]
    np.testing.assert_array_equal(fresh, again)
    assert np.abs(after_past - after_reset).max() > 1e-3


@pytest.mark.parametrize("form", FORMATS)
def test_scores_are_probabilities_in_float32(exported, form):
    path, _, prepared, _ = exported(form)
    scores = StreamingClassifier(path).predict(prepared.x_raw_golden[0])
    assert scores.dtype == np.float32
    assert scores.shape == (4,)
    assert scores.sum() == pytest.approx(1.0, abs=1e-5)


def test_two_classifiers_of_one_file_do_not_share_their_state(exported):
    path, _, prepared, _ = exported("int8")
    one, two = StreamingClassifier(path), StreamingClassifier(path)
    expected = one.predict(prepared.x_raw_golden[0])
    for a, b in zip(prepared.x_raw_golden[0], prepared.x_raw_golden[1], strict=True):
        last = one.push(a)
        two.push(b)
    np.testing.assert_array_equal(last, expected)


def test_huge_samples_saturate_instead_of_wrapping(exported):
    classifier = StreamingClassifier(exported("int8")[0])
    large, larger = (classifier.predict(np.full((5, 6), value)) for value in (1e6, 1e30))
    np.testing.assert_array_equal(large, larger)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([1, 2, 3], r"a sample has 6 channels \(accelerometer x, .*\); got shape \[3\]"),
        (np.zeros((1, 6)), r"got shape \[1, 6\]"),
        ([0, 0, np.nan, 0, 0, 0], "accelerometer z is nan; hold the last good sample, or reset"),
        ([0, 0, 0, 0, 0, np.inf], "gyroscope z is inf"),
    ],
)
def test_a_wrong_sample_is_refused_and_leaves_the_stream_as_it_was(exported, sample, message):
    path, _, prepared, _ = exported("int8")
    classifier = StreamingClassifier(path)
    raw = prepared.x_raw_golden[0]
    for value in raw[:50]:
        classifier.push(value)
    with pytest.raises(UsageError, match=message):
        classifier.push(sample)
    last = [classifier.push(value) for value in raw[50:]][-1]
    np.testing.assert_array_equal(last, StreamingClassifier(path).predict(raw))


def test_columns_are_taken_by_name_and_what_is_masked_is_missing(exported):
    pd = pytest.importorskip("pandas")
    classifier, series = StreamingClassifier(exported("int8")[0]), exported("int8")[2].x_raw_golden[0]
    names = classifier.metadata.channels
    frame = pd.DataFrame(series, columns=[f"{name} [g]" for name in names])
    classifier.reset()
    expected = classifier.stream(series).scores
    for same in (frame, frame.set_axis(range(len(names)), axis=1), np.ma.asarray(series)):
        classifier.reset()
        assert np.array_equal(classifier.stream(same).scores, expected)
    with pytest.raises(UsageError, match=f"the columns are {names[-1]}, .*, and the model takes them as {names[0]}, "):
        classifier.stream(frame[frame.columns[::-1]])
    with pytest.raises(UsageError, match=f"{names[1]} is .*nan.* at sample 3; fill the gap"):
        classifier.stream(np.ma.masked_array(series, np.arange(series.size).reshape(series.shape) == 3 * len(names) + 1))


def test_a_single_sample_may_be_a_row_of_a_frame_or_of_a_masked_array(exported):
    pd = pytest.importorskip("pandas")
    classifier, series = StreamingClassifier(exported("int8")[0]), exported("int8")[2].x_raw_golden[0]
    names = classifier.metadata.channels
    row = pd.DataFrame(series, columns=list(names)).iloc[0]
    expected = classifier.push(series[0])
    for same in (row, row.to_numpy(), np.ma.asarray(series)[0]):
        classifier.reset()
        assert np.array_equal(classifier.push(same), expected)
    with pytest.raises(UsageError, match=f"the columns are {names[-1]}, .*, and the model takes them as {names[0]}, "):
        classifier.push(row[::-1])
    with pytest.raises(UsageError, match=f"{names[1]} is nan; hold the last good sample"):
        classifier.push(np.ma.masked_array(series[0], np.arange(len(names)) == 1))


def test_a_series_too_short_or_of_the_wrong_shape_is_refused(exported):
    classifier = StreamingClassifier(exported("int8", "decimate:3")[0])
    with pytest.raises(UsageError, match="a series of 2 samples is too short"):
        classifier.predict(np.zeros((2, 6)))
    with pytest.raises(UsageError, match=r"a series \[T, C\] is expected; got shape \[6\]"):
        classifier.predict(np.zeros(6))


def test_a_univariate_model_takes_plain_numbers(tmp_path):
    prepared = prepare(load_dataset("GunPoint"), DistillConfig())
    (tmp_path / "g.onnx").write_bytes(write_onnx_step(LstmClassifier(ModelSpec(1, 4, 2)).eval(), prepared.metadata))
    scores = StreamingClassifier(tmp_path / "g.onnx").push(0.5)
    assert scores is not None
    assert scores.shape == (2,)


def test_files_that_are_missing_or_of_another_kind_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"no file at .*absent\.tflite"):
        StreamingClassifier(tmp_path / "absent.tflite")
    with pytest.raises(UsageError, match=r"no file at .*absent\.onnx"):
        StreamingClassifier(tmp_path / "absent.onnx")
    with pytest.raises(UsageError, match=r"expected a file that ends in \.tflite or \.onnx"):
        StreamingClassifier(tmp_path / "model.h5")


@pytest.mark.parametrize("form", ["int8", "onnx"])
def test_truncated_files_are_refused(exported, tmp_path, form):
    path = exported(form)[0]
    content = path.read_bytes()
    for share in (0, 0.01, 0.3, 0.6, 0.9):
        damaged = tmp_path / f"damaged{path.suffix}"
        damaged.write_bytes(content[: int(share * len(content))])
        with pytest.raises(MemkdEdgeError, match="damaged"):
            StreamingClassifier(damaged)


@settings(max_examples=60, deadline=None, derandomize=True)  # native code runs: the same flips in each run
@given(
    form=st.sampled_from(["int8", "onnx"]),
    places=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 7)), min_size=1, max_size=3),
)
def test_flipped_bits_are_refused_or_harmless_but_never_crash(exported, tmp_path_factory, form, places):
    path = exported(form)[0]
    content = bytearray(path.read_bytes())
    for place, bit in places:
        content[int(place * len(content))] ^= 1 << bit
    damaged = tmp_path_factory.mktemp("flipped") / path.name
    damaged.write_bytes(content)
    with suppress(MemkdEdgeError), np.errstate(all="ignore"):  # the only exception that may come out
        classifier = StreamingClassifier(damaged)
        classifier.predict(np.zeros((20, len(classifier.metadata.channels))))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    for name in ("text.tflite", "text.onnx"):
        (tmp_path / name).write_text("this is not a model" * 10)
        with pytest.raises(MemkdEdgeError, match=name):
            StreamingClassifier(tmp_path / name)
    (tmp_path / "header.tflite").write_bytes(struct.pack("<I", 2**31) + b"TFL3" + bytes(100))
    with pytest.raises(MemkdEdgeError, match="damaged or truncated"):
        StreamingClassifier(tmp_path / "header.tflite")


def test_a_file_with_another_weight_is_told_by_its_digest(exported, tmp_path):
    path, _, _, q = exported("int8")
    content = bytearray(path.read_bytes())
    place = content.index(q.layers[0].gates.weight.tobytes())
    content[place + 3] ^= 1
    (tmp_path / "w.tflite").write_bytes(content)
    with pytest.raises(MemkdEdgeError, match="its content does not match its check digest"):
        StreamingClassifier(tmp_path / "w.tflite")


def test_a_model_for_sensor_counts_is_fed_in_physical_units_too(exported, tmp_path):
    _, model, prepared, _ = exported("int8", "decimate:3")
    metadata = prepared.metadata
    sensor = Sensor((1000.0,) * 3 + (2000.0,) * 3, metadata.mean, metadata.std, metadata.resampling)
    raw = quantize(model, prepared.x_train, sensor=sensor)
    (tmp_path / "counts.tflite").write_bytes(write_tflite(raw, metadata, interface="int16x8"))
    (tmp_path / "physical.tflite").write_bytes(write_tflite_float(model, metadata, physical=True))
    for name, tolerance in (("counts.tflite", 0.02), ("physical.tflite", 1e-5)):
        classifier = StreamingClassifier(tmp_path / name)
        assert classifier.metadata.input == "raw"
        for series in prepared.x_raw_golden:
            expected = scores_over_time(model, prepared, series)
            np.testing.assert_allclose(np.stack(pushed(classifier, series)), expected, atol=tolerance)
            classifier.reset()


def test_a_gru_has_one_state_and_streams_in_both_formats(exported, tmp_path):
    prepared = exported("onnx")[2]
    torch.manual_seed(2)
    model = GruClassifier(ModelSpec(6, 5, 4, kind="gru")).eval()
    (tmp_path / "g.onnx").write_bytes(write_onnx_step(model, prepared.metadata))
    (tmp_path / "g.tflite").write_bytes(write_tflite_float(model, prepared.metadata))
    series = prepared.x_raw_golden[0]
    for name in ("g.onnx", "g.tflite"):
        given = np.stack(pushed(StreamingClassifier(tmp_path / name), series))
        np.testing.assert_allclose(given, scores_over_time(model, prepared, series), atol=1e-5)


def test_a_file_without_metadata_says_so(exported, tmp_path):
    _, model, _, q = exported("int8")
    (tmp_path / "bare.tflite").write_bytes(write_tflite(q, None, strip=True))
    (tmp_path / "bare.onnx").write_bytes(write_onnx_step(model, None))
    for name in ("bare.tflite", "bare.onnx"):
        with pytest.raises(MemkdEdgeError, match=r"no memkd-edge metadata inside; .* without --strip"):
            StreamingClassifier(tmp_path / name)


def test_the_whole_series_onnx_graph_is_no_stream(exported, tmp_path):
    _, model, prepared, _ = exported("onnx")
    (tmp_path / "s.onnx").write_bytes(write_onnx_sequence(model, prepared.metadata))
    with pytest.raises(MemkdEdgeError, match="not a streaming step"):
        StreamingClassifier(tmp_path / "s.onnx")


@pytest.mark.parametrize("form", ["float32", "onnx"])
def test_metadata_of_another_model_is_noticed_on_loading(exported, tmp_path, form):
    prepared = exported(form)[2]
    other = LstmClassifier(ModelSpec(2, 4, 3)).eval()
    path = tmp_path / ("m.onnx" if form == "onnx" else "m.tflite")
    write = write_onnx_step if form == "onnx" else write_tflite_float
    path.write_bytes(write(other, prepared.metadata))
    with pytest.raises(MemkdEdgeError, match=r"do not fit the metadata's 6 channels and 4 labels"):
        StreamingClassifier(path)


def test_a_missing_runtime_names_the_command_that_installs_it(exported, monkeypatch):
    path, onnx_path = exported("int8")[0], exported("onnx")[0]
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingToolError, match="pip install ai-edge-litert"):
        StreamingClassifier(path)
    with pytest.raises(MissingToolError, match="pip install onnxruntime"):
        StreamingClassifier(onnx_path)
