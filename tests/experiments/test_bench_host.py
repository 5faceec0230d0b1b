# SPDX-License-Identifier: Apache-2.0
"""What `make bench-host` compares does what it says; how long it takes is not tested."""

from pathlib import Path

import numpy as np

from experiments.bench_host import bare, fastest, model_file, pushing, report
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.vocabulary import Reset


def test_works_take_turns_and_all_calls_are_made() -> None:
    made: list[str] = []
    found = fastest({"a": lambda: made.append("a"), "b": lambda: made.append("b")}, 3, 2)
    assert "".join(made) == "aabb" * 3
    assert set(found) == {"a", "b"}
    assert "| a | b | 1 |  |" in report(["| a | b | 1 |  |"])


def test_the_files_are_what_the_rows_say(tmp_path: Path) -> None:
    never, window = (model_file(tmp_path, "A", reset) for reset in (Reset.NEVER, Reset.WINDOW))
    bare(never)()
    for path in (never, window):
        pushing(path)()
    x = np.random.default_rng(1).standard_normal((60, 1)).astype(np.float32)
    one, two = (StreamingClassifier(path).stream(x) for path in (never, window))
    np.testing.assert_array_equal(one.scores, two.scores)  # for as long as the first of two states is the older
    assert (one.decisions[0], two.decisions[0]) != (-1, -1)
