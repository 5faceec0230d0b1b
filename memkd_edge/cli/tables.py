# SPDX-License-Identifier: Apache-2.0
"""Prints results on stdout as tables that read the same on a terminal and in a log.

Whatever is printed is taken literally: markup in a label, a path or a unit stands there as it is, control characters as escapes.
No digit is ever cut: a column of figures keeps its width, columns of words wrap, and where a table is still too wide its columns
of detail are left out, which a last line says. `--wide` prints them all.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memkd_edge.contents import MethodMetrics, Metrics, RecordingMethodMetrics
from memkd_edge.ready_models import ReadyModel
from memkd_edge.runs import Run
from memkd_edge.vocabulary import Reset

NONE = "-"  # in a cell without a value
PIPE_WIDTH = 80  # off a terminal
WIDE = 10_000  # no table and no sentence is as wide
HEADER_LINES = 3  # of a column of figures, at most
WORDS_WIDTH = 22  # of a column of words: where it is narrow, longer ones are folded
BESIDE = 3  # of a column: padding, and what parts it from the next


@dataclass(frozen=True)
class Column:
    """A column of a table. words: it may wrap; all others hold figures.

    detail: where the table is too wide, columns with the highest number are left out first, of equal ones the last; those with 0
    always stand.
    """

    name: str
    words: bool = False
    detail: int = 0


class Grid:
    """A table of literal text. Its first column holds words; a column that is given by its name alone holds figures and stays."""

    def __init__(self, title: str, first: str, *columns: Column | str) -> None:
        self.title = title
        self.columns = [Column(first, words=True), *(Column(one) if isinstance(one, str) else one for one in columns)]
        self.rows: list[tuple[str, ...]] = []
        self.sections: set[int] = set()

    def add_row(self, *cells: str) -> None:
        """Add a row; columns that it does not reach stay empty."""
        padded = (*cells, *[""] * (len(self.columns) - len(cells)))
        self.rows.append(tuple(map(literal, padded)))

    def add_section(self) -> None:
        """Draw a line below the rows so far."""
        self.sections.add(len(self.rows))

    def table(self, width: int) -> tuple[Table, list[str]]:
        """Return the table, `width` wide where that can be, without columns that have no cell, and what it leaves out."""
        shown = [0, *(one for one in range(1, len(self.columns)) if any(row[one] for row in self.rows))]
        left_out: list[int] = []
        while (excess := sum(self._width(one) + BESIDE for one in shown) + 1 - width) > 0:
            least = max(shown, key=lambda one: (self.columns[one].detail, one))
            if self.columns[least].detail == 0:
                break
            shown.remove(least)
            left_out.append(least)
        return self._table(shown, -excess), [self.columns[one].name for one in sorted(left_out)]

    def _lines(self, column: int) -> list[str]:
        """Return what must stand in a line in a column: words of words, lines of figures and of what a row is called."""
        cells, words = [row[column] for row in self.rows], self.columns[column].words and column > 0
        parts = [part for cell in cells for part in (cell.split() if words else cell.split("\n"))]
        return [*parts, *literal(self.columns[column].name).split()]

    def _width(self, column: int) -> int:
        """Return the least width of a column, without what stands beside it."""
        widest = max(map(cell_len, self._lines(column)), default=1)
        if self.columns[column].words:
            return min(widest, WORDS_WIDTH)
        while len(_wrapped(self.columns[column].name, widest)) > HEADER_LINES:
            widest += 1
        return widest

    def _table(self, columns: list[int], spare: int) -> Table:
        """Return the table of some columns; those of words share the `spare` width."""
        table = Table(box=box.SIMPLE_HEAD)
        for column in columns:
            width, name = self._width(column), self.columns[column].name
            if self.columns[column].words:
                whole = max(
                    cell_len(line) for cell in (literal(name), *(row[column] for row in self.rows)) for line in cell.split("\n")
                )
                more = min(max(whole - width, 0), max(spare, 0))
                spare -= more
                table.add_column(Text(literal(name)), width=width + more, overflow="fold")
            else:
                table.add_column(Text("\n".join(_wrapped(name, width))), width=width, justify="right", no_wrap=True)
        for number, row in enumerate(self.rows):
            if number in self.sections:
                table.add_section()
            table.add_row(*(Text(row[column]) for column in columns))
        return table


def _wrapped(text: str, width: int) -> list[str]:
    """Return the lines of `text`; what has no blank, as a path, stays whole."""
    return textwrap.wrap(literal(text), max(width, 1), break_long_words=False, break_on_hyphens=False)


Part = Grid | str  # of what a command prints: a table or a sentence


def literal(text: str) -> str:
    """Return `text` with control characters, but line ends, as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def show(parts: Iterable[Part], *, wide: bool = False) -> None:
    """Print tables and sentences on stdout. wide: all columns, whatever the width of the terminal."""
    terminal = Console()
    width = WIDE if wide else terminal.width if terminal.is_terminal else PIPE_WIDTH
    console = Console(width=WIDE)  # a table that cannot be narrower is not cut
    missing: dict[str, None] = {}

    def say(text: str, style: str = "") -> None:
        for line in text.split("\n"):
            console.print(Text("\n".join(_wrapped(line, width)), style))

    for part in parts:
        if isinstance(part, str):
            say(part)
            continue
        table, left_out = part.table(width)
        missing |= dict.fromkeys(left_out)
        say(part.title, "italic")
        console.print(table)
    if missing:
        say(f"More columns with --wide: {'; '.join(missing)}")


