# SPDX-License-Identifier: Apache-2.0
"""How often the integers of a model that is never reset decide as its float student does, along a long stream without a reset.

The float student is run in double precision, so that every machine finds the same figure.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import LEAST_AGREEMENT
from memkd_edge.contract import stream_in_words
from memkd_edge.nets.classifier import Classifier, logits_over_time
from memkd_edge.quantization.batch import BatchRunner
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.threads import torch_threads
from memkd_edge.vocabulary import Arithmetic, Decision, FigureKind

SAMPLES = 100_000  # at least
LEAST_ALONG = {Arithmetic.INT8: 0.99, Arithmetic.INT16X8: 0.995}


@dataclass(frozen=True)
class StreamAgreement:
    """Share of `decisions` that integers and float student have in common along `samples` held-out samples without a reset.

    held_out: different samples among them; where they are fewer, the streams were looped, in an order drawn anew every time.
    logit_error: mean absolute one, in real values. limit: the agreement below which the gate fails.
    """

    agreement: float
    samples: int
    held_out: int
    decisions: int
    logit_error: float
    limit: float
    kind: FigureKind = FigureKind.MEASURED


@dataclass(frozen=True)
class LongStream:
    """x: normalised float32 [T, C], of which `held_out` samples are different; a decision every so many samples."""

    x: NDArray[np.float32]
    held_out: int
    decides_every: int


def long_stream(series: Sequence[NDArray[np.float32]], decides: Decision, samples: int = SAMPLES) -> LongStream:
    """Join held-out series [T, C] end to end, each once and, while that makes fewer than `samples`, again in another order.

    Args:
        series: streams, or windows of equal length that are decided at their ends.
        decides: what the model decides.
    """
    held_out = sum(len(one) for one in series)
    random, parts, total = np.random.default_rng(0), list(series), held_out
    while total < samples:
        parts += [series[number] for number in random.permutation(len(series))]
        total += held_out
    return LongStream(np.concatenate(parts), held_out, len(series[0]) if decides == Decision.WINDOW_END else 1)


def float_logits(student: Classifier, stream: LongStream) -> NDArray[np.float64]:
    """Return the student's logits [D, K] at each decision along the stream."""
    import torch

    precise = copy.deepcopy(student).double()
    with torch.inference_mode(), torch_threads(1):
        logits = logits_over_time(precise, torch.from_numpy(stream.x).double()[None])[0]
    at_decisions: NDArray[np.float64] = logits.numpy()[stream.decides_every - 1 :: stream.decides_every]
    return at_decisions


def stream_agreement(
    model: QuantizedClassifier,
    arithmetic: Arithmetic,
    feed: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    stream: LongStream,
    expected: NDArray[np.float64],
    min_agreement: float = LEAST_AGREEMENT,
) -> StreamAgreement:
    """Compare an integer model with the float student along a stream.

    Args:
        feed: from normalised series [N, T, C] to what the integers take.
        expected: `float_logits` of the student.
        min_agreement: that the user asks for; up to the default the limit is that of the arithmetic.
    """
    runner = BatchRunner(model, arithmetic)
    logits = runner.logits(feed(stream.x[None]))[0, stream.decides_every - 1 :: stream.decides_every].astype(np.float64)
    zero, scale = (
        (model.logit_zero_point_int8, model.logit_scale_int8) if arithmetic == Arithmetic.INT8 else (0, model.head.out_scale)
    )
    least = LEAST_ALONG[arithmetic]
    return StreamAgreement(
        agreement=float((logits.argmax(-1) == expected.argmax(-1)).mean()),
        samples=len(stream.x),
        held_out=stream.held_out,
        decisions=len(expected),
        logit_error=float(np.abs((logits - zero) * scale - expected).mean()),
        limit=min_agreement if min_agreement < LEAST_AGREEMENT else max(min_agreement, least),
    )


def failures(found: Mapping[Arithmetic, StreamAgreement], finer: StreamAgreement) -> list[str]:
    """Return in words which of the agreements `found` fail their gate, and what to do. finer: that of int16x8."""
    return [
        f"{arithmetic} decides as the float student at {one.agreement:.4f} of {one.decisions:,} decisions along "
        f"{stream_in_words(one.samples, one.held_out)}, below {one.limit:g}: {_remedy(arithmetic, finer)}"
        for arithmetic, one in found.items()
        if one.agreement < one.limit
    ]


def _remedy(arithmetic: Arithmetic, finer: StreamAgreement) -> str:
    if arithmetic == Arithmetic.INT8 and finer.agreement >= finer.limit:
        return f"take int16 samples and logits with the same int8 weights, --samples int16, which reaches {finer.agreement:.4f}"
    also = f" (--samples int16 reaches {finer.agreement:.4f}, below {finer.limit:g})" if arithmetic == Arithmetic.INT8 else ""
    return f"distil another student, or take --quantize float32{also}"
