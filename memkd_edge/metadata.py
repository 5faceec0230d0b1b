# SPDX-License-Identifier: Apache-2.0
"""What an artefact says about itself: labels, channels, normalisation, resampling, provenance.

The same JSON object travels with a run (`model.json`), inside a .tflite (metadata buffer `memkd_edge`), inside an ONNX file
(`metadata_props["memkd_edge"]`) and, as constants, in the generated C header. `format` is raised when a reader of the old
format would misread the new one.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.parsing import json_object
from memkd_edge.vocabulary import Arithmetic, Decision, InputKind, Reset

FORMAT = 1
_MAX_STEPS = 1_000_000  # no window is longer; a damaged file may claim one
HOLD_S = 0.2  # a gap that the last sample may fill
HOLD_SAMPLES = 8  # where the rate is not known
_LARGEST = 1e30  # of what is computed with in float32, its reciprocal the smallest
_MOST_READINGS = 1e6  # of what is normalised, and stands in C in 1/1024
MOST_READ = 1 << 14  # samples of one reading of an input monitor, whose sums are integers of 32 and 64 bits


@dataclass(frozen=True)
class Resampling:
    """How a raw series becomes the model's time steps.

    kind: "none"; "linear" (a window of `input_length` samples becomes `output_length` by linear interpolation with aligned
    ends); "decimate" (low-pass FIR `taps`, applied causally, then every `factor`-th sample).
    """

    kind: str = "none"
    input_length: int = 0
    output_length: int = 0
    factor: int = 1
    taps: tuple[float, ...] = ()

    @property
    def steps_per_sample(self) -> float:
        """The model's time steps for one sample of the sensor."""
        if self.kind == "linear":
            return (self.output_length - 1) / (self.input_length - 1)
        return 1 / self.factor


@dataclass(frozen=True)
class SignalRange:
    """Between which values a reading of the training signal lay: what an input monitor takes as usual.

    samples: of one reading; 0: nothing is known. mean, deviation: lowest and highest of each channel over all readings,
    normalised (of all training samples together they are 0 and 1). pace: root mean square of the change from sample to sample
    over the deviation, both added up over the channels; lowest and highest.
    """

    samples: int = 0
    mean_low: tuple[float, ...] = ()
    mean_high: tuple[float, ...] = ()
    deviation_low: tuple[float, ...] = ()
    deviation_high: tuple[float, ...] = ()
    pace_low: float = 0.0
    pace_high: float = 0.0


@dataclass(frozen=True)
class Metadata:
    """Everything a program needs to feed the model and to read its answer.

    labels: class names, in logit order. channels, units: one per input channel. sample_rate_hz: of the raw signal, or None
    when the source does not tell. mean, std: per-channel normalisation in physical units, x_model = (x - mean) / std.
    window_length: raw samples of one training series (0 when they vary). warm_up: model time steps after a reset until the
    decision is final for 90 % of the test series; of recordings, until decisions are right nearly as often as never reset
    (`recording_results.warm_up`). accuracy: test accuracy of the float student.
    dataset_split: how the test part was held out, "" when the data set brings its own.
    reset: when the state is reset in use. "never": trained on streams; "window": on windows of window_length samples that may be
    cut anywhere; "event": the caller starts each series. decides: what the model was taught to decide, "every_sample" or
    "window_end". decision_margin: in logits, by which another class must lead before the decision leaves the one held.
    stream_agreement: of a model that is never reset, share of decisions that its integers and the float student have in common
    along stream_samples held-out samples, of which stream_held_out are different: fewer where they were looped; measured.
    refuse_below: in logits; where the class held does not lead every other by so much the answer is none. None: always an answer.
    arithmetic: "float32", "int8" or "int16x8"; input_scale, input_zero_point: of the tensor `x`, real = scale * (q - zero_point).
    input: what a step takes: "normalised" x; "raw" with `counts_per_unit` [C] int16 sensor counts (counts of one physical unit),
    at the model's own rate; "raw" without, physical units (float32). usual: the training signal's range. golden: test vectors,
    [{"x": [[...] per raw sample], "logits": [...]}], filled in by the exporters.
    """

    name: str
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    sample_rate_hz: float | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resampling: Resampling = field(default_factory=Resampling)
    window_length: int = 0
    warm_up: int = 0
    accuracy: float | None = None
    dataset: str = ""
    dataset_sha256: str = ""
    dataset_terms: str = ""
    dataset_split: str = ""
    run_id: str = ""
    version: str = ""
    arithmetic: Arithmetic = Arithmetic.FLOAT32
    input_scale: float | None = None
    input_zero_point: int = 0
    input: InputKind = InputKind.NORMALISED
    counts_per_unit: tuple[float, ...] = ()
    golden: tuple[dict[str, Any], ...] = ()
    reset: Reset = Reset.WINDOW
    decides: Decision = Decision.WINDOW_END
    decision_margin: float = 0.0
    refuse_below: float | None = None
    usual: SignalRange = field(default_factory=SignalRange)
    stream_agreement: float | None = None
    stream_samples: int = 0
    stream_held_out: int = 0
    format: int = FORMAT

    def to_json(self) -> str:
        """Serialise to compact JSON with sorted keys, so that equal metadata gives equal bytes.

        What a model is for stands there unless it is for windows, as models were before metadata said so; how its integers do
        along streams where that is known.
        """
        values = asdict(self)
        if not self.usual.samples:
            del values["usual"]
        for name in _UNLESS_DEFAULT:
            if values[name] == getattr(Metadata, name):
                del values[name]
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def hold_limit(self) -> int:
        """Missing samples up to which the last one is held; after a longer gap a stream begins anew."""
        return max(1, round(HOLD_S * self.sample_rate_hz)) if self.sample_rate_hz else HOLD_SAMPLES

    @property
    def warm_up_samples(self) -> int:
        """Raw samples after a reset before which there is no decision."""
        return self.warm_up * self.resampling.factor

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = "metadata") -> "Metadata":
        """Parse `to_json`'s output.

        Raises:
            MemkdEdgeError: `text` is not such an object, or was written by a newer format. `source` names the file.
        """
        try:
            raw = json_object(text)
            if raw["format"] > FORMAT:
                raise MemkdEdgeError(
                    f"{source}: metadata format {raw['format']} is newer than this version reads ({FORMAT}); upgrade memkd-edge"
                )
            front_end = raw.pop("resampling")
            usual = raw.pop("usual", {})
            resampling = Resampling(**{**front_end, "taps": tuple(front_end["taps"])})
            ranges: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in usual.items()}
            signal = SignalRange(**ranges)
            known = {f.name for f in fields(cls)}
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in known}
            for name, words in _WORDS.items():
                if name in values:
                    values[name] = _member(words, values[name], name)
            found = cls(**values, resampling=resampling, usual=signal)
            _check(found)
            _check(resampling)
            _check(signal)
            _check_values(found)
            return found
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MemkdEdgeError(f"{source}: not memkd-edge metadata ({error})") from error


