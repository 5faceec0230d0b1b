# SPDX-License-Identifier: Apache-2.0
"""Shows the report of a comparison: the ranking of the methods, and where the rest lies."""

from memkd_edge.cli.tables import Grid, show
from memkd_edge.comparison.report import ComparisonReport
from memkd_edge.pages.document import Table


def print_report(report: ComparisonReport) -> None:
    """Print the ranking of the methods, the result in words, and where the report is."""
    ranking = next(block for section in report.document.sections for block in section.blocks if isinstance(block, Table))
    grid = Grid(report.document.title, *ranking.columns)
    for row in ranking.rows:
        grid.add_row(*row)
    show(grid, *filter(None, (report.document.notice, report.document.lead)), f"Report: {report.folder / 'report.html'}")
