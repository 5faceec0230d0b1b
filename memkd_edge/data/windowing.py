# SPDX-License-Identifier: Apache-2.0
"""Cuts recordings into windows of one label, for models that decide at the end of a window."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from memkd_edge.data.dataset import MINIMUM_STEPS, Dataset
from memkd_edge.data.missing_values import true_runs
from memkd_edge.data.recording_files import Note
from memkd_edge.data.recordings import Recording, Recordings, whole_name
from memkd_edge.data.time_stamps import parse_seconds
from memkd_edge.errors import UsageError
from memkd_edge.options import first_of


def cut_windows(recordings: Recordings, windows: str, hop: str, note: Note) -> Dataset:
    """Return the windows as a data set, each of one label throughout, grouped by subject, or recording where that is unknown.

    Args:
        windows, hop: durations such as 2s; hop "" is half a window. Windows never reach over a gap.

    Raises:
        UsageError: no durations, windows of fewer than 3 samples, or a class without a window in the training part.
    """
    rate = recordings.sample_rate_hz
    length = round(parse_seconds(windows, "--windows") * rate)
    step = round(parse_seconds(hop, "--hop") * rate) if hop else max(length // 2, 1)
    if length < MINIMUM_STEPS or step < 1:
        raise UsageError(
            f"--windows {windows}{' --hop ' + hop if hop else ''}: {length} samples at {rate:g} Hz, {step} apart; at least "
            f"{MINIMUM_STEPS} and 1 are needed"
        )
    known = all(stretch.subject for stretch in (*recordings.train, *recordings.test))
    names = list(dict.fromkeys(_group(stretch, known) for stretch in (*recordings.train, *recordings.test)))
    parts = [_cut(stretches, length, step, names, known) for stretches in (recordings.train, recordings.test)]
    (x_train, y_train, groups_train), (x_test, y_test, groups_test) = parts
    for index, label in enumerate(recordings.labels):
        if not (y_train == index).any():
            longest = max(run.stop - run.start for stretch in recordings.train for run in true_runs(stretch.y == index))
            raise UsageError(
                f"no window of {windows} lies within class {label!r} in the training part, where it lasts {longest / rate:.2g} s "
                f"at most; shorter --windows, or leave it out with --ignore {label!r}"
            )
    if not y_test.size:
        raise UsageError(f"no window of {windows} lies within one class in the test part; shorter --windows")
    having = {*groups_train.tolist(), *groups_test.tolist()}
    if lost := [name for number, name in enumerate(names) if number not in having]:
        note(f"windows: none lies within one class of {first_of(lost)}, left out so")
    note(f"windows: {len(y_train)} to train and {len(y_test)} to test, of {length} samples, {step} apart, of one label each")
    return Dataset(
        name=recordings.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        labels=recordings.labels,
        channels=recordings.channels,
        units=recordings.units,
        groups_train=groups_train,
        groups_test=groups_test,
        sample_rate_hz=rate,
        terms=recordings.terms,
        source=recordings.source,
        split=recordings.split,
    )


def _group(stretch: Recording, known: bool) -> str:
    return stretch.subject if known else whole_name(stretch.name)


def _cut(
    stretches: tuple[Recording, ...], length: int, step: int, names: list[str], known: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return windows float32 [N, length, C], classes int64 [N] and groups int64 [N]."""
    channels = stretches[0].x.shape[1]
    x, y, groups = [np.zeros((0, length, channels), dtype=np.float32)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for stretch in stretches:
        if len(stretch.x) < length:
            continue
        classes = sliding_window_view(stretch.y, length)[::step]
        pure = (classes == classes[:, :1]).all(axis=1) & (classes[:, 0] >= 0)
        x.append(sliding_window_view(stretch.x, length, axis=0)[::step][pure].transpose(0, 2, 1))
        y.append(classes[pure, 0])
        groups.append(np.full(pure.sum(), names.index(_group(stretch, known)), dtype=np.int64))
    return np.concatenate(x), np.concatenate(y), np.concatenate(groups)
