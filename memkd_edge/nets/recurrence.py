# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers for many students at once, with hand-written backpropagation through time.

A batch starts from zero state or goes on from the states that another one ended with; gradients stop at its first step.

On the CPU a compiled kernel runs all time steps (kernels/recurrent.py). Elsewhere a step is one batched matrix product and a few
element-wise operations over all students together, in memory laid out [T, P, units, B], and the gradients of the weights are one
large product after the loop.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.nets.kernels import recurrent as kernels
from memkd_edge.nets.kernels.lanes import fill_lanes

CELL_LIMIT = 6.0  # the finest range of an exported int16 cell
_GATES = [2, 0, 1, 3]  # torch stores i, f, g, o; step by step g, i, f, o: sigmoids side by side, and what the cell receives


def lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    parts: list[int],
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Sequence[Tensor], Tensor, Tensor, Tensor]:
    """Run P one-layer LSTMs over the same batch, as torch.nn.LSTM does.

    Args:
        x: [B, T, C], without gradient.
        weight_ih, weight_hh, bias_ih, bias_hh: torch.nn.LSTM's, with a leading axis: [P, 4H, C], [P, 4H, H], [P, 4H] twice.
        parts: how many neighbouring students share a tensor of hidden states; their sum is P. A part of whose hidden states only
            the last is used has no gradient of all of them to make and read.
        start: hidden and cell states [P, B, H] before the first step, which get no gradient; zeros when left out.

    Returns:
        hidden states of each part [p, B, T, H], views of other memory layouts; the last one of all students [P, B, H]; by how
        much cell states c go beyond `CELL_LIMIT`: max(|c| - CELL_LIMIT, 0)^2, summed over units, mean over series and steps, [P];
        and the last cell states [P, B, H], without gradient.
    """
    run = _lstm_compiled if x.device.type == "cpu" else _lstm_stepwise
    return run(x, weight_ih, weight_hh, bias_ih, bias_hh, parts, start)


def gru(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    parts: list[int],
    start: Tensor | None = None,
) -> tuple[Sequence[Tensor], Tensor]:
    """Run P one-layer GRUs over the same batch, as torch.nn.GRU does.

    Args and returns as `lstm`, with 3H rows for the three gates, and without cell states.
    """
    run = _gru_compiled if x.device.type == "cpu" else _gru_stepwise
    return run(x, weight_ih, weight_hh, bias_ih, bias_hh, parts, start)


def _lstm_compiled(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    parts: list[int],
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Sequence[Tensor], Tensor, Tensor, Tensor]:
    students, rows, _ = weight_ih.shape
    units = rows // 4
    weight = torch.cat([weight_hh, weight_ih], 2).view(students, 4, units, -1).permute(0, 2, 3, 1)
    bias = (bias_ih + bias_hh).view(students, 4, units).transpose(1, 2)
    hidden, last, excess, cell = _compiled(_CompiledLstm, x, weight, bias, parts, start or (None, None))
    return hidden, torch.cat(last), torch.cat(excess) / (x.shape[0] * x.shape[1]), torch.cat(cell)


def _gru_compiled(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    parts: list[int],
    start: Tensor | None = None,
) -> tuple[Sequence[Tensor], Tensor]:
    students, rows, _ = weight_ih.shape
    units = rows // 3
    weight = torch.cat([weight_hh, weight_ih], 2).view(students, 3, units, -1).permute(0, 2, 3, 1)
    gates = (bias_ih + bias_hh)[:, : 2 * units]
    bias = torch.cat([gates, bias_ih[:, 2 * units :], bias_hh[:, 2 * units :]], 1).view(students, 4, units).transpose(1, 2)
    hidden, last = _compiled(_CompiledGru, x, weight, bias, parts, (start,))
    return hidden, torch.cat(last)


def _compiled(
    function: type[torch.autograd.Function],
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    parts: list[int],
    start: tuple[Tensor | None, ...],
) -> Iterator[tuple[Tensor, ...]]:
    """Return each of the function's outputs for all parts."""
    lanes = fill_lanes(x.permute(1, 2, 0))
    starts = (
        [x.new_empty(0, 0, 0)] * len(parts) if one is None else torch.split(fill_lanes(one.transpose(1, 2)), parts)
        for one in start
    )
    own = zip(torch.split(weight.contiguous(), parts), torch.split(bias.contiguous(), parts), *starts, strict=True)
    return zip(*(function.apply(lanes, len(x), *arrays) for arrays in own), strict=True)  # type: ignore[no-untyped-call]


