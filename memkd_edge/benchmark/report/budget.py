# SPDX-License-Identifier: Apache-2.0
"""The budget gate: `--budget flash=8k,ram=1k,instructions=4000,latency=1ms` fails the command when the student costs more."""

import re
from dataclasses import dataclass

from memkd_edge.benchmark.devices.estimates import parse_quantity
from memkd_edge.benchmark.report.figures import BenchReport, DeviceReport
from memkd_edge.errors import GateError, UsageError

# line -> (unit written, factor from it to the figure's unit)
_UNITS = {
    "flash": ("B", 1.0),
    "ram": ("B", 1.0),
    "instructions": ("", 1.0),
    "cycles": ("", 1.0),
    "latency": ("s", 1e6),
    "energy": ("J", 1e6),
}


@dataclass(frozen=True)
class Limit:
    """One line of a budget: the figure's name, the limit in the figure's unit, and as the user wrote it."""

    figure: str
    value: float
    text: str


class BudgetError(GateError):
    """The student exceeds the budget. `report` has all figures."""

    def __init__(self, lines: list[str], report: BenchReport) -> None:
        super().__init__("over budget: " + "; ".join(lines))
        self.report = report


def parse_budget(text: str) -> list[Limit]:
    """Parse "flash=8k,latency=1ms". In bytes k and M are 1024 and 1024^2.

    Raises:
        UsageError: an unknown line, or no quantity.
    """
    limits = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in _UNITS:
            raise UsageError(f"--budget: {name!r} is none of {', '.join(_UNITS)}")
        unit, factor = _UNITS[name]
        binary = re.fullmatch(r"(\d+\.?\d*)([kM])i?B?", value) if unit == "B" else None
        if binary:
            number = float(binary[1]) * {"k": 1024, "M": 1024**2}[binary[2]]
        else:
            number = parse_quantity(value, unit, f"--budget {name}")
        limits.append(Limit(name, number * factor, part))
    return limits


def check_budget(report: BenchReport, limits: list[Limit]) -> None:
    """Compare each device's first student row with the limits. Of an estimate, its upper bound must hold.

    Raises:
        BudgetError: a limit is exceeded, or cannot be checked because the figure is missing; every such line is named.
    """
    lines = [line for device in report.devices for limit in limits if (line := _exceeded(device, limit))]
    if lines:
        raise BudgetError(lines, report)


def _exceeded(device: DeviceReport, limit: Limit) -> str | None:
    student = device.first_row("student")
    if student is None or limit.figure not in student.figures:
        return f"{device.device}: {limit.text} cannot be checked, there is no such figure"
    figure = student.figures[limit.figure]
    value = figure.value if figure.hi is None else figure.hi
    if value <= limit.value:
        return None
    bound = "" if figure.hi is None else "up to "
    return f"{device.device}: {student.build}: {limit.figure} is {bound}{value:,.6g} {figure.unit}, allowed are {limit.text}"
