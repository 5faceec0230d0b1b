# SPDX-License-Identifier: Apache-2.0
"""What a report is made of, whatever it is written as: sections of paragraphs, tables, figures and code."""

from dataclasses import dataclass
from typing import Any


class Strong(str):
    """A cell that stands out in its table."""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first column names the row. folded: shown on request only, where that can be.

    words: cells are sentences.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    folded: str = ""  # its title then
    words: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure by name, and what it shows, in words."""

    name: str
    caption: str


@dataclass(frozen=True)
class Code:
    """Lines to be shown as they are."""

    text: str


@dataclass(frozen=True)
class Number:
    """One of the few figures that a report is read for. detail: how it was come by, and what it is to be compared with."""

    title: str
    value: str
    detail: str


@dataclass(frozen=True)
class Numbers:
    """Figures that stand out."""

    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Chart:
    """Curves that a page draws by itself, from columns of numbers; None leaves a hole.

    columns: x, then y of each curve. names: of the curves. marked: index of the point that stands out. points: drawn as points,
    not as lines.
    """

    caption: str
    x: str
    y: str
    names: tuple[str, ...]
    columns: tuple[tuple[float | None, ...], ...]
    marked: int | None = None
    points: bool = False


@dataclass(frozen=True)
class Player:
    """Recordings that a page shows over time, and the student that it runs. data: for the page's script; text: instead of it."""

    data: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; a plain string is a paragraph."""

    title: str
    blocks: tuple["str | Table | Picture | Code | Numbers | Chart | Player", ...]


@dataclass(frozen=True)
class Document:
    """A whole report: the notice is what must be known before anything else, the lead is the result in plain words."""

    title: str
    notice: str
    lead: str
    sections: tuple[Section, ...]
