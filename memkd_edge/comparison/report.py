# SPDX-License-Identifier: Apache-2.0
"""The report of a comparison: what its rows say, as report.md, report.html, report.json and figures."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memkd_edge.comparison.figures import NAMES, drawings
from memkd_edge.comparison.findings import Findings, findings
from memkd_edge.comparison.folder import CONFIGURATION, TABLE, read_configuration
from memkd_edge.comparison.rows import read_rows
from memkd_edge.comparison.sections import document
from memkd_edge.errors import UsageError
from memkd_edge.pages.document import Document
from memkd_edge.pages.page import FIGURES, to_html, to_markdown
from memkd_edge.runs import write_atomic


@dataclass(frozen=True)
class ComparisonReport:
    """What has been found, how it is put, and where it stands."""

    folder: Path
    found: Findings
    document: Document

    def as_dict(self) -> dict[str, Any]:
        """Return what report.json holds."""
        found = asdict(self.found)
        return {"summary": self.document.lead, "notice": self.document.notice, **found}


def write_report(folder: Path) -> ComparisonReport:
    """Write the report of the comparison in `folder` from its rows.csv and compare.toml, and return it.

    An earlier one is replaced. Equal rows and configurations give equal files.

    Raises:
        UsageError: no comparison is there, or none of its data sets has ended.
        MemkdEdgeError: rows.csv or compare.toml is damaged, or the report cannot be written.
    """
    configuration = folder / CONFIGURATION
    if not configuration.is_file():
        raise UsageError(f"no comparison in {folder}: it has no compare.toml; `memkd-edge compare` makes one")
    config = read_configuration(configuration, "compare again into another folder")
    rows = read_rows(folder / TABLE)
    if not rows:
        raise UsageError(f"no data set of the comparison in {folder} has ended; run `memkd-edge compare` on")
    found = findings(rows)
    report = ComparisonReport(folder, found, document(found, config, configuration.read_text()))
    figures = drawings(found)
    for name in NAMES:
        for kind in ("svg", "png"):
            path = folder / FIGURES / f"{name}.{kind}"
            if name in figures:
                write_atomic(path, getattr(figures[name], kind))
            else:
                path.unlink(missing_ok=True)  # of an earlier report
    write_atomic(folder / "report.json", (json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n").encode())
    write_atomic(folder / "report.md", to_markdown(report.document).encode())
    page = to_html(report.document, {name: drawing.svg for name, drawing in figures.items()}, "memkd-edge compare")
    write_atomic(folder / "report.html", page.encode())
    return report
