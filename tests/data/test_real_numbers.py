# SPDX-License-Identifier: Apache-2.0
"""What a program gives in place of real numbers, labels and times is taken without loss, or refused in one error."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from memkd_edge.assets import asset_dir
from memkd_edge.config import DataConfig
from memkd_edge.data.real_numbers import float32_array
from memkd_edge.data.recording_loading import load_recordings, recordings_from_arrays, recordings_from_frame
from memkd_edge.data.recordings import Recordings
from memkd_edge.errors import UsageError
from memkd_edge.streaming import StreamingClassifier
from tests.data.recording_examples import signal

BEYOND = 10**400  # no float64 is so large
MODEL = asset_dir("models") / "racketsports" / "export" / "racketsports_int8.tflite"
NO_NUMBERS = [
    (np.ones(6) + 1j, "complex; give magnitudes, or real and imaginary parts"),
    (np.ones(6) + 0j, "complex"),
    ([1j] * 6, "complex"),
    (np.ones(6).astype("timedelta64[s]"), "lengths of time; give them in a unit"),
    (np.ones(6).astype("datetime64[s]"), "times"),
    ([BEYOND] * 6, "too large"),
]


def frame(rows: int = 200, rate: float = 50.0, **columns: Any) -> pd.DataFrame:
    """Return four people's recordings; `columns` stand in the place of theirs."""
    made = []
    for subject in range(1, 5):
        seconds, values, labels = signal(subject, rows, rate)
        made.append(pd.DataFrame({"subject": subject, "time": seconds, "x": values[:, 0], "y": values[:, 1], "label": labels}))
    return pd.concat(made, ignore_index=True).assign(**columns)


def objects(table: pd.DataFrame, make: Callable[[int], Any]) -> pd.Series:
    return pd.Series([make(row) for row in range(len(table))], index=table.index, dtype=object)


def arrays(X: Any = None, y: Any = None, **more: Any) -> Recordings:
    signals = [signal(subject)[1:] for subject in range(1, 5)]
    X = [values for values, _ in signals] if X is None else X
    y = [labels for _, labels in signals] if y is None else y
    return recordings_from_arrays(X, y, **{"groups": list("abcd"), "sample_rate_hz": 50, **more})


@pytest.mark.parametrize(("sample", "message"), NO_NUMBERS)
@pytest.mark.filterwarnings("error")
def test_a_sample_is_real_numbers(sample: Any, message: str) -> None:
    classifier = StreamingClassifier(MODEL)
    calls: list[tuple[Callable[[Any], Any], int]] = [
        (classifier.push, 0),
        (classifier.stream, 1),
        (classifier.predict, 1),
        (classifier.classify, 2),
        (classifier.decide, 2),
        (classifier.monitor().push, 0),
        (classifier.monitor().stream, 1),
    ]
    for call, axes in calls:
        given = np.tile(sample, (*[30] * axes, 1)) if axes else sample
        with pytest.raises(UsageError, match=f"numbers.*({message}|real number, not 'complex')"):
            call(given)


@pytest.mark.parametrize(("sample", "message"), NO_NUMBERS)
def test_a_recording_is_real_numbers(sample: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"recording 0: a signal is numbers.*{message}"):
        arrays(X=[np.tile(sample, (200, 1)) for _ in range(4)])


@pytest.mark.parametrize(("sample", "message"), NO_NUMBERS)
def test_a_column_of_signals_is_real_numbers(sample: Any, message: str) -> None:
    table = frame()
    column = pd.Series([sample[0]] * len(table), dtype=getattr(sample, "dtype", object))
    with pytest.raises(UsageError, match=rf"'x': a signal is numbers.*{message}|x, y are not all numbers.*({message}|'complex')"):
        recordings_from_frame(table.assign(x=column))


def test_what_is_real_is_taken_as_it_is() -> None:
    expected = np.array([[1, 0], [0, 1]], np.float32)
    for given in (expected, expected.astype(bool), expected.tolist(), expected.astype(object), pd.DataFrame(expected)):
        np.testing.assert_array_equal(float32_array(given, ""), expected)
    assert float32_array(expected, "") is expected  # recordings may be large
    assert np.isinf(float32_array([1e300], "")).all()  # told by those who know the place


