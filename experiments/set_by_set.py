# SPDX-License-Identifier: Apache-2.0
"""Comparisons that end set by set: a set is one `memkd-edge compare`; rows and report are kept when it ends.

The tracked rows are the state: a call goes on with the sets that have none, on any machine that has the data.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from memkd_edge.comparison.folder import CONFIGURATION, TABLE
from memkd_edge.comparison.pipeline import compare
from memkd_edge.comparison.report import write_report
from memkd_edge.comparison.rows import StudentResult, read_rows, write_rows
from memkd_edge.config import CompareConfig, to_toml
from memkd_edge.runs import write_atomic


def options(description: str, work: Path) -> argparse.Namespace:
    """Read the options that all of these experiments take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=work, help="where the sets are trained, and go on")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no other set after so many")
    return parser.parse_args()


def go_on(
    sets: tuple[str, ...], asked: Callable[[tuple[str, ...]], CompareConfig], out: Path, work: Path, deadline: float
) -> Iterator[Sequence[StudentResult]]:
    """Compare on those of `sets` that have no rows in `out` yet; after each keep what all rows say there, and yield them.

    Args:
        asked: returns what is compared on some sets.
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
        write_rows(out / TABLE, rows)
        write_atomic(out / CONFIGURATION, to_toml("compare", asked(sets)).encode())
        write_report(out)
        print(f"{name}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
        yield rows
