# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: a few raw samples and the logits they must give, inside every exported file, for a device to check itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.data.normalisation import normalise
from memkd_edge.data.resampling import StreamingResampler
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.metadata import Metadata
from memkd_edge.vocabulary import InputKind

MODEL_STEPS = 4  # of a vector; every operator and the state's way round are exercised from the second on
VALUES = 24  # at most, unless MODEL_STEPS needs more: golden vectors are the larger part of the metadata
DIGITS = 4  # significant, of each stored value


def as_input(metadata: Metadata, physical: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a file's x stands for, at time steps `physical` [..., C] in physical units: see `Metadata.input`."""
    if metadata.input == InputKind.NORMALISED:
        return normalise(physical, metadata.mean, metadata.std)
    if metadata.counts_per_unit:
        return np.asarray(physical * np.asarray(metadata.counts_per_unit, np.float32), np.float32)
    return physical


def model_input(metadata: Metadata, raw: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return what a file's x stands for over raw samples [T, C] in physical units, resampled one by one: [1, T', C]."""
    front_end = StreamingResampler(metadata.resampling)
    steps = [step for sample in raw for step in front_end.push(np.asarray(sample, np.float32))]
    return as_input(metadata, np.asarray(steps, np.float32).reshape(1, len(steps), raw.shape[1]))


def golden_vectors(
    metadata: Metadata, raw: NDArray[np.floating], answer: Callable[[NDArray[np.float32]], NDArray[Any]]
) -> tuple[dict[str, Any], ...]:
    """Return one vector made of the beginning of raw series `raw` [T, C], rounded before it is answered.

    Args:
        answer: gives the real logits [K] after model input [1, T', C] from a reset.
    """
    for length in range(min(max(1, VALUES // raw.shape[1]), len(raw)), len(raw) + 1):
        x = _rounded(raw[:length])
        steps = model_input(metadata, x)
        if steps.shape[1] >= min(MODEL_STEPS, metadata.resampling.output_length or MODEL_STEPS) or length == len(raw):
            break
    return ({"x": x.tolist(), "logits": _rounded(answer(steps), DIGITS + 2).tolist()},)


def read_golden(metadata: Metadata, source: str) -> list[tuple[NDArray[np.float32], NDArray[np.float64]]]:
    """Return the golden vectors of a file as pairs of model input [1, T', C] and logits [K].

    Raises:
        MemkdEdgeError: they do not fit the metadata's channels and labels. `source` names the file.
    """
    vectors = []
    for entry in metadata.golden:
        try:
            raw, logits = np.asarray(entry["x"], np.float64), np.asarray(entry["logits"], np.float64)
            if raw.ndim != 2 or raw.shape[1] != len(metadata.channels) or logits.shape != (len(metadata.labels),):
                raise ValueError("it does not fit the channels and labels")
            if not (np.isfinite(raw).all() and np.isfinite(logits).all()):
                raise ValueError("its values are not finite")
            x = model_input(metadata, raw)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
            raise MemkdEdgeError(f"{source}: damaged golden vector in its metadata ({error})") from error
        vectors.append((x, logits))
    return vectors


def _rounded(values: NDArray[np.floating], digits: int = DIGITS) -> NDArray[np.float64]:
    return np.array([float(f"{value:.{digits}g}") for value in np.ravel(values)]).reshape(np.shape(values))
