# SPDX-License-Identifier: Apache-2.0
"""bench: a run's student and teacher on each device, checked against the reference, as figures."""

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np

from memkd_edge.benchmark.backends.emulated import bench_aarch64, bench_firmware, bench_sizes
from memkd_edge.benchmark.backends.host import bench_host
from memkd_edge.benchmark.backends.serial import bench_serial
from memkd_edge.benchmark.backends.ssh import bench_ssh
from memkd_edge.benchmark.builds import Builds, NotExportableError
from memkd_edge.benchmark.devices import estimates
from memkd_edge.benchmark.devices.estimates import DutyCycle, parse_quantity
from memkd_edge.benchmark.devices.profiles import Device, load_device
from memkd_edge.benchmark.report.budget import check_budget, parse_budget
from memkd_edge.benchmark.report.figures import BenchReport, BuildFigures, DeviceReport, Figure
from memkd_edge.config import BenchConfig
from memkd_edge.contents import read_metrics, read_recording_metrics, read_streams
from memkd_edge.contract import contract
from memkd_edge.errors import MemkdEdgeError, UnkeptError, UsageError
from memkd_edge.options import check, refuse
from memkd_edge.progress import Reporter
from memkd_edge.quantization.batch import BatchRunner
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.runs import Run
from memkd_edge.verification.reference_runner import integer_logits
from memkd_edge.vocabulary import Arithmetic, Decision, FigureKind

_BACKENDS: dict[str, Callable[[Device, Builds, BenchConfig, Reporter], DeviceReport]] = {
    "host": bench_host,
    "qemu-user": bench_aarch64,
    "qemu-cortex-m": bench_firmware,
    "qemu-riscv": bench_firmware,
    "sizes": bench_sizes,
    "ssh": bench_ssh,
    "serial": bench_serial,
}


def bench(run: Run, config: BenchConfig, *, progress: Reporter | None = None) -> BenchReport:
    """Measure the run's student and teacher on each device of `config` and write <run>/bench/<device>.json.

    Raises:
        UsageError: an unknown device, a damaged profile, an impossible option.
        MissingToolError: an emulator or compiler is not installed; the message names the package.
        GateError: a build's outputs are not the reference's, or the student exceeds the budget (BudgetError, with the report).
        MemkdEdgeError: an emulator did not end in time, a build failed.
        UnkeptError: the run cannot be written; it carries the report.
    """
    progress = progress or Reporter()
    check(config)
    limits = parse_budget(config.budget)
    duty = _duty_cycle(run, config)
    devices = [load_device(name) for name in config.device]
    if config.tflm_dir and not any(device.backend == "qemu-cortex-m" for device in devices):
        raise UsageError(
            "--tflm-dir adds rows to emulated microcontrollers, as nrf52840 is; --device names none (memkd-edge devices)"
        )
    if config.firmware and any(device.backend != "serial" for device in devices):
        raise UsageError(
            '--firmware writes sources for a board of your own: give --device its profile alone, one with backend = "serial"'
        )
    builds = Builds(run, config.steps)
    accuracy = _accuracies(run, builds)
    of_run = (_of_a_step(run), _of_the_class_held(run))
    reports: list[DeviceReport] = []
    unkept: MemkdEdgeError | None = None
    for device in progress.each("bench", devices, "devices", lambda device: device.name):
        report = _BACKENDS[device.backend](device, builds, config, progress)
        rows = tuple(_complete(row, device, duty, accuracy) for row in report.rows)
        timed = any("latency" in row.figures for row in rows)
        on_battery = estimates.on_battery(device, duty, timed=timed) if duty else ""
        caveats = (*report.caveats, *filter(None, [*of_run, on_battery, device.unchecked()]))
        reports.append(replace(report, rows=rows, caveats=caveats))
        try:
            run.write_json(f"bench/{device.name}.json", {"run": run.run_id, **asdict(reports[-1])})
        except MemkdEdgeError as error:
            unkept = error
            progress.note(str(error))
    result = BenchReport(run.run_id, tuple(reports))
    check_budget(result, limits)
    if unkept is not None:
        raise UnkeptError(result, unkept)
    return result


