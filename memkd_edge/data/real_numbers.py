# SPDX-License-Identifier: Apache-2.0
"""Signals as a program gives them, as arrays of real numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.missing_values import unmasked
from memkd_edge.errors import UsageError

NOT_REAL = {  # by the kind of a dtype: numpy makes float32 of them, and something is lost
    "c": "complex; give magnitudes, or real and imaginary parts as channels of their own",
    "m": "lengths of time; give them in a unit, as numbers",
    "M": "times; a signal has none, so leave them out",
}


def float32_array(values: Any, what: str) -> NDArray[np.float32]:
    """Return real numbers as float32, NaN where they are masked and infinity where they are too large.

    Args:
        what: is expected, for the message.

    Raises:
        UsageError: something else.
    """
    try:
        array = np.asarray(unmasked(values))
        if array.dtype.kind not in NOT_REAL:
            with np.errstate(over="ignore"):
                return array.astype(np.float32, copy=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{what}: {error}") from error
    raise UsageError(f"{what}, and these are {NOT_REAL[array.dtype.kind]}")
