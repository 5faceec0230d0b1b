# SPDX-License-Identifier: Apache-2.0
"""The held decision, against the rule written out sample by sample, and the choice of its margin."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.decisions import (
    MARGINS,
    OperatingPoint,
    chosen_point,
    chosen_refusal,
    held_classes,
    leads,
    margin_steps,
    operating_points,
    refused,
)


@settings(max_examples=100, deadline=None)
@given(
    length=st.integers(1, 80),
    classes=st.integers(2, 5),
    margin=st.integers(0, 6),
    start=st.none() | st.integers(0, 1),
    seed=st.integers(0, 9999),
)
def test_a_class_takes_over_only_by_more_than_the_margin(
    length: int, classes: int, margin: int, start: int | None, seed: int
) -> None:
    scores = np.random.default_rng(seed).integers(-5, 6, (length, classes))
    held = int(scores[0].argmax()) if start is None else start
    wanted = []
    for row in scores:
        leader = max(range(classes), key=lambda k: (row[k], -k))
        if row[leader] > row[held] + margin:
            held = leader
        wanted.append(held)
    assert held_classes(scores, margin, start).tolist() == wanted


def test_the_plain_decision_is_the_argmax() -> None:
    scores = np.random.default_rng(0).normal(size=(200, 4))
    assert np.array_equal(held_classes(scores, 0.0), scores.argmax(-1))


@settings(max_examples=50, deadline=None)
@given(classes=st.integers(2, 5), floor=st.integers(-3, 6), seed=st.integers(0, 9999))
def test_refused_is_what_does_not_lead_every_other_class_enough(classes: int, floor: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, held = random.integers(-5, 6, (40, classes)), random.integers(0, classes, 40)
    wanted = [any(row[k] - row[j] < floor for j in range(classes) if j != k) for row, k in zip(scores, held, strict=True)]
    assert refused(scores, held, floor).tolist() == wanted


def test_the_floor_gives_up_the_share_of_right_answers_that_is_asked_for() -> None:
    logits, labels = _noisy_stream()
    labels = np.where(np.arange(len(labels)) % 10 == 0, -1, labels)
    found = chosen_refusal([logits[:300], logits[300:]], [labels[:300], labels[300:]], 0.0, 0.1)
    held = logits.argmax(-1)
    out = leads(logits, held) < found.floor
    shares = [out[which].mean() for which in (held == labels, (held != labels) & (labels >= 0), labels < 0)]
    assert [found.right, found.wrong, found.unlabelled] == pytest.approx(shares, abs=0.01)
    assert found.right == pytest.approx(0.1, abs=0.01)
    assert found.wrong > found.right


def _noisy_stream() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    labels = np.repeat(generator.permutation(np.repeat(np.arange(3), 5)), 200)
    logits = 2.5 * np.eye(3)[labels] + generator.normal(size=(len(labels), 3))
    return logits.astype(np.float32), labels


def test_the_point_with_the_fewest_false_switches_within_the_delay_is_chosen() -> None:
    logits, labels = _noisy_stream()
    points = operating_points([logits], [labels], 3, 100.0)
    assert [one.margin for one in points] == list(MARGINS)
    chosen = chosen_point(points, 0.05)
    assert chosen.margin > 0
    assert chosen.scores.delay_median_s <= 0.05
    assert chosen.scores.accuracy >= points[0].scores.accuracy - 0.03
    allowed = [
        one for one in points if one.scores.delay_median_s <= 0.05 and one.scores.accuracy >= points[0].scores.accuracy - 0.03
    ]
    fewest = min(one.scores.false_switches_per_minute for one in allowed)
    assert chosen.scores.false_switches_per_minute == fewest < points[0].scores.false_switches_per_minute


def test_where_no_margin_pays_there_is_none() -> None:
    labels = np.repeat([0, 1, 0, 1], 100)
    logits = 20 * np.eye(2, dtype=np.float32)[labels]
    assert chosen_point(operating_points([logits], [labels], 2, 100.0), 1.0).margin == 0


def test_a_margin_that_costs_too_much_accuracy_is_not_taken() -> None:
    labels = np.repeat([0, 1] * 20, 50)
    scores = np.where(labels[:, None] == np.arange(2), 1.0, 0.0).astype(np.float32)  # lead of 1: margins from 1 never switch
    points = operating_points([scores], [labels], 2, 100.0)
    assert points[MARGINS.index(1.0)].scores.accuracy == pytest.approx(0.5)
    assert chosen_point(points, float("inf")).margin < 1


def test_fewer_false_switches_are_worth_three_points_of_accuracy_and_no_more() -> None:
    logits, labels = _noisy_stream()
    plain = operating_points([logits], [labels], 3, 100.0)[0].scores

    def point(margin: float, accuracy: float, switches: float, delay: float = 0.1) -> OperatingPoint:
        scores = replace(plain, accuracy=accuracy, false_switches_per_minute=switches, delay_median_s=delay)
        return OperatingPoint(margin, scores)

    points = [point(0.0, 0.9, 9.0), point(0.25, 0.875, 5.0), point(0.5, 0.85, 2.0), point(1.0, 0.88, 1.0, delay=3.0)]
    assert chosen_point(points, 1.0).margin == 0.25
    assert chosen_point(points, 3.0).margin == 1.0
    assert chosen_point([points[0], point(0.25, 0.9, 5.0), point(0.5, 0.9, 5.0)], 1.0).margin == 0.25


def test_a_margin_that_keeps_a_rare_class_from_ever_being_decided_is_not_taken() -> None:
    labels = np.tile(np.repeat([0, 1, 0, 2], [480, 20, 300, 200]), 10)
    logits = 6 * np.eye(3, dtype=np.float32)[labels]
    logits[labels == 1] *= 0.4  # 2 % of the samples, which lead by 2.4
    logits[50::100], logits[60::1000] = [0.0, 1.2, 0.0], [0.0, 2.45, 0.0]  # false switches, by 1.2 and by 2.45
    points = operating_points([logits], [labels], 3, 100.0)
    vanished = points[MARGINS.index(2.5)].scores
    assert vanished.classes[1].f1 == 0.0
    assert vanished.accuracy > points[0].scores.accuracy - 0.03
    assert vanished.false_switches_per_minute < points[MARGINS.index(1.5)].scores.false_switches_per_minute
    chosen = chosen_point(points, 1.0)
    assert chosen.margin == 1.5
    assert chosen.scores.classes[1].f1 > 0.9


def test_a_margin_is_whole_steps_of_integer_logits() -> None:
    assert [margin_steps(margin, 0.25) for margin in (0.0, 0.3, 0.49, 0.51)] == [0, 1, 2, 2]
