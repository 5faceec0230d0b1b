# SPDX-License-Identifier: Apache-2.0
"""Shows what was understood of a data set."""

from collections.abc import Iterator

from memkd_edge.cli.tables import NONE, Column, Grid, Part
from memkd_edge.data.data_report import DataReport, SubjectReport


def data_parts(report: DataReport) -> Iterator[Part]:
    """Return subjects x classes of each part, channels, gaps, and what was noted."""
    unit = "seconds" if report.kind == "recordings" else "windows"
    rate = f"{report.sample_rate_hz:g} Hz" if report.sample_rate_hz else "rate unknown"
    yield f"{report.name}: {report.kind}, {rate}; {unit} of each class"
    for part in dict.fromkeys(row.part for row in report.subjects):
        people = Grid(
            part,
            "subject",
            *([Column("recordings", detail=2)] if report.kind == "recordings" else []),
            *(Column(label, detail=1) for label in report.labels),
            "no class",
            "all",
        )
        own = [row for row in report.subjects if row.part == part]
        for row in own:
            people.add_row(row.subject or "unknown", *_amounts(row, report.kind))
        if len(own) > 1:
            people.add_section()
            people.add_row("all", *_amounts(_total(own), report.kind))
        yield people
    shares = (Column("at the lowest", detail=1), Column("at the highest", detail=1))
    channels = Grid("Channels, as they came", "channel", Column("unit", words=True), "lowest", "highest", *shares)
    for one in report.channels:
        ends = ("constant", "") if one.minimum == one.maximum else (f"{one.at_minimum:.3%}", f"{one.at_maximum:.3%}")
        channels.add_row(one.name, one.unit or NONE, f"{one.minimum:.6g}", f"{one.maximum:.6g}", *ends)
    yield channels
    if report.gaps_s:
        gaps = Grid("Gaps", "recording", "gaps", "longest")
        for name, lengths in report.gaps_s.items():
            gaps.add_row(name, f"{len(lengths)}", f"{max(lengths):.3g} s")
        yield gaps
    yield from report.notes
    if report.terms:
        yield f"terms of use: {report.terms}"


def _total(rows: list[SubjectReport]) -> SubjectReport:
    amounts = tuple(map(sum, zip(*(row.amounts for row in rows), strict=True)))
    return SubjectReport("all", rows[0].part, sum(row.recordings for row in rows), amounts, sum(row.without for row in rows))


def _amounts(row: SubjectReport, kind: str) -> list[str]:
    digits = 1 if kind == "recordings" else 0
    shown = [f"{amount:,.{digits}f}" if amount else NONE for amount in (*row.amounts, sum(row.amounts) + row.without)]
    without = f"{row.without:,.{digits}f}" if row.without else ""  # a column of it only where there is some
    return [*([str(row.recordings)] if digits else []), *shown[:-1], without, shown[-1]]
