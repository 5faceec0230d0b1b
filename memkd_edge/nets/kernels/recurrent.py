# SPDX-License-Identifier: Apache-2.0
"""Compiled passes over time for many small LSTMs or GRUs, on the CPU.

Sixteen series of one student go through all time steps side by side, one per vector lane; their states and weights stay in the
first-level cache. On the way back the gates are computed once more: that is cheaper than writing them all to memory and reading
them again. The functions release the interpreter's lock, so threads run them in parallel; each is itself sequential, hence
deterministic.

Layouts (P students, T steps, C channels, H units, B series, a multiple of LANES; K = H + C):

    x              [T, C, B]
    weight         [P, H, K, G]     K: hidden state first, then x; G gates: input, forget, candidate, output of an LSTM,
                                    reset, update, candidate of a GRU
    bias           [P, H, 4]        of the four gates; of a GRU: reset, update, candidate's input side, candidate's recurrent side
    hidden, cells  [P, T, H, B]
    hidden_before, cells_before    [P, H, B] of the step before the first; or [0, 0, 0], which stands for zeros
    excess         [P]             by which an LSTM's cells go beyond +-limit, squared; summed over units, steps and series

Only the first `count` series are the batch's, the others fill up the lanes: they count in no sum, whatever their gradients are.
Gradients have the layout of what they belong to. That of `hidden` is in two parts: `grad_hidden`, which is empty where there is
none, and on top of it `grad_last` [P, H, B] of the last step. The states before the first step get none.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memkd_edge.nets.kernels.simd import LANES, lane_sum, larger, load, sigmoid, smaller, splat, store, tanh

Floats = NDArray[np.float32]

_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)


@njit(inline="always")
def _read(value: Floats, x: Floats, hidden: Floats, units: int, channels: int, series: int, at_x: int, at_hidden: int) -> None:
    """Gather one step's inputs: the previous hidden state, zeros when `hidden` is empty, then x."""
    for unit in range(units):
        store(value, unit * LANES, load(hidden, at_hidden + unit * series) if hidden.size > 0 else splat(_ZERO))
    for channel in range(channels):
        store(value, (units + channel) * LANES, load(x, at_x + channel * series))


@njit(inline="always")
def _lstm_gates(weight: Floats, bias: Floats, value: Floats, row: int, inputs: int) -> Any:
    """Return input gate, forget gate, candidate and output gate of one unit."""
    into = splat(bias[row * 4])
    forget = splat(bias[row * 4 + 1])
    candidate = splat(bias[row * 4 + 2])
    out = splat(bias[row * 4 + 3])
    for source in range(inputs):
        at = (row * inputs + source) * 4
        number = load(value, source * LANES)
        into = into + splat(weight[at]) * number
        forget = forget + splat(weight[at + 1]) * number
        candidate = candidate + splat(weight[at + 2]) * number
        out = out + splat(weight[at + 3]) * number
    return sigmoid(into), sigmoid(forget), tanh(candidate), sigmoid(out)


@njit(inline="always")
def _alive(live: Floats, block: int, count: int) -> None:
    """Set the lanes of `live` to 1 where the block's series are the batch's, else to 0."""
    for lane in range(LANES):
        live[lane] = _ONE if block + lane < count else _ZERO


@njit(inline="always")
def _beyond(cell: Any, limit: Any) -> Any:
    """Return by how much each lane is above limit or below -limit, with its sign."""
    return cell - smaller(larger(cell, splat(_ZERO) - limit), limit)


