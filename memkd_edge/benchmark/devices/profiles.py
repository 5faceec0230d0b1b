# SPDX-License-Identifier: Apache-2.0
"""Device profiles: one TOML file per device (firmware_bench/devices), or a user's own.

title = "My board, Cortex-M4F"
backend = "qemu-cortex-m"          # qemu-cortex-m | qemu-riscv | qemu-user | host | ssh | serial | sizes
core = "m4"

[clock_mhz]                        # and flash_kib, ram_kib, ...: see QUANTITIES
value = 64                         # or lo and hi, or all three
source = "the datasheet, and where in it"
checked = true                     # false: nobody has found this number in a document; reports say so
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.emulation import cores, qemu_user
from memkd_edge.errors import UsageError
from memkd_edge.parsing import toml_table
from memkd_edge.serial_port import HIGHEST_BAUD, LOWEST_BAUD

QUANTITIES = {
    "clock_mhz": "processor clock",
    "flash_kib": "flash for code and constants",
    "ram_kib": "contiguous RAM",
    "fetch_penalty": "part by which flash wait states lengthen a run from cache (microcontrollers)",
    "instructions_per_cycle": "sustained rate (Linux-class cores)",
    "l2_kib": "level 2 cache (Linux-class cores)",
    "memory_mb_per_s": "bandwidth of one core's reads from memory, MB/s",
    "supply_v": "supply voltage the currents are given at",
    "active_ma": "current while computing",
    "sleep_ua": "current while waiting for the next sample",
}
# backend -> cores, and the quantities without which it cannot work
_CORES = {"qemu-cortex-m": tuple(cores.CORTEX_M), "qemu-riscv": tuple(cores.RISCV), "qemu-user": qemu_user.CORES}
_NEEDED = {
    "qemu-cortex-m": ("clock_mhz", "flash_kib", "ram_kib"),
    "qemu-riscv": ("clock_mhz", "flash_kib", "ram_kib"),
    "qemu-user": ("clock_mhz", "instructions_per_cycle", "l2_kib", "memory_mb_per_s"),
    "host": (),
    "ssh": (),
    "serial": ("clock_mhz",),
    "sizes": ("flash_kib", "ram_kib"),
}
_FROM_ZERO = ("fetch_penalty", "sleep_ua")
_LEAST, _MOST = 1e-6, 1e9  # of all others; no board has less or more
_TEXTS = ("title", "backend", "core", "note", "host", "port")


@dataclass(frozen=True)
class Quantity:
    """A number with its interval and the document it comes from.

    checked: whether the number was found in that document, or in a transcription of it that names the place.
    """

    value: float
    lo: float
    hi: float
    source: str
    checked: bool = True


@dataclass(frozen=True)
class Device:
    """A device profile.

    name: file name without .toml. core: a key of the backend's cores. host: user@host for the ssh backend. port, baud: of the
    serial backend. quantities: by name, see QUANTITIES.
    """

    name: str
    title: str
    backend: str
    core: str = ""
    note: str = ""
    host: str = ""
    port: str = ""
    baud: int = 115200
    quantities: Mapping[str, Quantity] = field(default_factory=dict)

    def bytes(self, quantity: str) -> int | None:
        """Return a memory size in bytes, or None if the profile does not give it."""
        return int(self.quantities[quantity].value * 1024) if quantity in self.quantities else None

    def unchecked(self) -> str:
        """Return a sentence that names the quantities nobody has found in a document, "" if there are none."""
        names = [QUANTITIES[name] for name, quantity in self.quantities.items() if not quantity.checked]
        return f"Not confirmed by any document, check before relying on the estimates: {'; '.join(names)}." if names else ""


def device_names() -> list[str]:
    """Return the names of the devices that come with memkd-edge."""
    return sorted(path.stem for path in (asset_dir("firmware_bench") / "devices").glob("*.toml"))


def load_device(name: str) -> Device:
    """Load a device by name, or from a path that ends in .toml.

    Raises:
        UsageError: no such device (the message suggests near names), or the file is no device profile.
    """
    if name.endswith(".toml"):
        return read_profile(Path(name))
    if name not in device_names():
        near = difflib.get_close_matches(name.lower(), device_names(), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`memkd-edge devices` lists them"
        raise UsageError(f"no device {name!r}; {hint} A profile of your own is given as a path: --device ./myboard.toml")
    return read_profile(asset_dir("firmware_bench") / "devices" / f"{name}.toml")


def read_profile(path: Path) -> Device:
    """Read one profile.

    Raises:
        UsageError: the file is missing or damaged, a key is unknown, or a needed one is missing; the message names it.
    """
    try:
        table = toml_table(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"no device profile at {path}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    quantities = {}
    for key, value in table.items():
        if key in QUANTITIES:
            quantities[key] = _quantity(value, f"{path}: [{key}]", 0 if key in _FROM_ZERO else _LEAST)
        elif key not in (*_TEXTS, "baud"):
            near = difflib.get_close_matches(key, [*QUANTITIES, *_TEXTS, "baud"], n=1)
            raise UsageError(f"{path}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        elif not isinstance(value, int if key == "baud" else str) or isinstance(value, bool):
            raise UsageError(f"{path}: {key}: {value!r} is of the wrong type")
    for key in ("title", "backend"):
        if key not in table:
            raise UsageError(f"{path}: {key} is missing")
    device = Device(path.stem, quantities=quantities, **{key: table[key] for key in (*_TEXTS, "baud") if key in table})
    _check(device, path)
    return device


def _check(device: Device, path: Path) -> None:
    if device.backend not in _NEEDED:
        raise UsageError(f"{path}: backend {device.backend!r} is none of {', '.join(_NEEDED)}")
    cores = _CORES.get(device.backend)
    if cores and device.core not in cores:
        raise UsageError(f"{path}: core {device.core!r} is none of {', '.join(cores)}")
    for key in _NEEDED[device.backend]:
        if key not in device.quantities:
            raise UsageError(f"{path}: [{key}] ({QUANTITIES[key]}) is missing; the backend {device.backend} needs it")
    if not LOWEST_BAUD <= device.baud <= HIGHEST_BAUD:
        raise UsageError(f"{path}: baud = {device.baud} is not from {LOWEST_BAUD} to {HIGHEST_BAUD}")
    for key, backend in (("host", "ssh"), ("port", "serial")):
        if device.backend == backend and not getattr(device, key):
            raise UsageError(f"{path}: {key} is missing; the backend {backend} needs it")
    if device.host.startswith("-"):
        raise UsageError(f"{path}: host {device.host!r} would be an option of ssh; name a machine")


def _quantity(table: Any, where: str, lowest: float) -> Quantity:
    if not isinstance(table, dict) or not isinstance(table.get("source"), str):
        raise UsageError(f"{where}: a table with value (or lo and hi) and source is expected")
    unknown = set(table) - {"value", "lo", "hi", "source", "checked"}
    numbers = {key: table[key] for key in ("value", "lo", "hi") if key in table}
    for key, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not lowest <= number <= _MOST:
            raise UsageError(f"{where}: {key} = {number!r} is not a number from {lowest:g} to {_MOST:g}")
    if unknown or not ("value" in numbers or {"lo", "hi"} <= set(numbers)) or ("lo" in numbers) != ("hi" in numbers):
        raise UsageError(f"{where}: value, or lo and hi, or all three are expected, and source")
    checked = table.get("checked", True)
    if not isinstance(checked, bool):
        raise UsageError(f"{where}: checked = {checked!r} is neither true nor false")
    value = numbers.get("value", (numbers.get("lo", 0) + numbers.get("hi", 0)) / 2)
    quantity = Quantity(value, numbers.get("lo", value), numbers.get("hi", value), table["source"], checked)
    if not quantity.lo <= quantity.value <= quantity.hi:
        raise UsageError(f"{where}: lo <= value <= hi does not hold")
    return quantity
