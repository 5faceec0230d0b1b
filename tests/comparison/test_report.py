# SPDX-License-Identifier: Apache-2.0
"""The report of a comparison: what it says, against numbers worked out by hand, and that its files are sound."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from memkd_edge.cli.comparison_tables import comparison_parts
from memkd_edge.cli.tables import show
from memkd_edge.comparison.figures import method_styles
from memkd_edge.comparison.findings import findings
from memkd_edge.comparison.report import write_report
from memkd_edge.comparison.rows import StudentResult, write_rows
from memkd_edge.config import CompareConfig, resolve, to_toml
from memkd_edge.errors import MemkdEdgeError, UsageError
from tests.conftest import ROOT

VOID = {"meta", "link", "br", "img", "input", "hr"}


def row(dataset: str, method: str, seed: int, test: float, **changes: Any) -> StudentResult:
    """A student of accuracy 0.1 below its AUC-PRC; the teacher has .9."""
    plain = StudentResult(
        dataset=dataset,
        student="lstm",
        compression=500.0,
        hidden_size=8,
        parameters=400,
        teacher_parameters=200_000,
        method=method,
        weight=0.0 if method == "base" else 3.0,
        seed=seed,
        stop_epoch=300,
        kept=False,
        validation_auc_prc=test,
        test_auc_prc=test,
        test_accuracy=test - 0.1,
        agreement_with_teacher=0.75,
        teacher_validation_auc_prc=0.95,
        teacher_test_auc_prc=0.9,
        teacher_test_accuracy=0.85,
        majority_test_auc_prc=0.5,
        majority_test_accuracy=0.55,
        train_series=50,
        length=100,
        classes=2,
        int8_test_auc_prc=None,
        int8_test_accuracy=None,
        flash_bytes=None,
        ram_bytes=None,
        instructions=None,
        seconds=1800.0,
        host="bench-1",
        version="0.1.0",
    )
    return replace(plain, **changes)


def comparison(folder: Path, rows: Sequence[StudentResult], **config: Any) -> Path:
    """A folder as `compare` leaves it."""
    asked = {"datasets": tuple(dict.fromkeys(one.dataset for one in rows)), **config}
    folder.mkdir(exist_ok=True)
    (folder / "compare.toml").write_text(to_toml("compare", resolve(CompareConfig, "compare", flags=asked)))
    write_rows(folder / "rows.csv", rows)
    return folder


# Data set -> method -> AUC-PRC of seeds 0 and 1.
SMALL = {
    "Alpha": {"base": (0.60, 0.70), "kd": (0.70, 0.80), "memkd": (0.80, 0.90)},
    "Beta": {"base": (0.50, 0.50), "kd": (0.50, 0.50), "memkd": (0.40, 0.50)},
}


def small_rows() -> list[StudentResult]:
    rows = [
        row(dataset, method, seed, score)
        for dataset, methods in SMALL.items()
        for method, scores in methods.items()
        for seed, score in enumerate(scores)
    ]
    return [replace(one, kept=one.method == "memkd" and one.seed == 1) for one in rows]


def many_rows(sets: int, methods: Sequence[str]) -> list[StudentResult]:
    """Each method better than the one before it on every data set, by steps of its own."""
    return [
        row(f"Set{number}", method, 0, 0.3 + 0.05 * place + 0.001 * number * place + 0.01 * number, kept=place == 0)
        for number in range(sets)
        for place, method in enumerate(methods)
    ]


def sweep_rows() -> list[StudentResult]:
    """Two kinds at three sizes: of gru students the largest is no better than the middle one, in int8; in float it is."""
    int8 = {"lstm": {1600.0: 0.5, 500.0: 0.6, 50.0: 0.8}, "gru": {1600.0: 0.4, 500.0: 0.7, 50.0: 0.7}}
    return [
        row(
            "Alpha",
            "memkd",
            0,
            0.9 - compression / 1e4,
            student=kind,
            compression=compression,
            parameters=int(2e5 / compression),
            kept=True,
            int8_test_auc_prc=score,
            int8_test_accuracy=score - 0.05,
            flash_bytes=int(5000 + 1e5 / compression),
            ram_bytes=int(100 + 1e4 / compression),
            instructions=1e6 / compression,
        )
        for kind, scores in int8.items()
        for compression, score in scores.items()
    ]


class Page(HTMLParser):
    """Collects what a page opens, closes, names, points to and says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_ranks_means_outcomes_and_retention_are_those_worked_out_by_hand() -> None:
    found = findings(small_rows())
    by_method = {one.method: one for one in found.ranking}
    # Seed means: Alpha .65 .75 .85 (ranks 3 2 1), Beta .50 .50 .45 (ranks 1.5 1.5 3).
    assert [(one.method, one.rank) for one in found.ranking] == [("kd", 1.75), ("memkd", 2.0), ("base", 2.25)]
    assert by_method["memkd"].auc_prc == pytest.approx(0.65)
    assert by_method["memkd"].accuracy == pytest.approx(0.55)
    assert by_method["memkd"].retention == pytest.approx((0.85 / 0.9 + 0.45 / 0.9) / 2)
    assert by_method["memkd"].against == {"base": (1, 0, 1), "kd": (1, 0, 1)}
    assert by_method["kd"].against == {"base": (1, 1, 0)}
    # +.20 and -.05: mean .075, standard error .125, Student's t of one degree of freedom 12.706.
    gain = by_method["memkd"].gain["base"]
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.075, 0.075 - 12.706 * 0.125, 0.075 + 12.706 * 0.125), rel=1e-4)
    assert "base" not in by_method["base"].gain
    spread = found.sets[0].of("base")
    assert spread is not None
    assert (spread.test_auc_prc.mean, spread.test_auc_prc.std) == pytest.approx((0.65, 0.05))


