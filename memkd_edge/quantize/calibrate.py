"""What the integer model has to know about the data: the ranges of input and logits along real state trajectories."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.models import LstmClassifier

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LayerWeights:
    """Float weights of one LSTM layer in torch's row order i, f, g, o; bias: the sum of torch's two bias vectors."""

    input_weight: Floats  # [4H, C]
    hidden_weight: Floats  # [4H, H]
    bias: Floats  # [4H]


@dataclass(frozen=True)
class FloatLstm:
    """The classifier as float64 arrays: layers bottom to top, then the head [K, H] and its bias [K]."""

    layers: tuple[LayerWeights, ...]
    head_weight: Floats
    head_bias: Floats

    @classmethod
    def from_model(cls, model: LstmClassifier) -> "FloatLstm":
        """Take the weights out of a torch classifier."""
        arrays = {name: tensor.detach().cpu().double().numpy() for name, tensor in model.state_dict().items()}
        layers = tuple(
            LayerWeights(
                arrays[f"rnn.weight_ih_l{index}"],
                arrays[f"rnn.weight_hh_l{index}"],
                arrays[f"rnn.bias_ih_l{index}"] + arrays[f"rnn.bias_hh_l{index}"],
            )
            for index in range(model.spec.num_layers)
        )
        return cls(layers, arrays["head.weight"], arrays["head.bias"])

    def logits(self, x: NDArray[np.floating]) -> Floats:
        """Stream series x [N, T, C] and return the logits after every sample, [N, T, K]."""
        sequence = x.astype(np.float64)
        for layer in self.layers:
            sequence = _run_layer(layer, sequence)
        return sequence @ self.head_weight.T + self.head_bias


@dataclass(frozen=True)
class Ranges:
    """Largest magnitude of the model's input, and the smallest and largest logit after any sample."""

    input_magnitude: float
    logit_min: float
    logit_max: float


def calibrate(model: FloatLstm, x: NDArray[np.floating]) -> Ranges:
    """Run the float model over calibration series x [N, T, C] and return the ranges it meets.

    Random tensors would not do: only real trajectories show the logits that occur.

    Raises:
        UsageError: x has the wrong shape, no samples, or values that are not finite (says where).
    """
    channels = model.layers[0].input_weight.shape[1]
    if x.ndim != 3 or x.shape[2] != channels or x.size == 0:
        raise UsageError(f"calibration series must be [N, T, {channels}] with N, T >= 1, got {list(x.shape)}")
    if not np.isfinite(x).all():
        series, sample, channel = np.argwhere(~np.isfinite(x))[0]
        raise UsageError(f"calibration series {series}, sample {sample}, channel {channel} is {x[series, sample, channel]}")
    logits = model.logits(x)
    return Ranges(float(np.abs(x).max()), float(logits.min()), float(logits.max()))


def _run_layer(layer: LayerWeights, x: Floats) -> Floats:
    hidden_size = layer.hidden_weight.shape[1]
    hidden = np.zeros((len(x), hidden_size))
    cell = np.zeros_like(hidden)
    sequence = np.empty((*x.shape[:2], hidden_size))
    for t in range(x.shape[1]):
        gates = x[:, t] @ layer.input_weight.T + hidden @ layer.hidden_weight.T + layer.bias
        i, f, g, o = np.split(gates, 4, axis=1)
        cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
        hidden = _sigmoid(o) * np.tanh(cell)
        sequence[:, t] = hidden
    return sequence


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * x))
