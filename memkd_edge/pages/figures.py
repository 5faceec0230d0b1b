# SPDX-License-Identifier: Apache-2.0
"""Figures of a run for papers: its worst recording, and delay against false switches."""

import numpy as np
from matplotlib.figure import Figure

from memkd_edge.decisions import NONE, OperatingPoint, nearest_point
from memkd_edge.pages.colours import COLOURS, GREY, INK
from memkd_edge.pages.drawing import Drawing, drawing, style
from memkd_edge.pages.replay import Replay


def run_figures(replay: Replay, points: list[OperatingPoint]) -> dict[str, Drawing]:
    """Return the figures by name. points: of the decision layer, along the recordings shown; none of a model for windows."""
    with style():
        figures = {"recording": _recording(replay)}
        if points:
            figures["delay"] = _delay(points, replay.metadata.decision_margin)
        return {name: drawing(figure) for name, figure in figures.items()}


def _recording(replay: Replay) -> Figure:
    """Draw labels, decisions (grey: none) and scores of the recording with the most wrong decisions."""
    one, labels = replay.recordings[0], replay.metadata.labels
    time = np.arange(len(one.counts)) / (replay.metadata.sample_rate_hz or 1.0)
    rows = {"label": one.labels, "student": one.decisions, **({} if one.teacher is None else {"teacher": one.teacher})}
    figure = Figure(figsize=(7.5, 3.6))
    strips, scores = figure.subplots(2, 1, sharex=True, height_ratios=(len(rows), 4))
    for row, values in enumerate(rows.values()):
        for k in (NONE, *range(len(labels))):
            colour = GREY if k == NONE else COLOURS[k % len(COLOURS)]
            strips.fill_between(time, -row - 0.85, -row, where=values == k, color=colour, linewidth=0, step="post")
    strips.set_yticks([-row - 0.42 for row in range(len(rows))], list(rows))
    strips.set_title(one.name, loc="left", fontsize=9)
    for k, label in enumerate(labels):
        scores.plot(time, one.scores[:, k], color=COLOURS[k % len(COLOURS)], linewidth=0.9, label=label)
    scores.set_ylabel("score")
    scores.set_xlabel("seconds since the start of the recording" if replay.metadata.sample_rate_hz else "samples")
    scores.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.3))
    return figure


def _delay(points: list[OperatingPoint], margin: float) -> Figure:
    """Draw one point a margin; the model's is ringed."""
    figure = Figure(figsize=(4.5, 3.2))
    axes = figure.add_subplot()
    delays = [one.scores.delay_median_s for one in points]
    false = [one.scores.false_switches_per_minute for one in points]
    axes.plot(delays, false, "o-", color=COLOURS[0], linewidth=0.8)
    chosen = nearest_point(points, margin)
    axes.plot(delays[chosen], false[chosen], "o", markersize=13, markerfacecolor="none", markeredgecolor=INK)
    for one, delay, switches in zip(points, delays, false, strict=True):
        axes.annotate(f"{one.margin:g}", (delay, switches), xytext=(5, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel("median delay, s")
    axes.set_ylabel("false switches a minute")
    return figure
