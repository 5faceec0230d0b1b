# SPDX-License-Identifier: Apache-2.0
"""What a byte and an instruction buy along streams: `python -m experiments.stream_sizes` writes models/stream_sizes.*.

SPSW as `memkd-edge distill` takes it. For each kind of student and each size one run of `distill`, all with the same teacher: the
kept student is scored by its integers along the test subjects' streams, and its generated C is measured on an emulated Cortex-M4.
Where experiments/rivals has left figures of other models on the same streams, they stand beside it. Runs are kept in --work,
interrupted ones are continued.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from itertools import chain, groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.kept_runs import kept_run
from memkd_edge.benchmark.backends.emulated import exact_figures
from memkd_edge.benchmark.builds import Builds
from memkd_edge.benchmark.devices.profiles import load_device
from memkd_edge.benchmark.emulation.firmware import measure_firmware
from memkd_edge.comparison.figures import cost_scale
from memkd_edge.comparison.statistics import pareto_front
from memkd_edge.config import DistillConfig
from memkd_edge.pages.colours import COLOURS
from memkd_edge.pages.drawing import Drawing, drawing, style
from memkd_edge.quantization.batch import decisions_along
from memkd_edge.runs import SERIES, Run, write_atomic
from memkd_edge.stream_scores import confusion, macro_f1, sample_accuracy
from memkd_edge.vocabulary import Arithmetic

MODELS = Path(__file__).resolve().parents[1] / "models"
RIVALS = MODELS / "rivals.json"
CELLS = ("lstm", "gru")
SIZES = (50, 100, 250, 500, 1000)
METHODS = "base,memkd-belief"
SEEDS = 4  # of each method
DEVICE = "nrf52840"
STEPS = 64  # of the emulated pass
MARKERS = "osD^vPph"


@dataclass(frozen=True)
class Model:
    """One model's scores along the test streams, and its cost on the device; or means over seeds of such.

    what: its kind. size: in words. f1_macro, accuracy: at every sample, by the model's own arithmetic. flash_bytes, ram_bytes;
    instructions: the mean of a sample; these three are emulated-exact.
    """

    what: str
    size: str
    parameters: float
    f1_macro: float
    accuracy: float
    flash_bytes: float
    ram_bytes: float
    instructions: float


def trained(cell: str, compression: int, work: Path, threads: int) -> Run:
    """Return the run of one kind and size, trained now or before."""
    config = DistillConfig(student=cell, compression=compression, method=METHODS, weights=1, seeds=SEEDS, threads=threads)
    return kept_run(config, work, f"{cell}-{compression}", teachers=work / "teachers.safetensors")


def measured(run: Run, cell: str) -> list[Model]:
    """Return what each form of the kept student costs, with its integers' scores along the test streams, at margin 0."""
    builds = Builds(run, STEPS)
    series = run.read_arrays(SERIES)
    streams = np.split(series["x_streams"], np.cumsum(series["stream_lengths"])[:-1])
    decisions = np.concatenate([decisions_along(builds.quantized, Arithmetic.INT8, x, 0.0) for x in streams])
    tables = confusion(decisions[None], series["y_streams"], len(run.metadata.labels))
    spec, device = builds.student.spec, load_device(DEVICE)
    found = []
    for form, build in (("", builds.student_int8_c()), (", medium", builds.student_medium_c())):
        assert build.source is not None
        measurement = measure_firmware(device.core, build.source, build.inputs, flags=build.flags)
        build.check(measurement.logits, device.name)
        figures = exact_figures(measurement)
        costs = (figures[name].value for name in ("flash", "ram", "instructions"))
        score = float(macro_f1(tables)[0]), float(sample_accuracy(tables)[0])
        found.append(Model(cell + form, f"{spec.hidden_size} units", spec.parameters, *score, *costs))
    return found


def rivals() -> list[Model]:
    """Return the means over the seeds of the other models that experiments/rivals has measured."""
    names = [
        {"what": "rival", "f1_macro": "macro_f1", "instructions": "instructions_per_sample"}.get(one.name, one.name)
        for one in fields(Model)
    ]
    return means([Model(*(row[name] for name in names)) for row in json.loads(RIVALS.read_text(encoding="utf-8"))])


def in_float(metrics: dict[str, Any]) -> dict[str, list[float]]:
    """Return the float macro F1 of all students of each method along the test streams."""
    found: dict[str, list[float]] = {}
    for one in metrics["students"]:
        found.setdefault(one["method"], []).append(one["test_f1_macro"])
    return found


def means(models: Sequence[Model]) -> list[Model]:
    """Return the mean over the seeds of each kind and size, in their order."""

    def key(one: Model) -> tuple[str, str]:
        return one.what, one.size

    return [
        Model(what, size, *(fmean(column) for column in zip(*(astuple(one)[2:] for one in group), strict=True)))
        for (what, size), group in groupby(models, key)
    ]


