# SPDX-License-Identifier: Apache-2.0
"""Windows cut from recordings, against windows cut by hand."""

from dataclasses import replace

import numpy as np
import pytest

from memkd_edge.data.recordings import NO_CLASS, Recording, Recordings
from memkd_edge.data.windowing import cut_windows
from memkd_edge.errors import UsageError


def recording(name: str, subject: str, y: list[int]) -> Recording:
    x = np.stack([np.arange(len(y)), -np.arange(len(y))], axis=1).astype(np.float32) + 100 * int(name[1])
    return Recording(name, subject, x, np.array(y, dtype=np.int64))


def recordings(subject: bool = True) -> Recordings:
    return Recordings(
        name="toy",
        train=(
            recording("a1", "a" if subject else "", [0] * 7 + [1] * 6 + [NO_CLASS] * 5),
            recording("a1#2", "a" if subject else "", [1] * 2),
            recording("b2", "b" if subject else "", [1] * 5),
        ),
        test=(recording("c3", "c" if subject else "", [0] * 4 + [1] * 4),),
        labels=("rest", "walk"),
        channels=("x", "y"),
        units=("g", ""),
        sample_rate_hz=10.0,
    )


def test_windows_are_of_one_label_and_in_one_recording() -> None:
    notes: list[str] = []
    made = cut_windows(recordings(), "400ms", "0.2s", notes.append)
    assert made.x_train[:, 0, 0].tolist() == [100, 102, 108, 200]  # 104 and 106 hold both labels; 110 and on none
    assert made.y_train.tolist() == [0, 0, 1, 1]
    assert made.groups_train is not None
    assert made.groups_test is not None
    assert made.groups_train.tolist() == [0, 0, 0, 1]
    assert made.groups_test.tolist() == [2, 2]
    assert made.x_train.shape == (4, 4, 2)
    assert made.x_train.dtype == np.float32
    assert made.x_train[1].tolist() == [[102, 98], [103, 97], [104, 96], [105, 95]]
    assert notes == ["windows: 4 to train and 2 to test, of 4 samples, 2 apart, of one label each"]
    assert (made.sample_rate_hz, made.channels, made.units) == (10.0, ("x", "y"), ("g", ""))
    assert cut_windows(recordings(), "0.4", "", notes.append).sha256 == made.sha256


def test_who_has_no_window_is_named() -> None:
    made = recordings()
    short = tuple(recording(f"d{number}", f"d{number}", [0, 1] * 2) for number in range(7))
    notes: list[str] = []
    cut_windows(replace(made, train=(*made.train, *short)), "0.4s", "", notes.append)
    assert notes[0] == "windows: none lies within one class of d0, d1, d2, d3, d4 and 2 more, left out so"


def test_without_subjects_recordings_are_kept_together() -> None:
    made = cut_windows(recordings(subject=False), "0.4s", "", lambda text: None)
    assert made.groups_train is not None
    assert made.groups_train.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("windows", "hop", "message"),
    [
        ("0.1s", "", "1 samples at 10 Hz, 1 apart; at least 3"),
        ("1s", "1ms", "10 samples at 10 Hz, 0 apart"),
        ("long", "", "--windows 'long'"),
        ("0.7s", "", "no window of 0.7s lies within class 'walk' in the training part, where it lasts 0.6 s at most"),
        ("0.5s", "0.1s", "no window of 0.5s lies within one class in the test part"),
    ],
)
def test_impossible_windows(windows: str, hop: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cut_windows(recordings(), windows, hop, lambda text: None)
