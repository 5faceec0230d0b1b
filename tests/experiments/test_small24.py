# SPDX-License-Identifier: Apache-2.0
"""The suite of 24 sets: apart from the tuning sets, and what is said of its rows."""

from pathlib import Path

import pytest

from experiments import set_by_set, small24
from experiments.small24 import SUITE, TOUCHED, TUNING, goals, main
from memkd_edge.comparison.rows import StudentResult, read_rows
from memkd_edge.config import CompareConfig
from tests.comparison.test_report import comparison, row

SCORES = {"base": 0.6, "kd": 0.5, "memkd": 0.63, "memkd-belief": 0.72}


def rows_of(dataset: str, shift: float, classes: int = 2) -> list[StudentResult]:
    return [
        row(dataset, method, 0, score + shift * place, classes=classes) for place, (method, score) in enumerate(SCORES.items())
    ]


def test_no_set_is_both_evidence_and_for_trials() -> None:
    assert len(set(SUITE)) == len(SUITE) == 24
    assert not set(SUITE) & set(TUNING)
    assert set(TOUCHED) < set(SUITE)


def test_goals_are_told_over_all_sets_and_over_those_that_settled_nothing() -> None:
    rows = [*rows_of("Coffee", 0.02), *rows_of("NATOPS", 0.01), *rows_of("Adiac", 0.0, classes=37)]
    table = [line.split(" | ") for line in goals(rows).splitlines() if line.startswith("| 3, all") or line.startswith("| 2, unt")]
    assert [(line[0], line[1]) for line in table[::4]] == [("| 3, all", "memkd-belief"), ("| 2, untouched", "memkd-belief")]
    # Over base .18, .15, .12 on all; without Coffee .15, .12. Retention of sets of few classes, the teacher has .9: .78, .75.
    assert table[0][3].startswith("+0.150 [")
    assert table[4][3].startswith("+0.135 [")
    assert float(table[0][7].rstrip(" |")) == pytest.approx((0.78 + 0.75) / 2 / 0.9, abs=0.0005)
    assert float(table[4][7].rstrip(" |")) == pytest.approx(0.75 / 0.9, abs=0.0005)


def test_a_set_with_rows_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compare(config: CompareConfig, folder: Path) -> None:
        (name,) = config.datasets
        asked.append(name)
        folder.mkdir(parents=True)
        comparison(folder, rows_of(name, 0.0))

    monkeypatch.setattr(set_by_set, "compare", compare)
    monkeypatch.setattr(small24, "OUT", tmp_path / "out")
    monkeypatch.setattr("sys.argv", ["small24", "--work", str(tmp_path / "first")])
    monkeypatch.setattr(small24, "SUITE", SUITE[:2])
    main()
    monkeypatch.setattr("sys.argv", ["small24", "--work", str(tmp_path / "second")])
    monkeypatch.setattr(small24, "SUITE", SUITE[:3])
    main()
    assert asked == list(SUITE[:3])
    assert [one.dataset for one in read_rows(tmp_path / "out" / "rows.csv")[:: len(SCORES)]] == list(SUITE[:3])
    assert (tmp_path / "out" / "report.md").is_file()
