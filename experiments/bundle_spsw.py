# SPDX-License-Identifier: Apache-2.0
"""Packs smartwatch recordings of SPSW into datasets/SPSW/SPSW.npz, which memkd-edge brings along (see NOTICE.md there).

    python -m experiments.bundle_spsw FOLDER     of s01_01_sw.csv, s01_02_sw.csv, ...

The same files give the same bytes.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.recording_files import read_recordings
from memkd_edge.runs import write_atomic

BUNDLE = Path(__file__).resolve().parents[1] / "datasets" / "SPSW" / "SPSW.npz"
SUBJECTS = [f"s{number:02}" for number in range(1, 21)]
CHANNELS = {f"{axis}_{sensor}": unit for sensor, unit in (("acc", "m/s2"), ("gyro", "rad/s")) for axis in "xyz"}
DECIMALS = 3
TERMS = (
    "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). Cite Matey-Sanz, Casteleyn, Granell 2023, Dataset of inertial "
    "measurements of smartphones and smartwatches for human activity recognition, Data in Brief 109809, "
    "https://doi.org/10.1016/j.dib.2023.109809. Changed: smartwatch of people s01 to s20 alone, values rounded to .001, "
    "time since the start of each recording"
)


def bundle(folder: Path) -> bytes:
    """Return the .npz of the recordings in a folder of SPSW's CSV files, in the form of bundled_recordings.py.

    Raises:
        UsageError: the files cannot be read.
    """
    options = DataConfig(name_pattern="{subject}_{recording}_sw.csv", channels=tuple(CHANNELS))
    raw = read_recordings(folder, options, note=print)
    own = [one for one in raw.recordings if one.subject in SUBJECTS]
    labels = sorted(raw.labels)
    order = np.array([labels.index(label) for label in raw.labels])
    rows = []
    for one in own:
        assert one.stamps is not None  # read_recordings refuses files without
        values = np.rint(one.x.astype(np.float64) * 10**DECIMALS).astype(np.int32)
        rows.append(np.column_stack([(one.stamps - one.stamps[0]).astype(np.int32), values]))
    arrays = {
        "steps": packed(np.concatenate(rows)),
        "columns": np.array(["time [ms]", *(f"{name} [{unit}]" for name, unit in CHANNELS.items())]),
        "decimals": np.array([0, *[DECIMALS] * len(CHANNELS)]),
        "label": np.concatenate([order[one.label] for one in own]).astype(np.uint8),
        "labels": np.array(labels),
        "lengths": np.array([len(one.x) for one in own]),
        "recordings": np.array([one.name for one in own]),
        "subjects": np.array([one.subject for one in own]),
        "terms": np.array(TERMS),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # its entries have no dates
    return buffer.getvalue()


def packed(values: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the steps uint8 [4, k, n] of integers [n, k]; the inverse of `bundled_recordings.unpacked`."""
    start = np.zeros((2, values.shape[1]), np.int32)
    steps = np.diff(values, n=2, axis=0, prepend=start)
    folded = np.ascontiguousarray(((steps << 1) ^ (steps >> 31)).T).astype("<u4")
    return np.ascontiguousarray(folded.view(np.uint8).reshape(*folded.shape, 4).transpose(2, 0, 1))


def main(arguments: list[str] | None = None) -> None:
    """Write the bundle."""
    parser = argparse.ArgumentParser(prog="python -m experiments.bundle_spsw", description="Pack the recordings of SPSW.")
    parser.add_argument("folder", type=Path, help="of SPSW's CSV files, s01_01_sw.csv and so on")
    data = bundle(parser.parse_args(arguments).folder)
    write_atomic(BUNDLE, data)
    print(f"{BUNDLE}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
