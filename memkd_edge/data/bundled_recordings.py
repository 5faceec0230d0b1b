# SPDX-License-Identifier: Apache-2.0
"""The sets of recordings that memkd-edge brings along, datasets/NAME/NAME.npz, read as a table of all recordings is.

An .npz has, of n rows of all recordings one after another and k columns of numbers (time and channels):

    steps       uint8 [4, k, n]: second differences along the rows, from 0, folded (0, -1, 1, -2, ... are 0, 1, 2, 3, ...); the
                lowest bytes of all, the next, ..., as that is what deflate packs best
    columns, decimals               k names with units; value = integer / 10 ** decimals
    label, labels                   uint8 [n], index into the names
    lengths, recordings, subjects   rows, name and person of each recording
    terms                           of use
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.assets import asset_dir
from memkd_edge.config import DataConfig
from memkd_edge.data.recording_files import Note
from memkd_edge.data.recording_loading import Source, frame_with_sources
from memkd_edge.data.recordings import Recordings

BUNDLED_RECORDINGS = ("SPSW",)


def load_bundled(name: str, options: DataConfig, *, note: Note) -> tuple[Recordings, list[Source]]:
    """Load the set of recordings `name`, one of BUNDLED_RECORDINGS, and each recording as it was found.

    Raises:
        UsageError: options that do not fit it, see `load_recordings`.
    """
    recordings, sources = frame_with_sources(bundled_table(name), options, name=name, note=note)
    return replace(recordings, terms=str(_held(name)["terms"]), source=str(_path(name))), sources


def bundled_table(name: str) -> Any:
    """Return the set as a pandas DataFrame of all recordings, as `recordings_from_frame` takes it."""
    import pandas as pd

    held = _held(name)
    values = unpacked(held["steps"]) / 10.0 ** held["decimals"]
    columns: dict[str, Any] = {
        "recording": np.repeat(held["recordings"], held["lengths"]),
        "subject": np.repeat(held["subjects"], held["lengths"]),
        **dict(zip(held["columns"].tolist(), values.T, strict=True)),
        "label": held["labels"][held["label"]],
    }
    return pd.DataFrame(columns)


def _path(name: str) -> Path:
    return asset_dir("datasets") / name / f"{name}.npz"


def _held(name: str) -> dict[str, NDArray[Any]]:
    with np.load(_path(name), allow_pickle=False) as archive:
        return dict(archive)


def unpacked(steps: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the integers [n, k] whose steps, uint8 [4, k, n], are given."""
    folded = np.ascontiguousarray(steps.transpose(2, 1, 0)).view("<u4")[..., 0].astype(np.int64)
    return ((folded >> 1) ^ -(folded & 1)).cumsum(axis=0).cumsum(axis=0)
