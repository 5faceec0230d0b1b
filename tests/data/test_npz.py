# SPDX-License-Identifier: Apache-2.0
"""The .npz reader: the user's files, files with a manifest, and damage."""

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.data.registry import load_dataset
from memkd_edge.errors import UsageError
from memkd_edge.padding import lengths

X = np.random.default_rng(0).normal(size=(12, 7, 2)).astype(np.float32)
Y = np.array(["walk", "run"] * 6)


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def test_train_and_test_arrays_are_read(tmp_path):
    path = save(
        tmp_path / "mine.npz",
        X_train=X[:8],
        y_train=Y[:8],
        X_test=X[8:],
        y_test=Y[8:],
        channels=["x", "y"],
        units=["g", "deg/s"],
        sample_rate_hz=52.0,
    )
    data = load_dataset(path)
    np.testing.assert_array_equal(data.x_train, X[:8])
    np.testing.assert_array_equal(data.x_test, X[8:])
    assert [data.labels[index] for index in data.y_test] == list(Y[8:])
    assert (data.name, data.labels, data.channels, data.units) == ("mine", ("run", "walk"), ("x", "y"), ("g", "deg/s"))
    assert data.sample_rate_hz == 52.0
    assert data.source == path


def test_univariate_series_may_come_as_a_matrix_and_without_a_test_part(tmp_path):
    data = load_dataset(save(tmp_path / "flat.npz", X=X[:, :, 0].astype(np.float64), y=Y))
    assert data.x_train.shape[1:] == (7, 1)
    assert len(data.x_train) + len(data.x_test) == 12
    assert data.split == "4 of 12 series held out for the test, stratified, seed 0"


def test_class_numbers_get_the_names_given_for_them(tmp_path):
    data = load_dataset(save(tmp_path / "n.npz", X=X, y=np.arange(12) % 2, labels=["z", "a"]))
    assert data.labels == ("z", "a")


def test_subjects_are_used_when_they_are_there(tmp_path):
    path = save(tmp_path / "s.npz", X=X, y=Y, subj=np.arange(12) // 2, site=np.arange(12) // 4)
    by_subject, by_site = load_dataset(path), load_dataset(path, groups="site")
    for data, count in ((by_subject, 6), (by_site, 3)):
        assert data.groups_train is not None
        assert data.groups_test is not None
        assert len({*data.groups_train, *data.groups_test}) == count
        assert not {*data.groups_train} & {*data.groups_test}


def test_a_manifest_beside_the_file_names_classes_and_terms(tmp_path):
    entry = {"label_values": ["run", "walk"], "channel_names": ["x", "y"], "sampling_hz": 20, "terms": "CC BY 4.0"}
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"datasets": {"m": entry}}))
    save(tmp_path / "m.npz", X=X, y=np.arange(12) % 2)
    data = load_dataset("m", data_root=str(tmp_path))
    assert (data.labels, data.channels, data.sample_rate_hz, data.terms) == (("run", "walk"), ("x", "y"), 20.0, "CC BY 4.0")


@pytest.mark.parametrize("text", ["{}", "[]", '{"datasets": {"other": {}}}', '{"datasets": {"m": 3}}'])
def test_a_manifest_of_something_else_is_ignored(tmp_path, text):
    (tmp_path / "MANIFEST.json").write_text(text)
    assert load_dataset(save(tmp_path / "m.npz", X=X, y=Y)).labels == ("run", "walk")


def test_padded_series_have_the_lengths_that_are_given(tmp_path):
    data = load_dataset(save(tmp_path / "p.npz", X=X, y=Y, len=np.where(np.arange(12) == 5, 4, 7)))
    found = np.concatenate([lengths(data.x_train), lengths(data.x_test)])
    assert sorted(found) == [4] + [7] * 11


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X}, "no array X_train or X; it holds a"),
        ({"X": X}, "no array y; it holds X"),
        ({"X": X, "y": Y[:5]}, r"y has shape \[5\] where there are 12 series"),
        ({"X": X[0, 0], "y": Y}, r"X is float32 \[2\]; numbers \[N, T, C\] or \[N, T\] are expected"),
        ({"X": X.astype(str), "y": Y}, "X is <U.*; numbers"),
        ({"X": X, "y": np.arange(12) % 3, "labels": ["a", "b"]}, r"y\[2\]: class number 2 has no name among the 2 labels"),
        ({"X": X, "y": Y, "len": np.zeros(12, dtype=int)}, "len must hold whole numbers from 1 to 7"),
        ({"X": X[:, :2], "y": Y}, r"X\[0\]: the series has 2 time steps; at least 3 are needed"),
        ({"X": X[:0], "y": Y[:0]}, "the training part holds no series"),
        ({"X_train": X, "y_train": Y, "X_test": X}, "no array y_test"),
        ({"X": X, "y": Y, "sample_rate_hz": "fast"}, "sample_rate_hz is .*fast.*; a positive number is expected"),
        ({"X": X, "y": Y, "sample_rate_hz": np.nan}, "a positive number is expected"),
        ({"X": X, "y": Y, "channels": "x"}, "1 channel names are given for 2 channels"),
        ({"X": X, "y": Y, "channels": ["x"]}, "1 channel names are given for 2 channels"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, arrays, message):
    with pytest.raises(UsageError, match=message):
        load_dataset(save(tmp_path / "w.npz", **arrays))


