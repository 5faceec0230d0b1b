# SPDX-License-Identifier: Apache-2.0
"""The paper's question by both protocols: what is asked, and the rankings side by side."""

from pathlib import Path

import pytest

from experiments import set_by_set, ucr12
from memkd_edge.comparison.plan import settled
from memkd_edge.comparison.suites import SUITES
from memkd_edge.config import CompareConfig
from tests.comparison.test_report import comparison, row


def test_one_set_has_the_settings_of_the_suite() -> None:
    one = settled(ucr12.asked((" Adiac",), "paper"))
    assert one.datasets == ("Adiac",)
    assert one.distillation.resample == SUITES["ucr12"].resample
    assert one.distillation.protocol == "paper"
    assert len(one.methods) == 9


def test_rankings_stand_side_by_side_on_the_sets_that_both_have() -> None:
    honest = [row(name, method, 0, score) for name in ("A", "B", "C") for method, score in (("base", 0.6), ("memkd", 0.7))]
    paper = [row(name, method, 0, score) for name in ("A", "B") for method, score in (("base", 0.75), ("memkd", 0.72))]
    text = ucr12.side_by_side(honest, paper)
    assert "2 of 12 sets" in text
    assert "| memkd | 1.00 | 2.00 | 0.700 | 0.720 | +0.020 |" in text
    assert "| base | 2.00 | 1.00 | 0.600 | 0.750 | +0.150 |" in text


def test_both_protocols_go_on_set_by_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compare(config: CompareConfig, folder: Path) -> None:
        (name,) = config.datasets
        asked.append((config.distillation.protocol, name))
        folder.mkdir(parents=True)
        score = 0.8 if config.distillation.protocol == "paper" else 0.7
        comparison(folder, [row(name.partition("@")[0], method, 0, score) for method in ("base", "memkd")])

    monkeypatch.setattr(set_by_set, "compare", compare)
    monkeypatch.setattr(ucr12, "MODELS", tmp_path)
    monkeypatch.setattr(ucr12, "PROTOCOLS", {name: tmp_path / name for name in ucr12.PROTOCOLS})
    for work in ("first", "second"):
        monkeypatch.setattr("sys.argv", ["ucr12", "--work", str(tmp_path / work)])
        ucr12.main()
    assert asked == [(protocol, name) for protocol in ("honest", "paper") for name in SUITES["ucr12"].datasets]
    assert "12 of 12 sets" in (tmp_path / "protocols.md").read_text()
    assert (tmp_path / "paper" / "report.md").is_file()
