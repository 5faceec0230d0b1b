# SPDX-License-Identifier: Apache-2.0
"""The exact results of a run under emulation, the same for all cores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkd_edge.benchmark.emulation.plugin import Counts, Execution
from memkd_edge.benchmark.emulation.sections import Sections
from memkd_edge.benchmark.protocol import Result
from memkd_edge.errors import MemkdEdgeError


@dataclass(frozen=True)
class Measurement:
    """Exact results.

    instructions_per_step: mean over the steps, from the call to its return; _min and _max over the steps. stack_bytes: deepest
    stack below the caller. state_bytes: the caller's `<name>_state_t`. logits: [steps, K], int32 or float32. profile: executions
    by address; disassembly: "mnemonic operands" by address. tool: versions. arena_bytes: the least in which an interpreter can
    plan the model, 0 without one; arena_used_bytes: what is in use after planning.
    """

    instructions_per_step: float
    instructions_min: int
    instructions_max: int
    sections: Sections
    stack_bytes: int
    state_bytes: int
    logits: NDArray[np.generic]
    profile: dict[int, Execution]
    disassembly: dict[int, str]
    tool: str
    arena_bytes: int = 0
    arena_used_bytes: int = 0


def from_windows(counts: Counts, result: Result, *, sections: Sections, disassembly: dict[int, str], tool: str) -> Measurement:
    """Join the counting plugin's windows with the runner's report. The windows before the
    steps are empty: what they count is overhead.

    Raises:
        MemkdEdgeError: the windows are not those of the runner's steps.
    """
    if len(counts.windows) <= result.steps:
        raise MemkdEdgeError(
            f"the counting plugin saw {len(counts.windows)} windows, more than {result.steps} steps are expected"
        )
    steps = counts.windows[-result.steps :]
    empty = counts.windows[-result.steps - 1]
    return Measurement(
        instructions_per_step=sum(steps) / len(steps) - empty,
        instructions_min=min(steps) - empty,
        instructions_max=max(steps) - empty,
        sections=sections,
        stack_bytes=result.stack,
        state_bytes=result.state_bytes,
        logits=result.logits,
        profile=counts.profile,
        disassembly=disassembly,
        tool=tool,
        arena_bytes=result.arena,
        arena_used_bytes=result.arena_used,
    )
