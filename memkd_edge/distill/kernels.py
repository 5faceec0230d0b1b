"""Compiled passes over time for many small LSTMs or GRUs, on the CPU.

Sixteen series of one student go through all time steps side by side, one per vector lane; their states and weights stay in the
first-level cache. The functions release the interpreter's lock, so threads run them in parallel; each is itself sequential,
hence deterministic.

Layouts (P students, T steps, C channels, H units, B series, a multiple of LANES; K = H + C):

    x       [T, C, B]
    weight  [P, H, K, 4]     K: hidden state first, then x; last axis: candidate, input, forget, output gate
    bias    [P, H, 4]
    hidden  [P, T, H, B]
    kept    [P, B / LANES, T, H, 6, LANES]     candidate, input, forget, output, cell, tanh(cell)

of a GRU

    weight  [P, H, K, 3]     reset, update, candidate
    bias    [P, H, 4]        reset, update, candidate's input side, candidate's recurrent side
    kept    [P, B / LANES, T, H, 4, LANES]     reset, update, candidate, the candidate's recurrent side before the reset gate
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memkd_edge.distill.simd import LANES, lane_sum, load, sigmoid, splat, store, tanh

Floats = NDArray[np.float32]

LSTM_KEPT = 6  # vectors kept per unit and step for the way back
GRU_KEPT = 4
_ZERO = np.float32(0)
_ONE = np.float32(1)


@njit(nogil=True, error_model="numpy")
def lstm_forward(x: Floats, weight: Floats, bias: Floats, hidden: Floats, kept: Floats) -> None:
    """Fill `hidden` and `kept`. A `kept` of a single step (T axis 1) is scratch: nothing is kept."""
    students, units, inputs, _ = weight.shape
    steps, channels, series = x.shape
    flat_x, flat_weight, flat_bias, flat_hidden, flat_kept = x.ravel(), weight.ravel(), bias.ravel(), hidden.ravel(), kept.ravel()
    block_size = kept.shape[2] * units * LSTM_KEPT * LANES
    stride = units * LSTM_KEPT * LANES if kept.shape[2] > 1 else 0
    value = np.empty(inputs * LANES, np.float32)  # hidden state, then x
    cell = np.empty(units * LANES, np.float32)
    for student in range(students):
        for block in range(series // LANES):
            for unit in range(units):
                store(value, unit * LANES, splat(_ZERO))
                store(cell, unit * LANES, splat(_ZERO))
            for step in range(steps):
                for channel in range(channels):
                    store(value, (units + channel) * LANES, load(flat_x, (step * channels + channel) * series + block * LANES))
                here = (student * (series // LANES) + block) * block_size + step * stride
                there = (student * steps + step) * units * series + block * LANES
                for unit in range(units):
                    row = student * units + unit
                    candidate = splat(flat_bias[row * 4])
                    into = splat(flat_bias[row * 4 + 1])
                    forget = splat(flat_bias[row * 4 + 2])
                    out = splat(flat_bias[row * 4 + 3])
                    for source in range(inputs):
                        at = (row * inputs + source) * 4
                        one = load(value, source * LANES)
                        candidate = candidate + splat(flat_weight[at]) * one
                        into = into + splat(flat_weight[at + 1]) * one
                        forget = forget + splat(flat_weight[at + 2]) * one
                        out = out + splat(flat_weight[at + 3]) * one
                    candidate = tanh(candidate)
                    into = sigmoid(into)
                    forget = sigmoid(forget)
                    out = sigmoid(out)
                    new_cell = forget * load(cell, unit * LANES) + into * candidate
                    squashed = tanh(new_cell)
                    store(cell, unit * LANES, new_cell)
                    store(flat_hidden, there + unit * series, out * squashed)
                    at = here + unit * LSTM_KEPT * LANES
                    store(flat_kept, at, candidate)
                    store(flat_kept, at + LANES, into)
                    store(flat_kept, at + 2 * LANES, forget)
                    store(flat_kept, at + 3 * LANES, out)
                    store(flat_kept, at + 4 * LANES, new_cell)
                    store(flat_kept, at + 5 * LANES, squashed)
                for unit in range(units):
                    store(value, unit * LANES, load(flat_hidden, there + unit * series))


@njit(nogil=True, error_model="numpy")
def lstm_backward(
    x: Floats,
    weight: Floats,
    hidden: Floats,
    kept: Floats,
    grad_hidden: Floats,
    grad_weight: Floats,
    grad_bias: Floats,
) -> None:
    """Fill `grad_weight` and `grad_bias` (layouts of weight and bias) from the loss's gradient `grad_hidden` (layout of hidden).

    `kept` is as `lstm_forward` left it, with all steps.
    """
    students, units, inputs, _ = weight.shape
    steps, channels, series = x.shape
    flat_x, flat_weight, flat_hidden, flat_kept = x.ravel(), weight.ravel(), hidden.ravel(), kept.ravel()
    flat_grad, flat_grad_weight, flat_grad_bias = grad_hidden.ravel(), grad_weight.ravel(), grad_bias.ravel()
    one = splat(_ONE)
    zero = splat(_ZERO)
    value = np.empty(inputs * LANES, np.float32)  # previous hidden state, then x
    delta = np.empty(units * 4 * LANES, np.float32)  # gradient before the gates' non-linearities
    grad_state = np.empty(units * LANES, np.float32)
    grad_cell = np.empty(units * LANES, np.float32)
    rows = inputs + 1  # weights of a gate, then its bias
    sums = np.empty(units * rows * 4 * LANES, np.float32)  # gradients of the weights, lane by lane
    for student in range(students):
        for at in range(units * rows * 4):
            store(sums, at * LANES, zero)
        for block in range(series // LANES):
            for unit in range(units):
                store(grad_state, unit * LANES, zero)
                store(grad_cell, unit * LANES, zero)
            for back in range(steps):
                step = steps - 1 - back
                here = ((student * (series // LANES) + block) * steps + step) * units * LSTM_KEPT * LANES
                there = (student * steps + step) * units * series + block * LANES
                for unit in range(units):
                    at = here + unit * LSTM_KEPT * LANES
                    candidate = load(flat_kept, at)
                    into = load(flat_kept, at + LANES)
                    forget = load(flat_kept, at + 2 * LANES)
                    out = load(flat_kept, at + 3 * LANES)
                    squashed = load(flat_kept, at + 5 * LANES)
                    from_state = load(grad_state, unit * LANES) + load(flat_grad, there + unit * series)
                    from_cell = load(grad_cell, unit * LANES) + from_state * out * (one - squashed * squashed)
                    store(grad_cell, unit * LANES, from_cell * forget)
                    store(delta, unit * 4 * LANES, from_cell * into * (one - candidate * candidate))
                    store(delta, (unit * 4 + 1) * LANES, from_cell * candidate * into * (one - into))
                    store(delta, (unit * 4 + 3) * LANES, from_state * squashed * out * (one - out))
                    if step > 0:
                        old_cell = load(flat_kept, at - units * LSTM_KEPT * LANES + 4 * LANES)
                        store(delta, (unit * 4 + 2) * LANES, from_cell * old_cell * forget * (one - forget))
                        store(value, unit * LANES, load(flat_hidden, there - units * series + unit * series))
                    else:
                        store(delta, (unit * 4 + 2) * LANES, zero)
                        store(value, unit * LANES, zero)
                    store(grad_state, unit * LANES, zero)
                for channel in range(channels):
                    store(value, (units + channel) * LANES, load(flat_x, (step * channels + channel) * series + block * LANES))
                for unit in range(units):
                    first = load(delta, unit * 4 * LANES)
                    second = load(delta, (unit * 4 + 1) * LANES)
                    third = load(delta, (unit * 4 + 2) * LANES)
                    fourth = load(delta, (unit * 4 + 3) * LANES)
                    for source in range(rows):
                        at = (unit * rows + source) * 4 * LANES
                        factor = load(value, source * LANES) if source < inputs else one
                        store(sums, at, load(sums, at) + first * factor)
                        store(sums, at + LANES, load(sums, at + LANES) + second * factor)
                        store(sums, at + 2 * LANES, load(sums, at + 2 * LANES) + third * factor)
                        store(sums, at + 3 * LANES, load(sums, at + 3 * LANES) + fourth * factor)
                    for source in range(units):
                        at = ((student * units + unit) * inputs + source) * 4
                        store(
                            grad_state,
                            source * LANES,
                            load(grad_state, source * LANES)
                            + splat(flat_weight[at]) * first
                            + splat(flat_weight[at + 1]) * second
                            + splat(flat_weight[at + 2]) * third
                            + splat(flat_weight[at + 3]) * fourth,
                        )
        for unit in range(units):
            for source in range(inputs):
                for gate in range(4):
                    total = lane_sum(load(sums, ((unit * rows + source) * 4 + gate) * LANES))
                    flat_grad_weight[((student * units + unit) * inputs + source) * 4 + gate] = total
            for gate in range(4):
                total = lane_sum(load(sums, ((unit * rows + inputs) * 4 + gate) * LANES))
                flat_grad_bias[(student * units + unit) * 4 + gate] = total


@njit(nogil=True, error_model="numpy")
def gru_forward(x: Floats, weight: Floats, bias: Floats, hidden: Floats, kept: Floats) -> None:
    """Fill `hidden` and `kept`. A `kept` of a single step (T axis 1) is scratch: nothing is kept."""
    students, units, inputs, _ = weight.shape
    steps, channels, series = x.shape
    flat_x, flat_weight, flat_bias, flat_hidden, flat_kept = x.ravel(), weight.ravel(), bias.ravel(), hidden.ravel(), kept.ravel()
    block_size = kept.shape[2] * units * GRU_KEPT * LANES
    stride = units * GRU_KEPT * LANES if kept.shape[2] > 1 else 0
    one = splat(_ONE)
    value = np.empty(inputs * LANES, np.float32)  # hidden state, then x
    for student in range(students):
        for block in range(series // LANES):
            for unit in range(units):
                store(value, unit * LANES, splat(_ZERO))
            for step in range(steps):
                for channel in range(channels):
                    store(value, (units + channel) * LANES, load(flat_x, (step * channels + channel) * series + block * LANES))
                here = (student * (series // LANES) + block) * block_size + step * stride
                there = (student * steps + step) * units * series + block * LANES
                for unit in range(units):
                    row = student * units + unit
                    reset = splat(flat_bias[row * 4])
                    update = splat(flat_bias[row * 4 + 1])
                    fresh = splat(flat_bias[row * 4 + 2])
                    recurrent = splat(flat_bias[row * 4 + 3])
                    for source in range(inputs):
                        at = (row * inputs + source) * 3
                        number = load(value, source * LANES)
                        reset = reset + splat(flat_weight[at]) * number
                        update = update + splat(flat_weight[at + 1]) * number
                        if source < units:
                            recurrent = recurrent + splat(flat_weight[at + 2]) * number
                        else:
                            fresh = fresh + splat(flat_weight[at + 2]) * number
                    reset = sigmoid(reset)
                    update = sigmoid(update)
                    candidate = tanh(fresh + reset * recurrent)
                    new = (one - update) * candidate + update * load(value, unit * LANES)
                    store(flat_hidden, there + unit * series, new)
                    at = here + unit * GRU_KEPT * LANES
                    store(flat_kept, at, reset)
                    store(flat_kept, at + LANES, update)
                    store(flat_kept, at + 2 * LANES, candidate)
                    store(flat_kept, at + 3 * LANES, recurrent)
                for unit in range(units):
                    store(value, unit * LANES, load(flat_hidden, there + unit * series))


@njit(nogil=True, error_model="numpy")
def gru_backward(
    x: Floats,
    weight: Floats,
    hidden: Floats,
    kept: Floats,
    grad_hidden: Floats,
    grad_weight: Floats,
    grad_bias: Floats,
) -> None:
    """Fill `grad_weight` and `grad_bias` (layouts of weight and bias) from the loss's gradient `grad_hidden` (layout of hidden).

    `kept` is as `gru_forward` left it, with all steps.
    """
    students, units, inputs, _ = weight.shape
    steps, channels, series = x.shape
    flat_x, flat_weight, flat_hidden, flat_kept = x.ravel(), weight.ravel(), hidden.ravel(), kept.ravel()
    flat_grad, flat_grad_weight, flat_grad_bias = grad_hidden.ravel(), grad_weight.ravel(), grad_bias.ravel()
    one = splat(_ONE)
    zero = splat(_ZERO)
    value = np.empty(inputs * LANES, np.float32)  # previous hidden state, then x
    delta = np.empty(units * 4 * LANES, np.float32)  # gradient before the non-linearities, and of the recurrent side
    grad_state = np.empty(units * LANES, np.float32)
    sums = np.empty(units * (inputs * 3 + 4) * LANES, np.float32)  # gradients of weights and biases, lane by lane
    for student in range(students):
        for at in range(units * (inputs * 3 + 4)):
            store(sums, at * LANES, zero)
        for block in range(series // LANES):
            for unit in range(units):
                store(grad_state, unit * LANES, zero)
            for back in range(steps):
                step = steps - 1 - back
                here = ((student * (series // LANES) + block) * steps + step) * units * GRU_KEPT * LANES
                there = (student * steps + step) * units * series + block * LANES
                for unit in range(units):
                    if step > 0:
                        store(value, unit * LANES, load(flat_hidden, there - units * series + unit * series))
                    else:
                        store(value, unit * LANES, zero)
                    at = here + unit * GRU_KEPT * LANES
                    reset = load(flat_kept, at)
                    update = load(flat_kept, at + LANES)
                    candidate = load(flat_kept, at + 2 * LANES)
                    recurrent = load(flat_kept, at + 3 * LANES)
                    grad = load(grad_state, unit * LANES) + load(flat_grad, there + unit * series)
                    grad_candidate = grad * (one - update) * (one - candidate * candidate)
                    grad_update = grad * (load(value, unit * LANES) - candidate)
                    store(delta, unit * 4 * LANES, grad_candidate * recurrent * reset * (one - reset))
                    store(delta, (unit * 4 + 1) * LANES, grad_update * update * (one - update))
                    store(delta, (unit * 4 + 2) * LANES, grad_candidate)
                    store(delta, (unit * 4 + 3) * LANES, grad_candidate * reset)
                    store(grad_state, unit * LANES, grad * update)
                for channel in range(channels):
                    store(value, (units + channel) * LANES, load(flat_x, (step * channels + channel) * series + block * LANES))
                for unit in range(units):
                    first = load(delta, unit * 4 * LANES)
                    second = load(delta, (unit * 4 + 1) * LANES)
                    third = load(delta, (unit * 4 + 2) * LANES)
                    fourth = load(delta, (unit * 4 + 3) * LANES)
                    base = unit * (inputs * 3 + 4) * LANES
                    for source in range(inputs):
                        at = base + source * 3 * LANES
                        number = load(value, source * LANES)
                        store(sums, at, load(sums, at) + first * number)
                        store(sums, at + LANES, load(sums, at + LANES) + second * number)
                        last = fourth if source < units else third
                        store(sums, at + 2 * LANES, load(sums, at + 2 * LANES) + last * number)
                    at = base + inputs * 3 * LANES
                    store(sums, at, load(sums, at) + first)
                    store(sums, at + LANES, load(sums, at + LANES) + second)
                    store(sums, at + 2 * LANES, load(sums, at + 2 * LANES) + third)
                    store(sums, at + 3 * LANES, load(sums, at + 3 * LANES) + fourth)
                    for source in range(units):
                        at = ((student * units + unit) * inputs + source) * 3
                        store(
                            grad_state,
                            source * LANES,
                            load(grad_state, source * LANES)
                            + splat(flat_weight[at]) * first
                            + splat(flat_weight[at + 1]) * second
                            + splat(flat_weight[at + 2]) * fourth,
                        )
        for unit in range(units):
            row = student * units + unit
            base = unit * (inputs * 3 + 4)
            for number_of in range(inputs * 3):
                flat_grad_weight[row * inputs * 3 + number_of] = lane_sum(load(sums, (base + number_of) * LANES))
            for gate in range(4):
                flat_grad_bias[row * 4 + gate] = lane_sum(load(sums, (base + inputs * 3 + gate) * LANES))
