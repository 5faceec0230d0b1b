# SPDX-License-Identifier: Apache-2.0
"""Writes a report's document as Markdown and as one HTML file that needs nothing beside it."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any

import jinja2

from memkd_edge.pages.colours import INK, PAPER
from memkd_edge.pages.document import Chart, Code, Document, Numbers, Picture, Player, Strong, Table

FIGURES = "figures"  # folder beside the report
UPLOT = "uplot-1.6.32"  # under vendor/, as released, with its licence
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_TESTS = {
    "strong": lambda block: isinstance(block, Strong),
    "table": lambda block: isinstance(block, Table),
    "picture": lambda block: isinstance(block, Picture),
    "code": lambda block: isinstance(block, Code),
    "numbers": lambda block: isinstance(block, Numbers),
    "chart": lambda block: isinstance(block, Chart),
    "player": lambda block: isinstance(block, Player),
}


def to_html(document: Document, svgs: Mapping[str, bytes], made_by: str) -> str:
    """Return the page. svgs: the figures by name, which become part of it. made_by: the command, for the title."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("memkd_edge.pages", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests.update(_TESTS)
    figures = {name: _inline(svg.decode(), name) for name, svg in svgs.items()}
    blocks = [block for section in document.sections for block in section.blocks]
    drawn = any(isinstance(block, Chart | Player) for block in blocks)
    return environment.get_template("page.html.jinja").render(
        document=document,
        figures=figures,
        made_by=made_by,
        json=_json,
        asdict=asdict,
        scripts=[_asset(f"vendor/{UPLOT}.min.js"), _asset("page.js")] if drawn else [],
        styles=[_asset(f"vendor/{UPLOT}.min.css"), _asset("player.css")] if drawn else [],
    )


def _json(value: Any) -> str:
    """Return `value` as JSON that may stand in a script element: no text in it can end that."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return resources.files("memkd_edge.pages").joinpath(name).read_text("utf-8")


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
            elif isinstance(block, Numbers):
                parts.append(
                    "\n".join(f"- **{_plain(one.value)}** {_plain(one.title)}: {_plain(one.detail)}" for one in block.numbers)
                )
            elif isinstance(block, Chart):
                parts += _markdown_table(_as_table(block))
            elif isinstance(block, Player):
                parts.append(_plain(block.text))
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


def _as_table(chart: Chart) -> Table:
    rows = tuple(tuple("-" if value is None else f"{value:.4g}" for value in row) for row in zip(*chart.columns, strict=True))
    return Table((chart.x, *(f"{chart.y}: {name}" if name else chart.y for name in chart.names)), rows, chart.caption)


def _plain(text: str) -> str:
    """Return text in which Markdown sees no markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
