# SPDX-License-Identifier: Apache-2.0
"""What a kept student costs as int8 code on a microcontroller, and how well it still classifies there."""

from dataclasses import dataclass

import numpy as np

from memkd_edge.benchmark.backends.emulated import exact_figures
from memkd_edge.benchmark.builds import Builds, NotExportableError
from memkd_edge.benchmark.devices.profiles import load_device
from memkd_edge.benchmark.emulation.firmware import measure_firmware
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.runs import Run
from memkd_edge.scores import auc_prc
from memkd_edge.verification.reference_runner import integer_logits
from memkd_edge.vocabulary import Arithmetic

DEVICE = "nrf52840"
STEPS = 64  # of the emulated pass


@dataclass(frozen=True)
class DeviceFigures:
    """Figures of the generated int8 C; None where they could not be had, for the reason that `note` gives.

    test_auc_prc, test_accuracy: by the bit-exact integer reference, on all test series. flash and RAM in bytes and instructions
    per sample: emulated-exact, on the nRF52840's Cortex-M4.
    """

    test_auc_prc: float | None = None
    test_accuracy: float | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: float | None = None
    note: str = ""


def device_figures(run: Run) -> DeviceFigures:
    """Quantise the run's student and measure it. What cannot be measured costs a figure, not the comparison.

    Raises:
        MemkdEdgeError: the run is damaged.
    """
    builds = Builds(run, STEPS)
    try:
        build = builds.student_int8_c()
    except NotExportableError:
        return DeviceFigures(note=f"no int8 figures, flash, RAM and instructions of {builds.student.spec.kind} students")
    logits = integer_logits(builds.quantized, Arithmetic.INT8, builds.x_test)
    area = float(auc_prc(logits[None], builds.y_test)[0])
    accuracy = float(np.mean(logits.argmax(-1) == builds.y_test))
    device = load_device(DEVICE)
    assert build.source is not None
    try:
        measurement = measure_firmware(device.core, build.source, build.inputs)
        build.check(measurement.logits, device.name)
    except MemkdEdgeError as error:
        return DeviceFigures(area, accuracy, note=f"no flash, RAM and instructions: {error}")
    figures = exact_figures(measurement)
    return DeviceFigures(
        area, accuracy, int(figures["flash"].value), int(figures["ram"].value), float(figures["instructions"].value)
    )
