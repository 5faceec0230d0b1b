# SPDX-License-Identifier: Apache-2.0
"""Finds a data set by name or path: a user's file, a folder of UCR/UEA sets, the sets that aeon carries, or a download."""

import difflib
import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from memkd_edge.data import tables
from memkd_edge.data.bundled_recordings import BUNDLED_RECORDINGS
from memkd_edge.data.dataset import Dataset, Description, RawPart, assemble
from memkd_edge.data.npz import read_npz
from memkd_edge.data.text_formats import read_arff, read_label_first, read_ts
from memkd_edge.data.windows_table import read_windows
from memkd_edge.errors import MemkdEdgeError, UsageError

Parts = tuple[str, RawPart, RawPart | None, Description]

ARCHIVE_TERMS = "UCR/UEA archive: free for research; cite Dau et al. 2019 (UCR) or Bagnall et al. 2018 (UEA)"

# Endings of <NAME>_TRAIN and <NAME>_TEST, best first; the 2015 archive has none, and copies of it .txt or .csv.
_READERS: dict[str, Callable[[Path], RawPart]] = {
    ".ts": read_ts,
    ".tsv": read_label_first,
    ".arff": read_arff,
    "": read_label_first,
    ".txt": read_label_first,
    ".csv": read_label_first,
}

# The classification sets of equal length that aeon carries.
BUNDLED = (
    "ACSF1",
    "ArrowHead",
    "BasicMotions",
    "GunPoint",
    "ItalyPowerDemand",
    "JapaneseVowels_eq",
    "OSULeaf",
    "PickupGestureWiimoteZ_eq",
)

_ALONE = (".ts", ".arff")  # of these a file alone is a data set, too
_SWAPPED = "@swapped"

_VARIANT = r"(_eq|_nmv)+$"  # equal-length and gap-free versions of a set lie beside it

# What the archive's own description tells and the files do not.
_KNOWN = {
    "BasicMotions": Description(
        channels=("accelerometer x", "accelerometer y", "accelerometer z", "gyroscope x", "gyroscope y", "gyroscope z"),
        sample_rate_hz=10.0,
    ),
}


def load_dataset(name_or_path: str, *, data_root: str = "", groups: str = "") -> Dataset:
    """Load a classification data set.

    Args:
        name_or_path: path of a .npz (see npz.py), .csv, .parquet (see windows_table.py), .ts or .arff file, or the name of a
            UCR/UEA set, looked for in `data_root`, then among those that aeon carries, then in aeon's download folder
            ($AEON_DATA or ~/aeon_data), and else downloaded there. NAME@swapped has training and test part exchanged: the UCR
            archive of 2015 has some sets so.
        data_root: folder with NAME.npz, or NAME_TRAIN and NAME_TEST as .ts, .tsv, .arff or 2015 text, or a folder NAME of these.
        groups: column (.csv, .parquet) or array (.npz, without _train/_test) that names the subject of a series.

    Raises:
        UsageError: no such data set (near names are suggested), or its content cannot be used (the place is named).
        MemkdEdgeError: a known set could not be downloaded. MissingToolError: reading .parquet needs an optional package.
    """
    dataset = assemble(*read_parts(name_or_path, data_root=data_root, groups=groups))
    return _swapped(dataset) if name_or_path.strip().endswith(_SWAPPED) else dataset


def read_parts(name_or_path: str, *, data_root: str = "", groups: str = "") -> Parts:
    """Return the name, the parts as they stand there, unchecked, and the description of what `load_dataset` loads.

    Raises:
        UsageError, MemkdEdgeError, MissingToolError: as `load_dataset`.
    """
    if data_root and not os.path.isdir(data_root):
        raise UsageError(f"--data-root {data_root}: no such folder")
    path = Path(name_or_path)
    if path.suffix.lower() in (".npz", *tables.ENDINGS):
        if not os.path.isfile(path):
            raise UsageError(f"no data file at {path.absolute()}")
        return _file(path, groups)
    if path.suffix.lower() in _ALONE and os.path.isfile(path):
        _refuse_groups(groups, path)
        return path.stem, _READERS[path.suffix.lower()](path), None, Description(source=str(path))
    name, at, version = name_or_path.strip().partition("@")
    if at and f"@{version}" != _SWAPPED:
        raise UsageError(f"{name_or_path!r}: after @ only `swapped` can stand, which exchanges training and test part")
    if name in BUNDLED_RECORDINGS:
        raise UsageError(
            f"{name_or_path} is a set of recordings, where windows are needed; cut them with --windows, as in --windows 2s"
        )
    return _named(name, data_root, groups)


def _named(name: str, data_root: str, groups: str) -> Parts:
    if not re.fullmatch(r"[\w.+-]+", name):
        raise UsageError(f"{name!r} is neither the name of a data set nor the path of a .npz, .csv or .parquet file")
    folders = [Path(data_root)] if data_root else []
    for folder in [*folders, *_bundled_folder(), _download_folder()]:
        found = _find(folder, name)
        if isinstance(found, Path):
            return _file(found, groups)
        if found is not None:
            return _pair(name, found, groups)
    _download(name, data_root)
    found = _find(_download_folder(), name)
    if not isinstance(found, tuple):
        raise MemkdEdgeError(f"the download of {name} brought no {name}_TRAIN.ts and {name}_TEST.ts to {_download_folder()}")
    return _pair(name, found, groups)


