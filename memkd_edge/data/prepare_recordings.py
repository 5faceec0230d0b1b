# SPDX-License-Identifier: Apache-2.0
"""What training along streams sees of recordings: folds by subject, normalised signals, and the streams that judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DistillConfig
from memkd_edge.data.normalisation import normalise, statistics
from memkd_edge.data.recordings import Recording, Recordings, class_counts, whole_name
from memkd_edge.data.signal_range import signal_range
from memkd_edge.data.splits import fold_numbers, hold_out_groups
from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.version import __version__
from memkd_edge.vocabulary import Decision, Reset

KEPT_STRETCHES = 16  # to calibrate on, of
STRETCH_CHUNKS = 16  # each, one after another
KEPT_SAMPLES = 1_000_000  # of the streams that judge
GOLDEN_CHUNKS = 4

Signal = tuple[NDArray[np.float32], NDArray[np.int64]]  # x [T, C], and y [T], class or -1


@dataclass(frozen=True)
class PreparedRecordings:
    """Recordings ready to train on; all signals are normalised.

    train: the training stretches; folds: int64, for each the fold in which it is held out, -1 where it never is. subjects: whose
    each training stretch is. unlabelled: stretches on which only a teacher teaches. test: the streams that judge, a subject's
    stretches joined. metadata: everything but the model's own entries.
    """

    train: tuple[Signal, ...]
    folds: NDArray[np.int64]
    subjects: tuple[str, ...]
    unlabelled: tuple[Signal, ...]
    test: tuple[Signal, ...]
    metadata: Metadata

    def held_out(self, fold: int) -> list[Signal]:
        """Return the streams that a fold is judged by."""
        of_fold = [number for number in range(len(self.train)) if self.folds[number] == fold]
        return joined([self.train[number] for number in of_fold], [self.subjects[number] for number in of_fold])

    def kept_series(self, chunk: int) -> dict[str, NDArray[Any]]:
        """Return what a run keeps (calibration.npz).

        Chunks of `chunk` steps, fewer where a stream is shorter: x_calibration, neighbours next to each other, of training
        streams; of the first held-out streams and of the test streams, with the class at each chunk's end; and the test streams
        whole: x_streams [N, C], y_streams [N], stream_lengths.
        """
        training, held_out = joined(self.train, self.subjects), self.held_out(0)
        chunk = min(chunk, *(len(y) for _, y in (*training, *self.test)))
        pieces = [piece for x, _ in training for piece in _chunks(x, chunk)]
        some = np.arange(len(pieces))
        if len(pieces) > KEPT_STRETCHES * STRETCH_CHUNKS:
            starts = np.linspace(0, len(pieces) - STRETCH_CHUNKS, KEPT_STRETCHES).astype(np.int64)
            some = (starts[:, None] + np.arange(STRETCH_CHUNKS)).ravel()
        x_val, y_val = _ended(held_out, chunk)
        kept: list[Signal] = []
        for x, y in self.test:
            room = KEPT_SAMPLES - sum(len(y) for _, y in kept)
            if room > 0:
                kept.append((x[:room], y[:room]))
        x_test, y_test = _ended(kept, chunk)
        mean, std = (np.asarray(part, np.float32) for part in (self.metadata.mean, self.metadata.std))
        return {
            "x_calibration": np.stack([pieces[number] for number in some]),
            "x_val": x_val,
            "y_val": y_val,
            "x_test": x_test,
            "y_test": y_test,
            "x_raw_golden": x_test[:GOLDEN_CHUNKS] * std + mean,
            "x_streams": np.concatenate([x for x, _ in kept]),
            "y_streams": np.concatenate([y for _, y in kept]),
            "stream_lengths": np.array([len(y) for _, y in kept]),
        }


def prepare_recordings(recordings: Recordings, config: DistillConfig) -> PreparedRecordings:
    """Deal the training recordings to folds, by subject where subjects are known, and normalise.

    Raises:
        UsageError: `config.folds` or `config.validation` do not fit the data, or an option that is for windows alone.
    """
    if config.resample != "none":
        raise UsageError(f"--resample {config.resample} is for windows; recordings are resampled with --rate")
    if config.reset not in ("", Reset.NEVER):
        raise UsageError(
            f"--reset {config.reset} is for windows, a student of recordings is never reset; cut windows with --windows"
        )
    if config.protocol == "paper":
        raise UsageError("--protocol paper is for windows, as the paper is; recordings are selected on held-out subjects")
    late = round(config.decision_delay * recordings.sample_rate_hz)
    if not any((one.y[: max(len(one.y) - late, 0)] >= 0).any() for one in recordings.train):
        raise UsageError(f"--decision-delay {config.decision_delay:g}: in so many seconds every recording is over; give less")
    if config.refuse >= 1:
        raise UsageError(f"--refuse {config.refuse:g}: a share of the right decisions; give less than 1, such as 0.02")
    folds = _folds(recordings, config)
    outside = [one.x for one, fold in zip(recordings.train, folds, strict=True) if fold != 0 or folds.max() > 0]
    mean, std = statistics(np.concatenate(outside)[None])

    def signals(part: Sequence[Recording]) -> tuple[Signal, ...]:
        return tuple((normalise(one.x, mean, std), one.y) for one in part)

    test = [one.subject or whole_name(one.name) for one in recordings.test]
    train, rate = signals(recordings.train), recordings.sample_rate_hz
    return PreparedRecordings(
        train=train,
        folds=folds,
        subjects=tuple(one.subject or whole_name(one.name) for one in recordings.train),
        unlabelled=signals(recordings.unlabelled),
        test=tuple(joined(signals(recordings.test), test)),
        metadata=Metadata(
            name=recordings.name,
            labels=recordings.labels,
            channels=recordings.channels,
            units=recordings.units,
            sample_rate_hz=rate,
            mean=mean,
            std=std,
            dataset=recordings.name,
            dataset_sha256=recordings.sha256,
            dataset_terms=recordings.terms,
            dataset_split=recordings.split,
            version=__version__,
            reset=Reset.NEVER,
            decides=Decision.EVERY_SAMPLE,
            usual=signal_range([x for x, _ in train], [y for _, y in train], rate),
        ),
    )


def joined(signals: Sequence[Signal], subjects: Sequence[str]) -> list[Signal]:
    """Return one stream of each subject: the signals of that subject end to end."""
    return [
        (
            np.concatenate([x for (x, _), own in zip(signals, subjects, strict=True) if own == subject]),
            np.concatenate([y for (_, y), own in zip(signals, subjects, strict=True) if own == subject]),
        )
        for subject in dict.fromkeys(subjects)
    ]


def _folds(recordings: Recordings, config: DistillConfig) -> NDArray[np.int64]:
    subjects = [one.subject for one in recordings.train]
    known = len(set(subjects)) > 1 and "" not in subjects
    what = "subject" if known else "recording"
    groups = subjects if known else [whole_name(one.name) for one in recordings.train]
    distinct = list(dict.fromkeys(groups))
    amounts = np.stack(
        [
            class_counts([one for one, own in zip(recordings.train, groups, strict=True) if own == group], len(recordings.labels))
            for group in distinct
        ]
    ).astype(np.float64)
    for index, label in enumerate(recordings.labels):
        if np.count_nonzero(amounts[:, index]) < 2:
            raise UsageError(
                f"class {label!r} stands in one {what} of the training part alone; none could be held out for selection: record "
                f"it with others, or leave it out with --ignore {label!r}"
            )
    count = config.folds or 1
    if not 1 <= count <= len(distinct):
        raise UsageError(f"--folds must lie between 1 and the {len(distinct)} training {what}s, not {count}; 0 chooses")
    number = np.array([distinct.index(group) for group in groups])
    if count > 1:
        owner, held = np.nonzero(amounts)
        dealt = fold_numbers(held.astype(np.int64), count, config.seed, recordings.labels, owner.astype(np.int64))
        fold_of = dict(zip(owner.tolist(), dealt.tolist(), strict=True))
        return np.array([fold_of.get(one, -1) for one in number.tolist()])
    chosen = hold_out_groups(amounts, config.validation, config.seed)
    if chosen is None:
        raise UsageError(
            f"no choice of {what}s leaves every class on both sides of the training part; give another --validation, or --ignore "
            "a rare class"
        )
    return np.where(np.isin(number, chosen), 0, -1)


def _chunks(x: NDArray[Any], chunk: int) -> NDArray[Any]:
    """Return the whole chunks of a stream [T, ...]: [N, chunk, ...]."""
    count = len(x) // chunk
    return x[: count * chunk].reshape(count, chunk, *x.shape[1:])


def _ended(streams: Sequence[Signal], chunk: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the chunks [N, chunk, C] of streams whose last sample has a class, and that class [N].

    Where the chunks of none end so, as few samples have a class, they are counted back from each stream's last one that has.
    """
    if not any((_chunks(y, chunk)[:, -1] >= 0).any() for _, y in streams):
        ends = [int(np.flatnonzero(y >= 0).max(initial=-1)) + 1 for _, y in streams]
        chunk = max(1, min(chunk, max(ends)))
        streams = [(x[end % chunk : end], y[end % chunk : end]) for (x, y), end in zip(streams, ends, strict=True)]
    x = np.concatenate([_chunks(x, chunk) for x, _ in streams])
    last = np.concatenate([_chunks(y, chunk)[:, -1] for _, y in streams])
    return x[last >= 0], last[last >= 0]
