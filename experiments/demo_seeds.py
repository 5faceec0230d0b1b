# SPDX-License-Identifier: Apache-2.0
"""How often a distilled method wins the demo: `python -m experiments.demo_seeds` writes models/demo_seeds.md.

One default run of `distill` a seed, with one thread; a run that has ended is taken from the folder of runs, so the command goes
on where it was stopped.
"""

import argparse
from datetime import date
from pathlib import Path
from typing import Any

from experiments.kept_runs import kept_run
from memkd_edge.config import DistillConfig
from memkd_edge.runs import Run, write_atomic

SEEDS = range(5)
TABLE = Path("models/demo_seeds.md")


def finished(root: Path, seed: int) -> Run:
    """Return the run of a seed, trained now or before."""
    return kept_run(DistillConfig(seed=seed, threads=1), root, f"demo-seed-{seed}")


def row(seed: int, metrics: dict[str, Any]) -> str:
    """Return the table's line of one run."""
    best = {one["method"]: one for one in metrics["methods"] if "test_accuracy_mean" in one}
    base = best.pop("base")
    taught = max(best.values(), key=lambda one: float(one["validation_f1_macro_mean"]))
    student, teacher = metrics["student"], metrics["teacher"]
    cells = [str(seed), *(f"{one['method']} {one['validation_f1_macro_mean']:.3f}" for one in (base, taught))]
    cells += [f"{one['method']} {one['test_accuracy_mean']:.3f}" for one in (base, taught)]
    cells += [f"**{student['method']}**", f"{student['stream']['accuracy']:.3f}", f"{teacher['stream']['accuracy']:.3f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-root", type=Path, default=Path("runs"))
    root = parser.parse_args().run_root
    found = {seed: finished(root, seed).read_json("metrics.json") for seed in SEEDS}
    won = sum(metrics["student"]["method"] != "base" for metrics in found.values())
    lines = [
        "# How often a distilled method wins the demo",
        "",
        "Written by `python -m experiments.demo_seeds`. Every figure is **measured**, at every sample along streams that are",
        "never reset, of `memkd-edge distill` without arguments but for the seed and one thread: macro F1 on held-out training",
        "subjects and accuracy on the test subjects, means over the 8 students of a method at its best weight.",
        f"A distilled method was kept in {won} of {len(found)} runs ({date.today():%B %Y}).",
        "",
        "| seed | base, held out | best taught, held out | test | test | kept | its accuracy | its teacher's |",
        "|---|---|---|---|---|---|---|---|",
        *(row(seed, metrics) for seed, metrics in found.items()),
        "",
    ]
    print(write_atomic(TABLE, "\n".join(lines).encode()))


if __name__ == "__main__":
    main()
