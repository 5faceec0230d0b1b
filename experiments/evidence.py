# SPDX-License-Identifier: Apache-2.0
"""Shows what the distillation claims: `make evidence` writes models/evidence.md and .json.

For each data set one run with 5 seeds of each method, everything chosen on held-out training series; the figures are of the test
series, mean and standard deviation over the seeds. Sets of the developers' folder are left out where it is absent.
"""

import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import memkd_edge as me
from memkd_edge.runs import write_atomic

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data" / "npz"
RESAMPLE = "linear:100"
METHODS = ("base", "kd", "memkd", "memkd-belief")


@dataclass(frozen=True)
class Case:
    """A data set, where it comes from, and how its run differs from the default."""

    dataset: str
    bundled: bool = True
    small: bool = True  # counts in the mean of the small sets
    options: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("GunPoint", options={"resample": RESAMPLE}),
    Case("ItalyPowerDemand"),
    *(Case(name, bundled=False, options={"resample": RESAMPLE}) for name in ("ECG200", "Trace", "Herring", "Lightning2")),
    Case(
        "SPSW_smartwatch",
        bundled=False,
        small=False,
        options={"compression": 450.0, "noise": "0", "teacher_seeds": 1, "teacher_epochs": 20, "epochs": 50},
    ),
)


def measure(case: Case) -> dict[str, Any]:
    """Distil one data set and return its figures."""
    options: dict[str, Any] = {"dataset": case.dataset, "method": ",".join(METHODS), "seeds": 5, **case.options}
    if not case.bundled:
        options["data_root"] = str(SHARED)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        metrics = me.distill(run_root=folder, **options).read_json("metrics.json")
    best = {row["method"]: row for row in metrics["methods"] if "test_auc_prc_mean" in row}
    return {
        "dataset": case.dataset,
        "small": case.small,
        "options": {key: value for key, value in options.items() if key != "data_root"},
        "teacher": metrics["teacher"]["test"],
        "student": metrics["student"],
        "compression": metrics["student"]["compression"],
        "methods": best,
        "kept_because": metrics["kept_because"],
        "minutes": round((time.monotonic() - start) / 60, 1),
    }


def line(row: dict[str, Any]) -> str:
    """Return a row of the Markdown table."""
    methods = [row["methods"][name] for name in METHODS]
    cells = [f"{one['test_auc_prc_mean']:.3f} ± {one['test_auc_prc_std']:.3f} ({one['weight']:g})" for one in methods]
    student = row["student"]
    kept = f"{student['method']}: accuracy {student['test']['accuracy']:.3f}, macro F1 {student['test']['f1_macro']:.3f}"
    teacher = row["teacher"]
    return (
        f"| {row['dataset']} | {row['compression']:.0f}x | {teacher['auc_prc']:.3f}, F1 {teacher['f1_macro']:.3f} | "
        + " | ".join(cells)
        + f" | {kept} | {row['minutes']} |"
    )


def mean(rows: list[dict[str, Any]]) -> str:
    """Return a row of the Markdown table with the mean of each method over the small sets."""
    small = [row for row in rows if row["small"]]
    cells = [f"{sum(row['methods'][name]['test_auc_prc_mean'] for row in small) / len(small):.3f}" for name in METHODS]
    teacher = sum(row["teacher"]["auc_prc"] for row in small) / len(small)
    return f"| mean of the {len(small)} small sets | | {teacher:.3f} | {' | '.join(cells)} | | |"


def main() -> None:
    rows = []
    for case in CASES:
        if not case.bundled and not SHARED.is_dir():
            print(f"{case.dataset}: left out, it is in the developers' folder of data sets", flush=True)
            continue
        rows.append(measure(case))
        print(line(rows[-1]), flush=True)
        write(rows)


def write(rows: list[dict[str, Any]]) -> None:
    """Write the report; after each data set, so that an interrupted command leaves what it has measured."""
    head = [
        "# Base, Hinton KD and MemKD on real data sets",
        "",
        "Made by `make evidence`. Mean test AUC-PRC ± standard deviation over the seeds, and in brackets the loss weight, which,",
        "like all else, was chosen on held-out training series. Time is wall time on a shared machine.",
        "",
        "| set | compression | teacher | " + " | ".join(METHODS) + " | kept student | minutes |",
        "|---|---|---|" + "---|" * len(METHODS) + "---|---|",
    ]
    write_atomic(ROOT / "models" / "evidence.md", "\n".join([*head, *map(line, rows), mean(rows), ""]).encode())
    write_atomic(ROOT / "models" / "evidence.json", (json.dumps(rows, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
