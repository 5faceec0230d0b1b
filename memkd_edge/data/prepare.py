# SPDX-License-Identifier: Apache-2.0
"""What training sees: split, resampled and normalised arrays, and the metadata from which a device repeats it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DistillConfig
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.normalisation import normalise, statistics
from memkd_edge.data.resampling import parse_resampling, resample
from memkd_edge.data.signal_range import signal_range
from memkd_edge.data.splits import fold_numbers, hold_out
from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.padding import held, is_padded, lengths
from memkd_edge.version import __version__

GOLDEN_SERIES = 4
CALIBRATION_SERIES = 256
FOLDS = 4
FOLDS_BELOW = 200  # training series; with more, one held-out part judges well enough, and training four times would take long


@dataclass(frozen=True)
class Prepared:
    """A data set ready to train on.

    x_*: float32 [N, T', C], resampled and normalised, shorter series padded with NaN (padding.py); y_*: int64 [N]. folds: int64
    [N_train], the fold in which a training series is held out for selection, -1 where it never is. metadata: everything but
    the model's own entries.
    x_raw_golden: float32 [<= 4, T, C], test series in physical units, of different classes while there are.
    """

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    folds: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    metadata: Metadata
    x_raw_golden: NDArray[np.float32]

    def kept_series(self) -> dict[str, NDArray[Any]]:
        """Return what a run keeps (calibration.npz): series to calibrate on, the test part.

        Shorter series that are calibrated on go on with their last sample; those of the test keep their padding.
        """
        some = np.linspace(0, len(self.x_train) - 1, min(CALIBRATION_SERIES, len(self.x_train))).astype(np.int64)
        return {
            "x_calibration": held(self.x_train[some]),
            "x_test": self.x_test,
            "y_test": self.y_test,
            "x_raw_golden": self.x_raw_golden,
        }


def prepare(dataset: Dataset, config: DistillConfig) -> Prepared:
    """Deal the training series to folds, resample, normalise.

    With one fold the statistics come from the series outside it; with several, where every series is trained on, from all.

    Raises:
        UsageError: `config.validation`, `config.folds` or `config.resample` do not fit the data, or all of the test part is of
            one class.
    """
    resampling = parse_resampling(config.resample, dataset.x_train.shape[1])
    unequal = is_padded(dataset.x_train) or is_padded(dataset.x_test)
    if resampling.kind == "linear" and unequal:
        raise UsageError(
            f"--resample {config.resample}: a device does not know how long a series of unequal length will be; take "
            "decimate:FACTOR or leave it out"
        )
    _check_test_part(dataset)
    folds = _folds(dataset, config)
    x_train = resample(dataset.x_train, resampling)
    x_test = resample(dataset.x_test, resampling)
    mean, std = statistics(x_train[folds != 0] if folds.max() == 0 else x_train)
    metadata = Metadata(
        name=dataset.name,
        labels=dataset.labels,
        channels=dataset.channels,
        units=dataset.units,
        sample_rate_hz=dataset.sample_rate_hz,
        mean=mean,
        std=std,
        resampling=resampling,
        window_length=0 if unequal else dataset.x_train.shape[1],
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        dataset_terms=dataset.terms,
        dataset_split=dataset.split,
        version=__version__,
    )
    normalised = normalise(x_train, mean, std)
    pieces = [series[:length] for series, length in zip(normalised, lengths(normalised), strict=True)]
    labels = [np.full(len(piece), label) for piece, label in zip(pieces, dataset.y_train, strict=True)]
    rate = dataset.sample_rate_hz and dataset.sample_rate_hz * resampling.steps_per_sample
    return Prepared(
        x_train=normalised,
        y_train=dataset.y_train,
        folds=folds,
        x_test=normalise(x_test, mean, std),
        y_test=dataset.y_test,
        metadata=replace(metadata, usual=signal_range(pieces, labels, rate)),
        x_raw_golden=held(dataset.x_test[_golden_indices(dataset.y_test)]),
    )


def _check_test_part(dataset: Dataset) -> None:
    """Refuse, before anything is trained, a test part on which AUC-PRC is not defined."""
    classes = np.unique(dataset.y_test)
    if len(classes) < 2:
        raise UsageError(
            f"{dataset.name}: all {len(dataset.y_test)} test series are of class {dataset.labels[classes[0]]!r}; scores need at "
            "least two classes there: hold out others"
        )


def _folds(dataset: Dataset, config: DistillConfig) -> NDArray[np.int64]:
    count = config.folds
    if count == 0:
        count = FOLDS if len(dataset.y_train) < FOLDS_BELOW else 1
    if count < 0 or count > len(dataset.y_train):
        raise UsageError(f"--folds must lie between 1 and the {len(dataset.y_train)} training series, not {count}; 0 chooses")
    split = (config.seed, dataset.labels, dataset.groups_train)
    if count > 1:
        return fold_numbers(dataset.y_train, count, *split)
    return np.where(hold_out(dataset.y_train, config.validation, *split), 0, -1)


def _golden_indices(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return up to 4 indices: the first series of each class, then the first of the rest."""
    _, first = np.unique(targets, return_index=True)
    rest = np.setdiff1d(np.arange(targets.size), first)
    return np.sort(np.concatenate([first, rest])[:GOLDEN_SERIES])