def test_the_share_of_data_sets_that_keep_97_percent_counts_the_limit_itself() -> None:
    rows = [row(name, "memkd", 0, score, teacher_test_auc_prc=1.0) for name, score in (("A", 0.97), ("B", 0.9699))]
    assert findings(rows).ranking[0].retained == 0.5


def test_a_data_set_without_all_methods_counts_in_no_mean_but_in_the_outcomes_of_those_it_has() -> None:
    rows = [*small_rows(), row("Gamma", "base", 0, 0.1), row("Gamma", "memkd", 0, 0.9)]
    found = findings(rows)
    assert found.complete == ("Alpha", "Beta")
    assert [one.rank for one in found.ranking] == [1.75, 2.0, 2.25]
    assert {one.method: one.against["base"] for one in found.ranking if one.method != "base"}["memkd"] == (2, 0, 1)


def test_the_report_says_who_leads_by_how_much_and_that_two_data_sets_prove_nothing(tmp_path: Path) -> None:
    report = write_report(comparison(tmp_path, small_rows()))
    lead = report.document.lead
    assert "kd leads: mean rank 1.75 of 3 over 2 data sets, mean test AUC-PRC 0.625, 0.025 below memkd, the next" in lead
    assert "0.050 above base" in lead
    assert "The highest mean AUC-PRC is that of memkd, 0.650." in lead
    assert "with 2 data sets no test can tell two methods apart; at least 6 are needed" in lead
    assert not (tmp_path / "figures" / "critical-difference.svg").exists()
    markdown = (tmp_path / "report.md").read_text()
    assert "| Alpha | 0.500 | 0.900 | 0.750 ± 0.050 | **0.850 ± 0.050** | 0.650 ± 0.050 |" in markdown
    assert "| majority |  | 0.500 | 0.550 |" in markdown
    assert "| Beta | 0.500 | 0.900 | **0.500 ± 0.000** | 0.450 ± 0.050 | **0.500 ± 0.000** |" in markdown
    assert "500x smaller than the teachers" in lead
    assert "2 runs in 1.0 hours (measured" in markdown
    assert "bench-1" in markdown
    assert "held-out training series alone" in markdown


def test_a_shared_lead_is_called_one(tmp_path: Path) -> None:
    scores = {"A": (0.6, 0.8), "B": (0.7, 0.6)}
    rows = [
        row(name, method, 0, score) for name, pair in scores.items() for method, score in zip(("base", "kd"), pair, strict=True)
    ]
    lead = write_report(comparison(tmp_path, rows)).document.lead
    assert "kd leads (level with base): mean rank 1.50 of 2 over 2 data sets, mean test AUC-PRC 0.700, 0.050 above base" in lead


def test_a_clear_difference_on_enough_data_sets_is_called_significant_and_drawn(tmp_path: Path) -> None:
    report = write_report(comparison(tmp_path, many_rows(8, ("base", "kd", "memkd"))))
    # All 8 signs alike: p = 2 / 2^8 for each of 3 pairs; Holm's smallest counts 3 fold, and raises the others.
    assert [pair.p for pair in report.found.pairs] == pytest.approx([3 * 2 / 2**8] * 3)
    assert "The lead over kd is significant (p = 0.023" in report.document.lead
    assert "so is that over base" in report.document.lead
    assert (tmp_path / "figures" / "critical-difference.png").read_bytes().startswith(b"\x89PNG")


def test_with_too_many_methods_for_the_data_sets_the_report_says_that_nothing_could_be_significant(tmp_path: Path) -> None:
    write_report(comparison(tmp_path, many_rows(6, ("base", "kd", "dkd", "memkd"))))
    assert "With 6 data sets no pair of 4 methods can reach p = 0.05 after the correction" in (tmp_path / "report.md").read_text()


