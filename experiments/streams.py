# SPDX-License-Identifier: Apache-2.0
"""How well students decide at every sample of recordings: `python -m experiments.streams` writes models/streams.md and .json.

SPSW, a smartwatch at 100 Hz, five activities. One teacher of 3 x 100 for each split, then the students of every method with the
same recipe: the same steps, the first weight of each method's grid, no selection of anything. A subject's recordings joined end
to end are its stream, and no student is ever reset along it. Subjects s17 to s20 chose the recipe (development subjects); the
other splits leave out four subjects each. Every result is kept in --work as soon as it is there, and the same command goes on
from it.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from memkd_edge.comparison.statistics import mean_difference
from memkd_edge.config import DataConfig, DistillConfig
from memkd_edge.data.prepare_recordings import PreparedRecordings, prepare_recordings
from memkd_edge.data.recording_loading import load_recordings
from memkd_edge.distillation.checkpoint import read_checkpoint, write_checkpoint
from memkd_edge.distillation.pipeline import AUTO_OF_RECORDINGS
from memkd_edge.distillation.population import Population, predict_along
from memkd_edge.distillation.recipe import Recipe, TeacherRecipe
from memkd_edge.distillation.stream_teacher import StreamTeacher, answers_along
from memkd_edge.distillation.streams import StreamSeries, judged_everywhere, recorded
from memkd_edge.distillation.students import Candidate
from memkd_edge.distillation.study import CARRIED, STREAM_STEPS
from memkd_edge.distillation.teacher import TeacherTraining
from memkd_edge.nets.classifier import Classifier, ModelSpec
from memkd_edge.runs import write_atomic
from memkd_edge.stream_scores import stream_scores
from memkd_edge.threads import torch_threads

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data" / "raw" / "spsw"
RATE = 100.0
METHODS = (
    ("base", 0.0),
    ("kd", 1.0),
    ("kd:temperature=2", 1.0),
    ("kd:temperature=1", 1.0),
    ("fitnet", 1.0),
    ("memkd", 1.0),
    ("memkd-belief", 2.0),
    ("memkd-belief+kd:temperature=1", 2.0),
)
LEFT_OUT_METHODS = [one for one in METHODS if one[0] in ("base", "memkd-belief")]
SPLITS = {
    "development": ("s17", "s18", "s19", "s20"),
    **{f"left out {first}": tuple(f"s{number:02d}" for number in range(first, 21, 5)) for first in range(1, 6)},
}
UNITS = 6
SEEDS = 5
TEACHER_STEPS = 600
NOISE = 0.1
LOOPED_SAMPLES = 100_000
FIGURES = ("accuracy", "f1_macro", "settled_accuracy", "delay_median_s", "false_switches_per_minute")


@dataclass(frozen=True)
class Split:
    """One split of the subjects: what is learnt, and the streams that judge."""

    prepared: PreparedRecordings
    train: StreamSeries
    classes: int


def load_split(data: Path, subjects: tuple[str, ...]) -> Split:
    """Return SPSW with `subjects` held out; its rows count as even samples at `RATE`."""
    options = DataConfig(name_pattern="{subject}_{recording}_sw.csv", time="none", rate=RATE, test_subjects=subjects)
    recordings = load_recordings(data, options)
    prepared = prepare_recordings(recordings, DistillConfig(folds=2))  # statistics of all training subjects
    device, classes = torch.device("cpu"), len(recordings.labels)
    train = recorded([(x, y, False) for x, y in prepared.train], RATE, 0.0, torch.ones(classes), device)
    return Split(prepared, train, classes)


def trained_teacher(split: Split, path: Path, steps: int) -> Classifier:
    """Return the split's teacher, trained on or taken from `path`."""
    spec = ModelSpec(split.train.x.shape[1], 100, split.classes, 3)
    recipe = TeacherRecipe(math.ceil(steps / split.train.epoch_steps), 0.002, split.train.lanes, NOISE, CARRIED)
    training = TeacherTraining(spec, recipe, 0, split.train)
    if (found := read_checkpoint(path)) is not None:
        training.load(found[0])
    while not training.finished:
        training.train_epoch()
        write_checkpoint(path, training.state(), {})
        print(
            f"{path.stem}: teacher, epoch {training.epoch} of {recipe.epochs}, loss {training.loss:.3f}",
            file=sys.stderr,
            flush=True,
        )
    return training.result()


