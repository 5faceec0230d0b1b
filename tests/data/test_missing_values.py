# SPDX-License-Identifier: Apache-2.0
"""Missing values: bridged as numpy interpolates, or left out."""

import numpy as np

from memkd_edge.data.missing_values import bridge, true_runs


def test_short_runs_are_bridged_and_long_ones_split() -> None:
    x = np.stack([np.arange(20.0), np.arange(20.0) ** 2], axis=1).astype(np.float32)
    holes = x.copy()
    holes[3:5, 1] = np.nan
    holes[10:14, 0] = np.nan
    filled, whole = bridge(holes, 3)
    assert whole == [slice(0, 10), slice(14, 20)]
    assert np.allclose(filled[3:5, 1], np.interp([3, 4], [2, 5], [4, 25]))
    assert np.isnan(holes[3, 1])  # the input is as it was
    rest = [0, 1, 2, *range(5, 10), *range(14, 20)]
    assert (filled[rest] == x[rest]).all()
    assert bridge(holes, 4)[1] == [slice(0, 20)]


def test_ends_cannot_be_bridged() -> None:
    x = np.ones((6, 2), dtype=np.float32)
    x[0, 0] = x[5, 1] = np.nan
    assert bridge(x, 5)[1] == [slice(1, 5)]
    x[:, 0] = np.nan
    assert bridge(x, 5)[1] == []


def test_runs() -> None:
    assert true_runs(np.array([True, False, True, True])) == [slice(0, 1), slice(2, 4)]
    assert true_runs(np.zeros(3, dtype=np.bool_)) == []
