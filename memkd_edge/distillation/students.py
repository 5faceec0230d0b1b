# SPDX-License-Identifier: Apache-2.0
"""The candidate students: their initial weights, and one forward pass for many of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from memkd_edge import seeds
from memkd_edge.distillation.methods import Outputs
from memkd_edge.nets.classifier import CNN_KERNEL, ModelSpec, build
from memkd_edge.nets.recurrence import gru, lstm
from memkd_edge.vocabulary import Cell

Parameters = dict[str, Tensor]  # named as in the model's state_dict, each with a leading axis P


@dataclass(frozen=True)
class Candidate:
    """One student of the population: how it is taught, and which initial weights it starts from."""

    method: str
    weight: float
    seed: int


def initial_parameters(spec: ModelSpec, candidates: list[Candidate], length: int, seed: int) -> Parameters:
    """Return the students' initial weights, stacked: torch's default, for an LSTM with `long_memory_bias`.

    Args:
        length: time steps T of a series.
        seed: of the run. Candidates with equal `seed` start from equal weights, whatever their method.
    """
    models = []
    for candidate in candidates:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.of_candidate(seed, candidate.seed))
            state = build(spec).state_dict()
            if spec.kind == Cell.LSTM:
                state["rnn.bias_hh_l0"].zero_()
                state["rnn.bias_ih_l0"].copy_(long_memory_bias(spec.hidden_size, length))
        models.append(state)
    return {name: torch.stack([state[name] for state in models]) for name in models[0]}


def long_memory_bias(units: int, length: int) -> Tensor:
    """Return an LSTM's gate biases [4H] (i, f, g, o) with which its units start with memories of 1 to T steps.

    Forget-gate biases are log(u), u uniform in [1, T - 1], input-gate biases their negative, the others zero
    (Tallec and Ollivier 2018, Can recurrent neural networks warp time?, arXiv 1804.11188).
    """
    forget = torch.empty(units).uniform_(1, max(length - 1, 2)).log()
    return torch.cat([-forget, forget, torch.zeros(2 * units)])


def forward(spec: ModelSpec, parameters: Parameters, x: Tensor, parts: list[int] | None = None) -> tuple[list[Outputs], Tensor]:
    """Run all students over the batch `x` [B, T, C].

    Args:
        parts: how many neighbouring students belong to each part; their sum is P. Without it all are one part.

    Returns:
        of each part logits [p, B, K] and hidden [p, B, T, H], as each student's model alone gives them; and the excess [P] of all
        students' cell states (`recurrence.lstm`), 0 for models without cells.
    """
    students = len(parameters["head.bias"])
    parts = parts or [students]
    hidden: Sequence[Tensor]
    excess = x.new_zeros(students)
    if spec.kind == Cell.CNN:
        features = _convolutions(spec, parameters, x)
        hidden, summary = torch.split(features, parts), features.mean(2)
    else:
        weight_ih, weight_hh, bias_ih, bias_hh = (
            parameters[f"rnn.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        if spec.kind == Cell.LSTM:
            hidden, summary, excess, _ = lstm(x, weight_ih, weight_hh, bias_ih, bias_hh, parts)
        else:
            hidden, summary = gru(x, weight_ih, weight_hh, bias_ih, bias_hh, parts)
    logits = torch.baddbmm(parameters["head.bias"].unsqueeze(1), summary, parameters["head.weight"].transpose(1, 2))
    return [Outputs(*own) for own in zip(torch.split(logits, parts), hidden, strict=True)], excess


def _convolutions(spec: ModelSpec, parameters: Parameters, x: Tensor) -> Tensor:
    """Return the top layer's features [P, B, T, H]: one grouped convolution per layer, a group per student."""
    students = len(parameters["head.bias"])
    features = x.transpose(1, 2)  # [B, C, T], the same for all students in the first layer
    for layer in range(spec.num_layers):
        weight, bias = (parameters[f"convolutions.{layer}.{name}"].flatten(0, 1) for name in ("weight", "bias"))
        padded = F.pad(features, ((CNN_KERNEL - 1) * 4**layer, 0))
        features = F.relu(F.conv1d(padded, weight, bias, dilation=4**layer, groups=students if layer else 1))
    return features.view(len(x), students, spec.hidden_size, -1).permute(1, 0, 3, 2)


def training_bytes(spec: ModelSpec, batch: int, length: int) -> int:
    """Return roughly how much memory one student's training step holds."""
    per_step = 12 * spec.hidden_size  # floats: states, cells, their gradients, and the copies in between
    return math.ceil(4 * batch * length * per_step)
