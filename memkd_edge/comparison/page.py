# SPDX-License-Identifier: Apache-2.0
"""Writes a report's document as Markdown and as one HTML file that needs nothing beside it."""

import re
from collections.abc import Mapping

import jinja2

from memkd_edge.comparison.document import Code, Document, Picture, Strong, Table
from memkd_edge.comparison.figures import INK, PAPER

FIGURES = "figures"  # folder beside the report
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_TESTS = {
    "strong": lambda block: isinstance(block, Strong),
    "table": lambda block: isinstance(block, Table),
    "picture": lambda block: isinstance(block, Picture),
    "code": lambda block: isinstance(block, Code),
}


def to_html(document: Document, svgs: Mapping[str, bytes]) -> str:
    """Return the page; `svgs` are the figures by name, and become part of it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("memkd_edge.comparison", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests.update(_TESTS)
    figures = {name: _inline(svg.decode(), name) for name, svg in svgs.items()}
    return environment.get_template("page.html.jinja").render(document=document, figures=figures)


def _inline(svg: str, name: str) -> str:
    """Return the figure as an element of the page: in its colours, with names of its own, described by its caption."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    element = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", element)
    element = element.replace(INK, "currentColor").replace(f"fill: {PAPER}", "fill: none")
    return re.sub(
        r'<svg[^>]*width="([^"]*)"[^>]*viewBox="([^"]*)"[^>]*>',
        rf'<svg style="--size: \1" viewBox="\2" role="img" aria-labelledby="{name}-caption">',
        element,
        count=1,
    )


def to_markdown(document: Document) -> str:
    """Return the report as Markdown with tables; figures are linked as files in `figures/`."""
    parts = [f"# {_plain(document.title)}"]
    if document.notice:
        parts.append(f"> **{_plain(document.notice)}**")
    parts.append(f"**{_plain(document.lead)}**")
    for section in document.sections:
        parts.append(f"## {_plain(section.title)}")
        for block in section.blocks:
            if isinstance(block, Table):
                parts += _markdown_table(block)
            elif isinstance(block, Picture):
                parts += [f"![{_plain(block.caption)}]({FIGURES}/{block.name}.svg)", f"*{_plain(block.caption)}*"]
            elif isinstance(block, Code):
                # Indented, not fenced: no text can end it.
                parts.append("\n".join(f"    {line}" for line in block.text.splitlines()))
            else:
                parts.append(_plain(block))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> list[str]:
    lines = [table.columns, ("---", *("--:" for _ in table.columns[1:]))]
    rows = ["| " + " | ".join(cells if index else map(_plain, cells)) + " |" for index, cells in enumerate(lines)]
    rows += [
        "| " + " | ".join(f"**{_plain(cell)}**" if isinstance(cell, Strong) else _plain(cell) for cell in row) + " |"
        for row in table.rows
    ]
    text = ["\n".join(rows)]
    if table.folded:
        text.insert(0, f"### {_plain(table.folded)}")
    return [*text, _plain(table.note)] if table.note else text


def _plain(text: str) -> str:
    """Return text in which Markdown sees no markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
