# SPDX-License-Identifier: Apache-2.0
"""Shows the report of a comparison: the ranking of the methods, and where the rest lies."""

from rich.text import Text

from memkd_edge.cli import tables
from memkd_edge.comparison.document import Table
from memkd_edge.comparison.report import ComparisonReport


def print_report(report: ComparisonReport) -> None:
    """Print the ranking of the methods, the result in words, and where the report is."""
    out = tables.console()
    ranking = next(block for section in report.document.sections for block in section.blocks if isinstance(block, Table))
    grid = tables.table(report.document.title, *ranking.columns)
    for row in ranking.rows:
        grid.add_row(*(Text(cell) for cell in row))
    out.print(grid)
    for sentence in (report.document.notice, report.document.lead):
        if sentence:
            out.print(Text(sentence))
    out.print(Text(f"Report: {report.folder / 'report.html'}"))
