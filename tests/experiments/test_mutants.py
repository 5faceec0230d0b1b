# SPDX-License-Identifier: Apache-2.0
"""The list of mutants fits the tree, and the program tells a mutant that is noticed from one that is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.mutants import MUTANTS, RESULTS, ROOT, Mutant, read_mutants, read_outcomes, tried, write_outcomes


def test_every_mutant_breaks_a_line_that_is_there_and_names_tests_that_are() -> None:
    mutants = read_mutants(MUTANTS)
    assert len(mutants) >= 60
    assert len({(one.file, one.old, one.new) for one in mutants}) == len(mutants)
    for one in mutants:
        assert (ROOT / one.file).read_text().count(one.old) == 1, one
        assert one.new != one.old
        assert one.tests
        assert all((ROOT / test).is_file() for test in one.tests), one


def test_none_that_was_tried_survives_without_a_reason() -> None:
    known = read_outcomes(RESULTS)
    tried_ones = [one for one in read_mutants(MUTANTS) if (one.file, one.old, one.new) in known]
    assert [one for one in tried_ones if not known[one.file, one.old, one.new].noticed and not one.survives] == []


def test_a_mutant_is_noticed_or_survives_and_the_tree_is_mended(tmp_path: Path) -> None:
    (tmp_path / "product.py").write_text("def half(x):\n    return x // 2  # rounds down\n")
    (tmp_path / "test_product.py").write_text("from product import half\n\n\ndef test_half():\n    assert half(5) == 2\n")
    mutant = Mutant("product.py", "x // 2", "x / 2", ("test_product.py",))
    found = tried(mutant, tmp_path)
    assert (found.noticed, found.by) == (True, "test_product.py::test_half")
    other = replace(mutant, old="rounds down", new="rounds")
    assert not tried(other, tmp_path).noticed
    assert "return x // 2  # rounds down" in (tmp_path / "product.py").read_text()
    for broken in (replace(mutant, old="x // 3"), replace(mutant, tests=("test_gone.py",))):
        with pytest.raises(RuntimeError, match=r"product\.py"):
            tried(broken, tmp_path)
    write_outcomes(tmp_path / "out.json", [mutant], {("product.py", "x // 2", "x / 2"): found})
    assert list(read_outcomes(tmp_path / "out.json").values()) == [found]
