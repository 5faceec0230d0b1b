# SPDX-License-Identifier: Apache-2.0
"""The movement of many students' beliefs against a teacher's, with its gradients, compiled for the CPU.

Sixteen series of one student stand side by side, one per vector lane, as in recurrent.py; their beliefs stay in the cache between
the pass that makes them and the pass back. The functions release the interpreter's lock and are sequential, hence deterministic.

Layouts (P students, T steps, H units, K classes, B series, a multiple of LANES):

    hidden             [P, T, H, B]
    weight, bias       [P, K, H], [P, K]
    logits, beliefs    [T, K, B]

Only the first `count` series are the batch's, the others fill up the lanes: they count in no sum, and their gradients are zero.
`sharpness` is one over the temperature.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memkd_edge.nets.kernels.simd import LANES, exp, lane_sum, larger, load, splat, store

Floats = NDArray[np.float32]

_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)


@njit(inline="always")
def _softmax(value: Floats, at: int, stride: int, classes: int) -> None:
    """Replace the logits at at, at + stride ... of `value` by their softmax."""
    most = load(value, at)
    for number in range(1, classes):
        most = larger(most, load(value, at + number * stride))
    total = splat(_ZERO)
    for number in range(classes):
        raised = exp(load(value, at + number * stride) - most)
        store(value, at + number * stride, raised)
        total = total + raised
    share = splat(_ONE) / total
    for number in range(classes):
        store(value, at + number * stride, load(value, at + number * stride) * share)


@njit(nogil=True, error_model="numpy", cache=True)
def beliefs(logits: Floats, sharpness: np.float32, belief: Floats) -> None:
    """Fill `belief` with the softmax of `logits` * sharpness."""
    steps, classes, series = logits.shape
    flat_logits, flat_belief = logits.ravel(), belief.ravel()
    for step in range(steps):
        for block in range(0, series, LANES):
            here = step * classes * series + block
            for at in range(here, here + classes * series, series):
                store(flat_belief, at, splat(sharpness) * load(flat_logits, at))
            _softmax(flat_belief, here, series, classes)


@njit(nogil=True, error_model="numpy", cache=True)
def mismatch(
    hidden: Floats,
    weight: Floats,
    bias: Floats,
    target: Floats,
    count: int,
    sharpness: np.float32,
    loss: Floats,
    grad_hidden: Floats,
    grad_weight: Floats,
    grad_bias: Floats,
) -> None:
    """Fill `loss` and its gradients.

    loss[p] is twice the variance over the steps of the students' beliefs, softmax((weight h + bias) * sharpness), less `target`:
    summed over the classes, averaged over the series.

    Args:
        target: beliefs of the teacher.
        loss: [P].
        grad_hidden, grad_weight, grad_bias: of loss[p] by what is the p-th's of each.
    """
    students, steps, units, series = hidden.shape
    classes = weight.shape[1]
    flat_hidden, flat_weight, flat_bias, flat_target = hidden.ravel(), weight.ravel(), bias.ravel(), target.ravel()
    flat_grad_hidden, flat_grad_weight, flat_grad_bias = grad_hidden.ravel(), grad_weight.ravel(), grad_bias.ravel()
    zero, scale = splat(_ZERO), splat(sharpness)
    factor = _TWO / np.float32(count * (steps - 1))
    live = np.empty(LANES, np.float32)  # `factor` where the block's series are the batch's, else 0
    belief = np.empty(steps * classes * LANES, np.float32)
    mean = np.empty(classes * LANES, np.float32)
    pull = np.empty(classes * LANES, np.float32)  # gradient by the beliefs of a step, then by its logits
    # Gradients of weight and bias, and the loss, lane by lane.
    sums = np.empty((classes * units + classes + 1) * LANES, np.float32)
    at_bias, at_loss = classes * units * LANES, (classes * units + classes) * LANES
    for student in range(students):
        for at in range(0, len(sums), LANES):
            store(sums, at, zero)
        for block in range(0, series, LANES):
            for lane in range(LANES):
                live[lane] = factor if block + lane < count else _ZERO
            for number in range(classes):
                store(mean, number * LANES, zero)
            for step in range(steps):
                here = (student * steps + step) * units * series + block
                there = step * classes * series + block
                for number in range(classes):
                    row = student * classes + number
                    logit = splat(flat_bias[row])
                    for unit in range(units):
                        logit = logit + splat(flat_weight[row * units + unit]) * load(flat_hidden, here + unit * series)
                    store(belief, (step * classes + number) * LANES, scale * logit)
                _softmax(belief, step * classes * LANES, LANES, classes)
                for number in range(classes):
                    off = load(belief, (step * classes + number) * LANES) - load(flat_target, there + number * series)
                    store(mean, number * LANES, load(mean, number * LANES) + off)
            for number in range(classes):
                store(mean, number * LANES, load(mean, number * LANES) * splat(_ONE / np.float32(steps)))
            for step in range(steps):
                here = (student * steps + step) * units * series + block
                there = step * classes * series + block
                along, squares = zero, zero
                for number in range(classes):
                    own = load(belief, (step * classes + number) * LANES)
                    off = own - load(flat_target, there + number * series) - load(mean, number * LANES)
                    grad = load(live, 0) * off
                    squares = squares + grad * off
                    along = along + grad * own
                    store(pull, number * LANES, grad)
                store(sums, at_loss, load(sums, at_loss) + squares)
                for number in range(classes):
                    own = load(belief, (step * classes + number) * LANES)
                    grad = splat(_TWO) * scale * own * (load(pull, number * LANES) - along)
                    store(pull, number * LANES, grad)
                    at = at_bias + number * LANES
                    store(sums, at, load(sums, at) + grad)
                for unit in range(units):
                    value = load(flat_hidden, here + unit * series)
                    grad = zero
                    for number in range(classes):
                        part = load(pull, number * LANES)
                        grad = grad + splat(flat_weight[(student * classes + number) * units + unit]) * part
                        at = (number * units + unit) * LANES
                        store(sums, at, load(sums, at) + part * value)
                    store(flat_grad_hidden, here + unit * series, grad)
        for number in range(classes * units):
            flat_grad_weight[student * classes * units + number] = lane_sum(load(sums, number * LANES))
        for number in range(classes):
            flat_grad_bias[student * classes + number] = lane_sum(load(sums, at_bias + number * LANES))
        loss[student] = lane_sum(load(sums, at_loss))
