# SPDX-License-Identifier: Apache-2.0
"""`make mutants`: each line of mutants.toml is broken once, in a copy of the tree; the tests named beside it must notice.

What came of each stands in mutants.json, also after a run of some of them. A mutant that no test notices needs a reason.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memkd_edge.parsing import json_object, toml_table
from memkd_edge.runs import write_atomic

ROOT = Path(__file__).resolve().parents[1]
MUTANTS, RESULTS = ROOT / "experiments" / "mutants.toml", ROOT / "experiments" / "mutants.json"
TESTS_FAILED = 1  # pytest's exit code; others say that it could not do its work
LIMIT_S = 1800


@dataclass(frozen=True)
class Mutant:
    """One line of the product, told by `old`, which stands once in its file; survives: why no test need notice, or ""."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""


@dataclass(frozen=True)
class Outcome:
    """noticed: a test failed; by: the first one."""

    file: str
    old: str
    new: str
    noticed: bool
    by: str


def read_mutants(path: Path) -> list[Mutant]:
    """Return the mutants in the order of the file."""
    return [Mutant(**{**one, "tests": tuple(one["tests"])}) for one in toml_table(path.read_bytes())["mutant"]]


def copy_tree(root: Path, place: Path) -> None:
    """Copy what git tracks, as it stands in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, place / name)


def tried(mutant: Mutant, tree: Path) -> Outcome:
    """Break the line in `tree`, run the tests, mend it.

    Raises:
        RuntimeError: the line is not there once, or the tests could not be run.
    """
    path = tree / mutant.file
    sound = path.read_text()
    if sound.count(mutant.old) != 1:
        raise RuntimeError(f"{mutant.file}: {mutant.old!r} stands there {sound.count(mutant.old)} times")
    path.write_text(sound.replace(mutant.old, mutant.new))
    try:
        status, said = _run(mutant.tests, tree)
    finally:
        path.write_text(sound)
    if status not in (0, TESTS_FAILED):
        raise RuntimeError(f"{mutant.file}: {mutant.old!r}: the tests could not be run ({status})\n{said[-2000:]}")
    by = next((line.split(" ")[1] for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
    return Outcome(mutant.file, mutant.old, mutant.new, status == TESTS_FAILED, by)


def _run(tests: Sequence[str], tree: Path) -> tuple[int, str]:
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return done.returncode, done.stdout + done.stderr


def read_outcomes(path: Path) -> dict[tuple[str, str, str], Outcome]:
    """Return what came of the mutants that were tried before, by file, old and new text."""
    rows: list[dict[str, Any]] = json_object(path.read_bytes())["mutants"] if path.is_file() else []
    return {(row["file"], row["old"], row["new"]): Outcome(**row) for row in rows}


def write_outcomes(path: Path, mutants: Iterable[Mutant], known: dict[tuple[str, str, str], Outcome]) -> None:
    """Write the outcomes of the mutants that are still there, a line each."""
    rows = [known[one.file, one.old, one.new] for one in mutants if (one.file, one.old, one.new) in known]
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    write_atomic(path, f'{{"mutants": [\n{lines}\n]}}\n'.encode())


def main() -> int:
    """Try the mutants that are asked for; end with 1 when one survives without a reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants of files whose path holds this")
    parser.add_argument("--new", action="store_true", help="only those without an outcome")
    arguments = parser.parse_args()
    mutants, known = read_mutants(MUTANTS), read_outcomes(RESULTS)
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place)
        copy_tree(ROOT, tree)
        for one in mutants:
            key = (one.file, one.old, one.new)
            if arguments.only not in one.file or (arguments.new and key in known):
                continue
            known[key] = tried(one, tree)
            print("noticed " if known[key].noticed else "SURVIVES", one.file, repr(one.old), "->", repr(one.new), flush=True)
            write_outcomes(RESULTS, mutants, known)
    found = [(one, known[one.file, one.old, one.new]) for one in mutants if (one.file, one.old, one.new) in known]
    left = [one for one, outcome in found if not outcome.noticed and not one.survives]
    print(f"{len(mutants)} mutants, {len(found)} tried, {sum(outcome.noticed for _, outcome in found)} noticed")
    print(f"{len(left)} survive without a reason", *(f"{one.file}: {one.old} -> {one.new}" for one in left), sep="\n  ")
    return int(bool(left))


if __name__ == "__main__":
    raise SystemExit(main())
