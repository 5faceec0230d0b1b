# SPDX-License-Identifier: Apache-2.0
"""What `make bench-host` compares does what it says; how long it takes is not tested."""

from pathlib import Path

import numpy as np

from experiments.bench_host import MEMORY, PUSH, ROOT, bare, fastest, many, model_file, pushing, report, said, signal
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


def test_programs_of_other_checkouts_say_what_they_took(tmp_path: Path) -> None:
    file, samples = model_file(tmp_path, "A", Reset.NEVER), tmp_path / "samples.npy"
    np.save(samples, signal(50, 1))
    assert 1e-7 < float(said(ROOT, PUSH, file, samples)) < 1
    assert float(said(ROOT, MEMORY, file, 200_000)) < 30
    for work in many(StreamingClassifier(file)).values():
        work()