class _CompiledLstm(torch.autograd.Function):
    """Arrays of kernels/recurrent.py -> hidden states [P, B, T, H], the last [P, B, H], excess [P], the last cells [P, B, H]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, count: int, weight: Tensor, bias: Tensor, hidden_before: Tensor, cells_before: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hidden, cells = (x.new_empty(len(weight), len(x), weight.shape[1], x.shape[2]) for _ in range(2))
        excess = x.new_empty(len(weight))
        given = _arrays(x, weight, bias, hidden_before, cells_before)
        kernels.lstm_forward(*given, count, np.float32(CELL_LIMIT), *_arrays(hidden, cells, excess))
        ctx.save_for_backward(x, weight, bias, hidden_before, cells_before, hidden, cells)
        ctx.count = count
        ctx.set_materialize_grads(False)
        last_cells = _states(cells, count)[1]
        ctx.mark_non_differentiable(last_cells)
        return *_states(hidden, count), excess, last_cells

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, Tensor, Tensor, None, None]:
        x, weight, bias, *before, hidden, cells = ctx.saved_tensors
        grad_excess = weight.new_zeros(len(weight)) if grads[2] is None else grads[2].contiguous()
        grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(bias)
        kernels.lstm_backward(
            *_arrays(x, weight, bias, *before),
            ctx.count,
            np.float32(CELL_LIMIT),
            *_arrays(hidden, cells, *_grad_states(hidden, *grads[:2]), grad_excess, grad_weight, grad_bias),
        )
        return None, None, grad_weight, grad_bias, None, None


class _CompiledGru(torch.autograd.Function):
    """Arrays of kernels/recurrent.py -> hidden states [P, B, T, H], the last [P, B, H]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, weight: Tensor, bias: Tensor, hidden_before: Tensor) -> tuple[Tensor, Tensor]:
        hidden = x.new_empty(len(weight), len(x), weight.shape[1], x.shape[2])
        kernels.gru_forward(*_arrays(x, weight, bias, hidden_before, hidden))
        ctx.save_for_backward(x, weight, bias, hidden_before, hidden)
        ctx.count = count
        ctx.set_materialize_grads(False)
        return _states(hidden, count)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, Tensor, Tensor, None]:
        x, weight, bias, before, hidden = ctx.saved_tensors
        grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(bias)
        states = _grad_states(hidden, *grads)
        kernels.gru_backward(*_arrays(x, weight, bias, before), ctx.count, *_arrays(hidden, *states, grad_weight, grad_bias))
        return None, None, grad_weight, grad_bias, None


