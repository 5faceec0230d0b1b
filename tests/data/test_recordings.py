# SPDX-License-Identifier: Apache-2.0
"""The types for recordings: what they refuse, and what their hash covers."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from memkd_edge.data.recordings import NO_CLASS, Recording, Recordings, class_counts, whole_name
from memkd_edge.errors import UsageError


def recording(name: str, subject: str, y: list[int], channels: int = 2, value: float = 0.0) -> Recording:
    return Recording(name, subject, np.full((len(y), channels), value, dtype=np.float32), np.array(y, dtype=np.int64))


def recordings(**changes: object) -> Recordings:
    given = {
        "name": "toy",
        "train": (recording("a1", "a", [0, 0, 1]), recording("a1#2", "a", [1, NO_CLASS])),
        "test": (recording("b1", "b", [1, 0]),),
        "labels": ("rest", "walk"),
        "channels": ("x", "y"),
        "units": ("g", ""),
        "sample_rate_hz": 50.0,
    }
    return Recordings(**{**given, **changes})  # type: ignore[arg-type]


def test_recordings_are_kept_as_they_are() -> None:
    made = recordings(unlabelled=(recording("c1", "c", [NO_CLASS] * 4),))
    assert made.unlabelled[0].y.tolist() == [-1] * 4
    assert class_counts(made.train, 2).tolist() == [2, 2]
    assert [whole_name(stretch.name) for stretch in made.train] == ["a1", "a1"]
    assert whole_name("lap #x") == "lap #x"


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 2), np.float32), np.zeros(0, np.int64), r"float32 \[0, 2\]"),
        (np.zeros(3, np.float32), np.zeros(3, np.int64), r"samples, channels"),
        (np.zeros((3, 2)), np.zeros(3, np.int64), "float64"),
        (np.zeros((3, 2), np.float32), np.zeros(2, np.int64), r"int64 \[2\] for 3 samples"),
        (np.zeros((3, 2), np.float32), np.zeros(3, np.int32), "int32"),
        (np.array([[0], [np.nan], [np.inf]], np.float32), np.zeros(3, np.int64), r"at sample 1 \(2 such"),
    ],
)
def test_a_recording_is_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recording("r", "", x, y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate_hz": 0.0}, "0.0 Hz"),
        ({"sample_rate_hz": float("nan")}, "nan Hz"),
        ({"units": ("g",)}, "1 units are given for 2 channels"),
        ({"labels": ("walk",)}, "two different classes"),
        ({"labels": ("walk", "walk")}, "two different classes"),
        ({"train": ()}, "the training part has no labelled samples"),
        ({"test": (recording("b1", "b", [NO_CLASS]),)}, "the test part has no labelled samples"),
        ({"test": (recording("b1", "b", [0], channels=3),)}, "'b1': 3 channels where toy has 2 .x, y."),
        ({"test": (recording("b1", "b", [2]),)}, "class indices from 2 to 2"),
        ({"test": (recording("b1", "b", [-2, 0]),)}, "class indices from -2"),
        ({"train": (recording("a1", "a", [0]),)}, "'walk' has no training samples; the test part has it"),
        ({"test": (recording("b1", "a", [0, 1]), recording("c1", "c", [0]))}, "subject 'a' is in both"),
        ({"test": (recording("a1#3", "", [0, 1]),)}, "recording 'a1' is in both"),
        ({"unlabelled": (recording("c1", "c", [0]),)}, "unlabelled recording has classes"),
    ],
)
def test_recordings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recordings(**changes)


def test_one_subject_may_be_split_by_recording() -> None:
    assert recordings(test=(recording("b1", "a", [0, 1]),)).test[0].subject == "a"


def test_the_hash_covers_what_is_learnt() -> None:
    made = recordings(train=(recording("a1", "a", [0, 1]),), test=(recording("b1", "b", [0]),))
    by_hand = hashlib.sha256(
        b"rest\0walk\x0050.0"
        + (1).to_bytes(8, "little") + b"(2, 2)" + bytes(16) + b"(2,)" + np.array([0, 1], "<i8").tobytes()
        + (1).to_bytes(8, "little") + b"(1, 2)" + bytes(8) + b"(1,)" + np.array([0], "<i8").tobytes()
        + bytes(8)
    )  # fmt: skip
    assert made.sha256 == by_hand.hexdigest()
    assert replace(made, source="elsewhere").sha256 == made.sha256
    for change in (
        {"sample_rate_hz": 100.0},
        {"labels": ("rest", "run")},
        {"train": (recording("a1", "a", [1, 0]),)},
        {"train": (recording("a1", "a", [0, 1], value=1.0),)},
        {"unlabelled": (recording("c1", "", [NO_CLASS]),)},
    ):
        assert replace(made, **change).sha256 != made.sha256  # type: ignore[arg-type]
