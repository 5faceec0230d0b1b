# SPDX-License-Identifier: Apache-2.0
"""A streaming CNN: causal convolutions, the first with a stride, the others dilated, with a decision after every stride.

Trained in torch on windows cut anywhere from the training streams, with the label of every decision, and weights on their int8
grid; the integers are those of cnn_integer.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from experiments.rivals.cnn_integer import IntegerCnn, Shape
from experiments.rivals.grid import on_grid
from memkd_edge.data.prepare_recordings import Signal
from memkd_edge.distillation.population import AVERAGE_STEPS

NOISE = 0.3
DROPPED = 0.1  # of the filters of each window and layer
WINDOWS = 32
DECISIONS = 64  # of a window
CALIBRATION = 20_000  # samples

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Cut:
    """Windows to learn from: x [N, C] of all streams, y [N], and how many samples a window has."""

    x: Tensor
    y: Tensor
    samples: int

    def some(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return windows x [B, C, samples], and the labels [B, samples]."""
        starts = torch.randint(len(self.x) - self.samples + 1, (WINDOWS, 1), generator=random)
        at = starts + torch.arange(self.samples)
        x = self.x[at]
        return (x + NOISE * torch.randn(x.shape, generator=random)).transpose(1, 2), self.y[at]


def initial(shape: Shape, seed: int) -> Parameters:
    """Return weights [out, in, taps], "0", "1", ... and "head" [K, F, 1], and biases, "bias.0", ..., "bias.head"."""
    random = torch.Generator().manual_seed(seed)
    found = {}
    for name, rows, columns, taps in shape.layers:
        found[name] = torch.randn(rows, columns, taps, generator=random) * (2 / (columns * taps)) ** 0.5
        found[f"bias.{name}"] = torch.zeros(rows)
    return found


def activations(
    parameters: Parameters, x: Tensor, shape: Shape, padded: bool, dropout: torch.Generator | None = None
) -> list[Tensor]:
    """Return what each layer gives [B, F, steps], the logits last, of x [B, C, T].

    padded: begin from a reset, with zeros before the first step of every layer; otherwise each layer takes off what it has no
    past for. dropout: where filters are dropped, chosen by it.
    """
    found = []
    for (name, _, _, taps), stride, dilation in zip(shape.layers, shape.strides, shape.dilations, strict=True):
        if padded:
            x = F.pad(x, ((taps - 1) * dilation - (stride - 1), 0))
        x = F.conv1d(x, on_grid(parameters[name]), parameters[f"bias.{name}"], stride, 0, dilation)
        if name != "head":
            x = F.relu(x)
        if name != "head" and dropout is not None:
            x = x * (torch.rand(*x.shape[:2], 1, generator=dropout) >= DROPPED) / (1 - DROPPED)
        found.append(x)
    return found


def train_cnn(streams: Sequence[Signal], shape: Shape, steps: int, learning_rate: float, seed: int) -> IntegerCnn:
    """Train on streams (x [T, C] normalised, y [T] class or -1), and return the integers."""
    x, y = (np.concatenate(parts) for parts in zip(*streams, strict=True))
    cut = Cut(torch.from_numpy(x), torch.from_numpy(y), shape.field + (DECISIONS - 1) * shape.stride)
    parameters = initial(shape, seed)
    for tensor in parameters.values():
        tensor.requires_grad_()
    average = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    random = torch.Generator().manual_seed(seed)
    for step in range(steps):
        windows, labels = cut.some(random)
        logits = activations(parameters, windows, shape, padded=False, dropout=random)[-1]
        loss = F.cross_entropy(logits, labels[:, shape.field - 1 :: shape.stride], ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for name, tensor in parameters.items():
                average[name].lerp_(tensor, 1 / min(step + 1, AVERAGE_STEPS))
    largest = [float(np.abs(one).max()) for one in along(average, x[:CALIBRATION], shape)]
    return IntegerCnn.of({name: tensor.numpy() for name, tensor in average.items()}, shape, largest)


def along(parameters: Parameters, x: NDArray[np.float32], shape: Shape) -> list[NDArray[np.float32]]:
    """Return what each layer gives [steps, F] along a stream x [T, C], from a reset, in float32."""
    with torch.no_grad():
        return [one[0].T.numpy() for one in activations(parameters, torch.from_numpy(x.T[None].copy()), shape, padded=True)]
