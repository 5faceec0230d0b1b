# SPDX-License-Identifier: Apache-2.0
"""Windows joined to streams that nobody resets, and the two accuracies at their ends."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from experiments import stream_windows
from experiments.stream_windows import in_streams, judged, report

WINDOWS, STEPS = 7, 10


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Windows [7, 10, 2] of three classes, in streams of 12 windows each."""
    monkeypatch.setattr(stream_windows, "STREAM_SAMPLES", 12 * STEPS + 3)
    return np.random.default_rng(0).normal(size=(WINDOWS, STEPS, 2)).astype(np.float32), np.array([0, 1, 2, 0, 1, 2, 0])


def test_a_stream_is_whole_windows_each_as_often_as_the_others(windows: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = windows
    streams, which = in_streams(x, y, seed=1)
    assert streams.x.shape == (stream_windows.STREAMS, 12 * STEPS, 2)
    order = which.reshape(12, stream_windows.STREAMS)
    for stream in range(stream_windows.STREAMS):
        np.testing.assert_array_equal(streams.x[stream].numpy(), np.concatenate(x[order[:, stream]]))
        assert sorted(order[:WINDOWS, stream]) == list(range(WINDOWS))
    np.testing.assert_array_equal(streams.x[streams.stream, streams.time].numpy(), x[which, -1])
    np.testing.assert_array_equal(streams.y.numpy(), y[which])
    assert (streams.time.diff() >= 0).all()


def test_the_same_windows_are_judged_both_ways(windows: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = windows
    streams, which = in_streams(x, y, seed=1)
    alone = F.one_hot(torch.where(torch.arange(WINDOWS) == 3, 1, torch.from_numpy(y)), 3)  # window 3 is taken for another
    late = streams.time >= 11 * STEPS
    along = F.one_hot(torch.where(late, (streams.y + 1) % 3, streams.y), 3)  # wrong at each stream's last end alone
    row = judged("one", alone[None].float(), along[None].float(), streams, which)
    assert row.from_reset == pytest.approx([(which != 3).mean()])
    assert row.never_reset == pytest.approx([11 / 12])
    assert f"| one | {(which != 3).mean():.3f} | 0.917 | " in report({"set": [row]}, 1, 2, 3)
