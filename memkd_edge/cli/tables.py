# SPDX-License-Identifier: Apache-2.0
"""Prints results on stdout as tables that read the same on a terminal and in a log.

Whatever is printed is taken literally: markup in a label, a path or a unit stands there as it is, control characters as escapes.
No digit is ever cut: a column of figures keeps its width, columns of words wrap, and where a table is still too wide its columns
go on in a second one.
"""

import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from memkd_edge.contents import MethodMetrics, Metrics, RecordingMethodMetrics
from memkd_edge.ready_models import ReadyModel
from memkd_edge.runs import Run
from memkd_edge.vocabulary import Reset

NONE = "-"  # in a cell without a value
PIPE_WIDTH = 160  # off a terminal, where no one's window limits it
WORDS_WIDTH = 24  # of a column of words: longer ones are folded


class Grid:
    """A table of literal text. words: the columns that may wrap; the first one always may. All others hold figures.

    keys: of the columns that name a row, and stand in every part of a table that goes on.
    """

    def __init__(self, title: str, *columns: str, words: tuple[str, ...] = (), keys: int = 1) -> None:
        self.title, self.columns, self.keys = title, tuple(map(literal, columns)), list(range(keys))
        self.words = {index for index, name in enumerate(columns) if index == 0 or name in words}
        self.rows: list[tuple[str, ...]] = []
        self.sections: set[int] = set()

    def add_row(self, *cells: str) -> None:
        """Add a row; columns that it does not reach stay empty."""
        padded = (*cells, *[""] * (len(self.columns) - len(cells)))
        self.rows.append(tuple(map(literal, padded)))

    def add_section(self) -> None:
        """Draw a line below the rows so far."""
        self.sections.add(len(self.rows))

    def tables(self, console: Console) -> list[Table]:
        """Return the table, or as many as its columns need at the console's width; each has the key columns.

        Columns without a cell are left out.
        """
        left = [column for column in range(len(self.keys), len(self.columns)) if any(row[column] for row in self.rows)]
        made: list[Table] = []
        while left or not made:
            taken = len(left)
            while taken > 1 and least_width(self._table([*self.keys, *left[:taken]], titled=False), console) > console.width:
                taken -= 1
            made.append(self._table([*self.keys, *left[:taken]], titled=not made))
            left = left[taken:]
        return made

    def _table(self, columns: list[int], *, titled: bool) -> Table:
        table = Table(title=Text(literal(self.title)) if titled else None, title_justify="left", box=box.SIMPLE_HEAD)
        for column in columns:
            cells = [row[column] for row in self.rows]
            if column in self.words:
                longest = max((len(word) for cell in [self.columns[column], *cells] for word in cell.split()), default=1)
                table.add_column(Text(self.columns[column]), overflow="fold", min_width=min(longest, WORDS_WIDTH))
            else:
                width = max(len(part) for cell in [*cells, *self.columns[column].split(), ""] for part in cell.split("\n"))
                header = textwrap.fill(self.columns[column], max(width, 1), break_long_words=False)
                table.add_column(Text(header), justify="right", no_wrap=True, min_width=width)
        for number, row in enumerate(self.rows):
            if number in self.sections:
                table.add_section()
            table.add_row(*(Text(row[column]) for column in columns))
        return table


def least_width(table: Table, console: Console) -> int:
    """Return the width below which a figure would be cut."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).minimum


def literal(text: str) -> str:
    """Return `text` with control characters, but line ends, as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def show(*parts: "Grid | str") -> None:
    """Print tables and sentences on stdout."""
    plain = Console()
    console = plain if plain.is_terminal else Console(width=PIPE_WIDTH, soft_wrap=True)
    for part in parts:
        if isinstance(part, str):
            console.print(Text(literal(part)))
            continue
        for table in part.tables(console):
            console.print(table, width=max(console.width, least_width(table, console)), crop=False)


def print_models(models: list[ReadyModel]) -> None:
    """Print the ready-made students, one a row."""
    rows = Grid(
        "Ready-made students",
        "model",
        "data set",
        "channels x classes",
        "compression",
        "for",
        "accuracy, int8",
        "macro F1, int8",
        ".tflite",
        "C flash",
        "instructions",
        words=("data set",),
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
    show(
        rows,
        "Accuracy and macro F1: measured on the test part, in float and in int8; of a stream at every sample, never reset, of "
        "events once each, from where the program starts it. =: emulated, exact on a Cortex-M4; int8 C, instructions of one "
        "sample.\nmemkd-edge export --run model:NAME; verify, inspect and bench take model:NAME as well.",
    )


def print_distillation(run: Run, metrics: Metrics) -> None:
    """Print teacher against student, along a stream first where that is known, then every method with its figures."""
    columns = ("in a stream: accuracy", "test accuracy", "test AUC-PRC")
    pair = Grid(f"Teacher and student, {run.metadata.dataset}", "", "parameters", "compression", *columns)
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
    joined = f"In a stream: at the ends of the test series, one after another without a reset, {used[run.metadata.reset]}."
    show(pair, *([joined] if stream else []), every, f"Kept: {metrics.kept_because}")
    show(*(f"Note: {note}" for note in (metrics.chance, metrics.warning) if note))
    show(f"Run: {run.path}")


def methods_grid(rows: Sequence[MethodMetrics] | Sequence[RecordingMethodMetrics], measure: str, key: str) -> Grid:
    """Return every method with its figures. measure, key: what selected, in words and in the names of the rows' fields."""
    searched = len(rows) > len({row.method for row in rows})
    grid = Grid(
        "All methods (mean ± std over seeds)" + ("; half way each went on with its best weight" if searched else ""),
        *("method", "weight", "seeds", f"validation {measure}", f"test {measure}", "test accuracy", ""),
        keys=2,
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
