# SPDX-License-Identifier: Apache-2.0
"""What a run's student decides along its test streams, never reset: in float by torch, in integers by the numpy reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.decisions import held_classes
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import Classifier, logits_over_time
from memkd_edge.quantization.batch import decisions_along
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.stream_scores import stream_scores
from memkd_edge.threads import torch_threads
from memkd_edge.vocabulary import Arithmetic

Streams = Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]


def float_scores(student: Classifier, streams: Streams, metadata: Metadata) -> dict[str, Any]:
    """Return `StreamScores.as_dict` of the float student. streams: normalised x [T, C], y [T]."""
    import torch

    def decided(x: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.inference_mode(), torch_threads(1):
            logits = logits_over_time(student, torch.from_numpy(x)[None])[0].numpy()
        return held_classes(logits, metadata.decision_margin)

    return _scores([decided(x) for x, _ in streams], streams, metadata)


def integer_scores(
    model: QuantizedClassifier,
    arithmetic: Arithmetic,
    feed: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    streams: Streams,
    metadata: Metadata,
) -> dict[str, Any]:
    """Return the same of its integers. feed: from normalised series [N, T, C] to what the integers take."""
    decided = [decisions_along(model, arithmetic, feed(x[None])[0], metadata.decision_margin) for x, _ in streams]
    return _scores(decided, streams, metadata)


def _scores(decisions: list[NDArray[np.int64]], streams: Streams, metadata: Metadata) -> dict[str, Any]:
    truth = [y for _, y in streams]
    return stream_scores(decisions, truth, len(metadata.labels), metadata.sample_rate_hz or 1.0).as_dict()