def _duty_cycle(run: Run, config: BenchConfig) -> DutyCycle | None:
    """Return how the battery is used, None without one.

    Raises:
        UsageError: a quantity cannot be read, an option says nothing without a battery, or the rate is not known.
    """
    if not config.battery:
        refuse(config, ("rate", "sleep_current"), "is for battery life alone: give --battery as well")
        return None
    battery = parse_quantity(config.battery, "Ah", "--battery")
    sleep = parse_quantity(config.sleep_current, "A", "--sleep-current") if config.sleep_current else None
    rate = config.rate or run.metadata.sample_rate_hz
    if not rate:
        raise UsageError(f"--battery needs --rate: {run.metadata.dataset} does not say how many samples there are in a second")
    return DutyCycle(rate, battery, sleep, contract(run.metadata, resampled=False).steps_per_sample)


def _of_a_step(run: Run) -> str:
    """Say what a sample takes of that of which the figures are, "" where it is just one step."""
    use, resamples = contract(run.metadata, resampled=False), run.metadata.resampling.kind != "none"
    if not use.staggered and not resamples:
        return ""
    states = ", in two states half a window apart" if use.staggered else ""
    filtered = "; what resamples is not counted" if resamples else ""
    return f"Figures are of one step of the model; a sample in use takes {use.steps_per_sample:.3g} of them{states}{filtered}."


def _of_the_class_held(run: Run) -> str:
    """Say how often the class that push holds is right, as the accuracies are of the highest score; "" where that is one."""
    if run.metadata.decides != Decision.EVERY_SAMPLE or not run.metadata.decision_margin:
        return ""
    held = read_recording_metrics(run).student.held
    return f"Test accuracy is of the highest score; of the class that push holds it is {held['accuracy']:.3f}." if held else ""


def _complete(row: BuildFigures, device: Device, duty: DutyCycle | None, accuracy: dict[str, Figure]) -> BuildFigures:
    """Add what follows from the others: accuracy, energy, battery life."""
    figures = dict(row.figures)
    integer = row.model == "student" and row.build.startswith("int")
    figures["accuracy"] = accuracy["student, integer" if integer and "student, integer" in accuracy else row.model]
    if "latency" in figures:
        spent = estimates.energy(figures["latency"], device)
        life = estimates.battery_life(figures["latency"], device, duty) if duty else None
        figures |= {name: figure for name, figure in (("energy", spent), ("battery", life)) if figure is not None}
    return replace(row, figures=figures)


def _accuracies(run: Run, builds: Builds) -> dict[str, Figure]:
    """Return test accuracies: of the float models from the run's metrics, of the integer student by its bit-exact reference."""
    if run.metadata.decides == Decision.EVERY_SAMPLE:
        streams = read_recording_metrics(run)
        known = {"student": streams.student.stream["accuracy"], "teacher": streams.teacher.stream["accuracy"]}
    else:
        windows = read_metrics(run)
        known = {"student": windows.student.test.accuracy, "teacher": windows.teacher.test.accuracy}
    accuracy = {model: Figure(share, FigureKind.MEASURED, "", "torch") for model, share in known.items()}
    try:
        quantized = builds.quantized
    except NotExportableError:
        return accuracy
    if run.metadata.decides == Decision.EVERY_SAMPLE:
        right = _right_along(run, quantized)
    else:
        right = float(np.mean(integer_logits(quantized, Arithmetic.INT8, builds.x_test).argmax(-1) == builds.y_test))
    accuracy["student, integer"] = Figure(right, FigureKind.MEASURED, "", "integer reference, bit-exact")
    return accuracy


def _right_along(run: Run, model: QuantizedClassifier) -> float:
    """Return the share of the samples of the run's test streams that the integer student, never reset, decides right."""
    right = [(BatchRunner(model, Arithmetic.INT8).logits(x[None])[0].argmax(-1) == y)[y >= 0] for x, y in read_streams(run)]
    return float(np.mean(np.concatenate(right)))