def test_methods_that_are_equal_everywhere_are_reported_without_a_diagram_or_a_crash(tmp_path: Path) -> None:
    rows = [row(f"Set{number}", method, 0, 0.5) for number in range(6) for method in ("base", "kd", "memkd")]
    report = write_report(comparison(tmp_path, rows))
    assert {one.rank for one in report.found.ranking} == {2.0}
    assert {pair.p for pair in report.found.pairs} == {1.0}
    assert not (tmp_path / "figures" / "critical-difference.svg").exists()


def test_one_student_alone_makes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(comparison_parts(write_report(comparison(tmp_path, [row("Alpha", "memkd", 0, 0.9, kept=True)]))))
    printed = capsys.readouterr().out
    assert "memkd, the only method: mean test AUC-PRC 0.900 over 1 data set." in " ".join(printed.split())
    assert "report.html" in printed


def test_no_data_set_with_all_methods_is_said_and_not_ranked(tmp_path: Path) -> None:
    report = write_report(comparison(tmp_path, [row("A", "base", 0, 0.5), row("B", "memkd", 0, 0.9)]))
    assert "No data set has results of all 2 methods" in report.document.lead
    assert "nan" not in (tmp_path / "report.html").read_text().lower()


def test_an_interrupted_comparison_names_the_data_sets_it_lacks(tmp_path: Path) -> None:
    asked = ("Alpha@swapped", "data/Beta.npz", "Gamma@swapped", "elsewhere/Delta.csv")
    report = write_report(comparison(tmp_path, small_rows(), datasets=asked))
    assert report.document.notice.startswith("2 of 4 data sets are missing (Gamma@swapped, elsewhere/Delta.csv)")
    assert report.document.notice in " ".join(Page((tmp_path / "report.html").read_text()).text)


def test_a_weak_teacher_is_named_by_data_set(tmp_path: Path) -> None:
    rows = [replace(one, teacher_validation_auc_prc=0.6) if one.dataset == "Alpha" else one for one in small_rows()]
    write_report(comparison(tmp_path, [one for one in rows if one.method != "kd"]))
    text = (tmp_path / "report.md").read_text()
    # On Alpha base (.65) beats the teacher (.6), on Beta (.50) all that the teacher taught (.45).
    assert re.search(r"Alpha \(lstm, 500x\): .*0\.650, the teacher itself 0\.600: it is the weak part", text)
    assert re.search(r"Beta \(lstm, 500x\): .*0\.500, the best with one \(memkd\) 0\.450: nothing this teacher", text)


def test_choosing_on_the_test_series_is_called_too_good(tmp_path: Path) -> None:
    report = write_report(comparison(tmp_path, small_rows(), protocol="paper"))
    text = (tmp_path / "report.md").read_text()
    assert "selected on the test series" in report.document.notice
    assert text.index(report.document.notice) < text.index(report.document.lead)
    assert "were chosen on the test series" in text
    assert "held-out training series alone" not in text


def test_a_sweep_has_the_fronts_of_int8_figures(tmp_path: Path) -> None:
    cnn = row("Alpha", "memkd", 0, 0.9, student="cnn", kept=True)  # has no int8 form
    report = write_report(comparison(tmp_path, [*sweep_rows(), cnn], sweep="compression=50,500,1600"))
    sizes = {(size.setting.student, size.setting.compression): size for size in report.found.sizes}
    costs = ("flash_bytes", "ram_bytes", "instructions")
    assert sizes["gru", 50.0].front == ()  # in float it would be the best of its kind
    assert {key for key, size in sizes.items() if size.front == costs} == set(sizes) - {("gru", 50.0)}
    # Equal costs of both kinds: the better one of each size is on the front of all.
    assert {key for key, size in sizes.items() if size.front_of_all == costs} == {
        ("lstm", 1600.0),
        ("gru", 500.0),
        ("lstm", 50.0),
    }
    text = (tmp_path / "report.md").read_text()
    assert "| gru, 500x | 500x | 8 | **• 5,200** | **• 120** | **• 2,000** | 400 | 0.700 | 0.650 |" in text
    assert "| lstm, 500x | 500x | 8 | • 5,200 | • 120 | • 2,000 | 400 | 0.600 | 0.550 |" in text
    assert "emulated-exact" in text
    assert "Without int8 figures, so not listed: cnn, 500x." in text
    assert report.found.setting.compression == 500.0  # methods are compared at distill's own size