def test_a_monitor_does_not_see_below_a_mask() -> None:
    monitor = StreamingClassifier(MODEL).monitor()
    samples = np.ma.masked_array(np.zeros((10, 6)), mask=np.eye(10, 6, k=-3, dtype=bool))
    with pytest.raises(UsageError, match="a value is missing at sample 3"):
        monitor.stream(samples)
    assert monitor.stream(samples.data) == []


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, np.array([1, 2])])
def test_a_label_is_one_value(value: Any) -> None:
    table = frame()
    for column in ("label", "subject", "recording"):
        with pytest.raises(UsageError, match=rf"is a {type(value).__name__}; a label or name is one text or number"):
            recordings_from_frame(table.assign(**{column: objects(table, lambda row: value)}))
    labels = np.empty(200, object)
    labels[:] = [value] * 200
    with pytest.raises(UsageError, match=r"recording 0: .* is one text or number"):
        arrays(y=[labels] * 4)
    with pytest.raises(UsageError, match=r"recording 0: .* is one text or number"):
        arrays(groups=[value] * 4)


def test_labels_that_are_missing_in_any_way_are_missing() -> None:
    table = frame()
    missing = [None, np.nan, pd.NA, pd.NaT, "", "?"]
    labels = objects(table, lambda row: missing[row // 2 % 6] if row % 2 else table.label[row])
    made = recordings_from_frame(table.assign(label=labels))
    assert made.labels == ("rest", "walk")


@pytest.mark.parametrize("rate", [50.0, 1.0, 0.5])
def test_lengths_of_time_count_in_seconds(rate: float) -> None:
    table, notes = frame(rate=rate), []
    expected = recordings_from_frame(table, DataConfig(time_unit="s"))
    lengths = pd.to_timedelta(table.time, unit="s")
    python = pd.Series([timedelta(seconds=one) for one in table.time], dtype=object)
    for given in (
        table.assign(time=lengths),
        table.assign(time=python),
        table.drop(columns="time").set_index(pd.TimedeltaIndex(lengths)),
    ):
        made = recordings_from_frame(given, note=notes.append)
        assert made.sample_rate_hz == pytest.approx(rate)
        for one, other in zip((*made.train, *made.test), (*expected.train, *expected.test), strict=True):
            np.testing.assert_allclose(one.x, other.x, atol=1e-5)
    assert "time: column 'time', s since the start" in notes


def test_lengths_of_time_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame().assign(time=lambda table: pd.to_timedelta(table.time, unit="s")).to_parquet(tmp_path / "all.parquet")
    assert load_recordings(tmp_path / "all.parquet").sample_rate_hz == pytest.approx(50)


def test_numbers_among_objects_are_times() -> None:
    table = frame()
    assert recordings_from_frame(table.assign(time=table.time.astype(object))).sample_rate_hz == pytest.approx(50)


@pytest.mark.parametrize("value", [1j, BEYOND, [1]])
def test_what_is_no_time_is_refused(value: Any) -> None:
    table = frame()
    with pytest.raises(UsageError, match="column 'time': neither numbers nor ISO 8601"):
        recordings_from_frame(table.assign(time=objects(table, lambda row: value)))
    with pytest.raises(UsageError, match="column 'time': neither numbers nor ISO 8601"):
        recordings_from_frame(table.assign(time=table.time + 0j))
    with pytest.raises(UsageError, match="to_timestamp"):
        recordings_from_frame(table.set_index(pd.period_range("2020", periods=len(table), freq="s")).drop(columns="time"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"sample_rate_hz": "50"}, "sample_rate_hz is '50'"),
        ({"sample_rate_hz": None}, "sample_rate_hz is None"),
        ({"X": 5}, "X is 5; a sequence"),
        ({"y": 5}, "y is 5"),
        ({"groups": "abcd"}, "groups is 'abcd'"),  # a text is no list of its letters
        ({"channels": "ab"}, "channels is 'ab'"),
        ({"names": 5}, "names is 5"),
    ],
)
def test_arguments_of_other_types_are_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"recordings: {message}"):
        arrays(**more)


def test_channels_may_be_numbers() -> None:
    assert arrays(channels=(1, 2)).channels == ("1", "2")
