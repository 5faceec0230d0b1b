# SPDX-License-Identifier: Apache-2.0
"""Damaged files and lines: an answer or one clear error, no traceback, no hang; `make fuzz` tries more."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.readers import Reader, readers
from tests.fuzz.trial import PLACE, HangError, attempt

INPUTS = 1500  # of each reader: a minute
NAMES = (
    "metadata", "env.json", "metrics.json", "config.toml", "calibration.npz", "student.safetensors", "verify.json", "bench.json",
    "figures.json", "device", "protocol", "protocol of floats", "safetensors", "tflite", "onnx", "checkpoint", "npz", "csv", "ts",
    "tsv", "recordings", "rows.csv", "compare.toml",
)  # fmt: skip


@pytest.fixture(scope="module")
def known() -> Iterator[dict[str, Reader]]:
    with tempfile.TemporaryDirectory(dir=PLACE) as folder:
        yield readers(Path(folder))


def test_every_reader_is_tried(known: dict[str, Reader]) -> None:
    assert tuple(known) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_read_or_refused(known: dict[str, Reader], name: str) -> None:
    for data in known[name].sound:
        known[name].read(data)  # what damage starts from is sound
    for number in range(INPUTS):
        attempt(known[name], f"{name}/ci/{number}")


def test_what_goes_wrong_is_not_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(data: bytes) -> object:
        while True:
            pass

    with pytest.raises(ZeroDivisionError, match="division"):
        attempt(Reader([b"x"], lambda data: 1 // 0), "0")
    monkeypatch.setattr("tests.fuzz.trial.LIMIT_S", 0.05)
    with pytest.raises(HangError):
        attempt(Reader([b"x"], endless), "0")
