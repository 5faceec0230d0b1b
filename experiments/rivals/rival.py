# SPDX-License-Identifier: Apache-2.0
"""What every rival is: integers that come in, logits by the arithmetic of its C, and that C."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from memkd_edge.benchmark.emulation.image import CModel


class Rival(Protocol):
    """A trained model of a never-ending stream.

    parameters: how many numbers were learnt.
    """

    @property
    def parameters(self) -> int: ...

    def inputs(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Return what the C is given, int8 or int16 [T, C], of normalised samples x [T, C]."""
        ...

    def logits(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the logits [T, K] after each sample of one stream, from a reset: what the C gives, bit for bit."""
        ...

    def c_model(self) -> CModel:
        """Return the C."""
        ...


def decide(rival: Rival, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the class [T] after each sample of a stream x [T, C] of normalised samples."""
    return rival.logits(rival.inputs(x)).argmax(-1)


# The library's memset is larger than the code of a small model, and GCC calls it for plain loops.
NO_LIBRARY = """
#if defined(__GNUC__) && !defined(__clang__)
#define NO_LIBRARY __attribute__((noinline, optimize("no-tree-loop-distribute-patterns")))
#else
#define NO_LIBRARY
#endif

static NO_LIBRARY void fill(int8_t *to, int n) {
    for (int i = 0; i < n; i++) {
        to[i] = 0;
    }
}
"""


def header(name: str, channels: int, classes: int, state: str, value: str, suffix: str) -> str:
    """Return the header of a model's C: the members of its state, and functions that take and give values of a type."""
    upper = name.upper()
    return f"""#ifndef {upper}_H
#define {upper}_H
#include <stdint.h>
#define {upper}_CHANNELS {channels}
#define {upper}_CLASSES {classes}
typedef struct {{
{state}
}} {name}_state_t;
void {name}_reset({name}_state_t *s);
void {name}_step_{suffix}({name}_state_t *s, const {value} x[], {value} logits[]);
#endif
"""


def c_array(kind: str, name: str, values: NDArray[Any]) -> str:
    """Return the definition of a constant array of integers, of one dimension."""
    numbers = ", ".join(str(int(value)) for value in values.ravel())
    return f"static const {kind} {name}[{values.size}] = {{{numbers}}};\n"
