# SPDX-License-Identifier: Apache-2.0
"""What an .npz file may hold, and how much of it is read."""

import io
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.data.registry import load_dataset
from memkd_edge.errors import UsageError
from memkd_edge.npz_archive import NpzArchive

X = np.random.default_rng(0).normal(size=(12, 7, 2)).astype(np.float32)
Y = np.array(["walk", "run"] * 6)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def archive(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return str(path)


def test_a_member_that_is_no_array_is_named_and_others_do_not_matter(tmp_path):
    sound = {"X": npy(X), "y": npy(Y)}
    assert load_dataset(archive(tmp_path / "a.npz", **sound, readme=b"hello")).labels == ("run", "walk")
    for name in ("X", "y", "channels", "subj", "len", "sample_rate_hz"):
        with pytest.raises(UsageError, match=rf"a\.npz: {name} is no numpy array; write the file with numpy.savez"):
            load_dataset(archive(tmp_path / "a.npz", **sound | {name: b"hello"}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(X)[:-8], "X is damaged"),
        (npy(X) + b"more", "X is damaged"),
        (npy(X).replace(b"(12, 7, 2), ", b"(999999999,)"), "X is damaged"),
        (npy(X).replace(b"'<f4'", b"'|V9'"), "X is damaged"),
        (b"\x93NUMPY\x09\x00" + npy(X)[8:], r"X is of npy version \(9, 0\)"),
        (b"\x93NUMPY\x01\x00\xff\xff(", "X is damaged"),
        (npy(np.array([{}], dtype=object)), "X holds pickled Python objects, which are not read, because that could run code"),
    ],
)
def test_damage_is_told_from_the_header(tmp_path, content, message):
    with pytest.raises(UsageError, match=message):
        load_dataset(archive(tmp_path / "d.npz", X=content, y=npy(Y)))


def test_a_small_file_that_would_grow_to_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("X.npy", npy(np.zeros(1_000_000)))
        file.filelist[0].file_size = 3_200_000_000  # what the directory promises is what is refused
    with pytest.raises(UsageError, match=r"bomb\.npz: X would grow from 0\.0 MB in the file to 3\.2 GB; if that is meant, store"):
        load_dataset(str(path))


def test_signals_that_compress_well_are_read(tmp_path):
    x = np.zeros((12, 100_000, 1), dtype=np.float32)
    x[:, ::1000, 0] = np.random.default_rng(0).normal(size=(12, 100))
    np.savez_compressed(tmp_path / "z.npz", X=x, y=Y)
    assert load_dataset(str(tmp_path / "z.npz")).x_train.shape[1:] == (100_000, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", "it is a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "it is a pointer of Git LFS; `git lfs pull` brings"),
        (npy(X), "it is a single array, as numpy.save writes it"),
        (b"", "not a zip file"),
        (b"PK\x03\x04 damaged", "not a zip file"),
    ],
)
def test_what_is_no_npz_file_is_called_what_it_is(tmp_path, content, message):
    (tmp_path / "n.npz").write_bytes(content)
    with pytest.raises(UsageError, match=rf"n\.npz: not a readable \.npz file \(.*{message}"):
        NpzArchive(tmp_path / "n.npz")


def test_a_folder_and_a_missing_file_are_usage_errors(tmp_path):
    for path in (tmp_path, tmp_path / "absent.npz"):
        with pytest.raises(UsageError, match=r"^cannot read "):
            NpzArchive(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_headers_are_usage_errors_or_still_sound(tmp_path_factory, data):
    content = bytearray(npy(X))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 140))] = data.draw(st.integers(0, 255))
    path = archive(tmp_path_factory.mktemp("npz") / "d.npz", X=bytes(content), y=npy(Y))
    with suppress(UsageError):  # the only exception that may come out
        assert np.isfinite(load_dataset(path).x_train).all()
