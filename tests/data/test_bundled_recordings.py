# SPDX-License-Identifier: Apache-2.0
"""The recordings that come along: the same as their files, packed and unpacked, under their terms."""

import io
import json
import zipfile
from dataclasses import replace
from email.parser import BytesParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from experiments import bundle_spsw
from memkd_edge.config import DataConfig
from memkd_edge.data.bundled_recordings import BUNDLED_RECORDINGS, unpacked
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.loading import load_data
from memkd_edge.data.recordings import Recordings
from memkd_edge.data.registry import available, load_dataset
from memkd_edge.errors import UsageError
from tests.conftest import ROOT
from tests.data.test_data_report import SPSW, called

PATTERN = "{subject}_{recording}_sw.csv"
needs_files = pytest.mark.skipif(not SPSW.is_dir(), reason="the recordings of SPSW are not here")


def loaded(**options: object) -> tuple[Recordings | Dataset, list[str]]:
    notes: list[str] = []
    return load_data(DataConfig(**{"dataset": "SPSW", **options}), notes.append)[0], notes  # type: ignore[arg-type]


@given(arrays.arrays(np.int32, st.tuples(st.integers(2, 20), st.integers(1, 4)), elements=st.integers(-(2**28), 2**28)))
def test_integers_are_unpacked_as_they_were_packed(values: np.ndarray) -> None:
    assert np.array_equal(unpacked(bundle_spsw.packed(values)), values)


def test_steps_are_second_differences_folded_lowest_bytes_first() -> None:
    steps = bundle_spsw.packed(np.array([[3], [3], [-297]], np.int32))  # second differences 3, -3, -300
    assert steps[:, 0].T.tolist() == [[6, 0, 0, 0], [5, 0, 0, 0], [599 % 256, 599 // 256, 0, 0]]


@needs_files
def test_the_bundle_is_the_folder_but_for_the_rounding() -> None:
    bundled, _ = loaded()
    folder, _ = loaded(dataset=str(SPSW), name_pattern=PATTERN)
    assert isinstance(bundled, Recordings)
    assert isinstance(folder, Recordings)
    assert (bundled.labels, bundled.channels, bundled.sample_rate_hz) == (folder.labels, folder.channels, folder.sample_rate_hz)
    assert bundled.units == ("m/s2",) * 3 + ("rad/s",) * 3
    assert bundled.split == folder.split
    for part in ("train", "test"):
        for one, other in zip(getattr(bundled, part), getattr(folder, part), strict=True):
            assert (one.name, one.subject) == (other.name, other.subject)
            assert np.array_equal(one.y, other.y)
            assert np.abs(one.x - other.x).max() <= 0.0005 + 2e-6  # and float32


@needs_files
def test_the_same_files_give_the_bundle_again() -> None:
    once, again = bundle_spsw.bundle(SPSW), bundle_spsw.bundle(SPSW)
    assert once == again
    made = ROOT / "datasets" / "SPSW" / "SPSW.npz"
    with zipfile.ZipFile(made) as kept, zipfile.ZipFile(io.BytesIO(once)) as fresh:
        assert kept.namelist() == fresh.namelist()
        assert all(kept.read(name) == fresh.read(name) for name in kept.namelist())  # zlib's versions deflate differently


def test_nobody_can_be_told_from_the_bundle() -> None:
    path = ROOT / "datasets" / "SPSW" / "SPSW.npz"
    assert path.stat().st_size < 2_000_000
    with np.load(path, allow_pickle=False) as archive:
        held = dict(archive)
    assert set(held) == {"steps", "columns", "decimals", "label", "labels", "lengths", "recordings", "subjects", "terms"}
    time = unpacked(held["steps"])[:, 0]
    starts = np.cumsum(held["lengths"])[:-1]
    assert not time[[0, *starts]].any()
    assert time.max() < 60_000
    assert set(held["subjects"].tolist()) == {f"s{number:02}" for number in range(1, 21)}


def test_subjects_can_be_named_for_the_test_and_windows_cut() -> None:
    recordings, notes = loaded(test_subjects=("s17", "s18", "s19", "s20"))
    assert isinstance(recordings, Recordings)
    assert {one.subject for one in recordings.test} == {"s17", "s18", "s19", "s20"}
    assert len(recordings.train) + len(recordings.test) == 195
    assert any("s17, s18, s19, s20 (4 of 20" in note for note in notes)
    windows, _ = loaded(windows="1s", rate=50.0, channels=("x_acc [m/s2]", "y_acc [m/s2]"))
    assert isinstance(windows, Dataset)
    assert windows.x_train.shape[1:] == (50, 2)
    for data in (recordings, windows):
        for text in ("CC BY 4.0", "Matey-Sanz, Casteleyn, Granell 2023", "109809", "creativecommons.org", "Changed:"):
            assert text in data.terms


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.data.recording_examples import folder

    folder(tmp_path / "SPSW")
    monkeypatch.chdir(tmp_path)
    recordings, _ = loaded(name_pattern="{subject}_{recording}.csv")
    assert recordings.channels == ("acc_x", "acc_y")


def test_the_name_is_listed_and_told_from_a_set_of_windows() -> None:
    assert set(BUNDLED_RECORDINGS) <= set(available())
    with pytest.raises(UsageError, match=r"SPSW@swapped is a set of recordings.*--windows 2s"):
        load_dataset("SPSW@swapped")
    with pytest.raises(UsageError, match=r"did you mean .*SPSW"):
        load_dataset("SPSWW")


def test_the_command_shows_the_terms(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(monkeypatch, capsys, "data", "SPSW")
    assert (code, err) == (0, "")
    assert "terms of use: CC BY 4.0" in out
    assert "Data in Brief 109809" in " ".join(out.split())
    code, out, _ = called(monkeypatch, capsys, "data", "SPSW", "--json")
    report = json.loads(out)
    assert (code, report["sample_rate_hz"], len(report["subjects"])) == (0, 104.0, 20)
    assert report["terms"].startswith("CC BY 4.0")


def test_more_recordings_without_labels_join_the_bundle(tmp_path: Path) -> None:
    header = "time [ms],x_acc [m/s2],y_acc [m/s2],z_acc [m/s2],x_gyro [rad/s],y_gyro [rad/s],z_gyro [rad/s]"
    rows = [f"{9.59 * row:.0f}," + ",".join([f"{row % 7 / 7:.2f}"] * 6) for row in range(300)]
    (tmp_path / "more.csv").write_text("\n".join([header, *rows]) + "\n")
    recordings, _ = loaded(unlabelled=str(tmp_path))
    assert isinstance(recordings, Recordings)
    assert [one.name for one in recordings.unlabelled] == ["more"]
    assert replace(recordings, unlabelled=()).sha256 != recordings.sha256


def test_the_wheel_carries_the_recordings_and_their_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert "memkd_edge/_assets/datasets/SPSW/SPSW.npz" in names
        notice = archive.read("memkd_edge/_assets/datasets/SPSW/NOTICE.md").decode()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        said = BytesParser().parsebytes(archive.read(metadata))
    assert said["License-Expression"] == "Apache-2.0 AND CC-BY-4.0 AND MIT"
    assert said.get_all("License-File") == [
        "LICENSE",
        "datasets/SPSW/NOTICE.md",
        "memkd_edge/pages/vendor/uplot-LICENSE",
    ]
    assert all(f"dist-info/licenses/{name}" in "\n".join(names) for name in said.get_all("License-File"))
    for text in ("109809", "10.1016/j.dib.2023.109809", "creativecommons.org/licenses/by/4.0/legalcode", "Changes"):
        assert text in notice
