# SPDX-License-Identifier: Apache-2.0
"""How near the student that a run keeps comes to its teacher: `python -m experiments.stream_runs` writes models/stream_runs.md.

SPSW and the splits of experiments/streams.py. There the mean of students is told, whoever is best of them; a run of `distill`
trains eight seeds and keeps the one that decides best along the streams of held-out training subjects. Here each split is one
`distill` with several times eight seeds of memkd-belief; each eight count as a run, whose kept student is judged on the subjects
left out. Runs are kept in --work, interrupted ones are continued.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.kept_runs import kept_run
from experiments.streams import DATA, RATE, ROOT, SPLITS, interval
from memkd_edge.config import DistillConfig
from memkd_edge.runs import write_atomic

METHOD = "memkd-belief"
SEEDS = 8  # of a run, as by default
RUNS = {"development": 5}
LEFT_OUT_RUNS = 2
FIGURES = ("accuracy", "f1_macro")


def metrics_of(split: str, runs: int, data: Path, work: Path, threads: int) -> dict[str, Any]:
    """Return metrics.json of the `distill` that holds out a split's subjects, after its end."""
    config = DistillConfig(
        dataset=str(data),
        name_pattern="{subject}_{recording}_sw.csv",
        time="none",
        rate=RATE,
        test_subjects=SPLITS[split],
        method=METHOD,
        weights=1,
        seeds=runs * SEEDS,
        threads=threads,
    )
    return kept_run(config, work, split.replace(" ", "-")).read_json("metrics.json")


def outcome(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a split's teacher, of all its students, and of the one of each eight with the best held-out score."""
    students = metrics["students"]
    runs = [students[first : first + SEEDS] for first in range(0, len(students), SEEDS)]
    kept = [max(run, key=lambda student: student["validation_f1_macro"]) for run in runs]
    return {
        "teacher": {key: metrics["teacher"]["stream"][key] for key in FIGURES},
        "compression": metrics["student"]["compression"],
        "all": [_figures(student) for student in students],
        "kept": [{"seed": student["seed"], **_figures(student)} for student in kept],
    }


def _figures(student: dict[str, Any]) -> dict[str, float]:
    return {key: student[f"test_{key}"] for key in FIGURES}


def report(results: dict[str, Any]) -> str:
    """Return models/stream_runs.md."""
    compression = {round(one["compression"]) for one in results.values()}
    lines = [
        "# What a run keeps along streams",
        "",
        f"`python -m experiments.stream_runs` wrote this. SPSW, students of {METHOD}, {min(compression)}x smaller than the "
        "3 x 100 teacher of the same run, decide at every sample of subjects left out, never reset; measured, in float32. Of "
        f"each {SEEDS} seeds a run keeps the student with the highest macro F1 on training subjects held out, and trains on with "
        "all. Runs of a split share the teacher and the order of the chunks. Accuracy and macro F1 are means; gap: the teacher's "
        "accuracy less that of the kept students, over runs, on the left-out splits over splits, with its 95 % interval "
        "(Student's t).",
        "",
        "| left out | runs | teacher | all students | kept students | gap |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in results.items():
        gaps = _gaps(one)
        low, high = (f"{end:+.3f}" for end in interval(gaps)[1:])
        reach = f" [{low}, {high}]" if len(gaps) > 2 else ""
        who = ", ".join(SPLITS[name]) + (" (development)" if name == "development" else "")
        cells = " | ".join(_means(rows) for rows in ([one["teacher"]], one["all"], one["kept"]))
        lines.append(f"| {who} | {len(gaps)} | {cells} | {np.mean(gaps):+.3f}{reach} |")
    others = [one for name, one in results.items() if name != "development"]
    if len(others) > 1:
        mean, low, high = interval([float(np.mean(_gaps(one))) for one in others])
        columns = [one["teacher"] for one in others], *([row for one in others for row in one[part]] for part in ("all", "kept"))
        cells = " | ".join(map(_means, columns))
        lines.append(f"| mean without development | | {cells} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] |")
    return "\n".join(lines) + "\n"


def _gaps(one: dict[str, Any]) -> list[float]:
    return [one["teacher"]["accuracy"] - row["accuracy"] for row in one["kept"]]


def _means(rows: Sequence[dict[str, float]]) -> str:
    return ", ".join(f"{np.mean([row[key] for row in rows]):.3f}" for key in FIGURES)


def main() -> None:
    """Do what is not done yet, and write the report of what is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with sXX_YY_sw.csv")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "stream_runs", help="folder for runs")
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="folder of stream_runs.md and stream_runs.json")
    parser.add_argument("--splits", default=",".join(SPLITS), help="splits joined by commas")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    results = {}
    for name in arguments.splits.split(","):
        metrics = metrics_of(name, RUNS.get(name, LEFT_OUT_RUNS), arguments.data, arguments.work, arguments.threads)
        results[name] = outcome(metrics)
        write_atomic(arguments.out / "stream_runs.md", report(results).encode())
        write_atomic(arguments.out / "stream_runs.json", (json.dumps(results, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
