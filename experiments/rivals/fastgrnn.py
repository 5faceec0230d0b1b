# SPDX-License-Identifier: Apache-2.0
"""FastGRNN (Kusupati et al. 2018, arXiv 1901.02358), full rank, trained along streams as students of `base` are.

The same lanes and chunks of streams (memkd_edge/distillation/streams.py), noise, share of lanes that carry their state on,
average of the last weights and rounding to the int8 grid; cross-entropy alone, and a rate of learning that falls to 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.rivals.fastgrnn_integer import IntegerFastGrnn
from experiments.rivals.fastgrnn_kernel import LANES, Along
from experiments.rivals.grid import on_grid
from memkd_edge import seeds
from memkd_edge.distillation.population import AVERAGE_STEPS
from memkd_edge.distillation.streams import StreamSeries
from memkd_edge.distillation.study import CARRIED

NOISE = 0.1
Parameters = dict[str, Tensor]


def initial(channels: int, units: int, classes: int, memory: int, seed: int) -> Parameters:
    """Return the parameters to begin with: untrained units keep what they hold for 2 to `memory` samples.

    weight [H, H + C] of h, then x; gate_bias, candidate_bias [H]; scalars [2], of which zeta and nu are the sigmoids, as in the
    authors' code; head [K, H] and head_bias [K].
    """
    random = torch.Generator().manual_seed(seed)
    keep = torch.linspace(2, memory, units)
    return {
        "weight": torch.randn(units, units + channels, generator=random) / (units + channels) ** 0.5,
        "gate_bias": torch.log(keep - 1),
        "candidate_bias": torch.zeros(units),
        "scalars": torch.tensor([1.0, -4.0]),
        "head": torch.randn(classes, units, generator=random) / units**0.5,
        "head_bias": torch.zeros(classes),
    }


def along(parameters: Parameters, x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits [T, 16, K] along x [T, C, 16], and the state [H, 16] that it ends in."""
    weight, head = on_grid(parameters["weight"]), on_grid(parameters["head"])
    biases = parameters["gate_bias"], parameters["candidate_bias"]
    hidden = Along.apply(x, weight, *biases, torch.sigmoid(parameters["scalars"]), start)
    return F.linear(hidden.transpose(1, 2), head, parameters["head_bias"]), hidden[-1].detach()


def train_fastgrnn(
    series: StreamSeries, units: int, classes: int, steps: int, learning_rate: float, seed: int
) -> IntegerFastGrnn:
    """Train one for so many chunks and return it in integers; the series' lanes are sixteen."""
    assert series.lanes == LANES
    parameters = initial(series.x.shape[1], units, classes, series.memory, seed)
    for tensor in parameters.values():
        tensor.requires_grad_()
    average = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    state = torch.zeros(units, LANES)
    for step in range(steps):
        epoch, number = divmod(step, series.epoch_steps)
        if number == 0:
            chunks = series.chunks(seed, epoch)
        x, starts = series.disturbed(chunks[number], NOISE, CARRIED, seeds.of_chunk(seed, step))
        (start,) = starts.after([state.T])
        logits, state = along(parameters, x.permute(1, 2, 0).contiguous(), start.T.contiguous())
        loss = F.cross_entropy(logits.flatten(0, 1), series.y[chunks[number]].T.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for name, tensor in parameters.items():
                average[name].lerp_(tensor, 1 / min(step + 1, AVERAGE_STEPS))
    return IntegerFastGrnn.of({name: tensor.numpy() for name, tensor in average.items()})
