# SPDX-License-Identifier: Apache-2.0
"""Functions of vectors against numpy in double precision."""

from collections.abc import Callable

import numpy as np
import pytest
from numba import njit

from memkd_edge.nets.kernels import simd


@pytest.mark.parametrize(
    ("function", "reference", "lowest", "highest", "error"),
    [(simd.exp, np.exp, -87, 88, 4e-6), (simd.exp, np.exp, -10, 10, 6e-7), (simd.tanh, np.tanh, -12, 12, 4e-7)],
)
def test_a_function_equals_numpys(
    function: Callable[..., object], reference: Callable[..., np.ndarray], lowest: float, highest: float, error: float
) -> None:
    @njit
    def each(x: np.ndarray, result: np.ndarray) -> None:
        for at in range(0, len(x), simd.LANES):
            simd.store(result, at, function(simd.load(x, at)))

    x = np.linspace(lowest, highest, 16_000, dtype=np.float32)
    result = np.empty_like(x)
    each(x, result)
    np.testing.assert_allclose(result, reference(x.astype(np.float64)), rtol=error)


def test_exp_beyond_its_range_is_that_of_the_range() -> None:
    @njit
    def each(x: np.ndarray, result: np.ndarray) -> None:
        simd.store(result, 0, simd.exp(simd.load(x, 0)))

    x, result = np.full(simd.LANES, -1e30, np.float32), np.empty(simd.LANES, np.float32)
    each(x, result)
    np.testing.assert_allclose(result, np.exp(-87.0), rtol=1e-5)
    each(-x, result)
    np.testing.assert_allclose(result, np.exp(88.0), rtol=1e-5)
