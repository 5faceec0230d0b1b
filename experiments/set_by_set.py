# SPDX-License-Identifier: Apache-2.0
"""Comparisons that end set by set: a set is one `memkd-edge compare`, and its rows are kept when it ends.

The tracked rows are the state: a call goes on with the sets that have none, on any machine that has the data.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from memkd_edge.comparison.folder import TABLE
from memkd_edge.comparison.pipeline import compare
from memkd_edge.comparison.rows import StudentResult, read_rows
from memkd_edge.config import CompareConfig


def options(description: str, work: Path) -> argparse.Namespace:
    """Read the options that all of these experiments take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=work, help="where the sets are trained, and go on")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no other set after so many")
    return parser.parse_args()


def go_on(
    sets: Sequence[str],
    asked: Callable[[tuple[str, ...]], CompareConfig],
    out: Path,
    work: Path,
    record: Callable[[Sequence[StudentResult], Path], None],
    deadline: float,
) -> None:
    """Compare on those of `sets` that have no rows in `out` yet, and `record` all rows there after each.

    Args:
        work: where the sets are trained.
        deadline: of time.monotonic(), after which no other set begins.
    """
    rows = read_rows(out / TABLE)
    for name in sets:
        if name.partition("@")[0] in {row.dataset for row in rows} or time.monotonic() > deadline:
            continue
        began = time.monotonic()
        compare(asked((name,)), work / name)
        rows += read_rows(work / name / TABLE)
        record(rows, out)
        print(f"{name}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
