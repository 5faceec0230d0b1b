# SPDX-License-Identifier: Apache-2.0
"""The script that finds the arena of a model by trying, in a process of its own: `arena_child.py MODEL.tflite`."""

import sys
from pathlib import Path

_STEP = 16  # bytes, the arena's alignment
_LARGEST = 1 << 20


def smallest(model: bytes) -> int:
    """Return the least arena in bytes, a multiple of 16, in which the tflite-micro wheel runs the .tflite file `model`."""
    from tflite_micro.python.tflite_micro import runtime

    low, high = 0, _LARGEST // _STEP
    while high - low > 1:
        middle = (low + high) // 2
        try:
            runtime.Interpreter.from_bytes(model, arena_size=middle * _STEP).invoke()
            high = middle
        except RuntimeError:
            low = middle
    return high * _STEP


if __name__ == "__main__":
    print(smallest(Path(sys.argv[1]).read_bytes()))
