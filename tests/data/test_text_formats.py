# SPDX-License-Identifier: Apache-2.0
"""Readers of the archives' text formats, against aeon's own readers and against damage."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.data.dataset import Description, assemble
from memkd_edge.data.registry import _bundled_folder
from memkd_edge.data.text_formats import read_arff, read_label_first, read_ts
from memkd_edge.errors import UsageError

FEW = settings(max_examples=60, deadline=None)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32)
LABEL = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=6)
HEADER = "#comment\n@problemName P\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"


def bundled(name):
    return _bundled_folder()[0] / name.split("_")[0] / name


@pytest.fixture(scope="session")
def aeon_datasets():
    import aeon.datasets

    return aeon.datasets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("text")


def check_against(part, x, y):
    """x: aeon's [N, C, T]; y: its labels, in lower case."""
    np.testing.assert_array_equal(np.stack(part.series), np.transpose(x, (0, 2, 1)))
    assert [label.lower() for label in part.labels] == list(y)


@pytest.mark.parametrize("name", ["BasicMotions_TRAIN", "BasicMotions_TEST", "GunPoint_TRAIN", "ItalyPowerDemand_TEST"])
def test_ts_values_and_labels_are_those_of_aeons_reader(aeon_datasets, name):
    path = bundled(f"{name}.ts")
    check_against(read_ts(path), *aeon_datasets.load_from_ts_file(str(path)))


def test_ts_reads_series_of_unequal_length_as_aeon_does(aeon_datasets):
    path = bundled("JapaneseVowels_TRAIN.ts")
    x, _ = aeon_datasets.load_from_ts_file(str(path))
    part = read_ts(path)
    assert len({len(series) for series in part.series}) > 1
    for ours, theirs in zip(part.series, x, strict=True):
        np.testing.assert_array_equal(ours, theirs.T)


def test_ts_labels_keep_their_case():
    assert set(read_ts(bundled("BasicMotions_TRAIN.ts")).labels) == {"Standing", "Running", "Walking", "Badminton"}


@pytest.mark.parametrize("name", ["BasicMotions_TRAIN", "GunPoint_TRAIN"])
def test_arff_values_are_those_of_aeons_reader(aeon_datasets, name):
    path = bundled(f"{name}.arff")
    x, y = aeon_datasets.load_from_arff_file(str(path))
    check_against(read_arff(path), x, [label.lower() for label in y])


def test_arff_values_are_those_of_scipys_reader():
    from scipy.io import arff

    path = bundled("GunPoint_TRAIN.arff")
    rows, meta = arff.loadarff(path)
    part = read_arff(path)
    np.testing.assert_array_equal(
        np.stack(part.series)[:, :, 0], np.array([[row[name] for name in meta.names()[:-1]] for row in rows])
    )
    assert part.labels == [row[-1].decode() for row in rows]


def test_arff_class_names_may_be_quoted_and_hold_commas(tmp_path):
    (tmp_path / "q.arff").write_text("@data\n1,2,3,'sitting, fast'\n'1,2\\n3,4',\"a b\"\n1,2,3,c\n")
    assert read_arff(tmp_path / "q.arff").labels == ["sitting, fast", "a b", "c"]


def test_tsv_values_are_those_of_aeons_reader(aeon_datasets):
    path = bundled("GunPoint_TRAIN.tsv")
    x, y = aeon_datasets.load_from_tsv_file(str(path))
    part = read_label_first(path)
    np.testing.assert_array_equal(np.stack(part.series)[:, :, 0], x[:, 0])
    assert [float(label) for label in part.labels] == list(y.astype(float))


@pytest.mark.parametrize(("name", "shape"), [("CBF", (30, 128, 1)), ("ECG200", (100, 96, 1)), ("Gun_Point", (50, 150, 1))])
def test_the_three_dialects_of_the_2015_text_are_read(shared_data, name, shape):
    path = shared_data / "original" / "ucr2015_csv" / f"{name}_TRAIN"
    data = assemble(name, read_label_first(path), None, Description())
    expected = np.loadtxt(path, delimiter="," if name == "CBF" else None)
    x = np.concatenate([data.x_train, data.x_test])
    assert x.shape == shape
    y = np.array(data.labels, dtype=float)[np.concatenate([data.y_train, data.y_test])]
    ours, theirs = np.column_stack([y, x[:, :, 0]]), expected.astype(np.float32)
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_an_empty_field_is_a_missing_value_as_for_aeon(aeon_datasets, tmp_path):
    # As pandas writes NaN; the second line ends with two of them.
    (tmp_path / "p.tsv").write_text("1\t0.5\t\t2\t3\n2\t0.5\t1.5\t\t\n-1\tNaN\t1\t2\t3\n")
    x, y = aeon_datasets.load_from_tsv_file(str(tmp_path / "p.tsv"))
    part = read_label_first(tmp_path / "p.tsv")
    np.testing.assert_array_equal(np.stack(part.series)[:, :, 0], x[:, 0].astype(float))
    assert [int(label) for label in part.labels] == list(y)


def test_a_question_mark_is_a_missing_value(tmp_path):
    for reader, text in ((read_ts, HEADER + "1, ?,3:4,5,?:a\n"), (read_label_first, "a,1,?,3\n")):
        (tmp_path / "p").write_text(text)
        (series,) = reader(tmp_path / "p").series
        np.testing.assert_array_equal(series[:, 0], [1, np.nan, 3])


def test_blanks_around_a_tab_and_in_a_class_name_and_runs_of_blanks_are_fine(tmp_path):
    (tmp_path / "p").write_text(" at rest \t 0.5\t  2 \t3 \n  2   0.5 2    3 \n")
    part = read_label_first(tmp_path / "p")
    assert [str(label) for label in part.labels] == ["at rest", "2"]
    np.testing.assert_array_equal(np.stack(part.series)[:, :, 0], [[0.5, 2, 3]] * 2)


