# SPDX-License-Identifier: Apache-2.0
"""What a page replays: worst moments, the part that fits into a page, hand-computed."""

from types import SimpleNamespace

import numpy as np
import pytest

from memkd_edge.metadata import Metadata
from memkd_edge.pages import replay
from memkd_edge.pages.replay import Moment, Recording, Replay
from memkd_edge.vocabulary import Decision, Reset


def recording(labels: list[int], decisions: list[int], name: str = "one") -> Recording:
    count = len(labels)
    return Recording(
        name, np.zeros((count, 2), np.int16), np.array(labels), np.zeros((count, 3), np.float32), np.array(decisions), None
    )


def replayed(*recordings: Recording, rate: float | None = None) -> Replay:
    metadata = Metadata(
        "x",
        ("a", "b", "c"),
        ("p", "q"),
        ("", ""),
        rate,
        (0.0, 0.0),
        (1.0, 1.0),
        reset=Reset.NEVER,
        decides=Decision.EVERY_SAMPLE,
    )
    return Replay(metadata, np.ones(2, np.float32), recordings, len(recordings))


def test_moments_are_the_stretches_of_wrong_decisions_longest_first() -> None:
    first = recording([0, 0, 0, 0, 1, 1, 1, -1, 2], [0, 1, 1, 1, 1, 1, 0, 0, -1])
    second = recording([2] * 6, [0, 1, 1, 0, 1, 1], "two")
    # Not judged, not yet decided and too short (one sample of first) are no moments; a change of label ends a stretch.
    assert replayed(first, second).moments == [Moment(1, 0, 6, 2, 1), Moment(0, 1, 4, 0, 1)]
    assert replayed(first, second, rate=50.0).moments == [Moment(1, 0, 6, 2, 1)]  # .1 s are five samples


def test_accuracy_is_over_judged_samples() -> None:
    assert recording([0, -1, 1, 1], [0, 0, 1, 0]).accuracy == pytest.approx(2 / 3)
    assert recording([-1], [0]).accuracy == 1


def test_what_is_refused_or_not_yet_decided_is_no_class() -> None:
    one = recording([0, 0, 0, 0, 0, 0, -1], [-1, -1, 0, -2, 0, 1, -2])
    assert one.accuracy == pytest.approx(2 / 4)  # before the first answer there is nothing to judge
    assert one.refused == pytest.approx(1 / 4)
    assert replayed(recording([0] * 9, [1, 1, 1, -2, -2, -2, 1, 1, 1])).moments == [Moment(0, 0, 3, 0, 1), Moment(0, 6, 9, 0, 1)]
    assert recording([0, 0], [-1, -1]).accuracy == 1


def test_series_end_where_they_end_and_window_ends_are_judged_by_the_series_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def pieces(x: np.ndarray, reset: Reset, at_ends: bool) -> list[tuple[str, list[float], list[int]]]:
        monkeypatch.setattr(replay, "read_streams", lambda _: [])
        monkeypatch.setattr(replay, "read_series", lambda _: SimpleNamespace(x_test=x, y_test=np.array([2, 0, 1])))
        run = SimpleNamespace(metadata=SimpleNamespace(reset=reset))
        found = replay._held_out(run, at_ends=at_ends)  # type: ignore[arg-type]
        return [(name, one[:, 0].tolist(), labels.tolist()) for name, one, labels in found]

    x = np.arange(9, dtype=np.float32).reshape(3, 3, 1)
    (joined,) = pieces(x, Reset.NEVER, True)
    assert joined[1:] == ([*range(9)], [-1, -1, 2, 2, 2, 0, 0, 0, 1])
    assert pieces(x, Reset.NEVER, False)[0][2] == [2, 2, 2, 0, 0, 0, 1, 1, 1]
    x[1, 2] = np.nan
    assert pieces(x, Reset.EVENT, False) == [
        ("test series 1", [0, 1, 2], [2, 2, 2]),
        ("test series 2", [3, 4], [0, 0]),
        ("test series 3", [6, 7, 8], [1, 1, 1]),
    ]


def test_a_page_holds_the_worst_recordings_whole_and_cuts_the_last() -> None:
    some = [recording([0] * 6, [0] * 6), recording([1] * 6, [1] * 6, "two"), recording([2], [2], "three")]
    kept = replay._within_budget(some, 7 * 10)  # seven bytes a sample: two of each channel, one of each score
    assert [(one.name, len(one.counts), len(one.decisions)) for one in kept] == [
        ("one", 6, 6),
        ("two, its first 4 samples", 4, 4),
    ]
