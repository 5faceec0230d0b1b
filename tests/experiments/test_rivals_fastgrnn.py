# SPDX-License-Identifier: Apache-2.0
"""FastGRNN's compiled passes against its equations in torch, its integers against those, and its C against its integers."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.rivals import fastgrnn
from experiments.rivals.fastgrnn import along, initial, train_fastgrnn
from experiments.rivals.fastgrnn_integer import IntegerFastGrnn
from experiments.rivals.fastgrnn_kernel import LANES, Along
from experiments.rivals.grid import on_grid
from experiments.rivals.rival import decide
from memkd_edge.distillation.streams import recorded
from tests.experiments.rivals_c import CHANNELS, CLASSES, accuracy, logits_of_c, streams


def equations(x, w, u, b_z, b_h, zeta, nu, h):
    """The states [T, B, H] along x [T, B, C], as Kusupati et al. write them."""
    states = []
    for step in x:
        before = step @ w.T + h @ u.T
        z = torch.sigmoid(before + b_z)
        candidate = torch.tanh(before + b_h)
        h = (zeta * (1 - z) + nu) * candidate + z * h
        states.append(h)
    return torch.stack(states)


def test_the_compiled_passes_are_the_equations() -> None:
    random = torch.Generator().manual_seed(0)
    steps, units = 30, 5

    def some(*shape):
        return torch.randn(*shape, generator=random)

    x, weight, start = some(steps, CHANNELS, LANES), some(units, units + CHANNELS), some(units, LANES)
    b_z, b_h = some(units), some(units)
    scalars, grad = torch.tensor([0.7, 0.1]), some(steps, units, LANES)
    own = [one.clone().requires_grad_() for one in (weight, b_z, b_h, scalars)]
    hidden = Along.apply(x, *own, start)
    hidden.backward(grad)
    theirs = [one.double().requires_grad_() for one in (weight, b_z, b_h, scalars)]
    w, u = theirs[0][:, units:], theirs[0][:, :units]
    expected = equations(x.double().transpose(1, 2), w, u, theirs[1], theirs[2], theirs[3][0], theirs[3][1], start.double().T)
    expected.backward(grad.double().transpose(1, 2))
    torch.testing.assert_close(hidden.double(), expected.transpose(1, 2), rtol=1e-4, atol=1e-5)
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-3, atol=1e-3)


def float_logits(weights: dict[str, torch.Tensor], x: np.ndarray) -> np.ndarray:
    """The logits along a stream x [T, C] by the equations, with weights on their grid."""
    weight, head = on_grid(weights["weight"]), on_grid(weights["head"])
    units = len(weight)
    zeta, nu = torch.sigmoid(weights["scalars"])
    biases = weights["gate_bias"], weights["candidate_bias"]
    w, u = weight[:, units:], weight[:, :units]
    states = equations(torch.from_numpy(x)[:, None], w, u, *biases, zeta, nu, torch.zeros(1, units))
    return (states[:, 0] @ head.T + weights["head_bias"]).numpy()


def random_weights(units: int) -> dict[str, torch.Tensor]:
    """Weights of an untrained model, with biases of all sizes."""
    weights = initial(CHANNELS, units, CLASSES, 20, seed=2)
    random = torch.Generator().manual_seed(1)
    biases = ("gate_bias", "candidate_bias", "head_bias")
    return weights | {name: weights[name] + 0.3 * torch.randn(weights[name].shape, generator=random) for name in biases}


@pytest.mark.parametrize("units", [9, 14])
def test_integers_are_near_the_equations_and_c_is_equal(units: int, tmp_path: Path) -> None:
    weights = random_weights(units)
    model = IntegerFastGrnn.of({name: one.numpy() for name, one in weights.items()})
    x, _ = streams(3)[0]
    inputs = model.inputs(x)
    found, expected = model.logits(inputs), float_logits(weights, x)
    assert np.abs(found / 1024 - expected).max() < 0.02
    assert np.abs(expected).max() > 0.5
    hard = np.random.default_rng(0).choice(np.array([-32767, 0, 32767], np.int16), (400, CHANNELS))
    everything = np.concatenate([inputs, hard])
    np.testing.assert_array_equal(logits_of_c(model, everything, tmp_path), model.logits(everything))


def test_it_learns_along_streams() -> None:
    labelled = [(x, y, False) for x, y in streams(1, count=8, samples=1200)]
    series = recorded(labelled, 25.0, 0.0, torch.ones(CLASSES), torch.device("cpu"))
    model = train_fastgrnn(series, 8, CLASSES, steps=60, learning_rate=0.02, seed=0)
    x, y = streams(2)[0]
    assert accuracy(decide(model, x), y) > 0.85


def test_most_lanes_go_on_from_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def spy(parameters, x, start):
        logits, ended = along(parameters, x, start)
        passes.append((start, ended))
        return logits, ended

    monkeypatch.setattr(fastgrnn, "along", spy)
    labelled = [(x, y, False) for x, y in streams(1, count=8, samples=1200)]
    fastgrnn.train_fastgrnn(recorded(labelled, 25.0, 0.0, torch.ones(CLASSES), torch.device("cpu")), 4, CLASSES, 20, 0.01, seed=0)
    kept = []
    for (_, ended), (start, _) in itertools.pairwise(passes):
        own = (start == ended).all(0)
        assert ((start == 0).all(0) | own).all()
        kept.append(own.float().mean())
    assert 0.8 < np.mean(kept) < 1
