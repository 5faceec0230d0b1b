# SPDX-License-Identifier: Apache-2.0
"""Prints what was understood of a data set."""

from memkd_edge.cli.tables import NONE, Grid, show
from memkd_edge.data.data_report import DataReport, SubjectReport


def print_data(report: DataReport) -> None:
    """Print subjects x classes, channels, gaps, and what was noted."""
    unit = "seconds" if report.kind == "recordings" else "windows"
    rate = f"{report.sample_rate_hz:g} Hz" if report.sample_rate_hz else "rate unknown"
    people = Grid(
        f"{report.name}: {report.kind}, {rate}; {unit} of each class",
        "subject",
        "part",
        *(["recordings"] if report.kind == "recordings" else []),
        *report.labels,
        "no class",
        "all",
        words=("part",),
        keys=2,
    )
    parts = list(dict.fromkeys(row.part for row in report.subjects))
    for part in parts:
        own = [row for row in report.subjects if row.part == part]
        for row in own:
            people.add_row(row.subject or "unknown", part, *_amounts(row, report.kind))
        if len(own) > 1:
            people.add_row("all", part, *_amounts(_total(own), report.kind))
        if part != parts[-1]:
            people.add_section()
    channels = Grid(
        "Channels, as they came", "channel", "unit", "lowest", "highest", "at the lowest", "at the highest", words=("unit",)
    )
    for one in report.channels:
        ends = ("constant", "") if one.minimum == one.maximum else (f"{one.at_minimum:.3%}", f"{one.at_maximum:.3%}")
        channels.add_row(one.name, one.unit or NONE, f"{one.minimum:.6g}", f"{one.maximum:.6g}", *ends)
    show(people, channels)
    if report.gaps_s:
        gaps = Grid("Gaps", "recording", "gaps", "longest")
        for name, lengths in report.gaps_s.items():
            gaps.add_row(name, f"{len(lengths)}", f"{max(lengths):.3g} s")
        show(gaps)
    show(*report.notes, *([f"terms of use: {report.terms}"] if report.terms else []))


def _total(rows: list[SubjectReport]) -> SubjectReport:
    amounts = tuple(map(sum, zip(*(row.amounts for row in rows), strict=True)))
    return SubjectReport("all", rows[0].part, sum(row.recordings for row in rows), amounts, sum(row.without for row in rows))


def _amounts(row: SubjectReport, kind: str) -> list[str]:
    digits = 1 if kind == "recordings" else 0
    shown = [f"{amount:,.{digits}f}" if amount else NONE for amount in (*row.amounts, sum(row.amounts) + row.without)]
    without = f"{row.without:,.{digits}f}" if row.without else ""  # a column of it only where there is some
    return [*([str(row.recordings)] if digits else []), *shown[:-1], without, shown[-1]]
