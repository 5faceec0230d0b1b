# SPDX-License-Identifier: Apache-2.0
"""What counts as a run among many seeds, and the gap between the students kept and their teacher."""

from experiments.stream_runs import SEEDS, outcome, report


def metrics(accuracies: list[float], best: list[int]) -> dict[str, object]:
    """metrics.json of students with these test accuracies, of which `best` have the highest held-out score of their run."""
    students = [
        {"seed": seed, "validation_f1_macro": 0.9 if seed in best else 0.8, "test_accuracy": one, "test_f1_macro": one - 0.1}
        for seed, one in enumerate(accuracies)
    ]
    teacher = {"stream": {"accuracy": 0.9, "f1_macro": 0.88, "settled_accuracy": 1.0}}
    return {"teacher": teacher, "student": {"compression": 553.4}, "students": students}


def test_each_eight_seeds_keep_the_one_that_held_out_subjects_prefer() -> None:
    found = outcome(metrics([0.7] * SEEDS + [0.8] * SEEDS + [0.6, 0.85, *[0.8] * (SEEDS - 2)], best=[3, SEEDS, 2 * SEEDS + 1]))
    assert found["teacher"] == {"accuracy": 0.9, "f1_macro": 0.88}
    assert [one["seed"] for one in found["kept"]] == [3, SEEDS, 2 * SEEDS + 1]
    assert [one["accuracy"] for one in found["kept"]] == [0.7, 0.8, 0.85]
    assert len(found["all"]) == 3 * SEEDS


def test_the_gap_is_over_runs_and_over_splits() -> None:
    # Gaps of .2, .1, .05: mean .1167, standard deviation .0764; 4.303 * .0764 / sqrt(3) = .1897 to each side.
    development = outcome(metrics([0.7] * SEEDS + [0.8] * SEEDS + [0.85] * SEEDS, best=[0, SEEDS, 2 * SEEDS]))
    # Splits with gaps of .1 and .08: mean .09, 12.706 * .01 to each side.
    splits = [outcome(metrics([one] * SEEDS, best=[0])) for one in (0.8, 0.82)]
    text = report({"development": development, "left out 1": splits[0], "left out 2": splits[1]})
    assert "(development) | 3 | 0.900, 0.880 | 0.783, 0.683 | 0.783, 0.683 | +0.117 [-0.073, +0.306] |" in text
    assert text.endswith(
        "| mean without development | | 0.900, 0.880 | 0.810, 0.710 | 0.810, 0.710 | +0.090 [-0.037, +0.217] |\n"
    )
