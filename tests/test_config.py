# SPDX-License-Identifier: Apache-2.0
"""Configuration: default < TOML file < environment < flag, and clear errors."""

from dataclasses import replace
from pathlib import Path

import pytest

from memkd_edge.config import BenchConfig, DistillConfig, from_table, resolve, to_toml
from memkd_edge.errors import UsageError


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
