"""Post-training quantisation: float classifier + calibration series -> `QuantizedLstm` or `QuantizedGru`.

The scales are chosen so that TensorFlow Lite Micro, tflite-runtime and LiteRT compute the same bits, and so that generated C is
cheap; SPEC.md says which and why.
"""

import math
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.models import Classifier, GruClassifier, LstmClassifier
from memkd_edge.quantize.calibrate import FloatModel, Floats, LayerWeights, Ranges, calibrate
from memkd_edge.quantize.fixed_point import multiplier
from memkd_edge.quantize.front_end import Sensor, absorb_offset_remainder, raw_input
from memkd_edge.quantize.types import QuantizedDense, QuantizedGru, QuantizedGruLayer, QuantizedLayer, QuantizedLstm

GATE_SCALE = 3 * 2.0**-12  # range +-24
# A hair over 3 * 2^-12, so that the factor 2^-30 / CELL_SCALE has the same mantissa in float32 (LiteRT) and float64 (TFLM).
CELL_SCALE = float.fromhex("0x1.800006p-11")
ACTIVATION_SCALE = 2.0**-15  # of sigmoid and tanh
PRODUCT_SCALE = ACTIVATION_SCALE**2
INPUT_HEADROOM = 1.25  # the device meets larger samples than the calibration series did
LOGIT_HEADROOM = 1.05

_MAX_COLUMNS = 512  # 512 * 127 * 2^15 stays below 2^31


@overload
def quantize(model: LstmClassifier, x_calibration: NDArray[np.floating], *, sensor: Sensor | None = None) -> QuantizedLstm: ...
@overload
def quantize(model: GruClassifier, x_calibration: NDArray[np.floating], *, sensor: Sensor | None = None) -> QuantizedGru: ...
@overload
def quantize(
    model: Classifier, x_calibration: NDArray[np.floating], *, sensor: Sensor | None = None
) -> QuantizedLstm | QuantizedGru: ...
def quantize(
    model: Classifier, x_calibration: NDArray[np.floating], *, sensor: Sensor | None = None
) -> QuantizedLstm | QuantizedGru:
    """Quantise a float classifier: int8 weights, int16 activations and state.

    Args:
        model: the trained student, LSTM or GRU.
        x_calibration: [N, T, C] normalised series of the training set.
        sensor: makes the model take this sensor's int16 counts instead of normalised x.

    Raises:
        UsageError: a model that is neither LSTM nor GRU, or bidirectional; calibration series of the wrong shape or with values
            that are not finite; weights that are not finite; a layer too wide for 32-bit accumulators.
    """
    weights = FloatModel.from_model(model)
    return quantize_weights(weights, calibrate(weights, x_calibration), sensor=sensor)


def quantize_weights(weights: FloatModel, ranges: Ranges, *, sensor: Sensor | None = None) -> QuantizedLstm | QuantizedGru:
    """Quantise float weights for the given ranges of input and logits; errors as `quantize`."""
    state_scale = power_of_two_scale(max(1.0, INPUT_HEADROOM * ranges.input_magnitude))
    raw = None
    if sensor is not None:
        raw = raw_input(sensor, state_scale)
        weights = absorb_offset_remainder(weights, sensor, raw)

    # A logit scale below state_scale * weight_scale would amplify: the head's factor stays <= 1.
    resolution = state_scale * float(np.abs(weights.head_weight).max()) / 127 * (1 << 15)
    magnitude = LOGIT_HEADROOM * max(-ranges.logit_min, ranges.logit_max, resolution, 2.0**-15)
    head = quantize_dense(weights.head_weight, weights.head_bias, state_scale, power_of_two_scale(magnitude), "classifier")

    input_gain = max(1, math.ceil(ranges.input_magnitude / 127 / state_scale))
    logit_scale, logit_zero_point = _int8_range(min(ranges.logit_min, 0.0), max(ranges.logit_max, 0.0), head.out_scale)
    interface: dict[str, Any] = {
        "head": head,
        "input_scale": input_gain * state_scale,
        "input_gain": input_gain,
        "logit_scale_int8": logit_scale,
        "logit_zero_point_int8": logit_zero_point,
        "logit_rescale": multiplier(head.out_scale / logit_scale),
        "raw": raw,
    }
    if weights.kind == "gru":
        return QuantizedGru(layers=tuple(_quantize_gru(layer, state_scale) for layer in weights.layers), **interface)
    return QuantizedLstm(layers=tuple(_quantize_lstm(layer, state_scale) for layer in weights.layers), **interface)


