# SPDX-License-Identifier: Apache-2.0
"""The report's figures. Equal findings give equal bytes of SVG; a method has one colour and one marker in all of them."""

import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from memkd_edge.comparison.findings import MEASURED_COSTS, Findings, score
from memkd_edge.comparison.statistics import ALPHA, pareto_front
from memkd_edge.pages.colours import COLOURS, GREY, INK
from memkd_edge.pages.drawing import Drawing, drawing, style
from memkd_edge.vocabulary import Cell

MARKERS = "osD^vPph"
BASE = (GREY, "X")
# Tol's muted colours, so that kinds of student are not taken for methods.
KINDS = {Cell.LSTM: ("#aa4499", "o"), Cell.GRU: ("#44aa99", "s"), Cell.CNN: ("#999933", "^")}
COST_TITLES = {
    "flash_bytes": "flash (bytes)",
    "ram_bytes": "RAM (bytes)",
    "instructions": "instructions per sample",
    "parameters": "parameters",
}


NAMES = ("scores", "size", "critical-difference", "sweep")


def drawings(found: Findings) -> dict[str, Drawing]:
    """Return the figures that `found` is enough for: name, one of NAMES -> drawing."""
    with style():
        figures = {"scores": _scores(found), "size": _size(found)}
        if found.diagram:
            figures["critical-difference"] = _critical_difference(found)
        if len(found.sizes) > 1:
            figures["sweep"] = _sweep(found)
        return {name: drawing(figure) for name, figure in figures.items()}


def method_styles(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the colour and marker of each method."""
    taught = sorted((method for method in methods if method != "base"), key=lambda method: "memkd" not in method)
    styles = {
        # With more methods than colours, the next round has other markers.
        method: (COLOURS[index % len(COLOURS)], MARKERS[(index + index // len(COLOURS)) % len(MARKERS)])
        for index, method in enumerate(taught)
    }
    return {method: styles.get(method, BASE) for method in methods}


def _scores(found: Findings) -> Figure:
    """Each data set's methods and teacher, a line a set."""
    sets = found.sets
    figure = Figure(figsize=(7.5, 1.2 + 0.36 * len(sets)))
    axes = figure.add_subplot()
    styles = method_styles(found.methods)
    lanes = dict(zip(found.methods, np.linspace(-0.3, 0.3, len(found.methods)) if len(found.methods) > 1 else [0.0], strict=True))
    places = range(len(sets))
    teachers = [result.teacher_test_auc_prc for result in sets]
    axes.vlines(teachers, [y - 0.38 for y in places], [y + 0.38 for y in places], color=INK, linewidth=1.8, label="teacher")
    for method, (colour, marker) in styles.items():
        points = [(y + lanes[method], one.test_auc_prc) for y, result in enumerate(sets) if (one := result.of(method))]
        axes.errorbar(
            [spread.mean for _, spread in points],
            [y for y, _ in points],
            xerr=[spread.std or 0.0 for _, spread in points],
            fmt=marker,
            color=colour,
            markersize=4,
            elinewidth=0.7,
            label=method,
        )
    for y in places[1:]:
        axes.axhline(y - 0.5, color=GREY, alpha=0.25, linewidth=0.6)
    axes.set_yticks(places, [_short(result.dataset) for result in sets])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(sets) - 0.5, -0.5)
    axes.set_xlabel("test AUC-PRC (mean and standard deviation over the seeds)")
    axes.grid(axis="x")
    _legend_above(axes)
    return figure


