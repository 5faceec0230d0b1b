# SPDX-License-Identifier: Apache-2.0
"""The classifiers: teacher and student are the same classes in different sizes.

Parameter arithmetic is torch's (two bias vectors per recurrent layer), so that compression ratios compare with the paper's:
teacher 3 x 100 with 1 channel and 2 classes has 203,002 parameters, student 1 x 8 has 370: 549x.
"""

import itertools
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.padding import is_padded, lengths
from memkd_edge.parsing import json_object
from memkd_edge.vocabulary import Cell

CNN_KERNEL = 5  # taps of each convolution; layer l is dilated by 4^l


@dataclass(frozen=True)
class ModelSpec:
    """Architecture of a classifier: all that is needed to rebuild it around its weights.

    bidirectional: recurrent teachers only; a streaming student is causal.
    """

    input_size: int
    hidden_size: int
    num_classes: int
    num_layers: int = 1
    kind: Cell = Cell.LSTM
    bidirectional: bool = False

    def __post_init__(self) -> None:
        if self.kind not in tuple(Cell):
            raise UsageError(f"unknown kind of model {self.kind!r}; there are {', '.join(Cell)}")
        object.__setattr__(self, "kind", Cell(self.kind))  # a file's JSON has the word
        if self.kind == Cell.CNN and self.bidirectional:
            raise UsageError("a cnn has no direction: bidirectional is for lstm and gru")

    @property
    def width(self) -> int:
        """Features of the hidden sequence at each time step."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def head_parameters(self) -> int:
        """Number of trainable parameters of the linear head alone."""
        return self.num_classes * (self.width + 1)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters, as torch counts them."""
        gates = {Cell.LSTM: 4, Cell.GRU: 3}.get(self.kind, 0)
        total, inputs = 0, self.input_size
        for _ in range(self.num_layers):
            if gates:
                directions = 2 if self.bidirectional else 1
                total += directions * gates * self.hidden_size * (inputs + self.hidden_size + 2)
            else:
                total += self.hidden_size * (inputs * CNN_KERNEL + 1)
            inputs = self.width
        return total + self.head_parameters


class Classifier(nn.Module):
    """What all models have in common: a spec, a linear head, and `forward` as below."""

    head: nn.Linear

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Classify whole series.

        Args:
            x: [B, T, C] float32, normalised.

        Returns:
            logits [B, K] at the end of the series and the top layer's hidden sequence [B, T, width].
        """
        raise NotImplementedError

    def along(self, x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run on along streams, of which `x` [B, T, C] is a chunk.

        Args:
            state: what the chunk before it ended in; empty for a reset.

        Returns:
            the top layer's hidden sequence [B, T, width], and the state that the chunk ends in: h and, of an LSTM, c, each
            [layers, B, H].

        Raises:
            UsageError: a model without a state, or one that looks ahead.
        """
        raise UsageError(f"a {self.spec.kind} does not run along streams; take lstm or gru")

    def _causal(self) -> None:
        if self.spec.bidirectional:
            raise UsageError(f"a bidirectional {self.spec.kind} does not run along streams: it looks ahead")


