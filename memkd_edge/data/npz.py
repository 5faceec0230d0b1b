# SPDX-License-Identifier: Apache-2.0
"""Reader of .npz data sets: the user's own and those of a folder with a MANIFEST.json.

Arrays: X_train [N, T, C] (or [N, T] for one channel), y_train [N] (class names or numbers), X_test, y_test; or X and y alone, and
a test part is split off. Subjects: subj_train and subj_test (or subj), or another name given as `groups`. Optional: labels (name
of each class number), channels, units, sample_rate_hz, and len_train, len_test (or len) when padded series are shorter. NaN is
a missing value, and a tail of NaN padding.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.columns import Role, role
from memkd_edge.data.dataset import MINIMUM_STEPS, Description, RawPart
from memkd_edge.data.labels import class_name, label_text
from memkd_edge.errors import UsageError
from memkd_edge.npz_archive import NpzArchive
from memkd_edge.parsing import json_value

SUBJECT = "subj"


def read_npz(path: Path, groups: str = "") -> tuple[RawPart, RawPart | None, Description]:
    """Read the file; nothing in it is executed (pickled objects are refused).

    Raises:
        UsageError: missing, damaged, or without the arrays above.
    """
    with NpzArchive(path) as archive:
        if "X_train" not in archive and "X" not in archive:
            raise UsageError(f"{path}: no array X_train or X; it holds {archive.names}")
        suffix = "_train" if "X_train" in archive else ""
        x = _series(path, archive, f"X{suffix}")
        described = _describe(path, archive, x, f"X{suffix}")
        train = _part(path, archive, x, suffix, groups, described.labels)
        test = None
        if suffix and "X_test" in archive:
            test = _part(path, archive, _series(path, archive, "X_test"), "_test", groups, described.labels)
    return train, test, described


def _series(path: Path, archive: NpzArchive, name: str) -> NDArray[Any]:
    """Return [N, T, C]."""
    x = archive.read(name)
    if x.ndim == 2:
        x = x[:, :, None]
    if x.ndim != 3 or x.dtype.kind not in "fiu":
        raise UsageError(f"{path}: {name} is {x.dtype} {list(x.shape)}; numbers [N, T, C] or [N, T] are expected")
    return x


def _part(path: Path, archive: NpzArchive, x: NDArray[Any], suffix: str, groups: str, labels: tuple[str, ...]) -> RawPart:
    y = _one_per_series(path, archive, f"y{suffix}", len(x))
    if y.dtype.kind not in "USiufb":
        raise UsageError(f"{path}: y{suffix} is {y.dtype}; class names or class numbers are expected")
    lengths = np.full(len(x), x.shape[1])
    if f"len{suffix}" in archive:
        lengths = _one_per_series(path, archive, f"len{suffix}", len(x))
        if lengths.dtype.kind not in "iu" or ((lengths < 1) | (lengths > x.shape[1])).any():
            raise UsageError(f"{path}: len{suffix} must hold whole numbers from 1 to {x.shape[1]}")
    subjects = f"{groups or SUBJECT}{suffix}"
    return RawPart(
        series=[row[:length] for row, length in zip(x, lengths, strict=True)],
        labels=[_label(value, labels, f"{path}, y{suffix}[{index}]") for index, value in enumerate(y)],
        places=[f"{path}, X{suffix}[{index}]" for index in range(len(x))],
        subjects=list(_one_per_series(path, archive, subjects, len(x))) if subjects in archive or groups else None,
    )


def _one_per_series(path: Path, archive: NpzArchive, name: str, count: int) -> NDArray[Any]:
    array = archive.read(name)
    if array.shape != (count,):
        raise UsageError(f"{path}: {name} has shape {list(array.shape)} where there are {count} series, one entry each")
    return array


def _label(value: Any, labels: tuple[str, ...], place: str) -> str:
    """Return the class name: `labels[value]` for a class number when names are given, else the value as text."""
    name = class_name(value, place)
    if not labels or value.dtype.kind not in "iuf":
        return name
    if not name.isdecimal() or int(name) >= len(labels):
        raise UsageError(f"{place}: class number {name} has no name among the {len(labels)} labels")
    return labels[int(name)]


def _describe(path: Path, archive: NpzArchive, x: NDArray[Any], x_name: str) -> Description:
    """Return what the file, or a MANIFEST.json beside it, tells about the data set; the file's own word counts more."""
    entry = _manifest_entry(path)
    labels, channels, units = (
        tuple(
            label_text(value, f"{path}, {name}") for value in np.atleast_1d(archive.read(name) if name in archive else fallback)
        )
        for name, fallback in (
            ("labels", entry.get("class_names") or entry.get("label_values") or ()),
            ("channels", entry.get("channel_names") or ()),
            ("units", ()),
        )
    )
    for name, values in (("labels", labels), ("channels", channels)):
        if "" in values:
            raise UsageError(f"{path}: {name}[{values.index('')}] is empty")
    for channel, unit in zip(channels, units or [""] * len(channels), strict=False):
        if (its := role(f"{channel} [{unit}]" if unit else channel)) is not Role.CHANNEL:
            raise UsageError(
                f"{path}: channel {channel!r} is the {its} by its name, which would give the class away; leave it out of X, or "
                "give its unit if it is a measured quantity"
            )
    return Description(
        channels=channels,
        units=units,
        labels=labels,
        sample_rate_hz=_sample_rate(
            path, archive.read("sample_rate_hz") if "sample_rate_hz" in archive else entry.get("sampling_hz")
        ),
        terms=str(entry.get("terms", "")),
        source=str(path),
        notes=_order_of_axes(path, x, x_name, channels),
    )


def _order_of_axes(path: Path, x: NDArray[Any], name: str, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note if X may be [N, C, T], the order of aeon and of PyTorch's convolutions.

    Raises:
        UsageError: it certainly is, because the names of the channels or the number of steps fit only then.
    """
    _, steps, count = x.shape
    if count <= steps:
        return ()
    text = f"{path}: {name} is read as [N, T, C] with {steps} steps of {count} channels"
    remedy = f"if it is [N, C, T], as aeon has it, save {name}.transpose(0, 2, 1)"
    if (channels and len(channels) == steps) or steps < MINIMUM_STEPS:
        raise UsageError(f"{text}; {remedy}")
    return () if len(channels) == count else (f"{text}; {remedy}",)


def _sample_rate(path: Path, value: Any) -> float | None:
    if value is None:
        return None
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not 0.0 < rate < math.inf:
        raise UsageError(f"{path}: sample_rate_hz is {value!r}; a positive number is expected")
    return rate


def _manifest_entry(path: Path) -> dict[str, Any]:
    for folder in (path.parent, path.parent.parent):
        manifest = folder / "MANIFEST.json"
        if manifest.is_file():
            try:
                entry = json_value(manifest.read_bytes())["datasets"][path.stem]
            except (OSError, ValueError) as error:
                raise UsageError(f"{manifest}: not a readable JSON file ({error})") from error
            except (KeyError, TypeError):  # a manifest of something else
                continue
            if isinstance(entry, dict):
                return entry
    return {}