@njit(nogil=True, error_model="numpy", cache=True)
def lstm_forward(
    x: Floats,
    weight: Floats,
    bias: Floats,
    hidden_before: Floats,
    cells_before: Floats,
    count: int,
    limit: np.float32,
    hidden: Floats,
    cells: Floats,
    excess: Floats,
) -> None:
    """Fill `hidden`, `cells` and `excess`."""
    students, units, inputs, _ = weight.shape
    steps, channels, series = x.shape
    flat_x, flat_weight, flat_bias, flat_hidden, flat_cells = (
        x.ravel(),
        weight.ravel(),
        bias.ravel(),
        hidden.ravel(),
        cells.ravel(),
    )
    flat_hidden_before, flat_cells_before = hidden_before.ravel(), cells_before.ravel()
    value = np.empty(inputs * LANES, np.float32)
    live = np.empty(LANES, np.float32)
    sums = np.empty(LANES, np.float32)
    for student in range(students):
        store(sums, 0, splat(_ZERO))
        for block in range(0, series, LANES):
            _alive(live, block, count)
            for step in range(steps):
                here = (student * steps + step) * units * series + block
                at_x = step * channels * series + block
                if step > 0:
                    before = here - units * series
                    _read(value, flat_x, flat_hidden, units, channels, series, at_x, before)
                else:
                    before = student * units * series + block
                    _read(value, flat_x, flat_hidden_before, units, channels, series, at_x, before)
                for unit in range(units):
                    into, forget, candidate, out = _lstm_gates(flat_weight, flat_bias, value, student * units + unit, inputs)
                    cell = into * candidate
                    if step > 0:
                        cell = cell + forget * load(flat_cells, before + unit * series)
                    elif flat_cells_before.size > 0:
                        cell = cell + forget * load(flat_cells_before, before + unit * series)
                    store(flat_cells, here + unit * series, cell)
                    store(flat_hidden, here + unit * series, out * tanh(cell))
                    beyond = _beyond(cell, splat(limit))
                    store(sums, 0, load(sums, 0) + load(live, 0) * beyond * beyond)
        excess[student] = lane_sum(load(sums, 0))


@njit(nogil=True, error_model="numpy", cache=True)
def lstm_backward(
    x: Floats,
    weight: Floats,
    bias: Floats,
    hidden_before: Floats,
    cells_before: Floats,
    count: int,
    limit: np.float32,
    hidden: Floats,
    cells: Floats,
    grad_hidden: Floats,
    grad_last: Floats,
    grad_excess: Floats,
    grad_weight: Floats,
    grad_bias: Floats,
) -> None:
    """Fill `grad_weight` and `grad_bias` from the gradients of the outputs; all else is of the forward pass."""
    students, units, inputs, _ = weight.shape
    steps, channels, series = x.shape
    flat_x, flat_weight, flat_bias, flat_hidden, flat_cells = (
        x.ravel(),
        weight.ravel(),
        bias.ravel(),
        hidden.ravel(),
        cells.ravel(),
    )
    flat_hidden_before, flat_cells_before = hidden_before.ravel(), cells_before.ravel()
    flat_grad, flat_last = grad_hidden.ravel(), grad_last.ravel()
    flat_grad_weight, flat_grad_bias = grad_weight.ravel(), grad_bias.ravel()
    one = splat(_ONE)
    zero = splat(_ZERO)
    value = np.empty(inputs * LANES, np.float32)
    live = np.empty(LANES, np.float32)
    delta = np.empty(units * 4 * LANES, np.float32)  # gradient before the gates' non-linearities
    grad_state = np.empty(units * LANES, np.float32)
    grad_cell = np.empty(units * LANES, np.float32)
    rows = inputs + 1  # weights of a gate, then its bias
    sums = np.empty(units * rows * 4 * LANES, np.float32)  # gradients of the weights, lane by lane
    for student in range(students):
        for at in range(units * rows * 4):
            store(sums, at * LANES, zero)
        by_beyond = splat(_TWO * grad_excess[student])
        for block in range(0, series, LANES):
            _alive(live, block, count)
            for unit in range(units):
                at = (student * units + unit) * series + block
                store(grad_state, unit * LANES, load(live, 0) * load(flat_last, at))
                store(grad_cell, unit * LANES, zero)
            for step in range(steps - 1, -1, -1):
                here = (student * steps + step) * units * series + block
                at_x = step * channels * series + block
                if step > 0:
                    before = here - units * series
                    _read(value, flat_x, flat_hidden, units, channels, series, at_x, before)
                else:
                    before = student * units * series + block
                    _read(value, flat_x, flat_hidden_before, units, channels, series, at_x, before)
                for unit in range(units):
                    into, forget, candidate, out = _lstm_gates(flat_weight, flat_bias, value, student * units + unit, inputs)
                    cell = load(flat_cells, here + unit * series)
                    squashed = tanh(cell)
                    from_state = load(grad_state, unit * LANES)
                    if flat_grad.size > 0:
                        from_state = from_state + load(live, 0) * load(flat_grad, here + unit * series)
                    from_cell = load(grad_cell, unit * LANES) + from_state * out * (one - squashed * squashed)
                    from_cell = from_cell + by_beyond * load(live, 0) * _beyond(cell, splat(limit))
                    if step > 0:
                        old_cell = load(flat_cells, before + unit * series)
                    elif flat_cells_before.size > 0:
                        old_cell = load(flat_cells_before, before + unit * series)
                    else:
                        old_cell = zero
                    store(grad_cell, unit * LANES, from_cell * forget)
                    store(delta, unit * 4 * LANES, from_cell * candidate * into * (one - into))
                    store(delta, (unit * 4 + 1) * LANES, from_cell * old_cell * forget * (one - forget))
                    store(delta, (unit * 4 + 2) * LANES, from_cell * into * (one - candidate * candidate))
                    store(delta, (unit * 4 + 3) * LANES, from_state * squashed * out * (one - out))
                for unit in range(units):
                    store(grad_state, unit * LANES, zero)
                for unit in range(units):
                    first = load(delta, unit * 4 * LANES)
                    second = load(delta, (unit * 4 + 1) * LANES)
                    third = load(delta, (unit * 4 + 2) * LANES)
                    fourth = load(delta, (unit * 4 + 3) * LANES)
                    for source in range(rows):
                        at = (unit * rows + source) * 4 * LANES
                        number = load(value, source * LANES) if source < inputs else one
                        store(sums, at, load(sums, at) + first * number)
                        store(sums, at + LANES, load(sums, at + LANES) + second * number)
                        store(sums, at + 2 * LANES, load(sums, at + 2 * LANES) + third * number)
                        store(sums, at + 3 * LANES, load(sums, at + 3 * LANES) + fourth * number)
                    for source in range(units):
                        at = ((student * units + unit) * inputs + source) * 4
                        grad = load(grad_state, source * LANES)
                        grad = grad + splat(flat_weight[at]) * first + splat(flat_weight[at + 1]) * second
                        grad = grad + splat(flat_weight[at + 2]) * third + splat(flat_weight[at + 3]) * fourth
                        store(grad_state, source * LANES, grad)
        for unit in range(units):
            row = student * units + unit
            for number_of in range(inputs * 4):
                flat_grad_weight[row * inputs * 4 + number_of] = lane_sum(load(sums, (unit * rows * 4 + number_of) * LANES))
            for gate in range(4):
                flat_grad_bias[row * 4 + gate] = lane_sum(load(sums, ((unit * rows + inputs) * 4 + gate) * LANES))


