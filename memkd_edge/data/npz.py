# SPDX-License-Identifier: Apache-2.0
"""Reader of .npz data sets: the user's own and those of a folder with a MANIFEST.json.

Arrays: X_train [N, T, C] (or [N, T] for one channel), y_train [N] (class names or numbers), X_test, y_test; or X and y alone, and
a test part is split off. Subjects: subj_train and subj_test (or subj), or another name given as `groups`. Optional: labels (name
of each class number), channels, units, sample_rate_hz, and len_train, len_test (or len) when padded series are shorter.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.dataset import Description, RawPart
from memkd_edge.errors import UsageError

SUBJECT = "subj"


def read_npz(path: Path, groups: str = "") -> tuple[RawPart, RawPart | None, Description]:
    """Read the file; nothing in it is executed (pickled objects are refused).

    Raises:
        UsageError: missing, damaged, or without the arrays above.
    """
    try:
        # Opened here, because numpy leaves a file open that turns out to be no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays: dict[str, NDArray[Any]] = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # damage surfaces as whatever zipfile, zlib and numpy's header parser raise
        raise UsageError(f"{path}: not a readable .npz file without pickled objects ({error})") from error
    described = _describe(path, arrays)
    if "X_train" in arrays:
        test = _part(path, arrays, "_test", groups, described) if "X_test" in arrays else None
        return _part(path, arrays, "_train", groups, described), test, described
    if "X" in arrays:
        return _part(path, arrays, "", groups, described), None, described
    raise UsageError(f"{path}: no array X_train or X; it holds {', '.join(sorted(arrays)) or 'nothing'}")


def _part(path: Path, arrays: dict[str, NDArray[Any]], suffix: str, groups: str, described: Description) -> RawPart:
    x = arrays[f"X{suffix}"]
    if x.ndim == 2:
        x = x[:, :, None]
    if x.ndim != 3 or x.dtype.kind not in "fiu":
        raise UsageError(f"{path}: X{suffix} is {x.dtype} {list(x.shape)}; numbers [N, T, C] or [N, T] are expected")
    y = _one_per_series(path, arrays, f"y{suffix}", len(x))
    lengths = np.full(len(x), x.shape[1])
    if f"len{suffix}" in arrays:
        lengths = _one_per_series(path, arrays, f"len{suffix}", len(x))
        if lengths.dtype.kind not in "iu" or ((lengths < 1) | (lengths > x.shape[1])).any():
            raise UsageError(f"{path}: len{suffix} must hold whole numbers from 1 to {x.shape[1]}")
    subjects = None
    if f"{groups or SUBJECT}{suffix}" in arrays or groups:
        subjects = [str(value) for value in _one_per_series(path, arrays, f"{groups or SUBJECT}{suffix}", len(x))]
    return RawPart(
        series=[row[:length] for row, length in zip(x, lengths, strict=True)],
        labels=[_label(path, value, described.labels, f"y{suffix}[{index}]") for index, value in enumerate(y)],
        places=[f"{path}, X{suffix}[{index}]" for index in range(len(x))],
        subjects=subjects,
    )


def _one_per_series(path: Path, arrays: dict[str, NDArray[Any]], name: str, count: int) -> NDArray[Any]:
    if name not in arrays:
        raise UsageError(f"{path}: no array {name}; it holds {', '.join(sorted(arrays))}")
    if arrays[name].shape != (count,):
        raise UsageError(f"{path}: {name} has shape {list(arrays[name].shape)} where there are {count} series")
    return arrays[name]


def _label(path: Path, value: Any, labels: tuple[str, ...], place: str) -> str:
    """Return the class name: `labels[value]` for a class number when names are given, else the value as text."""
    if not labels or value.dtype.kind not in "iu":
        return str(value)
    if not 0 <= value < len(labels):
        raise UsageError(f"{path}, {place}: class number {value} has no name among the {len(labels)} labels")
    return labels[int(value)]


def _describe(path: Path, arrays: dict[str, NDArray[Any]]) -> Description:
    """Return what the file, or a MANIFEST.json beside it, tells about the data set; the file's own word counts more."""
    entry = _manifest_entry(path)
    names = entry.get("class_names") or entry.get("label_values") or ()
    labels, channels, units = (
        tuple(str(value) for value in np.atleast_1d(arrays.get(key, fallback)))
        for key, fallback in (("labels", names), ("channels", entry.get("channel_names") or ()), ("units", ()))
    )
    return Description(
        channels=channels,
        units=units,
        labels=labels,
        sample_rate_hz=_sample_rate(path, arrays.get("sample_rate_hz", entry.get("sampling_hz"))),
        terms=str(entry.get("terms", "")),
        source=str(path),
    )


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
                entry = json.loads(manifest.read_text(encoding="utf-8"))["datasets"][path.stem]
            except (OSError, ValueError) as error:
                raise UsageError(f"{manifest}: not a readable JSON file ({error})") from error
            except (KeyError, TypeError):  # a manifest of something else
                continue
            if isinstance(entry, dict):
                return entry
    return {}
