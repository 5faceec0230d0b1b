# SPDX-License-Identifier: Apache-2.0
"""The candidate students: their initial weights, and one forward pass for many of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from memkd_edge import seeds
from memkd_edge.distillation.methods import Outputs
from memkd_edge.nets.classifier import CNN_KERNEL, Classifier, ModelSpec, build, hold
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


State = tuple[Tensor, ...]  # of all students between two steps, [P, B, H] each: hidden, and of an LSTM cells


def forward(
    spec: ModelSpec, parameters: Parameters, x: Tensor, parts: list[int] | None = None, ends: Tensor | None = None
) -> tuple[list[Outputs], Tensor]:
    """Run all students over the batch `x` [B, T, C].

    Args:
        parts: how many neighbouring students belong to each part; their sum is P. Without it all are one part.
        ends: steps of each series, int64 [B], of recurrent students; None: all are T steps long.

    Returns:
        of each part logits [p, B, K] and hidden [p, B, T, H], as each student's model alone gives them (`answers`); and the
        excess [P] of all students' cell states (`recurrence.lstm`), 0 for models without cells.
    """
    parts = parts or [len(parameters["head.bias"])]
    hidden: Sequence[Tensor]
    if spec.kind == Cell.CNN:
        features = _convolutions(spec, parameters, x)
        hidden, summary, excess = torch.split(features, parts), features.mean(2), x.new_zeros(features.shape[:1])
    else:
        hidden, (summary, *_), excess = _recurrent(spec, parameters, x, parts, None)
        if ends is not None:
            hidden = [hold(one, ends) for one in hidden]
            summary = torch.cat([one[:, :, -1] for one in hidden])
    logits = torch.baddbmm(parameters["head.bias"].unsqueeze(1), summary, parameters["head.weight"].transpose(1, 2))
    return [Outputs(*own) for own in zip(torch.split(logits, parts), hidden, strict=True)], excess


def forward_along(
    spec: ModelSpec, parameters: Parameters, x: Tensor, parts: list[int], start: State | None
) -> tuple[Sequence[Tensor], Tensor, State]:
    """Run all recurrent students over a chunk `x` [B, T, C] of streams.

    Args:
        parts: as in `forward`.
        start: the states that the chunk before it ended in; zeros when left out.

    Returns:
        the hidden states [p, B, T, H] of each part, the excess [P] as in `forward`, and the states that the chunk ends in,
        without gradient.
    """
    hidden, state, excess = _recurrent(spec, parameters, x, parts, start)
    return hidden, excess, tuple(one.detach() for one in state)


def readout_along(parameters: Parameters, hidden: Tensor) -> Tensor:
    """Return the logits [P, T * B, K] after each step of `hidden` [P, B, T, H], those of all series after a step together.

    In memory they lie as [P, K, T * B], because hidden states of the compiled passes lie as [P, T, H, B].
    """
    along = hidden.permute(0, 3, 2, 1).flatten(2)  # [P, H, T * B]
    return torch.baddbmm(parameters["head.bias"].unsqueeze(2), parameters["head.weight"], along).transpose(1, 2)


def _recurrent(
    spec: ModelSpec, parameters: Parameters, x: Tensor, parts: list[int], start: State | None
) -> tuple[Sequence[Tensor], State, Tensor]:
    """Return hidden states of each part, the states after the last step, and the excess."""
    weight_ih, weight_hh, bias_ih, bias_hh = (
        parameters[f"rnn.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    if spec.kind == Cell.LSTM:
        before = None if start is None else (start[0], start[1])
        hidden, last, excess, cells = lstm(x, weight_ih, weight_hh, bias_ih, bias_hh, parts, before)
        return hidden, (last, cells), excess
    hidden, last = gru(x, weight_ih, weight_hh, bias_ih, bias_hh, parts, None if start is None else start[0])
    return hidden, (last,), x.new_zeros(len(last))


def _convolutions(spec: ModelSpec, parameters: Parameters, x: Tensor) -> Tensor:
    """Return the top layer's features [P, B, T, H]: one grouped convolution per layer, a group per student."""
    students = len(parameters["head.bias"])
    features = x.transpose(1, 2)  # [B, C, T], the same for all students in the first layer
    for layer in range(spec.num_layers):
        weight, bias = (parameters[f"convolutions.{layer}.{name}"].flatten(0, 1) for name in ("weight", "bias"))
        padded = F.pad(features, ((CNN_KERNEL - 1) * 4**layer, 0))
        features = F.relu(F.conv1d(padded, weight, bias, dilation=4**layer, groups=students if layer else 1))
    return features.view(len(x), students, spec.hidden_size, -1).permute(1, 0, 3, 2)


def training_bytes(spec: ModelSpec, samples: int) -> int:
    """Return roughly how much memory one student's training step on a batch of so many samples holds."""
    per_sample = 12 * spec.hidden_size  # floats: states, cells, their gradients, and the copies in between
    return 4 * samples * per_sample


def only(parameters: Parameters, index: int) -> Parameters:
    """Return student `index` of a population, as a population of one."""
    return {name: tensor[index : index + 1] for name, tensor in parameters.items()}


def single(spec: ModelSpec, parameters: Parameters, index: int) -> Classifier:
    """Return student `index` of a population as a model of its own."""
    model = build(spec)
    model.load_state_dict({name: tensor[index] for name, tensor in parameters.items()})
    return model.eval()