@njit(inline="always")
def _gru_gates(weight: Floats, bias: Floats, value: Floats, row: int, units: int, inputs: int) -> Any:
    """Return reset gate, update gate, candidate, and the candidate's recurrent side before the reset gate, of one unit."""
    reset = splat(bias[row * 4])
    update = splat(bias[row * 4 + 1])
    fresh = splat(bias[row * 4 + 2])
    recurrent = splat(bias[row * 4 + 3])
    for source in range(inputs):
        at = (row * inputs + source) * 3
        number = load(value, source * LANES)
        reset = reset + splat(weight[at]) * number
        update = update + splat(weight[at + 1]) * number
        if source < units:
            recurrent = recurrent + splat(weight[at + 2]) * number
        else:
            fresh = fresh + splat(weight[at + 2]) * number
    reset = sigmoid(reset)
    return reset, sigmoid(update), tanh(fresh + reset * recurrent), recurrent


@njit(nogil=True, error_model="numpy", cache=True)
def gru_forward(x: Floats, weight: Floats, bias: Floats, hidden_before: Floats, hidden: Floats) -> None:
    """Fill `hidden`."""
    students, units, inputs, _ = weight.shape
    steps, channels, series = x.shape
    flat_x, flat_weight, flat_bias, flat_hidden = x.ravel(), weight.ravel(), bias.ravel(), hidden.ravel()
    flat_hidden_before = hidden_before.ravel()
    one = splat(_ONE)
    value = np.empty(inputs * LANES, np.float32)
    for student in range(students):
        for block in range(0, series, LANES):
            for step in range(steps):
                here = (student * steps + step) * units * series + block
                at_x = step * channels * series + block
                if step > 0:
                    before = here - units * series
                    _read(value, flat_x, flat_hidden, units, channels, series, at_x, before)
                else:
                    before = student * units * series + block
                    _read(value, flat_x, flat_hidden_before, units, channels, series, at_x, before)
                for unit in range(units):
                    _, update, candidate, _ = _gru_gates(flat_weight, flat_bias, value, student * units + unit, units, inputs)
                    state = (one - update) * candidate + update * load(value, unit * LANES)
                    store(flat_hidden, here + unit * series, state)