def test_class_names_with_blanks_as_aeon_and_sktime_write_them(aeon_datasets, tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 2, 6))
    y = np.array(["sitting down", "walking", "standing", "sitting"] * 2)
    aeon_datasets.save_to_ts_file(x, y, label_type="classification", path=str(tmp_path), problem_name="P", file_suffix="_TRAIN")
    part = read_ts(tmp_path / "P_TRAIN.ts")
    assert part.labels == list(y)
    np.testing.assert_array_equal(np.stack(part.series), x.transpose(0, 2, 1))


def test_a_file_that_aeon_wrote_without_labels_is_refused(aeon_datasets, tmp_path):
    aeon_datasets.save_to_ts_file(np.zeros((4, 2, 6)), path=str(tmp_path), problem_name="P")
    with pytest.raises(UsageError, match=r"the file has no class labels"):
        read_ts(tmp_path / "P.ts")


@FEW
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)),
    data=st.data(),
)
def test_ts_and_arff_give_back_what_was_written(folder, shape, data):
    count, steps, channels = shape
    numbers = data.draw(st.lists(NUMBER, min_size=count * steps * channels, max_size=count * steps * channels))
    x = np.array(numbers).reshape(shape)
    labels = data.draw(st.lists(LABEL, min_size=count, max_size=count))
    rows = [[",".join(repr(float(value)) for value in series[:, c]) for c in range(channels)] for series in x]
    ts, arff = folder / "round.ts", folder / "round.arff"
    ts.write_text(
        f"@classLabel true {' '.join(labels)}\n@data\n"
        + "".join(":".join([*row, label]) + "\n" for row, label in zip(rows, labels, strict=True))
    )
    arff.write_text(
        "@relation r\n@data\n" + "".join("'" + "\\n".join(row) + f"',{label}\n" for row, label in zip(rows, labels, strict=True))
    )
    for part in (read_ts(ts), read_arff(arff)):
        np.testing.assert_array_equal(np.stack(part.series), x)
        assert part.labels == labels


@FEW
@given(
    text=st.text(alphabet=st.sampled_from("0123456789.,:;eE+-naNifb?@#%'\"\t \n\\"), max_size=80),
    reader=st.sampled_from([read_ts, read_arff, read_label_first]),
    header=st.sampled_from(["", HEADER, "@data\n"]),
)
def test_garbage_is_read_or_refused_but_never_crashes(folder, text, reader, header):
    path = folder / "garbage.txt"
    path.write_text(header + text)
    # UsageError is the only exception that may come out.
    with suppress(UsageError):
        part = reader(path)
        assert len(part.series) == len(part.labels) == len(part.places)
        assert all(series.ndim == 2 for series in part.series)


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (read_ts, HEADER + "1,2,x:1,2,3:a\n", r"line 7, column 3: 'x' is not a number"),
        (read_ts, HEADER + "1,2,3:1,x,3:a\n", r"line 7, column 5: 'x' is not a number"),
        (read_ts, HEADER + "1,2,3:1,2:a\n", r"line 7: channel 1 has 2 values where channel 0 has 3"),
        (read_ts, HEADER + "1,2,3:1,2,3:c\n", r"line 7: class 'c' is not one of the header's: a, b"),
        (read_ts, HEADER + "1,2,3:1,2,3\n", r"line 7: after the last ':' stand values \(1,2,3...\) where the class is expected$"),
        (read_ts, "@data\n1,2:3,4\n", r"line 2: after the last ':' stand values .*; the header has no @classLabel line"),
        (read_ts, HEADER + "1,2,3:1,2,3:a  c\n", r"line 7: class 'a  c' is not one of the header's: a, b"),
        (read_ts, HEADER + "1,2,3\n", r"line 7: a series needs its values and, after a ':', its class"),
        (read_ts, "@classLabel false\n@data\n1,2,3\n", r"line 1: the file has no class labels"),
        (read_ts, "@targetLabel true\n@data\n1,2,3:0.5\n", r"line 1: this is a regression data set"),
        (read_ts, "@timeStamps true\n@data\n(0,1):a\n", r"line 1: time-stamped series are not supported"),
        (read_ts, "1,2,3:a\n", r"line 1: '1,2,3:a' stands before @data"),
        (read_ts, "@problemName P\n", r"no @data line"),
        (read_arff, "@data\n1,2,1_0,a\n", r"line 2, column 3: '1_0' is not a number"),
        (read_arff, "@data\n5\n", r"line 2: a series needs its values"),
        (read_arff, "@relation r\n", r"no @data line"),
        (read_label_first, "1,2,3\n2,2,two\n", r"line 2, column 3: 'two' is not a number"),
        (read_label_first, "1\t0.5\n\n7\n", r"line 3: a series needs its class and, after it, its values"),
    ],
)
def test_damage_is_reported_with_line_and_column(tmp_path, reader, text, message):
    (tmp_path / "f").write_text(text)
    with pytest.raises(UsageError, match=message):
        reader(tmp_path / "f")


def test_a_missing_file_and_a_binary_file_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*No such file"):
        read_ts(tmp_path / "absent.ts")
    (tmp_path / "binary.ts").write_bytes(b"@data\n\xff\xfe")
    with pytest.raises(UsageError, match="byte 6 is not UTF-8"):
        read_ts(tmp_path / "binary.ts")


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "bom.tsv").write_bytes(b"\xef\xbb\xbf1\t2.5\n")
    assert read_label_first(tmp_path / "bom.tsv").labels == ["1"]