def _size(found: Findings) -> Figure:
    """Scores of the kept students against int8 flash where that was measured, else against parameters, tied to their teachers."""
    kept = [(run, run.kept) for run in found.runs if run.kept]
    measured = [(run, row) for run, row in kept if row.flash_bytes is not None]
    styles = method_styles(list(dict.fromkeys([*found.methods, *(row.method for _, row in kept)])))
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for index, (axes, metric) in enumerate(zip(panels, ("AUC-PRC", "accuracy"), strict=True)):
        if measured:
            points = [(row.method, row.flash_bytes, score(row)[index]) for _, row in measured]
        else:
            points = [(row.method, row.parameters, (row.test_auc_prc, row.test_accuracy)[index]) for _, row in kept]
            for (run, _), (_, *student) in zip(kept, points, strict=True):
                teacher = (run.teacher_parameters, (run.teacher_test_auc_prc, run.teacher_test_accuracy)[index])
                axes.plot(*zip(student, teacher, strict=True), color=GREY, linewidth=0.8, alpha=0.6)
                axes.plot(*teacher, "*", color=INK, markersize=7, label="teacher")
        for method, (colour, marker) in styles.items():
            for name, x, y in points:
                if name == method:
                    axes.plot(x, y, marker, color=colour, markersize=5.5, label=method)
        axes.set_xlabel("flash of the int8 student (bytes)" if measured else "parameters")
        axes.set_ylabel(f"test {metric}, int8" if measured else f"test {metric}")
        cost_scale(axes)
        axes.grid()
    handles, labels = panels[0].get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=5)
    return figure


def _sweep(found: Findings) -> Figure:
    """Scores against every cost, one line along each kind's front."""
    costs = [cost for cost in MEASURED_COSTS if all(cost in size.costs for size in found.sizes)] or ["parameters"]
    kinds = list(dict.fromkeys(size.setting.student for size in found.sizes))
    figure = Figure(figsize=(2.6 * max(len(costs), 2), 4.8), layout="constrained")
    panels = figure.subplots(2, len(costs), sharex="col", sharey="row", squeeze=False)
    for row, metric in enumerate(("AUC-PRC", "accuracy")):
        for column, cost in enumerate(costs):
            axes = panels[row, column]
            for kind in kinds:
                sizes = sorted((size for size in found.sizes if size.setting.student == kind), key=lambda size: size.costs[cost])
                x = np.array([size.costs[cost] for size in sizes])
                y = np.array([(size.auc_prc, size.accuracy)[row] for size in sizes])
                front = pareto_front(x, y)
                colour, marker = KINDS[Cell(kind)]
                axes.plot(x[front], y[front], color=colour, linewidth=1.4)
                axes.plot(x[front], y[front], marker, color=colour, markersize=5.5, label=kind)
                axes.plot(x[~front], y[~front], marker, color=colour, markersize=5.5, markerfacecolor="none", alpha=0.7)
            cost_scale(axes)
            axes.grid()
            if column == 0:
                axes.set_ylabel(f"test {metric}" + (", int8" if found.int8 else ""))
            if row == 1:
                axes.set_xlabel(COST_TITLES[cost])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(kinds))
    return figure


def _critical_difference(found: Findings) -> Figure:
    """aeon's diagram: mean ranks on a line, bars over methods that its test does not tell apart."""
    from aeon.visualisation import plot_critical_difference
    from matplotlib import pyplot

    methods = list(found.methods)
    with warnings.catch_warnings():
        # aeon warns of two methods that are equal on all data sets; the table of pairs says so.
        warnings.simplefilter("ignore", UserWarning)
        drawn: Figure
        drawn, axes = plot_critical_difference(
            np.array(found.scores),
            [_short(method) for method in methods],
            test="wilcoxon",
            correction="holm",
            alpha=ALPHA,
            width=8,
            textspace=2.2,
        )
    pyplot.close(drawn)
    colours = {_short(method): colour for method, (colour, _) in method_styles(methods).items()}
    for artist in (*axes.lines, *axes.texts):
        if same_color(artist.get_color(), "w"):
            artist.remove()  # a diagonal that sets up the axes, and would show on a dark page
        elif same_color(artist.get_color(), "k"):
            artist.set_color(INK)
    for text in axes.texts:
        if text.get_text() in colours:
            text.set(color=colours[text.get_text()], fontsize=13)
    return drawn


def cost_scale(axes: Axes) -> None:
    """Write costs out in full; on a logarithmic scale where they differ tenfold and more."""
    low, high = axes.dataLim.intervalx
    if high > 10 * low > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _legend_above(axes: Axes) -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=5, columnspacing=1.2, handletextpad=0.3)


def _short(name: str) -> str:
    """Return a name that fits beside a figure."""
    return name if len(name) <= 28 else f"{name[:16]}…{name[-11:]}"