def scored(split: Split, decisions: NDArray[np.int64]) -> dict[str, Any]:
    """Return the figures of decisions [N], the test streams one after the other."""
    ends = np.cumsum([len(y) for _, y in split.prepared.test])[:-1]
    truth = [y for _, y in split.prepared.test]
    return stream_scores(np.split(decisions, ends), truth, split.classes, RATE).as_dict()


def decided(split: Split, students: dict[str, torch.Tensor], spec: ModelSpec) -> NDArray[np.int64]:
    """Return the decisions [P, N] of students along the test streams, never reset."""
    streams = [(x, np.zeros_like(y)) for x, y in split.prepared.test]
    judged = judged_everywhere(streams, torch.device("cpu"), most=sum(len(y) for _, y in streams))
    order = np.lexsort((judged.time, judged.stream))
    return predict_along(spec, students, judged).argmax(-1).numpy()[:, order]


def looped(split: Split, students: dict[str, torch.Tensor], spec: ModelSpec) -> list[dict[str, float]]:
    """Return each student's accuracy on the first and last round of the first test subject's stream, looped without a reset."""
    x, y = split.prepared.test[0]
    rounds = math.ceil(LOOPED_SAMPLES / len(y))
    judged = judged_everywhere([(np.tile(x, (rounds, 1)), np.tile(y, rounds))], torch.device("cpu"), most=rounds * len(y))
    right = (
        (predict_along(spec, students, judged).argmax(-1) == judged.y)
        .view(len(students["head.bias"]), rounds, -1)
        .float()
        .mean(2)
    )
    return [{"samples": rounds * len(y), "first": float(one[0]), "last": float(one[-1])} for one in right]


