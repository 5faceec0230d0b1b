# SPDX-License-Identifier: Apache-2.0
"""FastGRNN's passes over time, compiled: sixteen lanes side by side.

    z = sigmoid(W v + b_z), c = tanh(W v + b_h), h' = (zeta (1 - z) + nu) c + z h,  v = (h, x)

x [T, C, 16], weight [H, H + C] for v, biases [H], start [H, 16]; hidden, gates and candidates are h', z and c, [T, H, 16].
"""

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from memkd_edge.nets.kernels.simd import LANES, lane_sum, load, sigmoid, splat, store, tanh

Floats = NDArray[np.float32]
_ONE = np.float32(1)
_ZERO = np.float32(0)


@njit(error_model="numpy", cache=True)
def _forward(
    x: Floats,
    weight: Floats,
    gate_bias: Floats,
    candidate_bias: Floats,
    zeta: np.float32,
    nu: np.float32,
    start: Floats,
    hidden: Floats,
    gates: Floats,
    candidates: Floats,
) -> None:
    steps, channels, _ = x.shape
    units = len(weight)
    value = np.empty((units + channels, LANES), np.float32)
    before = np.empty((units, LANES), np.float32)
    value[:units] = start
    flat_value, flat_before = value.ravel(), before.ravel()
    flat_hidden, flat_gates, flat_candidates = hidden.ravel(), gates.ravel(), candidates.ravel()
    for step in range(steps):
        value[units:] = x[step]
        np.dot(weight, value, before)
        for unit in range(units):
            own, at = unit * LANES, (step * units + unit) * LANES
            gate = sigmoid(load(flat_before, own) + splat(gate_bias[unit]))
            candidate = tanh(load(flat_before, own) + splat(candidate_bias[unit]))
            let_in = splat(zeta) * (splat(_ONE) - gate) + splat(nu)
            state = let_in * candidate + gate * load(flat_value, own)
            store(flat_gates, at, gate)
            store(flat_candidates, at, candidate)
            store(flat_hidden, at, state)
            store(flat_value, own, state)


@njit(error_model="numpy", cache=True)
def _backward(
    recurrent: Floats,
    zeta: np.float32,
    nu: np.float32,
    before: Floats,
    gates: Floats,
    candidates: Floats,
    grad: Floats,
    delta: Floats,
    grad_biases: Floats,
    grad_scalars: Floats,
) -> None:
    """Fill `delta` [T, H, 16], the gradient before the curves; those of the biases [2, H]; those of zeta and nu [2].

    recurrent: [H, H], the weights of h, transposed. before [T, H, 16]: h of the step before. grad: that of hidden.
    """
    steps, units, _ = gates.shape
    state = np.zeros((units, LANES), np.float32)
    kept = np.empty((units, LANES), np.float32)
    flat_state, flat_kept = state.ravel(), kept.ravel()
    flat_before, flat_gates, flat_candidates = before.ravel(), gates.ravel(), candidates.ravel()
    flat_grad, flat_delta = grad.ravel(), delta.ravel()
    sums = np.zeros((2 * units + 2) * LANES, np.float32)
    last = 2 * units * LANES
    one = splat(_ONE)
    for step in range(steps - 1, -1, -1):
        for unit in range(units):
            own, at = unit * LANES, (step * units + unit) * LANES
            gate, candidate = load(flat_gates, at), load(flat_candidates, at)
            from_state = load(flat_state, own) + load(flat_grad, at)
            from_gate = from_state * (load(flat_before, at) - splat(zeta) * candidate) * gate * (one - gate)
            let_in = splat(zeta) * (one - gate) + splat(nu)
            from_candidate = from_state * let_in * (one - candidate * candidate)
            store(flat_delta, at, from_gate + from_candidate)
            store(flat_kept, own, from_state * gate)
            store(sums, own, load(sums, own) + from_gate)
            store(sums, own + units * LANES, load(sums, own + units * LANES) + from_candidate)
            store(sums, last, load(sums, last) + from_state * candidate * (one - gate))
            store(sums, last + LANES, load(sums, last + LANES) + from_state * candidate)
        np.dot(recurrent, delta[step], state)
        for unit in range(units):
            store(flat_state, unit * LANES, load(flat_state, unit * LANES) + load(flat_kept, unit * LANES))
    for unit in range(units):
        grad_biases[0, unit] = lane_sum(load(sums, unit * LANES))
        grad_biases[1, unit] = lane_sum(load(sums, (units + unit) * LANES))
    grad_scalars[0] = lane_sum(load(sums, last))
    grad_scalars[1] = lane_sum(load(sums, last + LANES))


class Along(torch.autograd.Function):
    """hidden [T, H, 16] of x, weight, b_z, b_h, (zeta, nu) [2] and start; x and start get no gradient. All are contiguous."""

    @staticmethod
    def forward(
        context: torch.autograd.function.FunctionCtx,
        x: Tensor,
        weight: Tensor,
        gate_bias: Tensor,
        candidate_bias: Tensor,
        scalars: Tensor,
        start: Tensor,
    ) -> Tensor:
        shape = (len(x), len(weight), LANES)
        hidden, gates, candidates = (np.empty(shape, np.float32) for _ in range(3))
        zeta, nu = (np.float32(one) for one in scalars.tolist())
        given = (part.numpy() for part in (x, weight, gate_bias, candidate_bias))
        _forward(*given, zeta, nu, start.numpy(), hidden, gates, candidates)
        result = torch.from_numpy(hidden)
        context.save_for_backward(x, weight, scalars, start, result, torch.from_numpy(gates), torch.from_numpy(candidates))
        return result

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, scalars, start, hidden, gates, candidates = context.saved_tensors
        units = len(weight)
        before = torch.cat([start[None], hidden[:-1]])
        recurrent = weight[:, :units].T.contiguous()
        zeta, nu = (np.float32(one) for one in scalars.tolist())
        delta = np.empty(hidden.shape, np.float32)
        biases, of_scalars = np.empty((2, units), np.float32), np.empty(2, np.float32)
        arrays = (part.numpy() for part in (before, gates, candidates, grad.contiguous()))
        _backward(recurrent.numpy(), zeta, nu, *arrays, delta, biases, of_scalars)
        value = torch.cat([before, x], 1).transpose(0, 1).flatten(1)
        of_weight = torch.from_numpy(delta).transpose(0, 1).flatten(1) @ value.T
        of_gate, of_candidate = torch.from_numpy(biases)
        return None, of_weight, of_gate, of_candidate, torch.from_numpy(of_scalars), None