def power_of_two_scale(magnitude: float) -> float:
    """Return the smallest power of two at which int16 reaches `magnitude`."""
    return 2.0 ** (math.ceil(math.log2(magnitude)) - 15)


def quantize_dense(weight: Floats, bias: Floats, in_scale: float, out_scale: float, where: str) -> QuantizedDense:
    """Quantise a dense layer with one weight scale.

    The scale is rounded up to where in_scale * weight_scale / out_scale is an odd 15-bit number over a power of two: TFLM
    reduces its multiplier to 16 bits and LiteRT does not, and only then do both multiply by the same factor. Odd, because
    exact ties, which LiteRT rounds otherwise than TFLM, then need an accumulator that is a multiple of 2^(shift-1).

    Args:
        weight: [rows, columns]; bias: [rows]; where: names the layer in errors.
        in_scale: a power of two. out_scale: a power of two, or 3 times one.

    Raises:
        UsageError: more columns than 32-bit accumulators allow.
    """
    columns = weight.shape[1]
    if columns > _MAX_COLUMNS:
        raise UsageError(f"{where}: {columns} inputs; the integer model takes at most {_MAX_COLUMNS}, use --quantize float32")
    largest_bias = (1 << 31) - 1 - columns * 127 * (1 << 15)  # what a 32-bit accumulator has left for it
    smallest = max(np.abs(weight).max() / 127, np.abs(bias).max() / in_scale / largest_bias, 2.0**-24 * out_scale / in_scale)
    fraction, exponent = math.frexp(in_scale * float(smallest) / out_scale)
    reduced = math.ceil(fraction * (1 << 15)) | 1
    if reduced > 1 << 15:
        reduced, exponent = (1 << 14) + 1, exponent + 1
    shift = 15 - exponent
    weight_scale = reduced * 2.0**-shift * out_scale / in_scale
    return QuantizedDense(
        weight=np.clip(np.round(weight / weight_scale), -127, 127).astype(np.int8),
        bias=np.round(bias / (in_scale * weight_scale)).astype(np.int64),
        in_scale=in_scale,
        weight_scale=weight_scale,
        out_scale=out_scale,
        reduced=reduced,
        shift=shift,
    )


def lstm_gates(layer: LayerWeights) -> tuple[Floats, Floats]:
    """Return weight [4H, C + H] and bias [4H] over the concatenation of x and h, rows in the order i, f, o, g."""
    weight = np.concatenate([layer.input_weight, layer.hidden_weight], axis=1)
    bias = layer.input_bias + layer.hidden_bias
    i, f, g, o = np.split(np.arange(len(bias)), 4)
    rows = np.concatenate([i, f, o, g])
    return weight[rows], bias[rows]


def gru_gates(layer: LayerWeights) -> tuple[Floats, Floats]:
    """Return weight [4H, C + H] and bias [4H], rows: reset, update, candidate from x, candidate from h."""
    both, candidate = np.split(np.arange(len(layer.input_bias)), [2 * layer.hidden_size])
    from_x, from_h = layer.input_weight[candidate], layer.hidden_weight[candidate]
    weight = np.block(
        [
            [layer.input_weight[both], layer.hidden_weight[both]],
            [from_x, np.zeros_like(from_h)],
            [np.zeros_like(from_x), from_h],
        ]
    )
    bias = np.concatenate(
        [(layer.input_bias + layer.hidden_bias)[both], layer.input_bias[candidate], layer.hidden_bias[candidate]]
    )
    return weight, bias


def _quantize_lstm(layer: LayerWeights, state_scale: float) -> QuantizedLayer:
    return QuantizedLayer(
        gates=quantize_dense(*lstm_gates(layer), state_scale, GATE_SCALE, "LSTM gates"),
        gate_scale=GATE_SCALE,
        cell_scale=CELL_SCALE,
        state_scale=state_scale,
        cell_rescale=multiplier(PRODUCT_SCALE / CELL_SCALE),
        hidden_rescale=multiplier(PRODUCT_SCALE / state_scale),
    )


def _quantize_gru(layer: LayerWeights, state_scale: float) -> QuantizedGruLayer:
    return QuantizedGruLayer(
        gates=quantize_dense(*gru_gates(layer), state_scale, GATE_SCALE, "GRU gates"),
        gate_scale=GATE_SCALE,
        state_scale=state_scale,
        hidden_rescale=multiplier(PRODUCT_SCALE / state_scale),
    )


def _int8_range(low: float, high: float, finest: float) -> tuple[float, int]:
    """Scale (at least `finest`) and zero point at which int8 covers [low, high]."""
    scale = float(np.float32(max((high - low) / 255, finest)))
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))
