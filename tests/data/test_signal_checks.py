# SPDX-License-Identifier: Apache-2.0
"""What signals tell: refused or noted, and sound ones pass without a word."""

import numpy as np
import pytest

from memkd_edge.data.dataset import Description, RawPart, assemble
from memkd_edge.data.normalisation import normalise, statistics
from memkd_edge.data.signal_checks import check_signals, copied_recordings, known_series, other_scales
from memkd_edge.errors import UsageError


def walks(count=20, steps=60, channels=3, seed=0):
    """Signals that move on from sample to sample, as measured ones do."""
    return list(np.cumsum(np.random.default_rng(seed).normal(size=(count, steps, channels)), axis=1))


def check(series, units=("", "", "")):
    return check_signals("D", series, ("x", "y", "z"), units)


def with_channel(values):
    """Walks whose channel y is values(index of the series, steps)."""
    series = walks()
    for index, signal in enumerate(series):
        signal[:, 1] = values(index, len(signal))
    return series


def test_sound_signals_pass_without_a_word():
    assert check(walks()) == ()


@pytest.mark.parametrize(
    "values",
    [
        lambda index, steps: 1.7e9 + 600 * index + np.arange(steps) / 50,
        lambda index, steps: np.arange(steps),
        lambda index, steps: index * steps + np.arange(steps) // 10,  # a clock of whole seconds
    ],
)
def test_what_rises_as_time_does_is_refused_unless_it_has_a_unit(values):
    series = with_channel(values)
    with pytest.raises(UsageError, match=r"^D: y never falls within a series but to start .* count of rows does; .* a unit"):
        check(series)
    assert not any("never falls" in note for note in check(series, ("", "steps", "")))
    assert check_signals("D", [signal[:, 1:2] for signal in series], ("y",), ("",))[0].startswith("D: y never falls")


@pytest.mark.parametrize(
    "values",
    [
        lambda rows: (rows * 10 + 40_000) % 65_536,  # ms in 16 bits
        lambda rows: (rows * 10_000 + 4_290_000_000) % 2**32,  # us in 32 bits
        lambda rows: rows % 256,  # a count in a byte
        lambda rows: np.concatenate([rows[:700], rows[:500], rows[:800]]) * 10,  # the board was reset twice
    ],
)
def test_a_clock_that_wraps_or_a_board_that_is_reset_is_no_channel(values):
    series = walks(4, 2000)
    for signal in series:
        signal[:, 1] = values(np.arange(2000))
    with pytest.raises(UsageError, match="y never falls within a series but to start again, as a time"):
        check(series)


