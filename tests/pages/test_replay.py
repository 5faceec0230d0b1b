# SPDX-License-Identifier: Apache-2.0
"""What a page replays: worst moments, the part that fits into a page, hand-computed."""

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


def test_a_page_holds_the_worst_recordings_whole_and_cuts_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "BUDGET_BYTES", 7 * 10)  # seven bytes a sample: two of each channel, one of each score
    kept = replay._within_budget([recording([0] * 6, [0] * 6), recording([1] * 6, [1] * 6, "two"), recording([2], [2], "three")])
    assert [(one.name, len(one.counts), len(one.decisions)) for one in kept] == [
        ("one", 6, 6),
        ("two, its first 4 samples", 4, 4),
    ]
