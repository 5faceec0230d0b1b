# SPDX-License-Identifier: Apache-2.0
"""One data set written in every format is one Dataset, or is refused in the same words."""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.data.registry import load_dataset
from memkd_edge.errors import UsageError

STEPS = 8


@dataclass
class Raw:
    """series: [T, C] each, NaN for a missing value. labels: None for a missing one."""

    series: list[np.ndarray]
    labels: list[str | None]


Parts = dict[str, Raw]  # train and test


def number(value: float, missing: str) -> str:
    return missing if np.isnan(value) else repr(float(value))


def rows_of(raw: Raw, missing: str) -> list[tuple[str, list[list[str]]]]:
    """Return of each series its label and, for each channel, its values as text."""
    return [
        (missing if label is None else label, [[number(value, missing) for value in channel] for channel in series.T])
        for series, label in zip(raw.series, raw.labels, strict=True)
    ]


def write_ts(folder: Path, parts: Parts, missing: str) -> str:
    known = sorted({label for raw in parts.values() for label in raw.labels if label is not None})
    for part, raw in parts.items():
        lines = [":".join([*(",".join(values) for values in channels), label]) for label, channels in rows_of(raw, missing)]
        header = f"@problemName D\n@classLabel true {' '.join(known)}\n@data\n"
        (folder / f"D_{part.upper()}.ts").write_text(header + "\n".join(lines) + "\n")
    return "D"


def write_arff(folder: Path, parts: Parts, missing: str) -> str:
    for part, raw in parts.items():
        lines = [
            ("'" + r"\n".join(",".join(values) for values in channels) + "'" if len(channels) > 1 else ",".join(channels[0]))
            + (f",'{label}'" if " " in label else f",{label}")
            for label, channels in rows_of(raw, missing)
        ]
        (folder / f"D_{part.upper()}.arff").write_text("@relation D\n@data\n" + "\n".join(lines) + "\n")
    return "D"


def label_first(separator: str, ending: str) -> Callable[[Path, Parts, str], str]:
    def write(folder: Path, parts: Parts, missing: str) -> str:
        for part, raw in parts.items():
            lines = [separator.join([label, *channels[0]]) for label, channels in rows_of(raw, missing)]
            (folder / f"D_{part.upper()}{ending}").write_text("\n".join(lines) + "\n")
        return "D"

    return write


def write_npz(folder: Path, parts: Parts, missing: str) -> str:
    arrays = {}
    for part, raw in parts.items():
        x = np.full((len(raw.series), max(map(len, raw.series)), raw.series[0].shape[1]), np.nan)
        for index, series in enumerate(raw.series):
            x[index, : len(series)] = series
        arrays[f"X_{part}"] = x
        arrays[f"y_{part}"] = np.array([missing if label is None else label for label in raw.labels])
    np.savez(folder / "D.npz", **arrays)
    return str(folder / "D.npz")


def write_npz_bytes(folder: Path, parts: Parts, missing: str) -> str:
    path = write_npz(folder, parts, missing)
    with np.load(path) as archive:
        arrays = {name: np.char.encode(array, "utf-8") if name[0] == "y" else array for name, array in archive.items()}
    np.savez(path, **arrays)
    return path


def table_of(parts: Parts) -> tuple[list[str], list[list[object]]]:
    header = ["series", "label", "part", *(f"channel {index}" for index in range(parts["train"].series[0].shape[1]))]
    rows: list[list[object]] = []
    for part, raw in parts.items():
        for index, (series, label) in enumerate(zip(raw.series, raw.labels, strict=True)):
            rows += [
                [f"{part}{index}", label, part, *(None if np.isnan(value) else float(value) for value in step)] for step in series
            ]
    return header, rows


