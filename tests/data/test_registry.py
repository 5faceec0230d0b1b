# SPDX-License-Identifier: Apache-2.0
"""Finding data sets by name: bundled, in a folder, downloaded, or unknown."""

import subprocess
import sys

import numpy as np
import pytest

from memkd_edge.data.registry import BUNDLED, _bundled_folder, available, load_dataset
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.padding import lengths

SERIES = "1 0.1 0.2 0.3\n2 0.3 0.1 0.2\n1 0.5 0.2 0.3\n2 0.7 0.1 0.2\n"


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch, tmp_path):
    monkeypatch.setenv("AEON_DATA", str(tmp_path / "aeon"))


def test_the_default_set_is_found_without_a_network_and_described():
    data = load_dataset("BasicMotions")
    assert data.x_train.shape == data.x_test.shape == (40, 100, 6)
    assert data.labels == ("Badminton", "Running", "Standing", "Walking")
    assert data.sample_rate_hz == 10.0
    assert data.channels[0] == "accelerometer x"
    assert "free for research" in data.terms
    assert np.bincount(data.y_train).tolist() == [10, 10, 10, 10]


def test_bundled_sets_are_those_that_aeon_loads():
    from aeon.datasets import load_arrow_head, load_gunpoint, load_italy_power_demand

    for name, load in (
        ("GunPoint", load_gunpoint),
        ("ItalyPowerDemand", load_italy_power_demand),
        ("ArrowHead", load_arrow_head),
    ):
        data = load_dataset(name)
        for split, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
            theirs, labels = load(split=split)
            np.testing.assert_array_equal(x, np.transpose(theirs, (0, 2, 1)).astype(np.float32))
            assert [data.labels[index] for index in y] == list(labels)


@pytest.mark.parametrize("name", BUNDLED)
def test_each_bundled_set_loads(name):
    assert load_dataset(name).name == name


def test_a_swapped_set_trains_on_the_test_part_under_the_same_name():
    data, swapped = load_dataset("GunPoint"), load_dataset("GunPoint@swapped")
    np.testing.assert_array_equal(swapped.x_train, data.x_test)
    np.testing.assert_array_equal(swapped.y_test, data.y_train)
    assert (swapped.name, len(swapped.y_train), swapped.split) == ("GunPoint", 150, "training and test part exchanged")
    assert swapped.sha256 != data.sha256


def test_only_swapped_can_stand_behind_an_at_sign_and_every_class_must_train(tmp_path):
    with pytest.raises(UsageError, match="swapped"):
        load_dataset("GunPoint@2015")
    (tmp_path / "Mine_TRAIN.txt").write_text(SERIES)
    (tmp_path / "Mine_TEST.txt").write_text(SERIES.splitlines()[0])
    with pytest.raises(UsageError, match="'2' has no series in the test part"):
        load_dataset("Mine@swapped", data_root=str(tmp_path))


def test_loading_a_set_imports_neither_aeon_nor_torch():
    code = (
        "import sys; from memkd_edge.data.prepare import prepare; from memkd_edge.data.registry import load_dataset;"
        "from memkd_edge.config import DistillConfig;"
        "prepare(load_dataset('GunPoint'), DistillConfig());"
        "print([name for name in ('aeon', 'torch', 'sklearn', 'pandas', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("ending", ["", ".txt", ".csv", ".tsv"])
@pytest.mark.parametrize("subfolder", ["", "Mine"])
def test_sets_in_a_folder_are_found_in_every_text_form(tmp_path, ending, subfolder):
    (tmp_path / subfolder).mkdir(exist_ok=True)
    for part in ("TRAIN", "TEST"):
        (tmp_path / subfolder / f"Mine_{part}{ending}").write_text(SERIES)
    assert load_dataset("Mine", data_root=str(tmp_path)).x_train.shape == (4, 3, 1)
    assert "Mine" in available(str(tmp_path))


def test_arff_files_in_a_folder_are_found(tmp_path):
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"Mine_{part}.arff").write_text("@relation r\n@data\n1,2,3,a\n4,5,6,b\n1,2,4,a\n4,5,7,b\n")
    assert load_dataset("Mine", data_root=str(tmp_path)).labels == ("a", "b")