def study(
    split: Split, name: str, work: Path, methods: Sequence[tuple[str, float]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return the figures of a split: of its teacher, and of each student of each method."""
    with torch_threads(1):
        model = trained_teacher(split, work / f"{name}.teacher.safetensors", arguments.teacher_steps)
    streams = [(x, np.zeros_like(y)) for x, y in split.prepared.test]
    judged = judged_everywhere(streams, torch.device("cpu"), most=sum(len(y) for _, y in streams))
    order = np.lexsort((judged.time, judged.stream))
    found: dict[str, Any] = {"teacher": scored(split, answers_along(model, judged).argmax(-1).numpy()[order])}
    teacher = StreamTeacher(model, split.train, memory_limit=2**31)
    spec = ModelSpec(split.train.x.shape[1], UNITS, split.classes)
    epochs = math.ceil(arguments.steps / split.train.epoch_steps)
    paths = {method: work / f"{name}.{method.replace(':', '-').replace('=', '-')}.json" for method, _ in methods}
    if missing := [one for one in methods if not paths[one[0]].is_file()]:
        began = time.monotonic()
        candidates = [Candidate(method, weight, seed) for method, weight in missing for seed in range(arguments.seeds)]
        recipe = Recipe(epochs, 0.01, split.train.lanes, 0, CARRIED, NOISE)
        population = Population(spec, candidates, teacher, recipe, threads=arguments.threads, memory_limit=2**31)
        for epoch in range(epochs):
            population.train_epoch(epoch)
        population.keep(torch.ones(len(candidates), dtype=torch.bool))
        for number, (method, _) in enumerate(missing):
            own = slice(number * arguments.seeds, (number + 1) * arguments.seeds)
            students = {key: tensor[own] for key, tensor in population.kept.items()}
            rows = [scored(split, one) for one in decided(split, students, spec)]
            write_atomic(paths[method], json.dumps({"students": rows, "looped": looped(split, students, spec)}).encode())
            print(f"{name}: {method} {np.mean([row['accuracy'] for row in rows]):.3f}", file=sys.stderr, flush=True)
        print(f"{name}: students, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    found["methods"] = {method: json.loads(path.read_text()) for method, path in paths.items()}
    return found


def interval(gains: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, low and high end of the 95 % interval of paired gains (Student's t over seeds)."""
    if len(gains) < 2:
        return float(np.mean(gains)), math.nan, math.nan
    return mean_difference(gains, np.zeros(len(gains)))


def gains(found: dict[str, Any], method: str) -> list[float]:
    """Return by how much each student of `method` is more often right than that of base from the same initial weights."""
    pairs = zip(found["methods"][method]["students"], found["methods"]["base"]["students"], strict=True)
    return [row["accuracy"] - base["accuracy"] for row, base in pairs]


def report(results: dict[str, Any], parameters: tuple[int, int], arguments: argparse.Namespace) -> str:
    """Return models/streams.md."""
    teacher, student = parameters
    lines = [
        "# Deciding at every sample",
        "",
        f"`python -m experiments.streams` wrote this. SPSW, smartwatch, six channels, five activities; students of {UNITS} units "
        f"({student} parameters, {teacher / student:.0f}x fewer than the teacher's {teacher:,}), {arguments.seeds} seeds, "
        f"{arguments.steps} steps, no selection. A subject's recordings of 9-15 s joined end to end are its stream; nobody is "
        "reset. Mean over the seeds ± standard deviation; measured, in float32. Gain: accuracy over base, paired by seed, with "
        f"its 95 % interval. The teacher has {arguments.teacher_steps} steps, more than that of a run; each method has the first "
        f"weight of its grid. Where `--method` is left open, recordings are distilled with {', '.join(AUTO_OF_RECORDINGS)}: "
        "Hinton's KD of the answers at every sample, at any temperature tried, and FitNet are not above base here.",
    ]
    for name, found in results.items():
        held_out = ", ".join(SPLITS[name])
        kind = "development subjects: they chose the recipe" if name == "development" else "four subjects left out"
        lines += [
            "",
            f"## {held_out} ({kind})",
            "",
            "| | accuracy | macro F1 | settled | delay, s | false/min | gain |",
            "|---|---|---|---|---|---|---|",
        ]
        lines.append("| teacher 3 x 100 | " + " | ".join(_figure([found["teacher"]], key) for key in FIGURES) + " | |")
        for method, one in found["methods"].items():
            figures = " | ".join(_figure(one["students"], key) for key in FIGURES)
            lines.append(f"| {method} | {figures} | {_gain(method, gains(found, method))} |")
        lines.append(f"| majority | {found['teacher']['majority']:.3f} | | | | | |")
        ends = [end for one in found["methods"].values() for end in one["looped"]]
        first, last = (float(np.mean([end[key] for end in ends])) for key in ("first", "last"))
        lines += [
            "",
            f"The first subject's stream looped to {ends[0]['samples']:,} samples without a reset: {first:.3f} in the first "
            f"round, {last:.3f} in the last, over all students.",
        ]
    if len(results) > 1:
        others = [found for name, found in results.items() if name != "development"]
        lines += [
            "",
            "## Mean over the splits that leave subjects out",
            "",
            "The interval of the gain is over splits.",
            "",
            "| | accuracy | macro F1 | false/min | gain |",
            "|---|---|---|---|---|",
        ]
        shown = (*FIGURES[:2], FIGURES[-1])
        for method in others[0]["methods"]:
            rows = [row for found in others for row in found["methods"][method]["students"]]
            of_splits = [float(np.mean(gains(found, method))) for found in others]
            lines.append(f"| {method} | {_means(rows, shown)} | {_gain(method, of_splits)} |")
        lines.append(f"| teacher 3 x 100 | {_means([found['teacher'] for found in others], shown)} | |")
    return "\n".join(lines) + "\n"


def _gain(method: str, differences: Sequence[float]) -> str:
    mean, low, high = interval(differences)
    return "" if method == "base" else f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _means(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> str:
    return " | ".join(f"{np.mean([row[key] for row in rows]):.{_digits(key)}f}" for key in keys)


def _digits(key: str) -> int:
    return 1 if key.endswith("minute") else 2 if key.endswith("_s") else 3


def _figure(rows: Sequence[dict[str, Any]], key: str) -> str:
    values = [math.inf if row[key] is None else row[key] for row in rows]
    digits = _digits(key)
    spread = f" ± {np.std(values):.{digits}f}" if len(values) > 1 and digits == 3 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def main() -> None:
    """Do what is not done yet, and write the report of what is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with sXX_YY_sw.csv")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "streams", help="folder for results so far")
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="folder of streams.md and streams.json")
    parser.add_argument("--splits", default=",".join(SPLITS), help="splits joined by commas")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STREAM_STEPS)
    parser.add_argument("--teacher-steps", type=int, default=TEACHER_STEPS)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    results, parameters = {}, (0, 0)
    for name in arguments.splits.split(","):
        split = load_split(arguments.data, SPLITS[name])
        methods = METHODS if name == "development" else LEFT_OUT_METHODS
        results[name] = study(split, name.replace(" ", "-"), arguments.work, methods, arguments)
        specs = ModelSpec(split.train.x.shape[1], 100, split.classes, 3), ModelSpec(split.train.x.shape[1], UNITS, split.classes)
        parameters = (specs[0].parameters, specs[1].parameters)
        write_atomic(arguments.out / "streams.md", report(results, parameters, arguments).encode())
        write_atomic(arguments.out / "streams.json", (json.dumps(results, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
