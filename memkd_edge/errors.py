# SPDX-License-Identifier: Apache-2.0
"""The errors a user can cause or meet. Each carries the exit code the command line ends with.

A message names what was wrong, where (file, line, column, sample, channel) and what to do about it. Anything that is not a
`MemkdEdgeError` is a defect of ours and shows its traceback.
"""

from typing import Any


class MemkdEdgeError(Exception):
    """The command could not do what was asked (exit code 1)."""

    exit_code = 1


class UnkeptError(MemkdEdgeError):
    """A report could not be written to where it is kept. `report` has it all the same."""

    def __init__(self, report: Any, error: MemkdEdgeError) -> None:
        self.report = report
        super().__init__(f"the report is not kept: {error}")


class UsageError(MemkdEdgeError):
    """The request itself is wrong: an unknown name, an impossible option, bad input data (exit code 2)."""

    exit_code = 2


class MissingToolError(MemkdEdgeError):
    """An external tool or optional package is missing; the message names the command that installs it (exit code 3)."""

    exit_code = 3


class GateError(MemkdEdgeError):
    """A gate failed: parity, agreement or budget (exit code 4)."""

    exit_code = 4
