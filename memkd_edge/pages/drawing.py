# SPDX-License-Identifier: Apache-2.0
"""How figures look, and a figure as files: equal contents give equal bytes of SVG."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

from memkd_edge.pages.colours import GREY, INK, PAPER

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "legend.frameon": False,
    "text.parse_math": False,  # a name with $ in it is no formula
    "svg.hashsalt": "memkd-edge",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Drawing:
    """A figure as files."""

    svg: bytes
    png: bytes


@contextmanager
def style() -> Iterator[None]:
    """Draw in the reports' style, whatever the user's own is."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def drawing(figure: Figure) -> Drawing:
    """Return `figure` as files."""
    files = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a data set's name in a script that the font lacks
        for kind, metadata in (("svg", {"Date": None}), ("png", {})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=160, bbox_inches="tight", pad_inches=0.1, metadata=metadata)
            files.append(buffer.getvalue())
    return Drawing(*files)
