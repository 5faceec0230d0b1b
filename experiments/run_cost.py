# SPDX-License-Identifier: Apache-2.0
"""What a whole `distill` costs beside an older checkout: `python -m experiments.run_cost --against CHECKOUT`.

Default runs of five seeds, one thread, one process at a time. models/run_cost.json keeps each pair of runs that ended and is the
state that a call goes on from; models/run_cost.md is written from it. With --untimed, beside other work, seconds are not shown.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.checkouts import commit, distilled
from memkd_edge.comparison.findings import Gain
from memkd_edge.comparison.statistics import mean_difference
from memkd_edge.runs import write_atomic

ROWS = Path("models/run_cost.json")
TABLE = ROWS.with_suffix(".md")
SETS = ("BasicMotions", "ECG5000")
SEEDS = range(5)

Row = dict[str, Any]  # set, seed, timed, and what `measured` returns of the checkouts "before" and "now"


def measured(tree: Path, dataset: str, seed: int, data_root: str, work: Path) -> dict[str, Any]:
    """Return CPU seconds of a default run of `tree`, and the AUC-PRC of its teachers and of the students of its kept method."""
    words = f"--dataset {dataset} --seed {seed}" + (f" --data-root {data_root}" if data_root else "")
    seconds, metrics = distilled(tree, f"{tree.name}-{dataset}-{seed}", words, work)
    (kept,) = (row for row in metrics["methods"] if row["kept"])
    return {
        "seconds": seconds,
        "teacher": [metrics["teacher"][part]["auc_prc"] for part in ("validation", "test")],
        "students": [kept[f"{part}_auc_prc_mean"] for part in ("validation", "test")],
    }


def line(row: Row) -> str:
    """Return the table's line of one set and seed."""
    before, now = row["before"], row["now"]
    cells = [row["set"], str(row["seed"]), *_costs([row])]
    pairs = [pair for who in ("teacher", "students") for pair in zip(before[who], now[who], strict=True)]
    return f"| {' | '.join(cells + [f'{first:.3f}, {second:.3f}' for first, second in pairs])} |"


def changes(rows: Sequence[Row]) -> str:
    """Return the line of one set's seeds together: the ratio of all their seconds, and by how much the scores changed."""
    cells = [rows[0]["set"], f"{len(rows)} together", *_costs(rows)]
    for who in ("teacher", "students"):
        for part in range(2):
            before, now = ([row[when][who][part] for row in rows] for when in ("before", "now"))
            cells.append(str(Gain(*mean_difference(now, before))))
    return f"| {' | '.join(cells)} |"


def _costs(rows: Sequence[Row]) -> list[str]:
    """Return what the timed ones of `rows` cost before and now, and the ratio."""
    timed = [row for row in rows if row["timed"]]
    if not timed:
        return ["-"] * 3
    old, new = (sum(row[when]["seconds"] for row in timed) for when in ("before", "now"))
    return [f"{old:,.0f} s", f"{new:,.0f} s", f"{new / old:.2f}"]


def table(rows: Sequence[Row], against: str) -> str:
    """Return models/run_cost.md."""
    lines = [
        "# What a run costs",
        "",
        f"Written by `python -m experiments.run_cost`: default runs of `distill`, beside commit {against}.",
        "CPU seconds of one thread, the whole command, **measured**, of runs with no other work beside them. AUC-PRC: of the",
        "teachers on series that they have not seen, of the final one on the test series, and the mean of the kept method's",
        "students on both. Each cell: before, now; of several seeds together the mean change with its 95 % interval (Student's t",
        "over the seeds).",
        "",
        "| set | seed | before | now | ratio | teachers, held out | teacher, test | students, held out | students, test |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for dataset in SETS:
        own = sorted((row for row in rows if row["set"] == dataset), key=lambda row: int(row["seed"]))
        lines += map(line, own)
        if len(own) > 1:
            lines.append(changes(own))
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="checkout of an older commit, as `git worktree add` makes it")
    parser.add_argument("--data-root", default="", help="folder with the sets that do not come along")
    parser.add_argument("--work", type=Path, default=Path("runs/run_cost"))
    parser.add_argument("--untimed", action="store_true", help="other work runs beside it, so CPU seconds tell nothing")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = json.loads(ROWS.read_text()) if ROWS.is_file() else []
    for dataset in SETS:
        for seed in SEEDS:
            if any((row["set"], row["seed"]) == (dataset, seed) for row in rows):
                continue
            row = {"set": dataset, "seed": seed, "timed": not arguments.untimed}
            for when, tree in (("before", arguments.against), ("now", Path.cwd())):
                row[when] = measured(tree, dataset, seed, arguments.data_root, arguments.work)
            rows.append(row)
            write_atomic(ROWS, (json.dumps(rows, indent=1) + "\n").encode())
            write_atomic(TABLE, table(rows, commit(arguments.against)).encode())
            print(line(row), flush=True)


if __name__ == "__main__":
    main()
