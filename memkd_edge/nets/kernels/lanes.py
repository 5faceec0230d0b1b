# SPDX-License-Identifier: Apache-2.0
"""Tensors whose last dimension, the series of a batch, lies in the lanes of vectors."""

import torch.nn.functional as F
from torch import Tensor

from memkd_edge.nets.kernels.simd import LANES


def fill_lanes(tensor: Tensor) -> Tensor:
    """Return `tensor` [..., B], without gradient, as contiguous [..., B'], B' the next multiple of LANES.

    Where rows already lie B' apart in memory, as hidden states of the compiled layers do, this is that memory, and the filling is
    whatever finite numbers are there. Otherwise it is a copy, filled with zeros.
    """
    tensor = tensor.detach()
    *others, series = tensor.shape
    shape = (*others, series + -series % LANES)
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    there = tensor.untyped_storage().nbytes() // tensor.itemsize - tensor.storage_offset()
    if tensor.stride() == tuple(strides) and there >= shape[0] * strides[0]:
        return tensor.as_strided(shape, strides)
    return F.pad(tensor, (0, shape[-1] - series)).contiguous()
