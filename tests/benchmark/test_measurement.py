# SPDX-License-Identifier: Apache-2.0
"""The counting plugin's windows become figures: what an empty window counts is taken off, once from each step."""

import pytest

from memkd_edge.benchmark.emulation.measurement import Measurement, from_windows
from memkd_edge.benchmark.emulation.plugin import Counts
from memkd_edge.benchmark.emulation.sections import Sections
from memkd_edge.benchmark.protocol import Result
from memkd_edge.errors import MemkdEdgeError


def measured(*windows: int, steps: int) -> Measurement:
    return from_windows(
        Counts(windows, {}), Result(steps=steps), sections=Sections(0, 0, 0, 0, 0), disassembly={}, tool="by hand"
    )


def test_the_overhead_is_taken_off_every_count() -> None:
    found = measured(9, 7, 107, 117, 112, steps=3)
    assert (found.instructions_per_step, found.instructions_min, found.instructions_max) == (105, 100, 110)


def test_windows_without_an_empty_one_before_the_steps_are_refused() -> None:
    with pytest.raises(MemkdEdgeError, match="saw 3 windows, more than 3 steps"):
        measured(107, 117, 112, steps=3)
