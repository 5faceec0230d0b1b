# SPDX-License-Identifier: Apache-2.0
"""`memkd-edge report`: the page of a run, one HTML file with its recordings and its student in it, and the same as Markdown."""

from dataclasses import dataclass
from pathlib import Path

from memkd_edge.contents import read_series, read_student
from memkd_edge.errors import MissingToolError, UsageError
from memkd_edge.nets.classifier import GruClassifier, LstmClassifier
from memkd_edge.pages.browser import browser_module
from memkd_edge.pages.page import FIGURES, to_html, to_markdown
from memkd_edge.pages.replay import BUDGET_BYTES, as_pushed, replayed
from memkd_edge.pages.run_document import found_by, run_document
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.runs import Run
from memkd_edge.verification.pipeline import quantized

PAGE = "report.html"
TEXT = "report.md"


@dataclass(frozen=True)
class RunPage:
    """What was written. without_module: why the page does not run the student, "" where it does."""

    page: Path
    text: Path
    without_module: str


def write_run_page(
    run: Run,
    *,
    recordings: bool = True,
    figures: bool = False,
    budget: int = BUDGET_BYTES,
    integers: QuantizedClassifier | None = None,
) -> RunPage:
    """Write <run>/report.html and <run>/report.md, in place of earlier ones.

    Args:
        recordings: put held-out recordings into the page; without them it replays seeded noise.
        figures: also write <run>/figures/*.svg and *.png, for papers.
        budget: bytes of recordings in the page, before base64.
        integers: the student's integer model for normalised samples, where it is known; it is made anew without.

    Raises:
        UsageError: the run's student has no integer form.
        MemkdEdgeError: a file of the run is damaged, or the page cannot be written.
    """
    student = read_student(run)
    if not isinstance(student, LstmClassifier | GruClassifier):
        raise UsageError(f"a {student.spec.kind} student has no page: it does not run sample by sample; distil an lstm or gru")
    found = found_by(run)  # first: what is missing is said before the work
    metadata = as_pushed(run.metadata)
    model = integers or quantized(student, metadata, read_series(run).x_calibration, tuned=False)
    replay = replayed(run, model, noise=not recordings, budget=budget)
    module, without = None, ""
    try:
        module = browser_module(model, metadata)
    except MissingToolError as error:
        without = str(error)
    points = replay.points()
    document = run_document(run, found, replay, points, module, without)
    if figures:
        from memkd_edge.pages.figures import run_figures

        for name, one in run_figures(replay, points).items():
            run.write_bytes(f"{FIGURES}/{name}.svg", one.svg)
            run.write_bytes(f"{FIGURES}/{name}.png", one.png)
    page = run.write_text(PAGE, to_html(document, {}, "memkd-edge report"))
    return RunPage(page, run.write_text(TEXT, to_markdown(document)), without)
