# SPDX-License-Identifier: Apache-2.0
"""What teachers of small sets cost beside an older checkout: `python -m experiments.teacher_cost --against CHECKOUT`.

Both train by `memkd-edge distill` with the default teachers and one student for one epoch, one thread, one process at a time, so
that nearly all of the CPU time is the teachers'. Each finished run is kept in --work; models/teacher_cost.md is written after
each.
"""

import argparse
from datetime import date
from pathlib import Path
from typing import Any

from experiments.checkouts import commit, distilled
from memkd_edge.data.registry import load_dataset
from memkd_edge.distillation.recipe import batch_size, epochs
from memkd_edge.runs import write_atomic

TABLE = Path("models/teacher_cost.md")
CASES = (("BasicMotions", 0), ("ItalyPowerDemand", 0), ("ItalyPowerDemand", 1), ("GunPoint", 0))


def measured(tree: Path, dataset: str, seed: int, work: Path) -> dict[str, Any]:
    """Return CPU seconds, and the held-out and test figures of the teachers that `tree` trains."""
    series = len(load_dataset(dataset).y_train)
    most = epochs(0, series, batch_size(0, series))  # the default, which --epochs 1 would take away from the teacher
    words = f"--dataset {dataset} --seed {seed} --method base --seeds 1 --weights 1 --epochs 1 --teacher-epochs {most}"
    seconds, metrics = distilled(tree, f"{tree.name}-{dataset}-{seed}", words, work)
    return {"seconds": seconds, "validation": metrics["teacher"]["validation"], "test": metrics["teacher"]["test"]}


def line(dataset: str, seed: int, before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the table's line of one set and seed."""
    cells = [
        dataset,
        str(seed),
        f"{before['seconds']:.0f} s",
        f"{now['seconds']:.0f} s",
        f"{now['seconds'] / before['seconds']:.2f}",
    ]
    for part, score in (("validation", "auc_prc"), ("validation", "accuracy"), ("test", "accuracy")):
        cells.append(f"{before[part][score]:.3f}, {now[part][score]:.3f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="checkout of an older commit, as `git worktree add` makes it")
    parser.add_argument("--work", type=Path, default=Path("runs/teacher_cost"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    lines = [
        "# What teachers of small sets cost",
        "",
        "Written by `python -m experiments.teacher_cost`: the teachers of a default `distill`, beside commit "
        f"{commit(arguments.against)}.",
        f"CPU seconds of one thread with all that `distill` does besides, **measured**, {date.today():%B %Y}.",
        "Held out: the folds' teachers on series that they have not seen; test: the teacher of all training series. Each cell:",
        "before, now.",
        "",
        "| set | seed | before | now | ratio | held-out AUC-PRC | held-out accuracy | test accuracy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for dataset, seed in CASES:
        pair = [measured(tree, dataset, seed, arguments.work) for tree in (arguments.against, Path.cwd())]
        lines.append(line(dataset, seed, *pair))
        write_atomic(TABLE, "\n".join([*lines, ""]).encode())
        print(lines[-1], flush=True)


if __name__ == "__main__":
    main()
