# SPDX-License-Identifier: Apache-2.0
"""Sizes and kinds on windows: what is asked of each bundled set."""

from experiments.window_sizes import OUT, SETS, asked
from memkd_edge.comparison.plan import lay_out, settled
from memkd_edge.comparison.rows import read_rows
from memkd_edge.comparison.suites import SUITES
from memkd_edge.progress import Reporter


def test_every_bundled_set_is_asked_for_once() -> None:
    assert sorted(SETS) == sorted(SUITES["bundled"].datasets)


def test_a_set_has_each_kind_at_each_size_and_rows_of_its_own_name() -> None:
    tasks = list(lay_out(settled(asked(SETS)), Reporter()))
    assert [task.data.name for task in tasks] == list(SETS)  # by which a later call knows the rows of a set
    kinds_and_sizes = {(one.student, one.compression) for one in tasks[0].runs.values()}
    assert kinds_and_sizes == {(kind, size) for kind in ("lstm", "gru", "cnn") for size in (50, 100, 250, 500, 1000)}


def test_the_page_says_what_the_rows_say() -> None:
    """docs/comparing.md: mean test AUC-PRC of each kind at each size, as the kept rows have it."""
    scores: dict[tuple[str, int], list[float]] = {}
    for row in read_rows(OUT / "rows.csv"):
        scores.setdefault((row.student, int(row.compression)), []).append(row.test_auc_prc)
    text = (OUT.parents[1] / "docs" / "comparing.md").read_text()
    for kind in ("lstm", "gru", "cnn"):
        means = [f"{sum(these) / len(these):.3f}"[1:] for size in (50, 100, 250, 500, 1000) for these in [scores[kind, size]]]
        assert f"| `{kind}` | {' | '.join(means)} |" in text
