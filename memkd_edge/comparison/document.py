# SPDX-License-Identifier: Apache-2.0
"""What a report is made of, whatever it is written as: sections of paragraphs, tables, figures and code."""

from dataclasses import dataclass


class Strong(str):
    """A cell that stands out in its table."""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first column names the row. folded: shown on request only, where that can be."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    folded: str = ""  # its title then


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
class Section:
    """A heading and what stands under it; a plain string is a paragraph."""

    title: str
    blocks: tuple["str | Table | Picture | Code", ...]


@dataclass(frozen=True)
class Document:
    """A whole report: the notice is what must be known before anything else, the lead is the result in plain words."""

    title: str
    notice: str
    lead: str
    sections: tuple[Section, ...]
