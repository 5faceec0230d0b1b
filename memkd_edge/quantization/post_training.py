# SPDX-License-Identifier: Apache-2.0
"""Post-training quantisation: float classifier + calibration series -> `QuantizedClassifier`.

The scales are chosen so that TensorFlow Lite Micro, tflite-runtime and LiteRT compute the same bits, and so that generated C is
cheap; SPEC.md says which and why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.nets.classifier import Classifier
from memkd_edge.quantization.batch import BatchRunner
from memkd_edge.quantization.bias_correction import correct_biases
from memkd_edge.quantization.calibration import DenseWeights, FloatModel, Floats, as_streams, check_series
from memkd_edge.quantization.fixed_point import multiplier
from memkd_edge.quantization.integer_model import (
    CELL_SCALE,
    GATE_SCALE,
    PRODUCT_SCALE,
    QuantizedClassifier,
    QuantizedDense,
    QuantizedGru,
    QuantizedGruLayer,
    QuantizedLstm,
    QuantizedLstmLayer,
)
from memkd_edge.quantization.rounding import round_nearest, round_weights
from memkd_edge.quantization.sensitivity import sensitivity
from memkd_edge.quantization.sensor_front_end import Sensor, absorb_offset_remainder, raw_input
from memkd_edge.vocabulary import Arithmetic, Cell

CELL_SHIFTS = (0, -1, 1, -2, 2, 3)  # the cell's scale is CELL_SCALE * 2^shift: range +-6 to +-192
INPUT_HEADROOM = 1.25  # the device meets larger samples than the calibration series did
LOGIT_HEADROOM = 1.05
INPUT_CLIPS = (1.0, 0.7, 0.5, 0.35, 0.25)  # of the int8 input's range, tried: outliers cost the rest its resolution
INPUT_BULK = 0.001  # of the calibration samples may lie below the int8 input's range, and as many above
UNLIKELY = 0.01  # int8 logits need not tell classes apart that are less likely than this times the likeliest

MAX_PARAMETERS = 2500  # of a larger model the curvature takes too long, and each weight matters less
DAMPINGS = (1e-2, 1e-3, 1e-4)  # tried when rounding

_MAX_COLUMNS = 512  # 512 * 127 * 2^15 stays below 2^31
MOST_STREAMS = 16  # into which series are joined for a model that is never reset
STREAM_SAMPLES = 4000  # of each, where there are so many

_TRIAL_SAMPLES = 40_000  # series x samples with which a setting is tried
_PROMISING = 3.0  # times the least error: a cell's range with no more than that is tried with biases of its own


@dataclass(frozen=True)
class Settings:
    """What calibration decides.

    state_scale: of x and h; logit_scale: of the int16 logits (powers of two). logit_min, logit_max: what int8 logits have to
    reach. cell_shift: see CELL_SHIFTS. input_gain, input_zero_point: the int8 input's scale is input_gain * state_scale.
    """

    state_scale: float
    logit_scale: float
    logit_min: float
    logit_max: float
    cell_shift: int
    input_gain: int
    input_zero_point: int = 0


def quantize(
    model: Classifier,
    x_calibration: NDArray[np.floating],
    *,
    sensor: Sensor | None = None,
    fine_tuned: bool = False,
    never_reset: bool = False,
) -> QuantizedClassifier:
    """Quantise a float classifier: int8 weights, int16 activations and state.

    Args:
        model: the trained student, LSTM or GRU.
        x_calibration: [N, T, C] normalised series of the training set.
        sensor: makes the model take this sensor's int16 counts instead of normalised x.
        fine_tuned: the model was trained through its integers (`finetune`): its weights are rounded to the nearest, which is
            where they lie, and its biases, which are meant for integers already, stay.
        never_reset: in use the model is never reset, so the series are joined end to end and it runs along them; from a reset,
            its cells would not yet be as large as they become.

    Raises:
        UsageError: a model that is neither LSTM nor GRU, or bidirectional; calibration series of the wrong shape or with values
            that are not finite; weights that are not finite; a layer too wide for 32-bit accumulators.
    """
    weights = FloatModel.from_model(model)
    check_series(x_calibration, weights.input_size)
    count, length, _ = x_calibration.shape
    streams = min(MOST_STREAMS, max(1, count * length // STREAM_SAMPLES), count) if never_reset else count
    x = as_streams(x_calibration, streams)
    settings = first_settings(weights, x)
    grids = weight_grids(weights.dense(), settings)
    dense, settings = _calibrated(weights, grids, settings, x, length, fine_tuned)
    return assemble(weights.kind, dense, grids, settings, sensor)


def quantize_nearest(weights: FloatModel, settings: Settings) -> QuantizedClassifier:
    """Quantise with the given settings, every weight rounded to the nearest integer."""
    dense = weights.dense()
    return assemble(weights.kind, dense, weight_grids(dense, settings), settings, None)


def settings_of(q: QuantizedClassifier) -> Settings:
    """Return the settings with which `q` was made."""
    low, high = ((limit - q.logit_zero_point_int8) * q.logit_scale_int8 for limit in (-128, 127))
    first = q.layers[0]
    shift = first.cell_shift if isinstance(first, QuantizedLstmLayer) else 0
    return Settings(first.state_scale, q.head.out_scale, low, high, shift, q.input_gain, q.input_zero_point_int8)


def first_settings(weights: FloatModel, x: NDArray[np.floating]) -> Settings:
    """Return settings that cover the ranges of input and logits; random series would not do, only real trajectories."""
    magnitude = float(np.abs(x).max())
    state_scale = power_of_two_scale(max(1.0, INPUT_HEADROOM * magnitude))
    logits = weights.logits(x)
    # A logit scale below state_scale * weight_scale would amplify: the head's factor stays <= 1.
    resolution = state_scale * float(np.abs(weights.head_weight).max()) / 127 * (1 << 15)
    reach = LOGIT_HEADROOM * max(-float(logits.min()), float(logits.max()), resolution, 2.0**-15)
    hopeless = float(logits.max(-1).min()) + math.log(UNLIKELY)
    gain, zero_point = _int8_input(float(x.min()), float(x.max()), state_scale)
    return Settings(
        state_scale=state_scale,
        logit_scale=power_of_two_scale(reach),
        logit_min=min(max(float(logits.min()), hopeless), 0.0),
        logit_max=max(float(logits.max()), 0.0),
        cell_shift=0,
        input_gain=gain,
        input_zero_point=zero_point,
    )


def _calibrated(
    weights: FloatModel, grids: Sequence["Grid"], settings: Settings, x: NDArray[np.floating], length: int, fine_tuned: bool
) -> tuple[Sequence[DenseWeights], Settings]:
    """Round the weights and decide on the settings, each time for what brings the logits closest to the float model's.

    Args:
        x: [N, T, C], each from a reset. length: of a calibration series, of which one x of a stream is made up.
    """
    count = min(len(x), max(1, _TRIAL_SAMPLES // x.shape[1]))
    tried = x[np.linspace(0, len(x) - 1, count).round().astype(int)]
    expected = weights.logits(tried)

    def errors(dense: Sequence[DenseWeights], trial: Settings, interface: Arithmetic = Arithmetic.INT16X8) -> Floats:
        q = assemble(weights.kind, dense, grids, trial, None)
        found = BatchRunner(q, interface, len(tried)).int16_logits(tried) * q.head.out_scale - expected
        return found.reshape(-1, length, found.shape[2])

    float_dense, scales = weights.dense(), [grid.weight_scale for grid in grids]
    large = sum(part.size for one in float_dense for part in one) > MAX_PARAMETERS
    if not fine_tuned:
        series = tried.reshape(-1, length, tried.shape[2])
        by_parameters = sensitivity(weights.kind, float_dense, series, biases_only=large)
    dense: Sequence[DenseWeights] = round_nearest(float_dense, scales)
    if not large and not fine_tuned:
        rounded = [round_weights(float_dense, scales, by_parameters.jacobian, damping) for damping in DAMPINGS]
        dense = min(rounded, key=lambda one: _size(errors(one, settings)))
    shifts = CELL_SHIFTS if weights.kind == Cell.LSTM else (settings.cell_shift,)
    found = [(dense, replace(settings, cell_shift=shift)) for shift in shifts]
    if not fine_tuned:
        by_biases = by_parameters if large else by_parameters.of_biases(dense)
        # Biases take back much of what the cell's rounding adds up to, but not what its saturation cuts off: ranges are compared
        # with the biases that suit them.
        sizes = [_size(errors(*one)) for one in found]
        found = [
            (correct_biases(dense, by_biases, partial(errors, trial=trial), _size), trial)
            for (_, trial), size in zip(found, sizes, strict=True)
            if size <= _PROMISING * min(sizes)
        ]
    dense, settings = min(found, key=lambda one: _size(errors(*one)))
    low, high = float(x.min()), float(x.max())
    bulk_low, bulk_high = (float(limit) for limit in np.quantile(x, (INPUT_BULK, 1 - INPUT_BULK)))
    ranges = [_int8_input(min(clip * low, bulk_low), max(clip * high, bulk_high), settings.state_scale) for clip in INPUT_CLIPS]
    trials = [replace(settings, input_gain=gain, input_zero_point=zero) for gain, zero in dict.fromkeys(ranges)]
    return dense, min(trials, key=lambda trial: _size(errors(dense, trial, Arithmetic.INT8)))


def _size(errors: Floats) -> float:
    """Mean absolute error of logits [N, T, K], over time plus at the end, where the decision is made."""
    magnitude = np.abs(errors)
    return float(magnitude.mean() + magnitude[:, -1].mean())


def power_of_two_scale(magnitude: float) -> float:
    """Return the smallest power of two at which int16 reaches `magnitude`."""
    return 2.0 ** (math.ceil(math.log2(magnitude)) - 15)


@dataclass(frozen=True)
class Grid:
    """The scales of a dense layer; fields as in `QuantizedDense`."""

    in_scale: float
    weight_scale: float
    out_scale: float
    reduced: int
    shift: int

    def place(self, dense: DenseWeights) -> QuantizedDense:
        """Round weights and biases to the nearest grid point."""
        return QuantizedDense(
            weight=np.clip(np.round(dense.weight / self.weight_scale), -127, 127).astype(np.int8),
            bias=np.round(dense.bias / (self.in_scale * self.weight_scale)).astype(np.int64),
            in_scale=self.in_scale,
            weight_scale=self.weight_scale,
            out_scale=self.out_scale,
            reduced=self.reduced,
            shift=self.shift,
        )


def weight_grids(dense: Sequence[DenseWeights], settings: Settings) -> list[Grid]:
    """Return the grids of the gates of every layer and of the head."""
    out_scales = [GATE_SCALE] * (len(dense) - 1) + [settings.logit_scale]
    return [dense_grid(one, settings.state_scale, scale) for one, scale in zip(dense, out_scales, strict=True)]


def dense_grid(dense: DenseWeights, in_scale: float, out_scale: float) -> Grid:
    """Choose the one weight scale of a dense layer.

    It is rounded up to where in_scale * weight_scale / out_scale is an odd 15-bit number over a power of two: TFLM reduces its
    multiplier to 16 bits and LiteRT does not, and only then do both multiply by the same factor. Odd, because exact ties,
    which LiteRT rounds otherwise than TFLM, then need an accumulator that is a multiple of 2^(shift-1).

    Args:
        in_scale: a power of two. out_scale: a power of two, or 3 times one.

    Raises:
        UsageError: more columns than 32-bit accumulators allow.
    """
    columns = dense.weight.shape[1]
    if columns > _MAX_COLUMNS:
        raise UsageError(
            f"a layer over {columns} values: the integer model takes at most {_MAX_COLUMNS} (32-bit sums); use --quantize float32"
        )
    # Half of what a 32-bit accumulator has left for the bias: rounding may move it.
    largest_bias = ((1 << 31) - 1 - columns * 127 * (1 << 15)) / 2
    smallest = max(
        float(np.abs(dense.weight).max()) / 127,
        float(np.abs(dense.bias).max()) / in_scale / largest_bias,
        2.0**-24 * out_scale / in_scale,
    )
    fraction, exponent = math.frexp(in_scale * smallest / out_scale)
    reduced = math.ceil(fraction * (1 << 15)) | 1
    if reduced > 1 << 15:
        reduced, exponent = (1 << 14) + 1, exponent + 1
    shift = 15 - exponent
    return Grid(in_scale, reduced * 2.0**-shift * out_scale / in_scale, out_scale, reduced, shift)


def assemble(
    kind: Cell, dense: Sequence[DenseWeights], grids: Sequence[Grid], settings: Settings, sensor: Sensor | None
) -> QuantizedClassifier:
    """Put the integer model together from weights and settings."""
    raw = None if sensor is None else raw_input(sensor, settings.state_scale)
    if sensor is not None and raw is not None:
        dense = [absorb_offset_remainder(dense[0], sensor, raw), *dense[1:]]
    *gates, head = (grid.place(one) for grid, one in zip(grids, dense, strict=True))
    logit_scale, logit_zero_point = _int8_range(settings.logit_min, settings.logit_max, settings.logit_scale)
    interface: dict[str, Any] = {
        "head": head,
        "input_scale": settings.input_gain * settings.state_scale,
        "input_gain": settings.input_gain,
        "input_zero_point_int8": settings.input_zero_point,
        "logit_scale_int8": logit_scale,
        "logit_zero_point_int8": logit_zero_point,
        "logit_rescale": multiplier(settings.logit_scale / logit_scale),
        "raw": raw,
    }
    hidden_rescale = multiplier(PRODUCT_SCALE / settings.state_scale)
    if kind == Cell.GRU:
        return QuantizedGru(
            layers=tuple(QuantizedGruLayer(one, GATE_SCALE, settings.state_scale, hidden_rescale) for one in gates), **interface
        )
    cell_scale = CELL_SCALE * 2.0**settings.cell_shift
    return QuantizedLstm(
        layers=tuple(
            QuantizedLstmLayer(
                gates=one,
                gate_scale=GATE_SCALE,
                cell_scale=cell_scale,
                state_scale=settings.state_scale,
                cell_shift=settings.cell_shift,
                cell_rescale=multiplier(PRODUCT_SCALE / cell_scale),
                hidden_rescale=hidden_rescale,
            )
            for one in gates
        ),
        **interface,
    )


def _int8_input(low: float, high: float, state_scale: float) -> tuple[int, int]:
    """Gain over the state's scale and zero point at which int8 covers [low, high] and zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    gain = max(1, math.ceil((high - low) / 255 / state_scale))
    return gain, int(np.clip(round(-128 - low / (gain * state_scale)), -128, 127))


def _int8_range(low: float, high: float, finest: float) -> tuple[float, int]:
    """Scale and zero point at which int8 covers [low, high]; the scale lies above `finest`: `rescale` takes factors below 1."""
    scale = float(max(np.float32((high - low) / 255), np.nextafter(np.float32(finest), np.float32(np.inf))))
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))