def models_parts(models: Sequence[ReadyModel]) -> Iterator[Part]:
    """Return the ready-made students, one a row."""
    rows = Grid(
        "Ready-made students",
        "model",
        Column("data set", words=True, detail=4),
        Column("channels x classes", detail=2),
        Column("compression", detail=5),
        Column("for", detail=1),
        "accuracy, int8",
        Column("macro F1, int8", detail=3),
        Column(".tflite", detail=3),
        "C flash",
        "instructions",
    )
    for model in models:
        rows.add_row(
            model.name,
            model.dataset,
            f"{model.channels} x {model.classes}",
            f"{model.compression:.0f}x",
            "a stream" if model.reset == Reset.NEVER else f"{model.reset}s",
            f"{model.accuracy:.3f}, {model.accuracy_int8:.3f}",
            f"{model.f1_macro:.3f}, {model.f1_macro_int8:.3f}",
            f"{model.bytes['int8.tflite']:,} B",
            f"={model.flash_bytes:,.0f} B",
            f"={model.instructions:,.0f}",
        )
    yield rows
    yield (
        "Accuracy and macro F1: measured on the test part, in float and in int8; of a stream at every sample, never reset, of "
        "events once each, from where the program starts it. =: emulated, exact on a Cortex-M4; int8 C, instructions of one "
        "sample.\nmemkd-edge export --run model:NAME; verify, inspect and bench take model:NAME as well."
    )


def distillation_parts(run: Run, metrics: Metrics) -> Iterator[Part]:
    """Return teacher against student, along a stream first where that is known, then every method with its figures."""
    columns = ("in a stream: accuracy", "test accuracy", "test AUC-PRC")
    pair = Grid(f"Teacher and student, {run.metadata.dataset}", "", "parameters", Column("compression", detail=1), *columns)
    stream = metrics.student.test_never_reset
    along = f"{stream.accuracy:.3f}" if stream else ""
    for name, model, compression in (
        ("teacher", metrics.teacher, 1.0),
        ("student", metrics.student, metrics.student.compression),
    ):
        scores = (f"{model.test.accuracy:.3f}", f"{model.test.auc_prc:.3f}")
        pair.add_row(name, f"{model.parameters:,}", f"{compression:.0f}x", along if name == "student" else "", *scores)
    majority = metrics.majority
    if majority is not None:
        scores = (f"{majority.test.accuracy:.3f}", f"{majority.test.auc_prc:.3f}")
        pair.add_row(f"always {majority.label}", "", "", "", *scores)
    yield pair
    every = methods_grid(metrics.methods, "AUC-PRC", "auc_prc")
    if majority is not None:
        every.add_section()
        figures = (majority.validation.auc_prc, majority.test.auc_prc, majority.test.accuracy)
        every.add_row("majority", "", "", *(f"{figure:.3f}" for figure in figures))
    used = {
        Reset.NEVER: "as it is used: it is never reset",
        Reset.WINDOW: f"while it is for windows: reset every {run.metadata.window_length} samples",
        Reset.EVENT: "while it is for events: reset it where a series begins",
    }
    if stream:
        yield f"In a stream: at the ends of the test series, one after another without a reset, {used[run.metadata.reset]}."
    yield every
    yield f"Kept: {metrics.kept_because}"
    yield from (f"Note: {note}" for note in (metrics.chance, metrics.warning) if note)
    yield f"Run: {run.path}"


def methods_grid(rows: Sequence[MethodMetrics] | Sequence[RecordingMethodMetrics], measure: str, key: str) -> Grid:
    """Return every method with its figures. measure, key: what selected, in words and in the names of the rows' fields."""
    searched = len(rows) > len({row.method for row in rows})
    grid = Grid(
        "All methods (mean ± std over seeds)" + ("; half way each went on with its best weight" if searched else ""),
        "method",
        "weight",
        Column("seeds", detail=2),
        f"validation {measure}",
        f"test {measure}",
        Column("test accuracy", detail=1),
        "",
    )
    for row in rows:
        spreads = [
            _spread(getattr(row, f"{figure}_mean"), getattr(row, f"{figure}_std"))
            for figure in (f"validation_{key}", f"test_{key}", "test_accuracy")
        ]
        grid.add_row(row.method, f"{row.weight:g}", str(row.seeds), *spreads, "kept" if row.kept else "")
    return grid


def _spread(mean: float | None, std: float | None) -> str:
    """Return mean and standard deviation in a cell."""
    return NONE if mean is None else f"{mean:.3f} ± {std:.3f}"
