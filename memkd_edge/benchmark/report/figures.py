# SPDX-License-Identifier: Apache-2.0
"""What a bench reports: figures with their kind, rows of figures, one report per device."""

from dataclasses import asdict, dataclass, field
from typing import Any

from memkd_edge.vocabulary import FigureKind


@dataclass(frozen=True)
class Figure:
    """One number and how it was come by.

    kind: an estimate always has its interval [lo, hi]. tool: what gave the number, with version.
    """

    value: float
    kind: FigureKind
    unit: str
    tool: str
    lo: float | None = None
    hi: float | None = None

    def __post_init__(self) -> None:
        if self.kind == FigureKind.ESTIMATED and (self.lo is None or self.hi is None):
            raise ValueError("an estimate needs its interval")

    def scaled(self, factor: float, unit: str, tool: str) -> "Figure":
        """Return this estimate times `factor`, in another unit."""
        lo, hi = (self.value if bound is None else bound for bound in (self.lo, self.hi))
        return Figure(self.value * factor, FigureKind.ESTIMATED, unit, f"{self.tool}; {tool}", lo * factor, hi * factor)


@dataclass(frozen=True)
class BuildFigures:
    """One model in one build on one device.

    model: "student" or "teacher". build: "int8 C", "float32 C", "int8 .tflite, LiteRT", ... figures: by name (`tables.COLUMNS`).
    note: why figures are missing, for instance by how many bytes the model does not fit.
    """

    model: str
    build: str
    figures: dict[str, Figure] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class DeviceReport:
    """All rows of one device. title: the device in words. caveats: what the reader must know of these figures."""

    device: str
    title: str
    rows: tuple[BuildFigures, ...]
    caveats: tuple[str, ...] = ()

    def first_row(self, model: str) -> BuildFigures | None:
        """Return the first row of `model` that has figures: the build recommended for it."""
        return next((row for row in self.rows if row.model == model and row.figures), None)

    def compared(self) -> tuple[BuildFigures, BuildFigures] | None:
        """Return the teacher's and the student's first rows, which ratios compare; None without both."""
        teacher, student = self.first_row("teacher"), self.first_row("student")
        return None if teacher is None or student is None else (teacher, student)

    def ratio(self, figure: str) -> float | None:
        """Return teacher / student for `figure` over the rows that `compared` returns; None if it is missing in one."""
        rows = self.compared()
        if rows is None or not all(figure in row.figures and row.figures[figure].value for row in rows):
            return None
        return rows[0].figures[figure].value / rows[1].figures[figure].value


@dataclass(frozen=True)
class BenchReport:
    """What `bench` returns. run: the run's id."""

    run: str
    devices: tuple[DeviceReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, as written to JSON."""
        return asdict(self)
