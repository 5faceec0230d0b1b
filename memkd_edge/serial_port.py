# SPDX-License-Identifier: Apache-2.0
"""Opens the serial port that a board is on."""

from typing import Any

from memkd_edge.errors import MemkdEdgeError

LOWEST_BAUD, HIGHEST_BAUD = 50, 50_000_000


def open_port(port: str, baud: int, *, named_by: str = "--serial") -> Any:
    """Open serial port `port`; its read(size) returns what there is within a tenth of a second.

    Args:
        named_by: where the user named it.

    Raises:
        MemkdEdgeError: it cannot be opened.
    """
    import serial

    try:
        return serial.Serial(port, baud, timeout=0.1)
    except (serial.SerialException, OSError, ValueError) as error:
        raise MemkdEdgeError(f"cannot open {port}: {error}; {named_by} names the board's serial device") from error
