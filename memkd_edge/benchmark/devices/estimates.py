# SPDX-License-Identifier: Apache-2.0
"""Latency, energy and battery life, estimated from exact counts and the device profile; always with an interval."""

import re
from dataclasses import dataclass, replace

from memkd_edge.benchmark.devices.profiles import Device
from memkd_edge.benchmark.report.figures import Figure
from memkd_edge.errors import UsageError
from memkd_edge.vocabulary import FigureKind


@dataclass(frozen=True)
class DutyCycle:
    """How the device is used: samples per second, battery capacity in Ah, current between samples in A.

    Without a sleep_current the profile's is taken. steps_per_sample: of the model, see `Contract.steps_per_sample`.
    """

    rate_hz: float
    battery_ah: float
    sleep_current_a: float | None = None
    steps_per_sample: float = 1.0


def latency_from_cycles(cycles: Figure, device: Device) -> Figure:
    """Return the latency of a step on a microcontroller."""
    clock = device.quantities["clock_mhz"]
    lo, hi = (cycles.value if bound is None else bound for bound in (cycles.lo, cycles.hi))
    latency = cycles.scaled(1 / clock.value, "us", f"{clock.value:g} MHz")
    return replace(latency, lo=lo * (1 / clock.hi), hi=hi * (1 / clock.lo))


def latency_from_instructions(instructions: Figure, weight_bytes: float, device: Device) -> Figure:
    """Return the latency of a step on a Linux-class core.

    Instructions over the sustained rate; weights that exceed the level 2 cache come from memory at each step, and then the time
    to read them is the lower limit.
    """
    clock, rate = device.quantities["clock_mhz"], device.quantities["instructions_per_cycle"]
    rates = (clock.value * rate.value, clock.hi * rate.hi, clock.lo * rate.lo)
    value, lo, hi = (instructions.value / per_us for per_us in rates)
    tool = f"{rate.value:g} [{rate.lo:g}, {rate.hi:g}] instructions per cycle at {clock.value:g} MHz"
    if weight_bytes > (device.bytes("l2_kib") or 0):
        bandwidth = device.quantities["memory_mb_per_s"]
        limits = (weight_bytes / bandwidth.value, weight_bytes / bandwidth.hi, weight_bytes / bandwidth.lo)
        value, lo, hi = (max(pair) for pair in zip((value, lo, hi), limits, strict=True))
        tool += f", weights from memory at {bandwidth.value:g} MB/s"
    return Figure(value, FigureKind.ESTIMATED, "us", f"{instructions.tool}; {tool}", lo, hi)


def energy(latency: Figure, device: Device) -> Figure | None:
    """Return the energy of a step in microjoules: supply voltage x active current x latency; None without these."""
    if not {"supply_v", "active_ma"} <= set(device.quantities):
        return None
    volt, current = device.quantities["supply_v"], device.quantities["active_ma"]
    lo = latency.value if latency.lo is None else latency.lo
    hi = latency.value if latency.hi is None else latency.hi
    return Figure(
        latency.value * volt.value * current.value / 1000,
        FigureKind.ESTIMATED,
        "uJ",
        f"{latency.tool}; {current.value:g} mA at {volt.value:g} V",
        lo * volt.lo * current.lo / 1000,
        hi * volt.hi * current.hi / 1000,
    )


def battery_life(latency: Figure, device: Device, duty: DutyCycle) -> Figure | None:
    """Return the battery life in days at `duty`; None when active or sleep current are not known.

    The device computes for `latency` at each step and sleeps otherwise. Only the processor is counted: no sensor, no radio.
    A device that cannot keep up with the rate never sleeps.
    """
    active = device.quantities.get("active_ma")
    sleep = device.quantities.get("sleep_ua")
    if active is None or (sleep is None and duty.sleep_current_a is None):
        return None

    def days(latency_us: float, active_ma: float, sleep_ua: float) -> float:
        if duty.sleep_current_a is not None:
            sleep_ua = duty.sleep_current_a * 1e6
        busy = min(1.0, latency_us * 1e-6 * duty.rate_hz * duty.steps_per_sample)
        ampere = max(1e-12, busy * active_ma * 1e-3 + (1 - busy) * sleep_ua * 1e-6)
        return duty.battery_ah / ampere / 24

    value, lo, hi = (
        days(time, current, idle)
        for time, current, idle in (
            (latency.value, active.value, sleep.value if sleep else 0.0),
            (latency.value if latency.hi is None else latency.hi, active.hi, sleep.hi if sleep else 0.0),
            (latency.value if latency.lo is None else latency.lo, active.lo, sleep.lo if sleep else 0.0),
        )
    )
    return Figure(
        value, FigureKind.ESTIMATED, "days", f"{duty.battery_ah * 1000:g} mAh, {duty.rate_hz:g} samples/s; {latency.tool}", lo, hi
    )


def on_battery(device: Device, duty: DutyCycle, *, timed: bool) -> str:
    """Say at which rate the battery life on a device holds, or why there is none; timed: there is a latency to go by."""
    missing = [] if timed else ["latency"]
    if "active_ma" not in device.quantities:
        missing.append("active current (active_ma in its profile)")
    if "sleep_ua" not in device.quantities and duty.sleep_current_a is None:
        missing.append("sleep current (--sleep-current, or sleep_ua in its profile)")
    if missing:
        return f"No battery life: of {device.name} there is no {' and no '.join(missing)}."
    return f"Battery life: {duty.battery_ah * 1000:g} mAh at {duty.rate_hz:g} samples per second, the processor alone."


_PREFIX = {"": 1.0, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "k": 1e3}


def parse_quantity(text: str, unit: str, option: str) -> float:
    """Return "100mAh" as 0.1 for unit "Ah"; a bare number is in the unit itself.

    Raises:
        UsageError: it is not a number >= 0 with that unit; the message names `option`.
    """
    match = re.fullmatch(rf"\s*(\d+\.?\d*(?:e-?\d+)?)\s*([nuµmk]?)(?:{unit})?\s*", text)
    if match is None:
        raise UsageError(f"{option}: {text!r} is not a quantity such as 100{unit} or 2.5m{unit}")
    return float(match[1]) * _PREFIX[match[2]]