@njit(nogil=True, error_model="numpy", cache=True)
def gru_backward(
    x: Floats,
    weight: Floats,
    bias: Floats,
    hidden_before: Floats,
    count: int,
    hidden: Floats,
    grad_hidden: Floats,
    grad_last: Floats,
    grad_weight: Floats,
    grad_bias: Floats,
) -> None:
    """Fill `grad_weight` and `grad_bias` from the gradients of the outputs; all else is of the forward pass."""
    students, units, inputs, _ = weight.shape
    steps, channels, series = x.shape
    flat_x, flat_weight, flat_bias, flat_hidden = x.ravel(), weight.ravel(), bias.ravel(), hidden.ravel()
    flat_hidden_before = hidden_before.ravel()
    flat_grad, flat_last = grad_hidden.ravel(), grad_last.ravel()
    flat_grad_weight, flat_grad_bias = grad_weight.ravel(), grad_bias.ravel()
    one = splat(_ONE)
    zero = splat(_ZERO)
    value = np.empty(inputs * LANES, np.float32)
    live = np.empty(LANES, np.float32)
    delta = np.empty(units * 4 * LANES, np.float32)  # before the non-linearities; last: of the candidate's recurrent side
    grad_state = np.empty(units * LANES, np.float32)
    size = inputs * 3 + 4  # weights of a unit, then its biases
    sums = np.empty(units * size * LANES, np.float32)  # gradients of the weights, lane by lane
    for student in range(students):
        for at in range(units * size):
            store(sums, at * LANES, zero)
        for block in range(0, series, LANES):
            _alive(live, block, count)
            for unit in range(units):
                at = (student * units + unit) * series + block
                store(grad_state, unit * LANES, load(live, 0) * load(flat_last, at))
            for step in range(steps - 1, -1, -1):
                here = (student * steps + step) * units * series + block
                at_x = step * channels * series + block
                if step > 0:
                    before = here - units * series
                    _read(value, flat_x, flat_hidden, units, channels, series, at_x, before)
                else:
                    before = student * units * series + block
                    _read(value, flat_x, flat_hidden_before, units, channels, series, at_x, before)
                for unit in range(units):
                    reset, update, candidate, recurrent = _gru_gates(
                        flat_weight, flat_bias, value, student * units + unit, units, inputs
                    )
                    grad = load(grad_state, unit * LANES)
                    if flat_grad.size > 0:
                        grad = grad + load(live, 0) * load(flat_grad, here + unit * series)
                    grad_candidate = grad * (one - update) * (one - candidate * candidate)
                    grad_update = grad * (load(value, unit * LANES) - candidate)
                    store(delta, unit * 4 * LANES, grad_candidate * recurrent * reset * (one - reset))
                    store(delta, (unit * 4 + 1) * LANES, grad_update * update * (one - update))
                    store(delta, (unit * 4 + 2) * LANES, grad_candidate)
                    store(delta, (unit * 4 + 3) * LANES, grad_candidate * reset)
                    store(grad_state, unit * LANES, grad * update)
                for unit in range(units):
                    first = load(delta, unit * 4 * LANES)
                    second = load(delta, (unit * 4 + 1) * LANES)
                    third = load(delta, (unit * 4 + 2) * LANES)
                    fourth = load(delta, (unit * 4 + 3) * LANES)
                    for source in range(inputs):
                        at = (unit * size + source * 3) * LANES
                        number = load(value, source * LANES)
                        last = fourth if source < units else third
                        store(sums, at, load(sums, at) + first * number)
                        store(sums, at + LANES, load(sums, at + LANES) + second * number)
                        store(sums, at + 2 * LANES, load(sums, at + 2 * LANES) + last * number)
                    at = (unit * size + inputs * 3) * LANES
                    store(sums, at, load(sums, at) + first)
                    store(sums, at + LANES, load(sums, at + LANES) + second)
                    store(sums, at + 2 * LANES, load(sums, at + 2 * LANES) + third)
                    store(sums, at + 3 * LANES, load(sums, at + 3 * LANES) + fourth)
                    for source in range(units):
                        at = ((student * units + unit) * inputs + source) * 3
                        grad = load(grad_state, source * LANES) + splat(flat_weight[at]) * first
                        grad = grad + splat(flat_weight[at + 1]) * second + splat(flat_weight[at + 2]) * fourth
                        store(grad_state, source * LANES, grad)
        for unit in range(units):
            row = student * units + unit
            for number_of in range(inputs * 3):
                flat_grad_weight[row * inputs * 3 + number_of] = lane_sum(load(sums, (unit * size + number_of) * LANES))
            for gate in range(4):
                flat_grad_bias[row * 4 + gate] = lane_sum(load(sums, (unit * size + inputs * 3 + gate) * LANES))