def test_an_unknown_group_array_is_named(tmp_path):
    with pytest.raises(UsageError, match="no array person; it holds X, y"):
        load_dataset(save(tmp_path / "g.npz", X=X, y=Y), groups="person")


def test_pickled_objects_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"o\.npz: y holds pickled Python objects, which are not read"):
        load_dataset(save(tmp_path / "o.npz", X=X, y=np.array([{"code": 1}] * 12, dtype=object)))


@settings(max_examples=40, deadline=None)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=3))
def test_a_truncated_or_damaged_file_is_a_usage_error_or_still_sound(tmp_path_factory, cut, flips):
    folder = tmp_path_factory.mktemp("damage")
    np.savez_compressed(folder / "d.npz", X=X, y=Y)
    content = bytearray((folder / "d.npz").read_bytes())
    content = content[: max(1, int(cut * 2 * len(content)))]
    for place, mask in flips:
        content[int(place * len(content))] ^= mask
    (folder / "d.npz").write_bytes(content)
    with suppress(UsageError):  # the only exception that may come out
        assert np.isfinite(load_dataset(str(folder / "d.npz")).x_train).all()


def test_an_array_file_under_the_wrong_name_is_refused(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, X)
    with pytest.raises(UsageError, match=r"a.npz: not a readable .npz file"):
        load_dataset(str(tmp_path / "a.npz"))


def test_the_developers_files_agree_with_the_archives_own_format(shared_data):
    for name in ("BasicMotions", "GunPoint"):
        npz, ts = load_dataset(name, data_root=str(shared_data / "npz")), load_dataset(name)
        assert npz.sha256 == ts.sha256


def test_the_developers_wearable_set_is_split_by_subject(shared_data):
    data = load_dataset("SPSW_smartwatch", data_root=str(shared_data / "npz"))
    assert data.labels == ("SEATED", "SITTING_DOWN", "STANDING_UP", "TURNING", "WALKING")
    assert data.sample_rate_hz == 100.0
    assert data.groups_train is not None
    assert data.groups_test is not None
    assert not set(data.groups_train) & set(data.groups_test)
    assert "CC BY 4.0" in data.terms


def test_byte_strings_and_whole_floats_are_the_names_they_stand_for(tmp_path):
    text = load_dataset(save(tmp_path / "t.npz", X=X, y=Y, channels=["ax", "ay"], subj=["a", "b", "c"] * 4))
    raw = load_dataset(
        save(
            tmp_path / "b.npz",
            X=X,
            y=Y.astype("S4"),
            channels=np.array([b"ax", b"ay"]),
            subj=np.array([b"a", b"b", b"c"] * 4),
        )
    )
    assert (raw.sha256, raw.channels, raw.split) == (text.sha256, ("ax", "ay"), text.split)
    assert load_dataset(save(tmp_path / "f.npz", X=X, y=np.arange(12) % 2 + 0.0)).labels == ("0", "1")
    assert load_dataset(save(tmp_path / "n.npz", X=X, y=np.arange(12) % 2 + 0.0, labels=["z", "a"])).labels == ("z", "a")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.where(np.arange(12) == 2, np.nan, np.arange(12) % 2)}, r"y\[2\]: the class label is missing \(nan\)"),
        ({"y": np.where(np.arange(12) == 2, "", Y)}, r"y\[2\]: the class label is missing \(''\)"),
        ({"y": Y, "subj": np.where(np.arange(12) == 3, np.nan, 1.0)}, r"X\[3\]: the subject is missing \(nan\)"),
        ({"y": np.arange(12) % 2 + 0.5, "labels": ["a", "b"]}, r"y\[0\]: class number 0.5 has no name among the 2 labels"),
        ({"y": Y, "channels": ["ax", ""]}, r"channels\[1\] is empty"),
        (
            {"y": Y, "channels": ["timestamp", "ax"]},
            "channel 'timestamp' is the time by its name, which would give",
        ),
        ({"y": np.arange(12) + 0j}, "y is complex128; class names or class numbers are expected"),
    ],
)
def test_missing_and_misplaced_entries_are_named(tmp_path, arrays, message):
    with pytest.raises(UsageError, match=message):
        load_dataset(save(tmp_path / "m.npz", X=X, **arrays))


def test_more_channels_than_steps_are_noted_unless_they_are_named(tmp_path):
    swapped = X.transpose(0, 2, 1)
    wide = np.concatenate([swapped] * 2, axis=1)[:, :4]
    (note,) = load_dataset(save(tmp_path / "w.npz", X=wide, y=Y)).notes
    assert note.endswith("with 4 steps of 7 channels; if it is [N, C, T], as aeon has it, save X.transpose(0, 2, 1)")
    assert load_dataset(save(tmp_path / "w.npz", X=wide, y=Y, channels=list("abcdefg"))).notes == ()
    for arrays in ({"X": wide, "channels": list("abcd")}, {"X": swapped}):
        with pytest.raises(UsageError, match=r"steps of 7 channels; if it is \[N, C, T\]"):
            load_dataset(save(tmp_path / "w.npz", y=Y, **arrays))


def test_a_manifest_nested_too_deeply_is_a_usage_error(tmp_path):
    (tmp_path / "MANIFEST.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match=r"MANIFEST.json: not a readable JSON file"):
        load_dataset(save(tmp_path / "m.npz", X=X, y=Y))
