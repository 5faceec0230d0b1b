# SPDX-License-Identifier: Apache-2.0
"""Architectures: parameter arithmetic, causality, files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.nets.classifier import (
    ModelSpec,
    build,
    hidden_size_for,
    load_classifier,
    logits_over_time,
    save_model,
)

SPECS = [
    ModelSpec(1, 8, 2),
    ModelSpec(6, 16, 4, 3),
    ModelSpec(3, 5, 2, 2, "lstm", True),
    ModelSpec(3, 5, 2, 2, "gru"),
    ModelSpec(2, 7, 3, 1, "gru", True),
    ModelSpec(4, 6, 3, 1, "cnn"),
    ModelSpec(4, 6, 3, 3, "cnn"),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_parameter_arithmetic_equals_torch(spec: ModelSpec) -> None:
    assert spec.parameters == sum(parameter.numel() for parameter in build(spec).parameters())


def test_the_papers_sizes() -> None:
    assert ModelSpec(1, 100, 2, 3).parameters == 203_002
    assert ModelSpec(1, 8, 2).parameters == 370


@given(channels=st.integers(1, 20), classes=st.integers(2, 30), compression=st.floats(1, 600))
@settings(deadline=None, max_examples=50)
def test_the_hidden_size_is_the_largest_that_reaches_the_compression(channels: int, classes: int, compression: float) -> None:
    teacher = ModelSpec(channels, 100, classes, 3).parameters
    spec = ModelSpec(channels, 1, classes)
    try:
        found = hidden_size_for(compression, teacher, spec)
    except UsageError:
        assert teacher / spec.parameters < compression
        return
    assert teacher / replace(spec, hidden_size=found).parameters >= compression
    assert teacher / replace(spec, hidden_size=found + 1).parameters < compression


def test_an_impossible_compression_says_what_is_possible() -> None:
    with pytest.raises(UsageError, match=r"of one unit has 44, which is 2x"):
        hidden_size_for(500, 100, ModelSpec(6, 1, 4))


@pytest.mark.parametrize("spec", [spec for spec in SPECS if not spec.bidirectional], ids=str)
def test_causal_models_answer_at_each_step_as_for_the_series_so_far(spec: ModelSpec) -> None:
    model = build(spec).eval()
    x = torch.randn(3, 20, spec.input_size)
    with torch.no_grad():
        over_time = logits_over_time(model, x)
        for steps in (1, 7, 20):
            torch.testing.assert_close(over_time[:, steps - 1], model(x[:, :steps])[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_bidirectional_head_sees_both_directions_to_their_end(kind: str) -> None:
    model = build(ModelSpec(2, 5, 3, 1, kind, True)).eval()
    x = torch.randn(1, 9, 2, requires_grad=True)
    logits, hidden = model(x)
    assert hidden.shape == (1, 9, 10)
    with torch.no_grad():
        reverse = torch.cat([hidden[:, -1, :5], hidden[:, 0, 5:]], -1)
        torch.testing.assert_close(logits, model.head(reverse))


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_saved_model_loads_with_the_same_answers(spec: ModelSpec, tmp_path: Path) -> None:
    model = build(spec).eval()
    path = tmp_path / "model.safetensors"
    path.write_bytes(save_model(model))
    loaded = load_classifier(path)
    x = torch.randn(2, 11, spec.input_size)
    assert loaded.spec == spec
    assert torch.equal(loaded(x)[0], model(x)[0])


def test_equal_models_give_equal_bytes() -> None:
    model = build(SPECS[0])
    assert save_model(model) == save_model(model)


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model file at"):
        load_classifier(tmp_path / "none.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x00" * 40)
    with pytest.raises(MemkdEdgeError, match="not a readable safetensors file"):
        load_classifier(damaged)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(2)}, foreign)
    with pytest.raises(MemkdEdgeError, match="not a memkd-edge model"):
        load_classifier(foreign)
    wrong = tmp_path / "wrong.safetensors"
    spec = {"input_size": 1, "hidden_size": 8, "num_classes": 2}
    save_file({"w": torch.zeros(2)}, wrong, metadata={"memkd_edge": json.dumps(spec)})
    with pytest.raises(MemkdEdgeError, match="not a memkd-edge model"):
        load_classifier(wrong)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="lstm, gru, cnn"):
        ModelSpec(1, 8, 2, kind="transformer")
    with pytest.raises(UsageError, match="no direction"):
        ModelSpec(1, 8, 2, kind="cnn", bidirectional=True)