class LstmClassifier(Classifier):
    """LSTM with a linear head on the last time step of the top layer."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.rnn = nn.LSTM(spec.input_size, spec.hidden_size, spec.num_layers, batch_first=True, bidirectional=spec.bidirectional)
        self.head = nn.Linear(spec.width, spec.num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden, _ = self.rnn(x)
        return self.head(_summary(hidden, self.spec)), hidden

    def along(self, x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        self._causal()
        hidden, ended = self.rnn(x, tuple(one.contiguous() for one in state) or None)
        return hidden, ended


class GruClassifier(Classifier):
    """GRU with a linear head on the last time step of the top layer."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.rnn = nn.GRU(spec.input_size, spec.hidden_size, spec.num_layers, batch_first=True, bidirectional=spec.bidirectional)
        self.head = nn.Linear(spec.width, spec.num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden, _ = self.rnn(x)
        return self.head(_summary(hidden, self.spec)), hidden

    def along(self, x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        self._causal()
        hidden, ended = self.rnn(x, *(one.contiguous() for one in state))
        return hidden, (ended,)


class CnnClassifier(Classifier):
    """Causal dilated 1-D convolutions, ReLU, mean over time, linear head: streams with a short ring buffer per layer."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        widths = [spec.input_size] + [spec.hidden_size] * spec.num_layers
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, outputs, CNN_KERNEL, dilation=4**layer)
            for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths))
        )
        self.head = nn.Linear(spec.hidden_size, spec.num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = x.transpose(1, 2)  # [B, C, T]
        for layer, convolution in enumerate(self.convolutions):
            features = F.relu(convolution(F.pad(features, ((CNN_KERNEL - 1) * 4**layer, 0))))
        return self.head(features.mean(2)), features.transpose(1, 2)


def build(spec: ModelSpec) -> Classifier:
    """Return an untrained model of that architecture."""
    return {Cell.LSTM: LstmClassifier, Cell.GRU: GruClassifier, Cell.CNN: CnnClassifier}[spec.kind](spec)


def hidden_size_for(compression: float, teacher_parameters: int, spec: ModelSpec) -> int:
    """Return the largest hidden size whose student has at most `teacher_parameters / compression` parameters.

    Args:
        compression: wanted ratio teacher / student parameters, > 0.
        spec: the student's architecture; its hidden_size is ignored.

    Raises:
        UsageError: not even one unit reaches that compression, or it is none.
    """
    if not 0 < compression < math.inf:
        raise UsageError(f"a compression is a number above 0, not {compression:g}")
    hidden = 0
    while replace(spec, hidden_size=hidden + 1).parameters * compression <= teacher_parameters:
        hidden += 1
    if hidden == 0:
        smallest = replace(spec, hidden_size=1).parameters
        raise UsageError(
            f"a compression of {compression:g} is out of reach: the teacher has {teacher_parameters} parameters and a student "
            f"of one unit has {smallest}, which is {teacher_parameters / smallest:.0f}x; ask for less with --compression"
        )
    return hidden


def save_model(model: Classifier) -> bytes:
    """Return `model` as safetensors bytes: the weights, and the spec as JSON in the header's metadata."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    return save(tensors, metadata={"memkd_edge": json.dumps(asdict(model.spec), sort_keys=True)})


def load_classifier(path: Path) -> Classifier:
    """Load a model of any kind that `save_model` wrote. Runs no code from the file.

    Raises:
        UsageError: there is no such file.
        MemkdEdgeError: the file is damaged, or holds another model's tensors.
    """
    if not os.path.isfile(path):
        raise UsageError(f"no model file at {path}")
    try:
        with safe_open(path, framework="pt") as archive:
            header = archive.metadata() or {}
            shapes = [archive.get_slice(name).get_shape() for name in archive.keys()]  # noqa: SIM118 (no iterator)
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise MemkdEdgeError(f"{path}: not a readable safetensors file ({error})") from error
    try:
        model = build(_stated_spec(header["memkd_edge"], shapes))
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, UsageError) as error:
        raise MemkdEdgeError(f"{path}: not a memkd-edge model ({error})") from error
    return model.eval()


def _stated_spec(text: str, shapes: Sequence[Sequence[int]]) -> ModelSpec:
    """Return the spec that a file's header states. Only one whose weights are as many as the file holds can be built.

    Raises:
        ValueError, TypeError, UsageError: it is no spec, or not one of tensors of these shapes.
    """
    stated = json_object(text)
    for name in ("input_size", "hidden_size", "num_classes", "num_layers"):
        size = stated.get(name, 1)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} is {size!r:.40}")
    if not isinstance(stated.get("bidirectional", False), bool):
        raise ValueError(f"bidirectional is {stated['bidirectional']!r:.40}")
    spec, stored = ModelSpec(**stated), sum(math.prod(shape) for shape in shapes)
    if spec.num_layers > len(shapes) or spec.parameters != stored:
        raise ValueError(f"its header states a model of other size than the {stored} weights it holds")
    return spec


def _summary(hidden: Tensor, spec: ModelSpec) -> Tensor:
    """Return what the head sees [B, width]: the last step; of the backward direction the first, where it has seen all."""
    if not spec.bidirectional:
        return hidden[:, -1]
    return torch.cat([hidden[:, -1, : spec.hidden_size], hidden[:, 0, spec.hidden_size :]], -1)


def ends_of(x: NDArray[np.floating]) -> Tensor | None:
    """Return the steps int64 [N] of each series in `x` [N, T, C]; None where none is padded."""
    return torch.from_numpy(lengths(x)) if is_padded(x) else None


def hold(sequences: Tensor, ends: Tensor) -> Tensor:
    """Return `sequences` [..., B, T, H] with each series' last step, before `ends` [B], in the place of all that follow it."""
    steps = torch.arange(sequences.shape[-2], device=sequences.device).minimum(ends[:, None] - 1)  # [B, T]
    return sequences.gather(-2, steps[..., None].expand(sequences.shape))


def answers(model: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor, ends: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return a model's logits [B, K] after each series' last step, and its hidden sequences [B, T, width], held from there on.

    Args:
        model: where `ends` are given one of ours, and causal: what comes after an end changes nothing before it.
        x: finite [B, T, C].
        ends: steps of each series, int64 [B]; None: all are T steps long.
    """
    logits, hidden = model(x)
    if ends is None:
        return logits, hidden
    assert isinstance(model, Classifier)
    hidden = hold(hidden, ends)
    return model.head(hidden[:, -1]), hidden


def logits_over_time(model: Classifier, x: Tensor) -> Tensor:
    """Return what a causal `model` answers after each step of `x` [B, T, C]: logits [B, T, K]."""
    hidden = model(x)[1]
    if model.spec.kind == Cell.CNN:  # its summary is the mean of all steps so far
        hidden = hidden.cumsum(1) / torch.arange(1, hidden.shape[1] + 1, device=x.device).view(1, -1, 1)
    logits: Tensor = model.head(hidden)
    return logits