def write_csv(folder: Path, parts: Parts, missing: str) -> str:
    header, rows = table_of(parts)
    with (folder / "D.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([[missing if value is None else value for value in row] for row in rows])
    return str(folder / "D.csv")


def write_parquet(folder: Path, parts: Parts, missing: str) -> str:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'memkd-edge[parquet]'")
    parquet = pytest.importorskip("pyarrow.parquet")

    header, rows = table_of(parts)
    parquet.write_table(
        pyarrow.table({name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}),
        folder / "D.parquet",
    )
    return str(folder / "D.parquet")


# Format: how it is written, and what it has for a missing value.
ONE_CHANNEL: dict[str, tuple[Callable[[Path, Parts, str], str], str]] = {
    ".tsv, as pandas writes it": (label_first("\t", ".tsv"), ""),
    ".tsv of the archive": (label_first("\t", ".tsv"), "NaN"),
    "2015, commas": (label_first(",", ""), "NaN"),
    "2015, commas, nothing between": (label_first(",", ".csv"), ""),
    "2015, blanks": (label_first("   ", ".txt"), "NaN"),
}
FORMATS: dict[str, tuple[Callable[[Path, Parts, str], str], str]] = {
    ".ts": (write_ts, "NaN"),
    ".ts, question marks": (write_ts, "?"),
    ".arff": (write_arff, "?"),
    ".npz": (write_npz, "nan"),
    ".npz of bytes": (write_npz_bytes, ""),
    ".csv": (write_csv, ""),
    ".csv, nan": (write_csv, "nan"),
    ".parquet": (write_parquet, ""),
}
PLACE = r"[^\s(]*/D[\w.]*, (line \d+|[Xy]_\w+\[\d+\]|row \d+)( \(series '\w+'\))?(, column '\w+')?"


def outcome(folder: Path, parts: Parts, form: tuple[Callable[[Path, Parts, str], str], str]) -> object:
    """Return all that a Dataset says, or the refusal without the place, which differs."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    write, missing = form
    name = write(folder, parts, missing)
    try:
        data = load_dataset(name, data_root=str(folder))
    except UsageError as error:
        return re.sub(r"is missing \(b?'(|nan|NaN|\?)'\)", "is missing ('')", re.sub(PLACE, "HERE", str(error)))
    x = np.where(np.isnan(data.x_train), None, data.x_train)  # padding, which is not equal to itself
    return data.sha256, data.labels, data.channels, x.tolist(), data.y_test.tolist(), data.notes


def raw(labels: list[str | None], channels: int, seed: int, steps: int = STEPS) -> Raw:
    return Raw(list(np.random.default_rng(seed).normal(size=(len(labels), steps, channels)).astype(np.float32)), labels)


def sound(channels: int, names: tuple[str, str] = ("rest", "walk")) -> Parts:
    return {"train": raw([*names] * 3, channels, 0), "test": raw([*names], channels, 1)}


def formats(parts: Parts) -> dict[str, tuple[Callable[[Path, Parts, str], str], str]]:
    return FORMATS | (ONE_CHANNEL if parts["train"].series[0].shape[1] == 1 else {})


def check_all(folder: Path, parts: Parts) -> object:
    """Return the one outcome of all formats."""
    found = {form: outcome(folder, parts, how) for form, how in formats(parts).items()}
    expected = found[".csv"]
    assert {form: result for form, result in found.items() if result != expected} == {}
    return expected


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sound_data_set(tmp_path, channels):
    parts = sound(channels)
    _, labels, names, x, y, notes = check_all(tmp_path, parts)
    assert (labels, y, notes) == (("rest", "walk"), [0, 1], ())
    assert names == tuple(f"channel {index}" for index in range(channels))
    np.testing.assert_array_equal(x, np.stack(parts["train"].series))


def test_class_numbers_with_decimals(tmp_path):
    assert check_all(tmp_path, sound(1, ("0.0", "10.0")))[1] == ("0", "10")
    assert check_all(tmp_path, sound(2, ("1.0000000e+000", "-1")))[1] == ("-1", "1")


def test_class_names_with_blanks(tmp_path):
    parts = sound(2, ("sitting down", "sitting"))
    assert check_all(tmp_path, parts)[1] == ("sitting", "sitting down")


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_missing_label(tmp_path, part, channels):
    parts = sound(channels)
    parts[part].labels[1] = None
    assert check_all(tmp_path, parts) == "HERE: the class label is missing (''); label the series or leave it out"


@pytest.mark.parametrize("channels", [1, 2])
def test_a_gap(tmp_path, channels):
    parts = sound(channels)
    parts["train"].series[2][3:5, channels - 1] = np.nan
    assert check_all(tmp_path, parts).startswith(
        f"HERE: nan at time step 3, channel {channels - 1} (2 such values in all); fill the gaps or leave those series out"
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_a_single_missing_value(tmp_path, channels):
    parts = sound(channels)
    parts["train"].series[2][3, channels - 1] = np.nan
    expected = np.interp(3, [2, 4], parts["train"].series[2][[2, 4], channels - 1])
    assert check_all(tmp_path, parts)[3][2][3][channels - 1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_tail_of_gaps_in_all_series_is_padding(tmp_path, channels):
    parts = sound(channels)
    expected = check_all(tmp_path, parts)
    for its in parts.values():
        its.series = [np.pad(series, ((0, 3), (0, 0)), constant_values=np.nan) for series in its.series]
    assert check_all(tmp_path, parts) == expected


@pytest.mark.parametrize("channels", [1, 2])
def test_a_tail_of_gaps_in_one_series_makes_it_shorter(tmp_path, channels):
    parts = sound(channels)
    parts["test"].series[1][-2:] = np.nan
    assert check_all(tmp_path, parts)[5] == ("D: the series have 6 to 8 time steps; each is decided after its own last one",)


def test_a_tail_in_one_channel_only_is_a_gap(tmp_path):
    parts = sound(2)
    parts["train"].series[0][-1, 1] = np.nan
    assert check_all(tmp_path, parts).startswith("HERE: nan at time step 7, channel 1")


def test_a_series_of_gaps_only(tmp_path):
    parts = sound(2)
    parts["train"].series[4][:] = np.nan
    assert check_all(tmp_path, parts) == "HERE: the series has no values; leave it out"


def test_too_large_a_value(tmp_path):
    parts = sound(1)
    parts["train"].series[0][0] = 3e38
    assert check_all(tmp_path, parts).startswith("D: channel 0 reaches 3e+38, which float32 cannot compute with")


def test_a_channel_that_rises_as_time_does(tmp_path):
    parts = sound(2)
    for its in parts.values():
        for index, series in enumerate(its.series):
            series[:, 1] = 1000 * index + np.arange(STEPS)
    assert check_all(tmp_path, parts).startswith(
        "D: channel 1 never falls within a series but to start again, as a time or a count of rows does; it"
    )


def test_a_constant_channel_is_noted(tmp_path):
    parts = sound(2)
    for its in parts.values():
        for series in its.series:
            series[:, 1] = 9.5
    assert check_all(tmp_path, parts)[5] == ("D: channel 1 is constant (9.5): there is nothing to learn from it, leave it out",)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_is_written_comes_back_the_same_from_every_format(tmp_path_factory, data):
    channels, steps = data.draw(st.integers(1, 2)), data.draw(st.integers(3, 5))
    value = st.one_of(
        st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([np.nan, 0.0, 1.0, 1e7, 1e7 + 1])
    )
    label = st.sampled_from(["a", "b", "a", "b", "1", "1.0", "2.50", "at rest", "x_y"])
    parts = {}
    for part, least in (("train", 4), ("test", 2)):
        labels = data.draw(st.lists(label, min_size=least, max_size=6))
        numbers = data.draw(st.lists(value, min_size=len(labels) * steps * channels, max_size=len(labels) * steps * channels))
        parts[part] = Raw(list(np.array(numbers, np.float32).reshape(len(labels), steps, channels)), labels)
    spoken = {key: form for key, form in formats(parts).items() if key != "2015, blanks"}  # which has no names with blanks
    folder = tmp_path_factory.mktemp("same")
    found = {key: outcome(folder, parts, form) for key, form in spoken.items()}
    assert {key: result for key, result in found.items() if result != found[".csv"]} == {}
