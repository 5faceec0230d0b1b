# SPDX-License-Identifier: Apache-2.0
"""The report of the decision layer."""

from experiments.stream_decisions import report


def test_the_report_says_which_wants_are_met_in_the_mean_over_the_seeds():
    def figures(accuracy: float, delay: float, false: float) -> dict[str, float]:
        return {"accuracy": accuracy, "delay_median_s": delay, "false_switches_per_minute": false}

    def seed(*held: float) -> dict[str, object]:
        own = figures(*held)
        return {"margin": 1.5, "warm_up": 1.0, "plain": figures(0.9, 0.05, 8.0), "held": own, "by_margin": {"1.5": own}}

    found = {"students": [seed(0.87, 0.1, 2.0), seed(0.86, 0.2, 4.0)], "samples": 9, "steps": 9, "teacher": "1x8", "quarters": 4}
    text = report(found)
    assert "| 0 | 1.5 | 0.900 | 0.870 | 0.05 | 0.10 | 8.0 | 2.0 | 1.00 |" in text
    assert "| mean |  | 0.900 | 0.865 | 0.05 | 0.15 | 8.0 | 3.0 | 1.00 |" in text
    assert "accuracy met, delay median s met, false switches per minute not met" in text
