# SPDX-License-Identifier: Apache-2.0
"""The batched recurrent layers against torch's own, one student at a time."""

import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from torch import Tensor, nn

from memkd_edge.nets import recurrence
from memkd_edge.nets.kernels import simd
from tests.distillation.alone import excess

NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


LAYERS = [
    (nn.LSTM, recurrence._lstm_compiled),
    (nn.LSTM, recurrence._lstm_stepwise),
    (nn.GRU, recurrence._gru_compiled),
    (nn.GRU, recurrence._gru_stepwise),
]


def assert_equals_torch(layer, modules: list[nn.Module], x: Tensor) -> None:
    """Compare hidden states, excess of cell states, and gradients of all students with each module's."""
    stacked = stacked_weights(modules)
    hidden, last, beyond = outputs(layer, x, stacked)
    upstream, weights = torch.randn(hidden.shape), torch.randn(len(modules))
    ((hidden * upstream).sum() + last.square().sum() + (beyond * weights).sum()).backward()
    for student, module in enumerate(modules):
        expected, _ = module(x)
        cells = excess(module, x) if isinstance(module, nn.LSTM) else torch.zeros(())
        ((expected * upstream[student]).sum() + expected[:, -1].square().sum() + cells * weights[student]).backward()
        torch.testing.assert_close(hidden[student], expected, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(beyond[student], cells, atol=1e-6, rtol=1e-4)
        for tensor, name in zip(stacked, NAMES, strict=True):
            wanted = getattr(module, name).grad
            torch.testing.assert_close(tensor.grad[student], wanted, atol=1e-6 + 1e-5 * float(wanted.abs().max()), rtol=1e-4)
    with torch.no_grad():
        assert torch.equal(outputs(layer, x, stacked)[0], hidden)


def stacked_weights(modules: list[nn.Module]) -> list[Tensor]:
    return [torch.stack([getattr(module, name) for module in modules]).detach().requires_grad_() for name in NAMES]


def outputs(layer, x: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden states, the last ones, and the excess; a GRU has no cells."""
    (hidden,), last, *cells = layer(x, *weights, [len(weights[0])])
    return hidden, last, cells[0] if cells else torch.zeros(len(weights[0]))


@pytest.mark.parametrize(("module", "layer"), LAYERS)
@given(
    students=st.integers(1, 4),
    batch=st.integers(1, 35),
    length=st.integers(1, 40),
    channels=st.integers(1, 9),
    units=st.integers(1, 20),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=12)
def test_states_and_gradients_equal_torch(module, layer, students, batch, length, channels, units, seed) -> None:
    torch.manual_seed(seed)
    modules = [module(channels, units, batch_first=True) for _ in range(students)]
    with patch.object(recurrence, "CELL_LIMIT", 0.3):  # so that many cells are beyond it
        assert_equals_torch(layer, modules, 2 * torch.randn(batch, length, channels))


@pytest.mark.parametrize(("module", "layer"), LAYERS)
@pytest.mark.parametrize("batch", [3, 16, 21])
def test_states_and_gradients_from_a_given_state_equal_torch(module, layer, batch: int) -> None:
    torch.manual_seed(batch)
    modules = [module(4, 5, batch_first=True) for _ in range(3)]
    x, states = 2 * torch.randn(batch, 11, 4), torch.randn(2, 3, batch, 5)
    start = (states[0], states[1]) if module is nn.LSTM else states[0]
    stacked, upstream = stacked_weights(modules), torch.randn(3, batch, 11, 5)
    hidden, last, *cells = layer(x, *stacked, [1, 2], start)
    (torch.cat(hidden) * upstream).sum().backward()
    for student, one in enumerate(modules):
        own = states[:, student : student + 1].contiguous()
        expected, ended = one(x, (own[0], own[1]) if module is nn.LSTM else own[0])
        (expected * upstream[student]).sum().backward()
        torch.testing.assert_close(torch.cat(hidden)[student], expected, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(last[student], expected[:, -1], atol=2e-6, rtol=1e-5)
        if cells:
            torch.testing.assert_close(cells[1][student], ended[1][0], atol=2e-6, rtol=1e-5)
            assert not cells[1].requires_grad
        for tensor, name in zip(stacked, NAMES, strict=True):
            torch.testing.assert_close(tensor.grad[student], getattr(one, name).grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("module", "layer"), LAYERS)
def test_a_series_in_two_chunks_has_the_states_that_it_has_in_one(module, layer) -> None:
    torch.manual_seed(3)
    weights = stacked_weights([module(2, 6) for _ in range(2)])
    x = torch.randn(19, 30, 2)
    whole, whole_last, *whole_cells = layer(x, *weights, [2])
    first, state, *cells = layer(x[:, :13], *weights, [2])
    second, last, *last_cells = layer(x[:, 13:], *weights, [2], (state, cells[1]) if cells else state)
    found, wanted = torch.cat([first[0], second[0]], 2), whole[0]
    if layer in (recurrence._lstm_compiled, recurrence._gru_compiled):  # torch's products depend on the shapes
        assert torch.equal(found, wanted)
        assert torch.equal(last, whole_last)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
    for one, other in zip(last_cells[1:], whole_cells[1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("module", "layer"), [(nn.LSTM, recurrence.lstm), (nn.GRU, recurrence.gru)])
def test_a_gradient_beyond_the_series_of_the_batch_does_not_count(module, layer) -> None:
    torch.manual_seed(1)
    modules = [module(2, 3) for _ in range(2)]
    x = torch.randn(5, 7, 2)
    found = []
    for beyond in (0.0, 1e3):  # in memory behind the gradient of each unit's five series
        weights = [torch.stack([getattr(one, name) for one in modules]).detach().requires_grad_() for name in NAMES]
        (hidden,), *_ = layer(x, *weights, [2])
        memory = torch.full((2, 7, 3, simd.LANES), beyond)
        memory[..., :5] = torch.arange(5.0)
        hidden.backward(memory[..., :5].permute(0, 3, 1, 2))
        found.append([weight.grad for weight in weights])
    for without, with_it in zip(*found, strict=True):
        assert torch.equal(without, with_it)


def test_saturated_gates_stay_finite() -> None:
    module = nn.LSTM(1, 3, batch_first=True)
    with torch.no_grad():
        module.weight_ih_l0.mul_(1e4)
    assert_equals_torch(recurrence.lstm, [module], torch.randn(4, 30, 1))


def test_the_vector_tanh_is_accurate_to_float32() -> None:
    @njit
    def apply(values, result):
        for start in range(0, len(values), simd.LANES):
            simd.store(result, start, simd.tanh(simd.load(values, start)))

    values = torch.cat([torch.linspace(-20, 20, 4096), torch.tensor([0.0, 1e-30, -1e-30, 3e38] * 4)])
    result = torch.empty_like(values)
    apply(values.numpy(), result.numpy())
    worst = max(abs(found - math.tanh(value)) for found, value in zip(result.tolist(), values.tolist(), strict=True))
    assert worst < 5e-7
