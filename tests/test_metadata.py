# SPDX-License-Identifier: Apache-2.0
"""Metadata survives JSON, and a reader refuses what it would misread."""

import json
from dataclasses import replace

import pytest

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.metadata import FORMAT, Metadata, Resampling, SignalRange

EXAMPLE = Metadata(
    name="gestures",
    labels=("rest", "wave"),
    channels=("ax", "ay"),
    units=("g", "g"),
    sample_rate_hz=50.0,
    mean=(0.0, 1.0),
    std=(1.0, 2.0),
    resampling=Resampling("decimate", factor=2, taps=(0.25, 0.5, 0.25)),
    golden=({"x": [[0.0, 1.0]], "logits": [1.0, -1.0]},),
)


def test_metadata_survives_the_round_trip_through_json():
    assert Metadata.from_json(EXAMPLE.to_json()) == EXAMPLE


def test_a_model_of_windows_says_what_it_always_said_and_a_model_of_streams_says_more():
    assert not {"reset", "decides", "decision_margin", "refuse_below", "usual"} & set(json.loads(EXAMPLE.to_json()))
    usual = SignalRange(512, (-1.0, -1.0), (1.0, 1.0), (0.5, 0.5), (2.0, 2.0), 0.1, 0.3)
    stream = replace(EXAMPLE, reset="never", decides="every_sample", decision_margin=1.5, refuse_below=-0.5, usual=usual)
    assert Metadata.from_json(stream.to_json()) == stream
    assert Metadata.from_json(EXAMPLE.to_json()).reset == "window"


def test_equal_metadata_gives_equal_bytes():
    assert EXAMPLE.to_json() == replace(EXAMPLE).to_json()


def test_unknown_fields_of_a_later_version_are_ignored():
    raw = json.loads(EXAMPLE.to_json()) | {"later": 1}
    assert Metadata.from_json(json.dumps(raw)) == EXAMPLE


def test_a_newer_format_is_refused_by_name():
    raw = json.loads(EXAMPLE.to_json()) | {"format": FORMAT + 1}
    with pytest.raises(MemkdEdgeError, match=r"model\.json: metadata format"):
        Metadata.from_json(json.dumps(raw), source="model.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": 1}', '{"format": "x"}', "\x00"])
def test_anything_else_is_refused_by_name(text):
    with pytest.raises(MemkdEdgeError, match=r"model\.json"):
        Metadata.from_json(text, source="model.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", 5),
        ("labels", [1, 2]),
        ("mean", ["0", "1"]),
        ("std", [1.0]),
        ("warm_up", 1.5),
        ("warm_up", True),
        ("golden", [3]),
        ("sample_rate_hz", "50"),
        ("dataset", None),
        ("reset", "sometimes"),
        ("decides", "never"),
        ("refuse_below", "1"),
        ("usual", {"samples": "512"}),
        ("resampling", {"kind": "none", "factor": "2", "taps": []}),
    ],
)
def test_a_field_of_another_type_or_number_is_refused_by_name(field, value):
    raw = json.loads(EXAMPLE.to_json()) | {field: value}
    with pytest.raises(MemkdEdgeError, match=r"model\.json: not memkd-edge metadata \("):
        Metadata.from_json(json.dumps(raw), source="model.json")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"std": [0.0]}, "a std is 0"),
        ({"mean": [float("nan")]}, "NaN is no number of JSON"),
        ({"counts_per_unit": [1.0, 2.0]}, "counts_per_unit has 2 numbers for 1 channels"),
        ({"units": []}, "differ in number"),
        ({"resampling": {"kind": "decimate", "factor": -1, "taps": [1.0]}}, "factor is -1"),
        ({"resampling": {"kind": "none", "factor": 0, "taps": []}}, "factor is 0"),
        ({"refuse_below": float("inf")}, "Infinity is no number of JSON"),
        ({"sample_rate_hz": 1e300}, r"sample_rate_hz is 1e\+300, not from 1e-09 to 1e\+09"),
        ({"sample_rate_hz": -50.0}, "sample_rate_hz is -50"),
        ({"sample_rate_hz": 0}, "sample_rate_hz is 0"),
        ({"mean": [1e308]}, r"mean is beyond 1e\+30"),
        ({"std": [1e-300]}, "a std is below 1e-30"),
        ({"counts_per_unit": [0.0]}, "a counts_per_unit is 0"),
        ({"warm_up": -1}, "warm_up is -1, not from 0"),
        ({"window_length": 10**18}, "window_length is 1000000000000000000"),
        ({"window_length": 10**400}, "an integer has more than 64 bits"),
        ({"accuracy": 2.0}, "accuracy is 2.0"),
        ({"input_scale": 0.0}, "input_scale is 0.0"),
        ({"input_zero_point": 1 << 20}, "input_zero_point is 1048576"),
        ({"usual": []}, "has no attribute"),
        ({"usual": {"samples": 512, "pace_high": 1e300}}, "usual pace is beyond"),
        ({"labels": ["\ud800", "b"]}, "surrogates not allowed"),
        ({"resampling": {"kind": "linear", "input_length": 1, "output_length": 30, "taps": []}}, "input_length is 1"),
        ({"usual": {"samples": 1 << 20}}, "usual: samples is 1048576"),
        ({"usual": {"samples": 512}}, "usual: not one number for each channel"),
    ],
)
def test_numbers_that_cannot_be_computed_with_are_refused(change, reason):
    raw = json.loads(Metadata("m", ("a", "b"), ("x",), ("g",), 50.0, (0.5,), (2.0,)).to_json())
    with pytest.raises(MemkdEdgeError, match=f"not memkd-edge metadata .*{reason}"):
        Metadata.from_json(json.dumps(raw | change), source="model.json")
