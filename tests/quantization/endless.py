# SPDX-License-Identifier: Apache-2.0
"""Integers that are never reset, along a million samples: `python -m tests.quantization.endless --steps 1000000 [RUN ...]`.

Of each run whose model is never reset, of the ready-made ones where none is named: agreement with the float student, int8 and
int16x8. Exits 1 if one is below its limit.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from memkd_edge.contents import read_series, read_streams, read_student
from memkd_edge.contract import stream_in_words
from memkd_edge.ready_models import PREFIX, open_run, ready_folder, ready_models
from memkd_edge.runs import Run
from memkd_edge.verification.never_reset import float_logits, long_stream, stream_agreement
from memkd_edge.verification.pipeline import quantized
from memkd_edge.verification.runtime_check import same
from memkd_edge.vocabulary import Arithmetic, Reset


def named_runs(names: Sequence[str], root: Path) -> Iterator[Run]:
    """Give the runs of these names, or the ready-made ones that are never reset."""
    ready = (one.name for one in ready_models() if Run.open(ready_folder(one.name)).metadata.reset == Reset.NEVER)
    yield from (open_run(name, root) for name in names or [PREFIX + name for name in ready])


def falls_short(run: Run, steps: int) -> bool:
    """Print how the run's integers do along so many steps; return whether one of them is below its limit."""
    series = [x for x, _ in read_streams(run)] or list(read_series(run).x_test)
    student, stream = read_student(run), long_stream(series, run.metadata.decides, steps)
    model, expected = quantized(student, run.metadata, read_series(run).x_calibration, tuned=False), float_logits(student, stream)
    short = False
    for arithmetic in (Arithmetic.INT8, Arithmetic.INT16X8):
        found = stream_agreement(model, arithmetic, same, stream, expected)
        words = stream_in_words(found.samples, found.held_out)
        print(f"{run.metadata.name} {arithmetic}: {found.agreement:.5f} (at least {found.limit}) along {words}", flush=True)
        short |= found.agreement < found.limit
    return short


def main() -> None:
    """Measure every run."""
    parser = argparse.ArgumentParser(description="Compare integers with the float student along a stream without a reset.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        short = [falls_short(run, arguments.steps) for run in named_runs(arguments.runs, Path(root))]
    print(f"{len(short)} models that are never reset, {sum(short)} below a limit")
    sys.exit(any(short))


if __name__ == "__main__":
    main()
