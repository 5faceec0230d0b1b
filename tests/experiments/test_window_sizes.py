# SPDX-License-Identifier: Apache-2.0
"""Sizes and kinds on windows: what is asked of each bundled set."""

from experiments.window_sizes import SETS, asked
from memkd_edge.comparison.plan import lay_out, settled
from memkd_edge.comparison.suites import SUITES
from memkd_edge.progress import Reporter


def test_every_bundled_set_is_asked_for_once() -> None:
    assert sorted(SETS) == sorted(SUITES["bundled"].datasets)


def test_a_set_has_each_kind_at_each_size_and_rows_of_its_own_name() -> None:
    tasks = list(lay_out(settled(asked(SETS)), Reporter()))
    assert [task.data.name for task in tasks] == list(SETS)  # by which a later call knows the rows of a set
    kinds_and_sizes = {(one.student, one.compression) for one in tasks[0].runs.values()}
    assert kinds_and_sizes == {(kind, size) for kind in ("lstm", "gru", "cnn") for size in (50, 100, 250, 500, 1000)}
