# SPDX-License-Identifier: Apache-2.0
"""The CNN's integers against torch in float32, and its C against its integers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.rivals import cnn
from experiments.rivals.cnn import along, initial, train_cnn
from experiments.rivals.cnn_integer import IntegerCnn, Shape
from experiments.rivals.rival import decide
from tests.experiments.rivals_c import CHANNELS, CLASSES, accuracy, logits_of_c, streams

SHAPE = Shape(CHANNELS, 6, CLASSES, first_taps=6, stride=4, dilated=(1, 2))


@pytest.fixture(scope="module")
def trained() -> tuple[dict[str, np.ndarray], IntegerCnn]:
    """The float weights of a small CNN, and its integers."""
    kept = {}
    with pytest.MonkeyPatch.context() as patch:
        of = IntegerCnn.of
        patch.setattr(cnn.IntegerCnn, "of", lambda weights, *rest: (kept.update(weights), of(weights, *rest))[1])
        return kept, train_cnn(streams(1), SHAPE, steps=60, learning_rate=0.01, seed=0)


def test_it_learns(trained) -> None:
    x, y = streams(2)[0]
    assert accuracy(decide(trained[1], x), y) > 0.85


def test_integers_are_near_torch_along_a_stream(trained) -> None:
    x, _ = streams(3)[0]
    expected = along({name: torch.from_numpy(one) for name, one in trained[0].items()}, x, SHAPE)[-1]
    found = trained[1].logits(trained[1].inputs(x))
    ends = np.arange(SHAPE.stride - 1, len(x), SHAPE.stride)
    assert (found[ends].argmax(-1) == expected.argmax(-1)).mean() > 0.95
    assert np.abs(found[ends] * trained[1].logit_scale - expected).max() < 0.1 * np.abs(expected).max()
    np.testing.assert_array_equal(found[: SHAPE.stride - 1], 0)
    np.testing.assert_array_equal(found[ends[:-1]], found[ends[:-1] + SHAPE.stride - 1])  # held until the next


def test_training_sees_what_comes_along_a_stream() -> None:
    """A window gives the logits of a stream whose past is as long as the field; the sample before that counts for nothing."""
    weights = initial(SHAPE, seed=3)
    x = np.random.default_rng(0).normal(size=(SHAPE.field + 8 * SHAPE.stride, CHANNELS)).astype(np.float32)
    start = -SHAPE.field % SHAPE.stride  # so that the window ends where a stride does
    window = torch.from_numpy(x[start:].T[None].copy())
    logits = cnn.activations(weights, window, SHAPE, padded=False)[-1][0].T.numpy()
    stream = along(weights, x, SHAPE)[-1]
    np.testing.assert_allclose(logits[-5:], stream[-5:], rtol=1e-4, atol=1e-5)
    for at, matters in ((SHAPE.field, False), (SHAPE.field - 1, True)):
        other = x.copy()
        other[len(stream) * SHAPE.stride - 1 - at] += 50
        assert (along(weights, other, SHAPE)[-1][-1] != stream[-1]).any() == matters


@pytest.mark.parametrize("filters", [6, 8])
def test_c_is_equal_at_every_sample(filters: int, tmp_path: Path) -> None:
    shape = Shape(CHANNELS, filters, CLASSES, first_taps=7, stride=4, dilated=(1, 2, 4))
    weights = {name: one.numpy() for name, one in initial(shape, seed=1).items()}
    random = np.random.default_rng(1)
    weights |= {name: random.normal(0, 0.3, one.shape).astype(np.float32) for name, one in weights.items() if "bias" in name}
    model = IntegerCnn.of(weights, shape, [2.0, 2.0, 2.0, 2.0, 0.7])
    x = np.concatenate([model.inputs(streams(3)[0][0]), random.choice([-127, 0, 127], (400, CHANNELS)).astype(np.int8)])
    expected = model.logits(x)
    assert np.abs(expected).max() == 127  # saturates
    assert len(np.unique(expected.argmax(-1))) > 1
    np.testing.assert_array_equal(logits_of_c(model, x, tmp_path), expected)