def _swapped(dataset: Dataset) -> Dataset:
    unknown = [label for index, label in enumerate(dataset.labels) if index not in dataset.y_test]
    if unknown:
        raise UsageError(f"{dataset.name}@swapped: class {unknown[0]!r} has no series in the test part, which would train")
    return replace(
        dataset,
        x_train=dataset.x_test,
        y_train=dataset.y_test,
        groups_train=dataset.groups_test,
        x_test=dataset.x_train,
        y_test=dataset.y_train,
        groups_test=dataset.groups_train,
        split="training and test part exchanged",
    )


def available(data_root: str = "") -> list[str]:
    """Return the names of the sets that can be loaded without a download, sorted."""
    names = {name for name in BUNDLED for folder in _bundled_folder() if _find(folder, name) is not None}
    names.update(BUNDLED_RECORDINGS)
    for folder in [*([Path(data_root)] if data_root else []), _download_folder()]:
        for path in [*folder.glob("*"), *folder.glob("*/*")]:
            match = re.fullmatch(r"(.+)_TRAIN(\.(ts|tsv|arff|txt|csv))?", path.name)
            if match and path.with_name(f"{match[1]}_TEST{match[2] or ''}").is_file():
                names.add(match[1])
            elif path.suffix == ".npz":
                names.add(path.stem)
    return sorted(names)


def _file(path: Path, groups: str) -> Parts:
    reader = read_npz if path.suffix.lower() == ".npz" else read_windows
    return path.stem, *reader(path, groups)


def _pair(name: str, pair: tuple[Path, Path], groups: str) -> Parts:
    _refuse_groups(groups, pair[0])
    train, test = (_READERS[path.suffix if path.suffix in _READERS else ""](path) for path in pair)
    known = _KNOWN.get(name, Description())
    description = Description(
        channels=known.channels, sample_rate_hz=known.sample_rate_hz, terms=ARCHIVE_TERMS, source=f"{pair[0].parent}/{name}"
    )
    return name, train, test, description


def _refuse_groups(groups: str, path: Path) -> None:
    if groups:
        raise UsageError(f"--groups {groups}: {path} cannot name subjects; only .npz, .csv and .parquet files can")


def _find(folder: Path, name: str) -> Path | tuple[Path, Path] | None:
    """Return NAME.npz or the pair of files of set `name` in `folder`, or None.

    Raises:
        UsageError: the training file stands there without the test file.
    """
    for place in (folder, folder / name, folder / re.sub(_VARIANT, "", name)):
        if os.path.isfile(place / f"{name}.npz"):
            return place / f"{name}.npz"
        pairs = [(place / f"{name}_TRAIN{ending}", place / f"{name}_TEST{ending}") for ending in _READERS]
        for train, test in pairs:
            if os.path.isfile(train) and os.path.isfile(test):
                return train, test
        for train, test in pairs:
            if os.path.isfile(train):
                raise UsageError(f"{train} stands there without {test.name}; put it beside")
    return None


def _bundled_folder() -> list[Path]:
    """Return the folder of the sets inside the installed aeon package, found without importing it."""
    spec = importlib.util.find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        return []
    return [Path(spec.submodule_search_locations[0]) / "datasets" / "data"]


def _download_folder() -> Path:
    return Path(os.environ.get("AEON_DATA") or Path.home() / "aeon_data")


def _download(name: str, data_root: str) -> None:
    """Have aeon fetch the set into its download folder."""
    try:
        from aeon.datasets import load_classification
        from aeon.datasets.tsc_datasets import multivariate, univariate
    except ImportError:
        load_classification, archive = None, set()
    else:
        archive = {*univariate, *multivariate}
    if re.sub(_VARIANT, "", name) not in archive:
        # Case and underscores differ between the 2015 and the 2018 archive: GunPoint was Gun_Point.
        keys: dict[str, str] = {known.lower().replace("_", ""): known for known in [*archive, *available(data_root)]}
        near = [keys[key] for key in difflib.get_close_matches(name.lower().replace("_", ""), keys, n=3, cutoff=0.6)]
        advice = f"did you mean {' or '.join(near)}?" if near else f"ready without a download: {', '.join(available(data_root))}"
        raise UsageError(f"no data set named {name!r}; {advice}")
    try:
        load_classification(name, extract_path=str(_download_folder()))
    except Exception as error:  # aeon lets through whatever its download and its readers raise
        raise MemkdEdgeError(
            f"{name} could not be downloaded ({type(error).__name__}: {error}). Offline, put {name}_TRAIN.ts and {name}_TEST.ts "
            f"(or .tsv, .arff, .npz) from https://timeseriesclassification.com into a folder and name it with --data-root. "
            f"Ready without a download: {', '.join(available(data_root))}"
        ) from error
