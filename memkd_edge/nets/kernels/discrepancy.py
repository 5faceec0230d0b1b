# SPDX-License-Identifier: Apache-2.0
"""The memory discrepancy of a teacher, and the MemKD loss of many students with its gradient, compiled for the CPU.

Sixteen series of one student stand side by side, one per vector lane, as in recurrent.py; their trajectory stays in the cache
while all pairs are visited. The functions release the interpreter's lock and are sequential, hence deterministic.

`factors` is (own, floor, tiny) of the denominator max(own * ||h_s||, floor * mean over t of ||h_t||) + tiny.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memkd_edge.nets.kernels.simd import LANES, larger, load, smaller, splat, square_root, store

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_SMALLEST = np.float32(1e-20)  # below any norm that matters; keeps 0 / 0 out


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def ratios(hidden: Floats, starts: Indices, ends: Indices, factors: Floats, ratio: Floats) -> None:
    """Fill `ratio` [M, B] with the discrepancy of the pairs (starts[m], ends[m]) of `hidden` [B, T, H]."""
    series, steps, units = hidden.shape
    own, floor, tiny = factors
    norm = np.empty(steps, np.float32)
    for one in range(series):
        trajectory = hidden[one]
        for step in range(steps):
            squares = _ZERO
            for unit in range(units):
                squares += trajectory[step, unit] * trajectory[step, unit]
            norm[step] = math.sqrt(squares)
        mean = norm.mean()
        for pair in range(len(starts)):
            first, second = trajectory[starts[pair]], trajectory[ends[pair]]
            squares = _ZERO
            for unit in range(units):
                squares += (second[unit] - first[unit]) * (second[unit] - first[unit])
            ratio[pair, one] = math.sqrt(squares) / (max(own * norm[starts[pair]], floor * mean) + tiny)


@njit(nogil=True, error_model="numpy")
def mismatch(
    hidden: Floats,
    starts: Indices,
    ends: Indices,
    weight: Floats,
    target: Floats,
    factors: Floats,
    loss: Floats,
    gradient: Floats,
) -> None:
    """Fill `loss` and, unless it is empty, `gradient`.

    loss[p] is the sum over pairs m and series b of weight[m, b] * SmoothL1(r(h; starts[m], ends[m]), target[m, b]).

    Args:
        hidden: [P, T, H, B], B a multiple of LANES.
        starts, ends: [M].
        weight, target: [M, B].
        loss: [P].
        gradient: [P, T, H, B], of loss[p] by hidden[p]; or [0, 0, 0, 0].
    """
    students, steps, units, series = hidden.shape
    own, floor, tiny = factors
    wanted = gradient.size > 0
    flat_hidden, flat_gradient, flat_weight, flat_target = hidden.ravel(), gradient.ravel(), weight.ravel(), target.ravel()
    one, half, zero, smallest = splat(_ONE), splat(_HALF), splat(_ZERO), splat(_SMALLEST)
    norm = np.empty(steps * LANES, np.float32)
    mean = np.empty(LANES, np.float32)
    scale = np.empty(steps * LANES, np.float32)
    by_scale = np.empty(steps * LANES, np.float32)  # gradient by the denominator, then by the norm over the norm
    by_mean = np.empty(LANES, np.float32)
    sums = np.empty(LANES, np.float32)
    for student in range(students):
        store(sums, 0, zero)
        for block in range(series // LANES):
            base = student * steps * units * series + block * LANES
            store(mean, 0, zero)
            for step in range(steps):
                squares = zero
                for unit in range(units):
                    value = load(flat_hidden, base + (step * units + unit) * series)
                    squares = squares + value * value
                store(norm, step * LANES, square_root(squares))
                store(mean, 0, load(mean, 0) + square_root(squares))
            average = load(mean, 0) * splat(_ONE / np.float32(steps))
            store(mean, 0, average)
            for step in range(steps):
                above = larger(splat(own) * load(norm, step * LANES), splat(floor) * average)
                store(scale, step * LANES, above + splat(tiny))
                store(by_scale, step * LANES, zero)
                if wanted:
                    for unit in range(units):
                        store(flat_gradient, base + (step * units + unit) * series, zero)
            for pair in range(len(starts)):
                start, end = starts[pair], ends[pair]
                first, second = base + start * units * series, base + end * units * series
                squares = zero
                for unit in range(units):
                    difference = load(flat_hidden, second + unit * series) - load(flat_hidden, first + unit * series)
                    squares = squares + difference * difference
                moved = square_root(squares)
                below = load(scale, start * LANES)
                ratio = moved / below
                at = pair * series + block * LANES
                off = ratio - load(flat_target, at)
                slope = larger(smaller(off, one), zero - one)
                share = load(flat_weight, at)
                store(sums, 0, load(sums, 0) + share * slope * (off - half * slope))
                if wanted:
                    pull = share * slope / below
                    store(by_scale, start * LANES, load(by_scale, start * LANES) - pull * ratio)
                    pull = pull / larger(moved, smallest)
                    for unit in range(units):
                        to, back = second + unit * series, first + unit * series
                        push = pull * (load(flat_hidden, to) - load(flat_hidden, back))
                        store(flat_gradient, to, load(flat_gradient, to) + push)
                        store(flat_gradient, back, load(flat_gradient, back) - push)
            if wanted:
                for lane in range(LANES):
                    by_mean[lane] = _ZERO
                for step in range(steps):
                    for lane in range(LANES):
                        at = step * LANES + lane
                        if own * norm[at] >= floor * mean[lane]:
                            by_scale[at] *= own
                        else:
                            by_mean[lane] += floor * by_scale[at]
                            by_scale[at] = _ZERO
                for step in range(steps):
                    by_norm = load(by_scale, step * LANES) + load(by_mean, 0) * splat(_ONE / np.float32(steps))
                    factor = by_norm / larger(load(norm, step * LANES), smallest)
                    for unit in range(units):
                        at = base + (step * units + unit) * series
                        store(flat_gradient, at, load(flat_gradient, at) + factor * load(flat_hidden, at))
        total = 0.0
        for lane in range(LANES):
            total += sums[lane]
        loss[student] = total
