# SPDX-License-Identifier: Apache-2.0
"""What training costs: the experiment trains what it says, and its table divides as it says."""

import pytest

from experiments import bench_distill
from experiments.bench_distill import Work, cost, growth_row, report


@pytest.mark.parametrize(
    ("work", "samples"),
    [
        (Work("students", 20, 16), 20 * 16),
        (Work("a teacher", 20, 16), 20 * 16),
        (Work("students", 500, 4, streams=True), 25 * 5 * 400),  # 5 lanes of 400 of the 2,000 samples, 25 times
        (Work("a teacher", 500, 4, streams=True), 25 * 10 * 200),
    ],
    ids=str,
)
def test_an_epoch_of_everything_is_counted(work: Work, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_distill, "STUDENTS", 4)
    monkeypatch.setattr(bench_distill, "TEACHER", bench_distill.ModelSpec(1, 5, bench_distill.CLASSES, 2))
    found, seconds, peak = cost(work)
    assert found == samples
    assert seconds > 0
    assert peak > 50 * bench_distill.MIB


def test_the_time_of_a_sample_is_that_of_one_student() -> None:
    row = growth_row(Work("students", 100, 50), 5000, 1.6, 300 * bench_distill.MIB)
    assert row == "| 32 students | 50 series | 100 | 1.60 s | 10.00 us | 300 MiB |"
    assert row in report([], [row])