def test_what_falls_seldom_and_not_to_its_lowest_value_or_hardly_rises_is_a_signal():
    rows = np.arange(2000)
    for values in (rows % 100 + 50 * (rows // 100 % 2), 36.5 + 0.1 * (rows // 100 % 2), rows - 300 * (rows // 400)):
        series = walks(4, 2000)
        for signal in series:
            signal[:, 1] = values
        assert check(series) == ()


def test_what_rises_in_all_series_but_one_is_a_signal():
    series = with_channel(lambda index, steps: np.arange(steps))
    series[3][5, 1] = -1
    assert check(series) == ()


def test_constant_channels_are_noted():
    assert check(with_channel(lambda index, steps: np.full(steps, 9.81))) == (
        "D: y is constant (9.81): there is nothing to learn from it, leave it out",
    )
    (note,) = check(with_channel(lambda index, steps: np.full(steps, index)))
    assert note.startswith("D: y is constant within every series and differs between them")


def test_a_level_that_float32_has_made_constant_is_called_so():
    (note,) = check(with_channel(lambda index, steps: np.float32(1e9) + np.arange(steps).astype(np.float32) % 7))
    assert "D: y is constant to float32 (1e+09), which tells apart 64 there; if it varies by less, subtract a constant" in note


def test_what_float32_cannot_tell_apart_is_refused_and_what_it_hardly_can_is_noted():
    movement = np.random.default_rng(1).normal(size=(20, 60))
    with pytest.raises(UsageError, match=r"^D: y lies at 1e\+07 and varies by 1 only, which float32 cannot tell apart; subtract"):
        check(with_channel(lambda index, steps: 1e7 + movement[index]))
    (note,) = check(with_channel(lambda index, steps: 1e6 + movement[index]))
    assert note.startswith("D: y lies at 1e+06 and varies by 1 only, coarse in float32; subtract a constant")
    assert check(with_channel(lambda index, steps: 1e5 + movement[index])) == ()


@pytest.mark.parametrize("scale", [3e38, -3e38, 1e31])
def test_what_float32_cannot_compute_with_is_refused(scale):
    series = with_channel(lambda index, steps: np.where(np.arange(steps) == 7, scale, -scale * (index % 2)))
    with pytest.raises(UsageError, match=r"^D: y reaches -?[\d.e+]+, which float32 cannot compute with; is it a mark"):
        check(series)


@pytest.mark.parametrize("scale", [1e30, 1e-29])
def test_what_is_let_through_is_normalised_to_finite_numbers(scale):
    sides = np.random.default_rng(0).choice([-1.0, 1.0], size=(20, 60))
    series = with_channel(lambda index, steps: scale * sides[index])
    check(series)
    x = np.stack(series).astype(np.float32)
    result = normalise(x, *statistics(x))
    np.testing.assert_allclose(result[:, :, 1], sides, atol=0.1)


def test_too_small_a_movement_is_refused():
    with pytest.raises(UsageError, match=r"^D: y varies by 1e-35 only, which float32 cannot compute with; give it"):
        check(with_channel(lambda index, steps: 1e-35 * (-1.0) ** np.arange(steps)))


def test_shuffled_samples_are_noted():
    series = [np.random.default_rng(index).permutation(signal) for index, signal in enumerate(walks())]
    (note,) = check(series)
    assert "successive samples have nothing to do with each other" in note
    assert note.endswith("are the rows in order of time?")


def test_a_subject_in_another_unit_is_named():
    by_subject = {f"subject 'p{index}'": walks(5, seed=index) for index in range(6)}
    assert other_scales("D", by_subject, ("x", "y", "z")) == ()
    by_subject["subject 'p4'"] = [signal / 9.81 for signal in by_subject["subject 'p4'"]]
    (note,) = other_scales("D", by_subject, ("x", "y", "z"))
    assert note.startswith("D: the values of subject 'p4' are ")
    assert "times smaller than the others' in x, y, z; are they in another unit (g beside m/s2" in note


def test_a_sensor_worn_the_other_way_round_is_no_other_unit():
    upright, turned = np.array([9.8, 0.3, 0.3]), np.array([0.3, 9.8, 0.3])
    by_subject = {f"subject '{index}'": [signal / 20 + upright for signal in walks(4, seed=index)] for index in range(5)}
    by_subject["subject '5'"] = [signal / 20 + turned for signal in walks(4, seed=9)]
    assert other_scales("D", by_subject, ("x", "y", "z")) == ()


def test_copies_are_noted():
    first, second, third = walks(count=3)
    rest, few = np.zeros((50, 3)), first[:5]
    sound = [("a", first), ("b", second), ("c", rest), ("d", rest.copy()), ("e", few), ("f", few.copy())]
    assert copied_recordings("D", sound) == ()
    (note,) = copied_recordings("D", [*sound, ("g", np.asfortranarray(first))])
    assert note == "D: the same samples twice: g as a; leave copies out, as what was learnt from is no test"
    assert known_series("D", [first, rest, few], [second, third, rest, few]) == ()
    (note,) = known_series("D", [first, second], [second.copy(), third, second])
    assert note == "D: 2 of 3 test series stand in the training part, too; what was learnt from is no test"


def test_a_data_set_carries_the_notes():
    series = walks(12)
    labels, places = ["a", "b"] * 6, [f"series {index}" for index in range(12)]
    subjects = [f"p{index // 2}" for index in range(12)]
    scaled = [signal * 9.81 if subject == "p1" else signal for signal, subject in zip(series, subjects, strict=True)]
    described = Description(notes=("from the reader",))
    (first, second) = assemble("D", RawPart(scaled, labels, places, subjects), None, described).notes
    assert first == "from the reader"
    assert "subject 'p1'" in second
    test_in_g = RawPart([signal / 9.81 for signal in series[8:]], labels[8:], places[8:])
    notes = assemble("D", RawPart(series[:8], labels[:8], places[:8]), test_in_g, Description()).notes
    assert any("the values of the test part are" in note for note in notes)
    learnt = RawPart([*series[8:], series[0]], [*labels[8:], labels[0]], [*places[8:], "copy"])
    notes = assemble("D", RawPart(series[:8], labels[:8], places[:8]), learnt, Description()).notes
    assert any("1 of " in note and "stand in the training part, too" in note for note in notes)
