# SPDX-License-Identifier: Apache-2.0
"""Scores along streams, against scikit-learn, mir_eval and hand-counted cases."""

import math

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from memkd_edge.errors import UsageError
from memkd_edge.stream_scores import StreamScores, stream_scores

RATE = 10.0


def _runs(*runs: tuple[int, int]) -> np.ndarray:
    """Return (class, samples) runs as one sequence."""
    return np.concatenate([np.full(samples, k) for k, samples in runs])


def _scores(decisions: np.ndarray, labels: np.ndarray, classes: int = 3) -> StreamScores:
    return stream_scores([decisions], [labels], classes, RATE)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 200), classes=st.integers(2, 5), unjudged=st.sampled_from([0.0, 0.3, 0.9]), seed=st.integers(0, 9999)
)
def test_accuracy_f1_and_confusion_are_scikit_learns_over_judged_samples(
    length: int, classes: int, unjudged: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    streams = [(generator.integers(0, classes, length), generator.integers(0, classes, length)) for _ in range(2)]
    for _, truth in streams:
        truth[generator.random(length) < unjudged] = -1
    streams[0][1][0] = 0  # at least one judged sample
    found = stream_scores([one for one, _ in streams], [truth for _, truth in streams], classes, RATE)
    decisions, labels = (np.concatenate(side) for side in zip(*streams, strict=True))
    judged = labels >= 0
    decisions, labels = decisions[judged], labels[judged]
    assert found.accuracy == pytest.approx(accuracy_score(labels, decisions))
    present = np.unique(labels)
    assert found.f1_macro == pytest.approx(f1_score(labels, decisions, labels=present, average="macro", zero_division=0))
    assert np.array_equal(found.confusion, confusion_matrix(labels, decisions, labels=range(classes)))
    assert found.majority == np.bincount(labels).max() / len(labels)
    assert found.seconds == len(labels) / RATE


@settings(max_examples=100, deadline=None)
@given(changes=st.integers(0, 12), switches=st.integers(0, 30), classes=st.integers(2, 4), seed=st.integers(0, 9999))
def test_event_f1_is_mir_evals_onset_matching_class_by_class(changes: int, switches: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    length = 300

    def sequence(parts: int) -> np.ndarray:
        borders = np.sort(generator.choice(np.arange(1, length), parts, replace=False))
        values = np.cumsum(np.r_[generator.integers(classes), generator.integers(1, classes, parts)]) % classes
        return np.repeat(values, np.diff(np.r_[0, borders, length]))

    labels, decisions = sequence(changes), sequence(switches)
    found = _scores(decisions, labels, classes)
    matched = references = estimates = 0
    for k in range(classes):
        onsets = [(np.flatnonzero((one[1:] == k) & (one[:-1] != k)) + 1).astype(float) for one in (labels, decisions)]
        matched += len(mir_eval.util.match_events(onsets[0], onsets[1], 5.0)) if min(map(len, onsets)) else 0
        references, estimates = references + len(onsets[0]), estimates + len(onsets[1])
    if references + estimates == 0:
        assert math.isnan(found.event_f1)
    else:
        assert found.event_f1 == pytest.approx(2 * matched / (references + estimates))


def test_one_decision_across_two_events_detects_one_of_them() -> None:
    labels = _runs((0, 40), (1, 10), (0, 4), (1, 40))
    merged = _runs((0, 41), (1, 53))
    found = _scores(merged, labels)
    # Events: to 1, to 0, to 1. One switch, which detects the first: 2 * 1 / (1 + 3).
    assert found.event_f1 == pytest.approx(0.5)
    assert found.false_switches_per_minute == 0


def test_delays_missed_segments_and_false_switches_counted_by_hand() -> None:
    labels = _runs((0, 50), (1, 50), (2, 50), (0, 50))
    decisions = _runs((0, 53), (1, 17), (2, 10), (1, 40), (0, 80))
    found = _scores(decisions, labels)
    # To 1 after .3 s; to 2 never: the switch to 2 at 7.0 s is 3 s early and false, that back to 1 at 8.0 s is right; to 0 at
    # once: the switch to 0 at 12.0 s is 3 s early and false, but the decision stands when the event comes.
    assert found.delay_median_s == pytest.approx(0.3)
    assert found.delay_p90_s == math.inf
    assert found.missed == pytest.approx(1 / 3)
    assert found.false_switches_per_minute == pytest.approx(2 * 60 / 20)
    assert found.switches_per_minute == pytest.approx(4 * 60 / 20)
    assert found.events_per_minute == pytest.approx(3 * 60 / 20)
    assert found.as_dict()["delay_p90_s"] is None


def test_settled_accuracy_leaves_out_a_quarter_second_around_changes() -> None:
    labels = _runs((0, 50), (1, 50))
    decisions = _runs((0, 52), (1, 47), (0, 1))
    found = _scores(decisions, labels)
    assert found.accuracy == pytest.approx(97 / 100)
    assert found.settled_accuracy == pytest.approx(95 / 96)  # two samples on either side are .2 s at 10 Hz


def test_changes_to_and_from_unjudged_samples_are_no_events() -> None:
    labels = _runs((0, 30), (-1, 30), (1, 30))
    found = _scores(_runs((0, 35), (2, 20), (1, 35)), labels)
    assert found.events_per_minute == 0
    assert found.switches_per_minute == 0  # both switches fall on unjudged samples
    assert math.isnan(found.delay_median_s)
    assert found.accuracy == 1


def test_when_a_class_came_after_samples_without_a_label_counts_neither_way() -> None:
    labels = _runs((0, 30), (-1, 20), (1, 30), (0, 20))
    # The one event, to 0, is detected; the switch to 1 comes .3 s after its first label, and .7 s after, which is too late.
    assert _scores(_runs((0, 53), (1, 29), (0, 18)), labels).event_f1 == 1
    assert _scores(_runs((0, 57), (1, 25), (0, 18)), labels).event_f1 == pytest.approx(2 / 3)
    assert math.isnan(_scores(_runs((0, 53), (1, 27)), labels[:80]).event_f1)


def test_where_the_answer_is_none_nothing_is_right_or_wrong_and_the_segment_goes_on() -> None:
    labels = _runs((0, 50), (1, 50))
    found = _scores(_runs((0, 53), (-2, 2), (1, 20), (-2, 5), (1, 20)), labels)
    assert found.accuracy == pytest.approx(90 / 93)
    assert found.settled_accuracy == pytest.approx(88 / 89)
    assert found.confusion[0][:2] == (50, 0)
    assert found.confusion[1][:2] == (3, 40)
    assert (found.delay_median_s, found.missed) == (0.5, 0)
    assert found.switches_per_minute == found.events_per_minute == pytest.approx(6)
    assert (found.false_switches_per_minute, found.event_f1, found.seconds) == (0, 1, 10)


def test_nothing_is_judged_before_the_first_decision() -> None:
    labels = _runs((0, 10), (1, 20), (0, 10))
    found = _scores(_runs((-1, 20), (1, 12), (0, 8)), labels)
    assert found.seconds == 2
    assert found.accuracy == pytest.approx(18 / 20)
    assert (found.events_per_minute, found.switches_per_minute) == (30, 30)
    with pytest.raises(UsageError, match="and a decision"):
        _scores(np.full(40, -1), labels)


def test_accuracy_since_the_start_shows_decay() -> None:
    labels = np.zeros(160, np.int64)
    decisions = np.where(np.arange(160) < 80, 0, 1)
    found = stream_scores([decisions], [labels], 2, RATE)
    assert found.accuracy_since_start == ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (8.0, 0.0))


def test_short_segments_have_no_delay() -> None:
    labels = _runs((0, 30), (1, 2), (0, 30))
    found = _scores(_runs((0, 62)), labels)
    assert found.delay_median_s == 0  # that of the change back to 0 alone


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(UsageError, match="no sample of these streams has a label"):
        _scores(np.zeros(5, np.int64), np.full(5, -1))
    with pytest.raises(UsageError, match="5 decisions and 4 labels"):
        _scores(np.zeros(5, np.int64), np.zeros(4, np.int64))
    with pytest.raises(UsageError, match="at least one"):
        stream_scores([], [], 2, RATE)
