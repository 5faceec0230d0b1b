# SPDX-License-Identifier: Apache-2.0
"""The range of the training signal, against its definition, and the faults that an input monitor notices by it."""

import dataclasses

import numpy as np

from memkd_edge.config import DistillConfig
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.normalisation import normalise
from memkd_edge.data.prepare import prepare
from memkd_edge.data.signal_range import signal_range
from memkd_edge.input_monitor import InputMonitor
from memkd_edge.metadata import Metadata
from memkd_edge.padding import pad
from memkd_edge.signal_limits import Odd, grids


def motion(seconds, seed, rate=50.0, gravity=1.0):
    """[T, 3]: two seconds of rest and three of a movement of 2 Hz by turns; the third channel has gravity."""
    t = np.arange(round(seconds * rate)) / rate
    random = np.random.default_rng(seed)
    moves = (t % 5 > 2).astype(np.int64)
    phases = random.uniform(0, 6.28, 3)
    x = (0.1 + moves)[:, None] * np.sin(2 * np.pi * 2 * t[:, None] + phases) + 0.05 * random.standard_normal((len(t), 3))
    x[:, 2] += 3 * gravity
    return x.astype(np.float32), moves


def test_the_range_is_that_of_readings_along_the_signal_and_of_each_class_alone():
    pieces = [motion(25, 0), motion(31, 1)]
    found = signal_range([x for x, _ in pieces], [y for _, y in pieces], 50.0)
    assert found.samples == 1024  # 20 s
    x, y = (np.concatenate(part) for part in zip(*pieces, strict=True))
    follows = np.arange(len(x)) != 0
    follows[len(pieces[0][0])] = False
    rows = []
    for run in (np.arange(len(x)), np.flatnonzero(y == 0), np.flatnonzero(y == 1)):
        for start in range(0, len(run) // 512 - 1):
            at = run[512 * start : 512 * start + 1024]
            changes = np.array([x[t] - x[t - 1] for t in at if follows[t] and t - 1 in set(run.tolist())], np.float64)
            rows.append((x[at].mean(0), x[at].std(0), np.sqrt((changes**2).mean(0))))
    mean, deviation, change = (np.array(part) for part in zip(*rows, strict=True))
    pace = change.sum(1) / deviation.sum(1)
    np.testing.assert_allclose(found.mean_low, mean.min(0), atol=1e-4)
    np.testing.assert_allclose(found.mean_high, mean.max(0), atol=1e-4)
    np.testing.assert_allclose(found.deviation_low, deviation.min(0), atol=1e-4)
    np.testing.assert_allclose(found.deviation_high, deviation.max(0), atol=1e-4)
    np.testing.assert_allclose([found.pace_low, found.pace_high], [pace.min(), pace.max()], atol=1e-4)


def test_a_reading_is_shorter_where_a_class_is():
    x, y = motion(40, 0)
    y[:] = 0
    y[-150:] = 1
    assert signal_range([x], [y], 50.0).samples == 128
    windows = [np.zeros((24, 1), np.float32)] * 67
    of_windows = signal_range(windows, [np.full(24, number % 2) for number in range(67)], None)
    assert (of_windows.samples, of_windows.pace_high, of_windows.mean_high) == (512, 0.0, (0.0,))
    assert signal_range(windows[:1], [np.zeros(24, np.int64)], None).samples == 0  # too little to read


def test_wrong_axes_units_and_rates_are_noticed_and_another_wearer_is_not():
    pieces = [motion(60, seed) for seed in range(3)]
    mean, std = (getattr(np.concatenate([x for x, _ in pieces]), name)(0) for name in ("mean", "std"))
    usual = signal_range([(x - mean) / std for x, _ in pieces], [y for _, y in pieces], 50.0)
    metadata = Metadata("motion", ("rest", "moves"), ("x", "y", "z"), ("g",) * 3, 50.0, tuple(mean), tuple(std))
    metadata = Metadata.from_json(dataclasses.replace(metadata, mean=(0.0,) * 3, std=(1.0,) * 3, usual=usual).to_json())
    assert metadata.usual == usual

    def odd(x):
        monitor = InputMonitor(metadata, grids(metadata, "int16", 2.0**-12, 0, 2.0**-12))
        found = monitor.stream(((x - mean) / std).astype(np.float32))
        assert len(found) >= 2
        return found[1]

    other, _ = motion(60, 9)
    assert odd(other).odd == Odd(0)
    assert odd(other).sentences == []
    turned = odd(other * np.float32([1, 1, -1]))
    assert turned.odd_channels[:2] == (Odd(0), Odd(0))
    assert turned.odd_channels[2] & Odd.MEAN
    swapped = odd(other[:, [2, 1, 0]])
    assert swapped.odd_channels[0] & Odd.MEAN
    assert swapped.odd_channels[2] & Odd.MEAN
    assert all(of_channel & Odd.RAILS for of_channel in odd(other * np.float32(98.1)).odd_channels)
    assert odd(np.concatenate([motion(60, seed, rate=12.5)[0] for seed in range(4)])).odd == Odd.PACE
    dead = odd(other * np.float32([1, 0, 1]))
    assert dead.odd_channels[1] & Odd.DEVIATION
    assert any(sentence.startswith("y: deviation 0.00 and usually") for sentence in dead.sentences)


def test_padding_is_no_signal():
    random = np.random.default_rng(0)
    series = [random.standard_normal((length, 2)).astype(np.float32) for length in range(60, 100)]
    labels = np.arange(40) % 2
    dataset = Dataset("d", pad(series), labels, pad(series[:4]), labels[:4], ("a", "b"), ("x", "y"), ("", ""))
    metadata = prepare(dataset, DistillConfig()).metadata
    pieces = [normalise(one, metadata.mean, metadata.std) for one in series]
    assert metadata.usual == signal_range(pieces, [np.full(len(one), k) for one, k in zip(pieces, labels, strict=True)], None)
    assert min(metadata.usual.deviation_low) > 0.5
    assert max(metadata.usual.deviation_high) < 1.5
