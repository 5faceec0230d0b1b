# SPDX-License-Identifier: Apache-2.0
"""What the files of a run beside its metrics say, as a page shows them: export/verify.json and bench/<device>.json."""

from dataclasses import dataclass
from typing import Any

from memkd_edge.benchmark.report.figures import BuildFigures, DeviceReport, Figure
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.runs import Run
from memkd_edge.verification.pipeline import REPORT
from memkd_edge.vocabulary import FigureKind

BENCHED = "bench"


@dataclass(frozen=True)
class CheckedFile:
    """One exported file in one runtime. agreement: with the float student, from a reset and never reset; kept: its state."""

    file: str
    bytes: int
    runtime: str
    agreement: float | None
    stream_agreement: float | None
    mismatches: int | None
    compared: int


def checked_files(run: Run) -> list[CheckedFile]:
    """Return what verification found of each file in each runtime that was there; nothing before an export.

    Raises:
        MemkdEdgeError: verify.json is damaged.
    """
    if not (run.path / REPORT).is_file():
        return []
    record = run.read_json(REPORT)
    try:
        return [
            CheckedFile(
                file["file"],
                file["bytes"],
                one["title"],
                None if one["test"] is None else float(one["test"]["agreement"]),
                None if one["stream"] is None else float(one["stream"]["agreement"]),
                one["mismatches"],
                one["compared"],
            )
            for file in record["files"]
            for one in file["results"]
            if one["status"] == "ok"
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(run, REPORT, error) from error


def benched_devices(run: Run) -> list[DeviceReport]:
    """Return the reports of the devices that the run was benched on, by name.

    Raises:
        MemkdEdgeError: a report is damaged.
    """
    reports = []
    for path in sorted((run.path / BENCHED).glob("*.json")):
        name = f"{BENCHED}/{path.name}"
        record = run.read_json(name)
        try:
            rows = tuple(_row(row) for row in record["rows"])
            reports.append(DeviceReport(record["device"], record["title"], rows, tuple(record["caveats"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(run, name, error) from error
    return reports


def _row(record: dict[str, Any]) -> BuildFigures:
    figures = {
        name: Figure(**{**figure, "kind": FigureKind(figure["kind"]), "value": float(figure["value"])})
        for name, figure in record["figures"].items()
    }
    return BuildFigures(record["model"], record["build"], figures, record["note"])


def _damaged(run: Run, name: str, error: Exception) -> MemkdEdgeError:
    return MemkdEdgeError(f"{run.path / name}: damaged ({error!r}); export or bench again")
