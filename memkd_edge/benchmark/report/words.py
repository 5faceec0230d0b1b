# SPDX-License-Identifier: Apache-2.0
"""A figure of a bench as text, with the mark of its kind, for a terminal and for a page."""

from memkd_edge.benchmark.report.figures import Figure
from memkd_edge.vocabulary import FigureKind

# figure -> column title
COST = {
    "accuracy": "test accuracy",
    "flash": "flash",
    "ram": "RAM",
    "peak_memory": "peak memory",
    "instructions": "instructions",
    "cycles": "cycles",
    "latency": "latency",
    "latency_p90": "p90",
    "latency_p99": "p99",
    "energy": "energy",
    "battery": "battery life",
}
LEGEND = "All per sample. = emulated, exact on the device; ~ estimated [lowest, highest]; no mark: measured."
_LARGER_UNIT = {"us": "ms", "ms": "s", "uJ": "mJ", "mJ": "J"}


def figure_text(figure: Figure) -> str:
    """Return a figure as text with the mark of its kind and its unit; an interval stands on a second line. No unit: a share."""
    value, lo, hi, unit = figure.value, figure.lo, figure.hi, figure.unit
    while unit in _LARGER_UNIT and value >= 1000:
        value, lo, hi = value / 1000, None if lo is None else lo / 1000, None if hi is None else hi / 1000
        unit = _LARGER_UNIT[unit]
    suffix = "" if unit in ("cycles", "instructions") else f" {unit}".rstrip()
    if figure.kind == FigureKind.ESTIMATED and lo is not None and hi is not None:
        return f"~{_rounded(value)}{suffix}\n[{_rounded(lo)}, {_rounded(hi)}]"
    if not unit:
        return f"{value:.3f}"
    number = f"{value:,.0f}" if value == round(value) or value >= 1000 else _rounded(value)
    return f"{'=' if figure.kind == FigureKind.EMULATED else ''}{number}{suffix}"


def _rounded(value: float) -> str:
    """Three significant digits, thousands separated."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 1000 else f"{value:.3g}"
