# SPDX-License-Identifier: Apache-2.0
"""Configuration: default < TOML file < environment < flag, and clear errors."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkd_edge.config import (
    PACKAGE_KINDS,
    BenchConfig,
    CompareConfig,
    DataConfig,
    DistillConfig,
    ExportConfig,
    from_table,
    parse_toml,
    resolve,
    to_toml,
)
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.file_formats import CONFIGURATION
from memkd_edge.options import check, settings, values_of
from memkd_edge.packages import folders


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path, monkeypatch):
    toml = tmp_path / "memkd.toml"
    toml.write_text("[distill]\nepochs = 11\nseeds = 12\nhidden = 13\n")
    monkeypatch.setenv("MEMKD_EDGE_DISTILL_SEEDS", "22")
    monkeypatch.setenv("MEMKD_EDGE_DISTILL_HIDDEN", "23")
    config = resolve(DistillConfig, "distill", toml=toml, flags={"hidden": 33, "seed": None})
    assert (config.epochs, config.seeds, config.hidden, config.seed) == (11, 22, 33, DistillConfig().seed)


def test_a_configuration_survives_the_round_trip_through_toml(tmp_path):
    config = replace(DistillConfig(), dataset='my "odd" name', compression=123.5, seeds=3)
    file = tmp_path / "config.toml"
    file.write_text(to_toml("distill", config))
    assert resolve(DistillConfig, "distill", toml=file) == config


def test_a_tuple_survives_the_round_trip_through_toml(tmp_path):
    config = replace(BenchConfig(), device=("rpi4", "host"))
    file = tmp_path / "config.toml"
    file.write_text(to_toml("bench", config))
    assert resolve(BenchConfig, "bench", toml=file) == config


def test_from_table_ignores_keys_of_other_versions():
    assert from_table(DistillConfig, {"epochs": 7, "gone": 1}).epochs == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[distill]\nepoch = 3\n", "no key 'epoch'"),
        ("[distill]\nepochs = 'many'\n", "'many' is not of type int"),
        ("[distill]\nepochs = true\n", "True is not of type int"),
        ("[distill\n", "memkd.toml"),
        ("distill = 5\n", "must be a table, [distill], not 5"),
        ("[[distill]]\nepochs = 3\n", "must be a table"),
        ("[distill]\nepochs = " + "9" * 5000 + "\n", "memkd.toml"),
        ("[distill]\ncompression = " + "9" * 400 + "\n", "an integer has more than 64 bits"),
        ("a = " + "[" * 5000 + "]" * 5000, "memkd.toml"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_key(tmp_path, text, message):
    toml = tmp_path / "memkd.toml"
    toml.write_text(text)
    with pytest.raises(UsageError, match=r"memkd\.toml") as caught:
        resolve(DistillConfig, "distill", toml=toml)
    assert message in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        resolve(DistillConfig, "distill", toml=Path("nowhere.toml"))


def test_a_wrong_environment_variable_is_named(monkeypatch):
    monkeypatch.setenv("MEMKD_EDGE_DISTILL_EPOCHS", "many")
    with pytest.raises(UsageError, match="MEMKD_EDGE_DISTILL_EPOCHS"):
        resolve(DistillConfig, "distill")


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(UsageError, match="no option 'epoch'"):
        resolve(DistillConfig, "distill", flags={"epoch": 3})


TEXT = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["\x7f", "\U0001f9ea/\U00010348.csv", 'a"b\\c\r\n\t\x00', "\u2028"]
)


@given(TEXT, TEXT)
def test_every_text_survives_the_round_trip_through_toml(dataset, label):
    config = replace(DistillConfig(), dataset=dataset, data_root=label)
    assert from_table(DistillConfig, parse_toml(to_toml("distill", config).encode(), "config.toml")["distill"]) == config


def test_a_path_that_is_not_utf8_is_refused():
    with pytest.raises(UsageError, match=r"dataset .* is not UTF-8"):
        to_toml("distill", replace(DistillConfig(), dataset="caf\udce9.csv"))


def test_a_comparison_holds_a_distillations_settings():
    config = resolve(CompareConfig, "compare", flags={"teacher_hidden": 7, "methods": "base,kd"})
    assert config.distillation == replace(DistillConfig(), seeds=5, resample="", teacher_hidden=7)
    assert config.methods == ("base", "kd")
    table = tomllib.loads(to_toml("compare", config))["compare"]
    assert (table["teacher_hidden"], table["seeds"]) == (7, 5)
    assert not {"distillation", "dataset", "student", "method"} & set(table)
    assert from_table(CompareConfig, table) == config


def test_the_device_of_older_files_is_the_accelerator(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[distill]\ndevice = "cpu"\n')
    assert resolve(DistillConfig, "distill", toml=file).accelerator == "cpu"
    assert from_table(DistillConfig, {"device": "cuda"}).accelerator == "cuda"
    assert from_table(CompareConfig, {"device": "cuda"}).distillation.accelerator == "cuda"
    assert from_table(BenchConfig, {"device": ["host"]}).device == ("host",)


def test_a_file_of_a_newer_format_is_refused(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(to_toml("distill", DistillConfig()).replace(f"format = {CONFIGURATION}", f"format = {CONFIGURATION + 1}"))
    with pytest.raises(MemkdEdgeError, match=rf"config\.toml: format {CONFIGURATION + 1} is newer") as caught:
        resolve(DistillConfig, "distill", toml=file)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DistillConfig(seeds=0), "--seeds must be at least 1, not 0"),
        (DistillConfig(learning_rate=float("inf")), "--learning-rate must be above 0, not inf"),
        (DistillConfig(validation=float("nan")), "--validation is a share between 0 and 1, not nan"),
        (DistillConfig(student="tree"), "--student tree: choose lstm, gru or cnn"),
        (ExportConfig(package="mbed"), "--package mbed: choose c, cmake, "),
        (BenchConfig(steps=1), "--steps must be at least 2, not 1"),
        (BenchConfig(timeout_s=0.0), "--timeout must be above 0, not 0"),
        (ExportConfig(min_agreement=float("nan")), "--min-agreement is a share from 0 to 1, such as 0.98, not nan"),
        (ExportConfig(min_agreement=98.0), "--min-agreement is a share from 0 to 1, such as 0.98, not 98"),
        (ExportConfig(min_agreement=-0.1), "--min-agreement is a share from 0 to 1, such as 0.98, not -0.1"),
        (BenchConfig(rate=float("nan")), "--rate must be at least 0, not nan"),
        (CompareConfig(executor="slurm"), "--executor slurm: choose local or ray"),
        (CompareConfig(distillation=DistillConfig(teacher_layers=0)), "--teacher-layers must be at least 1, not 0"),
    ],
)
def test_a_setting_out_of_bounds_is_refused_by_its_option(config, message):
    with pytest.raises(UsageError) as caught:
        check(config)
    assert message in str(caught.value)


@pytest.mark.parametrize("cls", [DistillConfig, ExportConfig, BenchConfig, CompareConfig])
def test_defaults_are_possible_and_every_setting_says_what_it_is(cls):
    check(cls())
    for one in settings(cls).values():
        assert one.option.help
        assert one.option.group
    assert set(settings(cls)) == set(values_of(cls()))


def test_choices_are_those_of_the_code_that_takes_them():
    assert tuple(sorted(PACKAGE_KINDS)) == tuple(sorted(folders.KINDS))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(test_subjects="12"), "--test-subjects: '12' is not of type tuple"),  # nor subjects 1 and 2
        (DataConfig(test_subjects=(12,)), r"--test-subjects: \(12,\) is not of type tuple"),
        (DataConfig(max_gap=0.2), "--max-gap: 0.2 is not of type str"),
        (DataConfig(rate="50"), "--rate: '50' is not of type float"),
        (DistillConfig(hidden=4.0), "--hidden: 4.0 is not of type int"),
        (DistillConfig(seed=True), "--seed: True is not of type int"),
    ],
)
def test_a_configuration_made_by_hand_has_the_types_of_its_fields(config, message):
    with pytest.raises(UsageError, match=message):
        check(config)


def test_numbers_of_numpy_and_lists_will_do():
    check(DataConfig(rate=np.float32(50), ignore=["a", "b"]))
    check(DistillConfig(hidden=np.int64(4), rate=50))


def test_a_number_beyond_float64_is_refused():
    with pytest.raises(UsageError, match=r"--learning-rate: 10+ is too large"):
        resolve(DistillConfig, "distill", flags={"learning_rate": 10**400})


def test_a_single_number_is_no_tuple():
    with pytest.raises(UsageError, match=r"--counts-per-unit: 1000\.0 is not of type tuple"):
        resolve(ExportConfig, "export", flags={"counts_per_unit": 1000.0})
