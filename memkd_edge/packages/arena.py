# SPDX-License-Identifier: Apache-2.0
"""The tensor arena that TFLite Micro needs for a model, found by trying.

What TFLite Micro reports after planning (`arena_used_bytes`) is less than planning itself needs, so only trying tells. The
tflite-micro wheel is a 64-bit build: its pointers are twice as large as a microcontroller's, where its arena is an upper bound.
"""

import importlib.util
import sys
from importlib import metadata as importlib_metadata

from memkd_edge import toolchain
from memkd_edge.packages import arena_child
from memkd_edge.scratch import scratch_folder

TIMEOUT_S = 120.0

# A 32-bit core needs this part of the wheel's arena. Least and most over 16 models of 1 to 128 units, 1 to 3 layers and both
# interfaces, each tried at every size on a Cortex-M4 under QEMU (tflite-micro 90b983c): 0.65 .. 0.73 with the reference kernels,
# 0.66 .. 0.74 with CMSIS-NN.
ON_32_BITS = (0.65, 0.75)


def arena_bytes(model: bytes, *, layers: int, hidden_size: int) -> tuple[int, str]:
    """Return an arena in bytes that suffices on 32- and 64-bit machines, and which kind of figure it is.

    Args:
        model: a .tflite file.
        layers, hidden_size: of that model, for the estimate when the tflite-micro wheel is not installed.
    """
    if importlib.util.find_spec("tflite_micro") is not None:
        with scratch_folder() as folder:
            path = folder / "model.tflite"
            path.write_bytes(model)
            # In a process of its own: a native runtime may abort.
            command = [sys.executable, "-I", arena_child.__file__, str(path)]
            found = toolchain.execute(command, timeout_s=TIMEOUT_S)
        if found.exit_code == 0:
            version = importlib_metadata.version("tflite-micro")
            return int(found.output), f"measured: the smallest that the 64-bit tflite-micro wheel {version} takes"
    return _estimate(layers, hidden_size), "estimated, from above; with `pip install 'memkd-edge[tflm]'` it would be measured"


def _estimate(layers: int, hidden_size: int) -> int:
    """An upper bound of what the wheel needed for 16 models: planning dominates, and grows with the operators."""
    return 2048 + 3328 * layers + 32 * hidden_size