def test_a_folder_goes_before_the_bundled_sets(tmp_path):
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"GunPoint_{part}.tsv").write_text(SERIES)
    assert load_dataset("GunPoint", data_root=str(tmp_path)).x_train.shape == (4, 3, 1)
    assert load_dataset("GunPoint").x_train.shape == (50, 150, 1)


def test_a_training_file_without_its_test_file_is_named(tmp_path):
    (tmp_path / "Half_TRAIN.tsv").write_text(SERIES)
    with pytest.raises(UsageError, match=r"Half_TRAIN.tsv stands there without Half_TEST.tsv"):
        load_dataset("Half", data_root=str(tmp_path))
    assert "Half" not in available(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "near"),
    [("BasicMotion", "BasicMotions"), ("gun_point", "GunPoint"), ("Adiak", "Adiac"), ("itaypowerdemand", "ItalyPowerDemand")],
)
def test_an_unknown_name_gets_near_names(name, near):
    with pytest.raises(UsageError, match=rf"no data set named '{name}'; did you mean (.* or )?{near}"):
        load_dataset(name)


def test_near_names_include_those_of_the_users_folder(tmp_path):
    np.savez(tmp_path / "WristMotion.npz", X=np.zeros(1))
    with pytest.raises(UsageError, match="did you mean WristMotion"):
        load_dataset("wristmotions", data_root=str(tmp_path))


def test_a_name_like_nothing_gets_the_list_of_what_is_ready():
    with pytest.raises(UsageError, match=r"ready without a download: ACSF1, .*BasicMotions"):
        load_dataset("qqqqqqqqqqqqqqqqqqq")


def test_a_download_that_fails_says_how_to_go_on_without(monkeypatch):
    import aeon.datasets

    def offline(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr(aeon.datasets, "load_classification", offline)
    with pytest.raises(
        MemkdEdgeError,
        match=r"Trace could not be downloaded \(OSError: Name or service not known\)\. .*Trace_TRAIN.ts.*--data-root",
    ) as caught:
        load_dataset("Trace")
    assert caught.value.exit_code == 1


def test_a_downloaded_set_is_read_and_found_again(monkeypatch, tmp_path):
    import aeon.datasets

    calls = []

    def download(name, extract_path):
        calls.append(name)
        target = tmp_path / "aeon" / name
        target.mkdir(parents=True)
        for part in ("TRAIN", "TEST"):
            (target / f"{name}_{part}.ts").write_bytes((_bundled_folder()[0] / "GunPoint" / f"GunPoint_{part}.ts").read_bytes())
        assert extract_path == str(tmp_path / "aeon")

    monkeypatch.setattr(aeon.datasets, "load_classification", download)
    assert load_dataset("Trace").x_train.shape == (50, 150, 1)
    assert "Trace" in available()
    assert load_dataset("Trace").sha256 == load_dataset("GunPoint").sha256
    assert calls == ["Trace"]


def test_a_download_that_brings_nothing_is_an_error(monkeypatch):
    import aeon.datasets

    monkeypatch.setattr(aeon.datasets, "load_classification", lambda name, extract_path: None)
    with pytest.raises(MemkdEdgeError, match=r"the download of Trace brought no Trace_TRAIN.ts"):
        load_dataset("Trace")


def test_paths_and_folders_that_do_not_exist_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"no data file at .*absent.npz"):
        load_dataset(str(tmp_path / "absent.npz"))
    with pytest.raises(UsageError, match=r"--data-root .*: no such folder"):
        load_dataset("GunPoint", data_root=str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="is neither the name of a data set nor the path"):
        load_dataset("some/where/else.xlsx")


def test_archive_files_cannot_name_subjects():
    with pytest.raises(UsageError, match=r"--groups person: .* cannot name subjects"):
        load_dataset("GunPoint", groups="person")


def test_a_set_of_unequal_length_is_padded():
    data = load_dataset("JapaneseVowels")
    assert data.x_train.shape == (270, 29, 12)  # as long as the longest of the test part
    assert (lengths(data.x_train).min(), lengths(data.x_train).max(), lengths(data.x_train)[0]) == (7, 26, 20)
    assert load_dataset("JapaneseVowels_eq").x_train.shape == (270, 25, 12)
