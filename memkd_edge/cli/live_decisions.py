# SPDX-License-Identifier: Apache-2.0
"""What a model decides live: on a terminal a view that is renewed, below a line for each change; elsewhere the lines alone."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from memkd_edge.board_stream import Moment
from memkd_edge.cli.tables import literal
from memkd_edge.decisions import NOT_YET

BAR_WIDTH = 20
VIEWS_A_SECOND = 8


def show_decisions(moments: Iterable[Moment], labels: Sequence[str]) -> None:
    """Print a line on stdout for every change, notes on stderr, and on a terminal the view of the moment below."""
    out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    now: list[Moment] = []
    live = Live(
        get_renderable=lambda: _view(now[-1], labels) if now else Text("waiting for the board"),
        console=out,
        refresh_per_second=VIEWS_A_SECOND,
        transient=True,
    )
    with live if out.is_terminal and not out.is_dumb_terminal else nullcontext():
        for moment in moments:
            now[:] = [moment]
            for note in moment.notes:
                err.print(Text(literal(note)))
            if moment.changed:
                out.print(Text(f"{moment.seconds:9.2f} s  {_answer(moment, labels)}"))


def _answer(moment: Moment, labels: Sequence[str]) -> str:
    """Return the answer in words, of a class with its score."""
    if moment.answer < 0 or moment.scores is None:
        return "not yet" if moment.answer == NOT_YET else "none"
    return f"{literal(labels[moment.answer])} {moment.scores[moment.answer]:.2f}"


def _view(moment: Moment, labels: Sequence[str]) -> Group:
    """Return the scores of the classes, the one held in bold, and how the signal is."""
    scores = Table.grid(padding=(0, 1))
    for index, label in enumerate(labels):
        score = 0.0 if moment.scores is None else float(moment.scores[index])
        style = "bold" if index == moment.answer else ""
        held = "held" if index == moment.answer else ""
        scores.add_row(
            Text(literal(label), style), ProgressBar(1.0, score, width=BAR_WIDTH), Text(f"{score:.2f}", style), Text(held, style)
        )
    rate = f"{moment.rate_hz:.1f} samples/s" if moment.rate_hz else "rate not yet known"
    odd = "not read yet" if moment.odd is None else "; ".join(moment.odd) or "as in training"
    return Group(scores, Text(f"{moment.seconds:.1f} s  {_answer(moment, labels)}  {rate}"), Text(f"input: {literal(odd)}"))