def test_the_means_of_a_sweep_leave_out_a_data_set_that_lacks_a_size(tmp_path: Path) -> None:
    part = [replace(one, dataset="Beta", int8_test_auc_prc=0.1) for one in sweep_rows()[:2]]
    found = findings([*sweep_rows(), *part])
    assert {size.sets for size in found.sizes} == {1}
    assert len(found.sizes_by_set["Beta"]) == 2


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a diagram, whose names try to break out of every format."""
    names = {"Set0": "<script>alert('x')</script> & $a_b$", "Set1": "a|b*c*`d`[e](http://example.org)", "Set2": "--><img src=x>"}
    rows = [replace(one, dataset=names.get(one.dataset, one.dataset)) for one in many_rows(7, ("base", "kd", "memkd"))]
    folder = comparison(tmp_path_factory.mktemp("hostile"), [replace(one, host="<b>host</b>") for one in rows])
    write_report(folder)
    return folder


def test_the_page_is_well_formed_needs_nothing_beside_it_and_escapes_names(hostile: Path) -> None:
    page = Page((hostile / "report.html").read_text())
    assert page.open == []
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "b" not in page.tags
    assert "<script>alert('x')</script> & $a_b$" in page.text
    assert page.tags.count("svg") == 3
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    style = re.search(r"<style>.*?</style>", (hostile / "report.html").read_text(), re.DOTALL)
    assert style is not None
    assert not re.search(r"url\(|@import", style[0])


def test_every_name_in_the_markdown_stays_one_plain_cell(hostile: Path) -> None:
    html = MarkdownIt("commonmark").enable("table").render((hostile / "report.md").read_text())
    page = Page(html)
    assert page.open == []
    assert not {"script", "b", "a"} & set(page.tags)
    assert "a|b*c*`d`[e](http://example.org)" in page.text
    for body in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        assert len({row.count("<td") for row in body.split("<tr>")[2:]}) == 1


def test_figures_are_sound_xml_with_one_colour_a_method(hostile: Path) -> None:
    colours = {method: colour for method, (colour, _) in method_styles(("base", "kd", "memkd")).items()}
    assert len(set(colours.values())) == 3
    for path in sorted((hostile / "figures").glob("*.svg")):
        ElementTree.parse(path)
        assert "stroke: #ffffff" not in path.read_text()  # it would show on a dark page
        shown = {"base"} if path.stem == "size" else set(colours)  # base was kept everywhere
        assert all((colour in path.read_text()) == (method in shown) for method, colour in colours.items())


def test_json_holds_the_numbers(hostile: Path) -> None:
    report = json.loads((hostile / "report.json").read_text())
    assert report["summary"].startswith("memkd leads")
    assert report["ranking"][0]["against"] == {"base": [7, 0, 0], "kd": [7, 0, 0]}
    assert len(report["pairs"]) == 3


def test_equal_rows_give_equal_bytes_also_in_another_process(hostile: Path, tmp_path: Path) -> None:
    for name in ("rows.csv", "compare.toml"):
        (tmp_path / name).write_bytes((hostile / name).read_bytes())
    code = f"import pathlib; from memkd_edge.comparison.report import write_report; write_report(pathlib.Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "77"})
    files = sorted(path.relative_to(hostile) for path in hostile.rglob("*") if path.is_file())
    assert len(files) == 2 + 3 + 6
    assert [name for name in files if (tmp_path / name).read_bytes() != (hostile / name).read_bytes()] == []


def test_a_new_report_leaves_no_figure_of_an_old_one(tmp_path: Path) -> None:
    write_report(comparison(tmp_path, many_rows(6, ("base", "kd", "memkd"))))
    write_report(comparison(tmp_path, many_rows(3, ("base", "kd", "memkd"))))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"scores.png", "scores.svg", "size.png", "size.svg"}


def test_a_folder_without_a_comparison_or_without_rows_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no compare\.toml; `memkd-edge compare` makes one"):
        write_report(tmp_path)
    comparison(tmp_path, [])
    with pytest.raises(UsageError, match="no data set of the comparison"):
        write_report(tmp_path)
    (tmp_path / "compare.toml").write_text("[compare\n")
    with pytest.raises(MemkdEdgeError, match=r"compare\.toml: damaged"):
        write_report(tmp_path)


def test_the_tracked_rows_make_the_tracked_report_and_columns_that_older_ones_lack_are_dashes(tmp_path: Path) -> None:
    tracked = ROOT / "models/small24"
    shutil.copy(tracked / "compare.toml", tmp_path)
    with (tracked / "rows.csv").open(newline="") as there, (tmp_path / "rows.csv").open("w", newline="") as here:
        reader = csv.DictReader(there)
        columns = [name for name in reader.fieldnames or () if not name.startswith("majority")]
        writer = csv.DictWriter(here, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(reader)
    assert len(columns) == len(reader.fieldnames or ()) - 2
    report = write_report(tmp_path)
    markdown = (tmp_path / "report.md").read_text()
    assert "| majority |  | - | - |" in markdown
    assert "| ItalyPowerDemand | - | 0.9" in markdown
    assert report.document.lead == json.loads((tracked / "report.json").read_text())["summary"]