_UNLESS_DEFAULT = (
    "reset",
    "decides",
    "decision_margin",
    "refuse_below",
    "stream_agreement",
    "stream_samples",
    "stream_held_out",
)
_RANGES = {  # inclusive
    "sample_rate_hz": (1e-9, 1e9),
    "window_length": (0, _MAX_STEPS),
    "warm_up": (0, _MAX_STEPS),
    "accuracy": (0, 1),
    "input_scale": (1 / _LARGEST, _LARGEST),
    "input_zero_point": (-32768, 32767),
    "decision_margin": (0, _LARGEST),
    "refuse_below": (-_LARGEST, _LARGEST),
    "stream_agreement": (0, 1),
    "stream_samples": (0, 1 << 53),
    "stream_held_out": (0, 1 << 53),
}
_WORDS: dict[str, type[StrEnum]] = {"arithmetic": Arithmetic, "input": InputKind, "reset": Reset, "decides": Decision}


def _member(words: type[StrEnum], value: Any, name: str) -> StrEnum:
    if value not in tuple(words):
        raise ValueError(f"{name} is {value!r:.60}, none of {', '.join(words)}")
    return words(value)


def _check(stated: Metadata | Resampling | SignalRange) -> None:
    """Raise TypeError unless each field holds what its annotation says."""
    for name, hint in get_type_hints(type(stated)).items():
        value = getattr(stated, name)
        if not _fits(value, hint):
            raise TypeError(f"{name} is {value!r:.60}")


def _check_values(found: Metadata) -> None:
    """Raise ValueError unless the numbers can be computed with and fit the channels."""
    resampling, channels = found.resampling, len(found.channels)
    if not len(found.units) == len(found.mean) == len(found.std) == channels:
        raise ValueError("channels, units, mean and std differ in number")
    if len(found.counts_per_unit) not in (0, channels):
        raise ValueError(f"counts_per_unit has {len(found.counts_per_unit)} numbers for {channels} channels")
    usual = found.usual
    for name, numbers, largest in (
        ("mean", found.mean, _LARGEST),
        ("std", found.std, _LARGEST),
        ("counts_per_unit", found.counts_per_unit, _LARGEST),
        ("taps", resampling.taps, _LARGEST),
        ("usual mean", (*usual.mean_low, *usual.mean_high), _MOST_READINGS),
        ("usual deviation", (*usual.deviation_low, *usual.deviation_high), _MOST_READINGS),
        ("usual pace", (usual.pace_low, usual.pace_high), _MOST_READINGS),
    ):
        if not all(abs(number) <= largest for number in numbers):
            raise ValueError(f"{name} is beyond {largest:g}")
    for name, numbers in (("std", found.std), ("counts_per_unit", found.counts_per_unit)):
        if 0 in numbers:
            raise ValueError(f"a {name} is 0")
        if not all(abs(number) >= 1 / _LARGEST for number in numbers):
            raise ValueError(f"a {name} is below {1 / _LARGEST:g}")
    _check_usual(usual, channels)
    if found.reset == Reset.NEVER and found.decides == Decision.WINDOW_END and found.window_length < 1:
        raise ValueError("a decision at window ends needs a window_length")
    for name, (low, high) in _RANGES.items():
        number = getattr(found, name)
        if number is not None and not low <= number <= high:
            raise ValueError(f"{name} is {number}, not from {low:g} to {high:g}")
    shortest = 2 if resampling.kind == "linear" else 0
    for name, least in (("input_length", shortest), ("output_length", shortest), ("factor", 1)):
        if not least <= getattr(resampling, name) < _MAX_STEPS:
            raise ValueError(f"{name} is {getattr(resampling, name)}")


def _check_usual(usual: SignalRange, channels: int) -> None:
    if not 0 <= usual.samples <= MOST_READ:
        raise ValueError(f"usual: samples is {usual.samples}")
    ranges = (usual.mean_low, usual.mean_high, usual.deviation_low, usual.deviation_high)
    if any(len(numbers) != (channels if usual.samples else 0) for numbers in ranges):
        raise ValueError("usual: not one number for each channel")


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(one, get_args(hint)[0]) for one in value)
    if isinstance(value, bool):  # Python counts it as an int; no field is one
        return False
    return isinstance(value, float | int if hint is float else get_origin(hint) or hint)
