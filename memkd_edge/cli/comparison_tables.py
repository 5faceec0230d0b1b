# SPDX-License-Identifier: Apache-2.0
"""Shows the report of a comparison: the ranking of the methods, and where the rest lies."""

from collections.abc import Iterator

from memkd_edge.cli.tables import Column, Grid, Part
from memkd_edge.comparison.report import ComparisonReport
from memkd_edge.pages.document import Table

STAY = 3  # columns of figures: rank and means


def comparison_parts(report: ComparisonReport) -> Iterator[Part]:
    """Return the ranking of the methods, the result in words, and where the report is."""
    ranking = next(block for section in report.document.sections for block in section.blocks if isinstance(block, Table))
    first, *others = ranking.columns
    grid = Grid(report.document.title, first, *(Column(name, detail=int(at >= STAY)) for at, name in enumerate(others)))
    for row in ranking.rows:
        grid.add_row(*row)
    yield grid
    yield from filter(None, (report.document.notice, report.document.lead))
    yield f"Report: {report.folder / 'report.html'}"
