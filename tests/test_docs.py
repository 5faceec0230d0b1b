# SPDX-License-Identifier: Apache-2.0
"""The documents: they make a site without a warning, their links lead somewhere, and the tutorials' commands run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from memkd_edge.comparison.suites import SUITES
from memkd_edge.config import DistillConfig
from memkd_edge.data.loading import load_data
from tests.conftest import ROOT
from tests.test_examples import ran

TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])


def test_documents_make_a_site_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs mkdocs: pip install 'memkd-edge[dev]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/api/index.html").read_text()
    assert "Take one sample." in page  # StreamingClassifier.push, from its docstring


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(text: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text.read_text()):
        if not re.match(r"https?:|mailto:|#", target):
            assert (text.parent / target.partition("#")[0]).exists(), target


def test_the_sets_of_the_paper_s_question_are_those_in_its_table(shared_data: Path) -> None:
    table = dict(re.findall(r"\| (\S+) \| .* \| `([0-9a-f]{16})` \|", (ROOT / "docs/tutorials/paper.md").read_text()))
    assert tuple(table) == SUITES["ucr12"].datasets
    for name, begins in table.items():
        data, _ = load_data(DistillConfig(dataset=name, data_root=str(shared_data / "npz")), lambda _: None)
        assert data.sha256.startswith(begins), name


@pytest.mark.timeout(1200)  # many commands one after another
def test_tutorials_run(tmp_path: Path) -> None:
    """Every command of every tutorial once, in one folder: what one makes the next one finds."""
    done: set[str] = set()
    for tutorial in sorted((ROOT / "docs/tutorials").glob("*.md")):
        for block in re.findall(r"```sh\n(.*?)```", tutorial.read_text(), re.DOTALL):
            for line in block.splitlines():
                if line in done:
                    continue
                program, *arguments = shlex.split(line)
                assert program == "memkd-edge"
                ran(tmp_path, sys.executable, "-m", "memkd_edge", *arguments)
                done.add(line)
    assert len(done) == 11