def _states(hidden: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return [P, T, H, B'] as [P, B, T, H], and its last step [P, B, H], of the first `count` series."""
    return hidden[..., :count].permute(0, 3, 1, 2), hidden[:, -1, :, :count].transpose(1, 2).contiguous()


def _grad_states(hidden: Tensor, grad: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the gradients by the outputs of `_states` in the layouts of kernels/recurrent.py."""
    return (
        hidden.new_empty(0, 0, 0, 0) if grad is None else fill_lanes(grad.permute(0, 2, 3, 1)),
        torch.zeros_like(hidden[:, -1]) if grad_last is None else fill_lanes(grad_last.transpose(1, 2)),
    )


def _arrays(*tensors: Tensor) -> list[NDArray[np.float32]]:
    return [tensor.detach().numpy() for tensor in tensors]


def _gru_stepwise(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    parts: list[int],
    start: Tensor | None = None,
) -> tuple[Sequence[Tensor], Tensor]:
    students, rows, _ = weight_ih.shape
    units = rows // 3
    inward = torch.einsum("btc,prc->tpbr", x, weight_ih) + bias_ih.unsqueeze(1)
    state = x.new_zeros(students, len(x), units) if start is None else start
    states = []
    for step in inward:
        recurrent = torch.baddbmm(bias_hh.unsqueeze(1), state, weight_hh.transpose(1, 2))
        reset, update = (step + recurrent)[..., : 2 * units].sigmoid().split(units, -1)
        candidate = (step[..., 2 * units :] + reset * recurrent[..., 2 * units :]).tanh()
        state = candidate + update * (state - candidate)
        states.append(state)
    return torch.split(torch.stack(states, 2), parts), state


def _lstm_stepwise(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    parts: list[int],
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Sequence[Tensor], Tensor, Tensor, Tensor]:
    students, rows, channels = weight_ih.shape
    batch, length, _ = x.shape
    units = rows // 4
    order = (torch.tensor(_GATES, device=x.device)[:, None] * units + torch.arange(units, device=x.device)).reshape(-1)
    inward = weight_ih.index_select(1, order).reshape(1, students * rows, channels)
    bias = (bias_ih + bias_hh).index_select(1, order).reshape(1, students * rows, 1)
    gates = torch.baddbmm(bias, inward.expand(length, -1, -1), x.permute(1, 2, 0)).view(length, students, rows, batch)
    before = (x.new_zeros(students, batch, units),) * 2 if start is None else start
    hidden, excess, last_cells = _StepwiseLstm.apply(  # type: ignore[no-untyped-call]
        gates, weight_hh.index_select(1, order), *(state.transpose(1, 2) for state in before)
    )
    return torch.split(hidden.permute(1, 3, 0, 2), parts), hidden[-1].transpose(1, 2), excess, last_cells.transpose(1, 2)


class _StepwiseLstm(torch.autograd.Function):
    """Input's share of the gates [T, P, 4H, B] (overwritten), recurrent weights [P, 4H, H], states before the first step

    [P, H, B] -> hidden [T, P, H, B], excess, the last cells [P, H, B].
    """

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, weight: Tensor, hidden_before: Tensor, cells_before: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        length, students, rows, batch = gates.shape
        units = rows // 4
        cell, squashed, hidden = (gates.new_empty(length, students, units, batch) for _ in range(3))
        step = gates.unbind(0)
        candidate, into, forget, out = (part.unbind(0) for part in torch.split(gates, units, 2))
        sigmoids = gates[:, :, units:].unbind(0)
        cells, squashes, hiddens = cell.unbind(0), squashed.unbind(0), hidden.unbind(0)
        for t in range(length):
            step[t].baddbmm_(weight, hiddens[t - 1] if t else hidden_before)
            sigmoids[t].sigmoid_()
            candidate[t].tanh_()
            torch.mul(into[t], candidate[t], out=cells[t])
            cells[t].addcmul_(forget[t], cells[t - 1] if t else cells_before)
            torch.tanh(cells[t], out=squashes[t])
            torch.mul(out[t], squashes[t], out=hiddens[t])
        beyond = cell - cell.clamp(-CELL_LIMIT, CELL_LIMIT)
        ctx.save_for_backward(gates, cell, squashed, hidden, beyond, weight, hidden_before, cells_before)
        last_cells = cell[-1].clone()
        ctx.mark_non_differentiable(last_cells)
        return hidden, beyond.square().sum((0, 2, 3)) / (length * batch), last_cells

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        gates, cell, squashed, hidden, beyond, weight, hidden_before, cells_before = ctx.saved_tensors
        length, students, rows, batch = gates.shape
        units = rows // 4
        candidate, into, forget, out = torch.split(gates, units, 2)
        # What multiplies the gradient of the cell (g, i, f) or of the hidden state (o), for all steps at once.
        delta = torch.empty_like(gates)
        torch.mul(into, 1 - candidate * candidate, out=delta[:, :, :units])
        torch.mul(candidate * into, 1 - into, out=delta[:, :, units : 2 * units])
        cells = torch.cat([cells_before.unsqueeze(0), cell[:-1]])
        torch.mul(cells * forget, 1 - forget, out=delta[:, :, 2 * units : 3 * units])
        torch.mul(squashed * out, 1 - out, out=delta[:, :, 3 * units :])
        into_cell = out * (1 - squashed * squashed)
        pull = (2 / (length * batch) * grads[1].view(-1, 1, 1) * beyond).unsqueeze(2)

        from_cell = delta[:, :, : 3 * units].view(length, students, 3, units, batch)
        grad_hidden = grads[0].contiguous()
        grad_cell = gates.new_zeros(students, 1, units, batch)
        back = weight.transpose(1, 2)
        for t in range(length - 1, -1, -1):
            grad = grad_hidden[t]
            if t < length - 1:
                grad = torch.baddbmm(grad, back, delta[t + 1])
            grad_cell.addcmul_(grad.unsqueeze(1), into_cell[t].unsqueeze(1)).add_(pull[t])
            from_cell[t].mul_(grad_cell)
            delta[t, :, 3 * units :].mul_(grad)
            grad_cell.mul_(forget[t].unsqueeze(1))
        before = torch.cat([hidden_before.unsqueeze(0), hidden[:-1]]).permute(1, 0, 3, 2).reshape(students, -1, units)
        return delta, torch.bmm(delta.permute(1, 2, 0, 3).reshape(students, rows, -1), before), None, None