def table(models: Sequence[Model]) -> list[str]:
    """Return the table's lines; bold: no other model is as good for less flash, or for fewer instructions."""
    score = [one.f1_macro for one in models]
    fronts = {cost: pareto_front([getattr(one, cost) for one in models], score) for cost in ("flash_bytes", "instructions")}
    lines = [
        "| model | size | parameters | macro F1 | accuracy | flash | RAM | instructions a sample |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for at, one in enumerate(models):
        flash, instructions = (
            f"**{text}**" if fronts[cost][at] else text
            for cost, text in (("flash_bytes", f"={one.flash_bytes:,.0f} B"), ("instructions", f"={one.instructions:,.0f}"))
        )
        cells = [one.what, one.size, f"{one.parameters:,.0f}", f"{one.f1_macro:.3f}", f"{one.accuracy:.3f}"]
        lines.append(f"| {' | '.join([*cells, flash, f'={one.ram_bytes:,.0f} B', instructions])} |")
    return lines


def picture(models: Sequence[Model]) -> Drawing:
    """Draw macro F1 against flash and against instructions, a line a kind along its front."""
    with style():
        figure = Figure(figsize=(7.5, 3.4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        kinds = list(dict.fromkeys(one.what for one in models))
        for axes, cost, title in zip(
            panels, ("flash_bytes", "instructions"), ("flash (bytes)", "instructions a sample"), strict=True
        ):
            for number, kind in enumerate(kinds):
                own = sorted((one for one in models if one.what == kind), key=lambda one: float(getattr(one, cost)))
                x, y = np.array([(getattr(one, cost), one.f1_macro) for one in own]).T
                front = pareto_front(x, y)
                colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
                axes.plot(x[front], y[front], f"{marker}-", color=colour, markersize=5, linewidth=1, label=kind)
                axes.plot(x[~front], y[~front], marker, color=colour, markersize=5, markerfacecolor="none", alpha=0.7)
            cost_scale(axes)
            axes.set_xlabel(title)
            axes.grid()
        panels[0].set_ylabel("macro F1 along the test streams")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(kinds))
        return drawing(figure)


def report(
    students: Sequence[Sequence[Model]], floats: Sequence[dict[str, list[float]]], others: Sequence[Model], teacher: float
) -> str:
    """Return models/stream_sizes.md; `students`: the forms of each, and what its run's `floats` are."""
    lines = [
        "# What a byte and an instruction buy along streams",
        "",
        "`python -m experiments.stream_sizes` wrote this. SPSW, smartwatch, six channels, five activities, decided at every",
        "sample of the five test subjects of `memkd-edge distill` without arguments, never reset. lstm, gru: students of one run",
        f"each, with the same teacher (macro F1 {teacher:.3f}), {SEEDS} seeds of {METHODS.replace(',', ' and of ')}; the best",
        "on held-out training subjects is kept and scored by its int8 integers, at margin 0 (measured); medium: the same model",
        "and bits, compiled with MEMKD_MEDIUM. The others, which nobody taught, are means over seeds; how they are made says",
        "`python -m experiments.rivals`. Flash, RAM (state and stack) and instructions, the mean of a sample, are",
        f"emulated-exact, on the Cortex-M4 of {DEVICE}. Bold: no model listed is as good for less of it.",
        "",
        "![Macro F1 against flash and instructions](stream_sizes.svg)",
        "",
        *table([*chain.from_iterable(students), *others]),
        "",
        "All students of a method, in float32 (measured, mean ± standard deviation over the seeds), which is how the others are",
        "to be held against them: nobody has chosen one of these.",
        "",
        "| model | size | base | memkd-belief |",
        "|---|---|---|---|",
    ]
    for (one, *_), methods in zip(students, floats, strict=True):
        cells = [f"{fmean(scores):.3f} ± {stdev(scores):.3f}" for scores in methods.values()]
        lines.append(f"| {one.what} | {one.size} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/stream-sizes"), help="where runs are kept, and go on")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    students, floats, teacher = [], [], 0.0
    for cell in CELLS:
        for compression in SIZES:
            run = trained(cell, compression, arguments.work, arguments.threads)
            metrics = run.read_json("metrics.json")
            students.append(measured(run, cell))
            floats.append(in_float(metrics))
            teacher = metrics["teacher"]["stream"]["f1_macro"]
            print(students[-1], {method: fmean(scores) for method, scores in floats[-1].items()}, flush=True)
    everything = [*chain.from_iterable(students), *(others := rivals())]
    write_atomic(MODELS / "stream_sizes.json", (json.dumps([asdict(one) for one in everything], indent=1) + "\n").encode())
    write_atomic(MODELS / "stream_sizes.svg", picture(everything).svg)
    print(write_atomic(MODELS / "stream_sizes.md", report(students, floats, others, teacher).encode()))


if __name__ == "__main__":
    main()
