# SPDX-License-Identifier: Apache-2.0
"""The forest's features against plain numpy, and its C, emlearn's trees included, against scikit-learn."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("emlearn") is None:
    pytest.skip("needs emlearn: make setup", allow_module_level=True)

from experiments.rivals import __main__ as experiment
from experiments.rivals.forest import ForestSize, train_forest
from experiments.rivals.rival import decide
from experiments.rivals.window_features import CHANGE, FEATURES, Window, features, inputs
from tests.experiments.rivals_c import CHANNELS, CLASSES, accuracy, logits_of_c, streams

WINDOW = Window(blocks=4, hop=5)


def test_features_are_those_of_the_last_samples() -> None:
    x = inputs(streams(0)[0][0])
    found = features(x, WINDOW).reshape(-1, CHANNELS, FEATURES)
    assert len(found) == len(x) // WINDOW.hop
    for number, own in enumerate(found):
        end = (number + 1) * WINDOW.hop
        start = max(0, end - WINDOW.blocks * WINDOW.hop)
        window = x[start:end].astype(float)
        change = np.abs(np.diff(x[max(0, start - 1) : end].astype(float), axis=0)).sum(0) / len(window)
        drift = window[-WINDOW.hop :].mean(0) - window[: WINDOW.hop].mean(0)
        expected = [window.mean(0), window.std(0), window.min(0), window.max(0), CHANGE * change, drift]
        np.testing.assert_allclose(own, np.stack(expected, -1), atol=1.5)
    assert found[..., 1].max() > 100  # deviations and changes are not all near zero
    assert found[..., 4].max() > 500


@pytest.fixture(scope="module")
def forest():
    return train_forest(streams(1), CLASSES, ForestSize(7, 12), WINDOW, seed=0)


def test_it_learns_and_holds_its_decision_from_hop_to_hop(forest) -> None:
    x, y = streams(2)[0]
    decisions = decide(forest, x)
    assert accuracy(decisions, y) > 0.8
    assert (decisions[: WINDOW.hop - 1] == 0).all()
    changes = np.flatnonzero(np.diff(decisions)) + 1
    assert len(changes) > 3
    assert ((changes + 1) % WINDOW.hop == 0).all()


def test_c_is_equal_at_every_sample(forest, tmp_path: Path) -> None:
    x = np.concatenate([inputs(streams(3)[0][0]), np.random.default_rng(4).integers(-2047, 2048, (400, CHANNELS), np.int16)])
    expected = forest.logits(x)
    assert len(np.unique(expected.argmax(-1))) == CLASSES
    np.testing.assert_array_equal(logits_of_c(forest, x, tmp_path), expected)


def test_c_is_equal_where_features_lie_on_thresholds(tmp_path: Path) -> None:
    """Few different integers: whether a threshold of 2.5 or -2.5 parts 2 from 3 shows."""
    random = np.random.default_rng(5)
    coarse = [(random.integers(-3, 4, (600, CHANNELS)) / 256, random.integers(0, CLASSES, 600)) for _ in range(2)]
    coarse = [(x.astype(np.float32), y) for x, y in coarse]
    forest = train_forest(coarse, CLASSES, ForestSize(9, 40), WINDOW, seed=0)
    x = forest.inputs(coarse[0][0])
    np.testing.assert_array_equal(logits_of_c(forest, x, tmp_path), forest.logits(x))


def test_a_row_is_scored_measured_and_kept_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm", package="gcc-arm-none-eabi qemu-system-arm")
    prepared = experiment.load()
    assert [len(y) for _, y in prepared.test] == [10757, 11569, 12072, 13154, 9818]
    trained = []

    def few(prepared):
        def train(seed):
            trained.append(seed)
            return train_forest(prepared.test[:1], 5, ForestSize(2, 4), experiment.WINDOW, seed)

        yield "forest", "tiny", train

    out = tmp_path / "rivals.json"
    monkeypatch.setattr(experiment, "rivals", few)
    monkeypatch.setattr(experiment, "load", lambda: prepared)
    for seeds in ("1", "2"):
        monkeypatch.setattr(sys, "argv", ["rivals", "--out", str(out), "--seeds", seeds])
        experiment.main()
    assert trained == [0, 1]
    rows = json.loads(out.read_text())
    assert [row["seed"] for row in rows] == [0, 1]
    for row in rows:
        assert row["parameters"] == 2 * (4 + 3)
        assert 0.2 < row["macro_f1"] < row["accuracy"] < 1
        assert 1000 < row["flash_bytes"] < 2500  # code, and 8 B a node
        assert 960 < row["ram_bytes"] < 1600
        assert 100 < row["instructions_per_sample"] < 1000


def test_emlearn_does_not_decide_what_numpy_raises() -> None:
    code = "import numpy as np; before = np.geterr(); import experiments.rivals.forest; assert np.geterr() == before"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], check=True)
