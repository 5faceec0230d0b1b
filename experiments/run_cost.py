# SPDX-License-Identifier: Apache-2.0
"""What a whole `distill` costs beside an older checkout: `python -m experiments.run_cost --against CHECKOUT`.

Default runs, one thread, one process at a time. Each that ended is kept in --work; models/run_cost.md is written after each set.
"""

import argparse
from datetime import date
from pathlib import Path
from typing import Any

from experiments.checkouts import commit, distilled
from memkd_edge.runs import write_atomic

TABLE = Path("models/run_cost.md")
SETS = ("BasicMotions", "ECG5000")


def measured(tree: Path, dataset: str, data_root: str, work: Path) -> dict[str, Any]:
    """Return CPU seconds of a default run of `tree`, and the AUC-PRC of its teachers and of the students of its kept method."""
    words = f"--dataset {dataset}" + (f" --data-root {data_root}" if data_root else "")
    seconds, metrics = distilled(tree, f"{tree.name}-{dataset}", words, work)
    (kept,) = (row for row in metrics["methods"] if row["kept"])
    return {
        "seconds": seconds,
        "teacher": [metrics["teacher"][part]["auc_prc"] for part in ("validation", "test")],
        "students": [kept[f"{part}_auc_prc_mean"] for part in ("validation", "test")],
    }


def line(dataset: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the table's line of one set."""
    old, new = before["seconds"], now["seconds"]
    cells = [dataset, f"{old:.0f} s", f"{new:.0f} s", f"{new / old:.2f}"]
    pairs = [pair for who in ("teacher", "students") for pair in zip(before[who], now[who], strict=True)]
    return f"| {' | '.join(cells + [f'{first:.3f}, {second:.3f}' for first, second in pairs])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="checkout of an older commit, as `git worktree add` makes it")
    parser.add_argument("--data-root", default="", help="folder with the sets that do not come along")
    parser.add_argument("--work", type=Path, default=Path("runs/run_cost"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    lines = [
        "# What a run costs",
        "",
        f"Written by `python -m experiments.run_cost`: default runs of `distill`, beside commit {commit(arguments.against)}.",
        f"CPU seconds of one thread, the whole command, **measured**, {date.today():%B %Y}. AUC-PRC: of the teachers on series",
        "that they have not seen, of the final one on the test series, and the mean of the kept method's students on both. Each",
        "cell: before, now.",
        "",
        "| set | before | now | ratio | teachers, held out | teacher, test | students, held out | students, test |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for dataset in SETS:
        pair = [measured(tree, dataset, arguments.data_root, arguments.work) for tree in (arguments.against, Path.cwd())]
        lines.append(line(dataset, *pair))
        write_atomic(TABLE, "\n".join([*lines, ""]).encode())
        print(lines[-1], flush=True)


if __name__ == "__main__":
    main()
