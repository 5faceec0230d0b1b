# SPDX-License-Identifier: Apache-2.0
"""How good the decisions along a stream are, sample by sample, from decisions and labels alone.

Every figure is over the judged samples: those whose label is a class and not -1, from the first decision of the stream on. A
stream is one uninterrupted series that the model ran through without a reset. Where the answer is none, nothing is right or
wrong: such samples are left out of all accuracies, and a class that comes back after them has not switched; but they are no right
decision, and a segment goes on through them.

An **event** is a change of label to a class, where both samples beside the change are judged; the start of a stream is none. Its
**segment** runs to the next change. Switches of the decision are compared with the events of the same class:

- delay: from an event to the first sample of its segment with the right decision; infinite, and the segment missed, where there
  is none. Segments shorter than `SHORTEST_SEGMENT_S` are left out.
- false switch: to a class that no judged sample within `TOLERANCE_S` of it has.
- event F1: a switch detects an event of its class that lies at most `TOLERANCE_S` away, one switch at most one event, in the
  matching with the most pairs; counts are pooled over classes and streams. One decision that runs on across two events of a class
  therefore detects one of them, a decision that breaks up is one detection and one false one for each further piece, and only
  judged samples count, up to the last sample of the stream. (The rule of `mir_eval.onset.f_measure`, the tests' reference.) When
  a class came that follows samples without a label is not known: the switch to it, at most `TOLERANCE_S` from its first judged
  sample, counts neither way.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError

Decisions = NDArray[np.int64]

SETTLING_S = 0.25  # on either side of a change of label, left out of the settled accuracy
TOLERANCE_S = 0.5
SHORTEST_SEGMENT_S = 0.3
MINUTE = 60.0


@dataclass(frozen=True)
class ClassOnStream:
    """One class along the streams: judged samples of it, and precision, recall and F1 per sample (0 where undefined)."""

    samples: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class StreamScores:
    """What `stream_scores` found; shares in [0, 1], times in seconds.

    majority: the accuracy of always saying the most frequent class. delay_median_s, delay_p90_s: over the segments after events,
    inf where at least half (a tenth) of them are missed, nan without events. missed: share of those segments. confusion
    [K, K]: judged samples, truth by decision. accuracy_since_start: (seconds since the start, accuracy from there to twice as
    far).
    """

    accuracy: float
    f1_macro: float
    settled_accuracy: float
    majority: float
    delay_median_s: float
    delay_p90_s: float
    missed: float
    false_switches_per_minute: float
    switches_per_minute: float
    events_per_minute: float
    event_f1: float
    seconds: float
    streams: int
    classes: tuple[ClassOnStream, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy_since_start: tuple[tuple[float, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; None for what is infinite or undefined."""
        values = asdict(self)
        return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()}


def stream_scores(decisions: Sequence[Decisions], labels: Sequence[Decisions], classes: int, rate_hz: float) -> StreamScores:
    """Judge decisions along streams.

    Args:
        decisions: int64 [T] per stream, a class index for every sample, or below 0: not yet, or none.
        labels: int64 [T] per stream, a class index or -1 for a sample that is not judged.
        classes: how many there are.
        rate_hz: samples per second.

    Raises:
        UsageError: no stream, streams of different lengths, or no judged sample with a decision.
    """
    if not decisions or len(decisions) != len(labels):
        raise UsageError(f"{len(decisions)} streams of decisions for {len(labels)} of labels; at least one of each is needed")
    pairs = [(np.asarray(one, np.int64), np.asarray(truth, np.int64)) for one, truth in zip(decisions, labels, strict=True)]
    for one, truth in pairs:
        if one.shape != truth.shape:
            raise UsageError(f"a stream has {len(one)} decisions and {len(truth)} labels")
    pairs = [(one, np.where(np.logical_or.accumulate(one >= 0), truth, -1)) for one, truth in pairs]
    seconds = int(sum((truth >= 0).sum() for _, truth in pairs)) / rate_hz
    table = sum(confusion(one[None], np.where(one >= 0, truth, -1), classes)[0] for one, truth in pairs)
    count = int(table.sum())
    if count == 0:
        raise UsageError("no sample of these streams has a label to be judged by, and a decision")
    delays = [delay for one, truth in pairs for delay in _delays(one, truth, rate_hz)]
    events = sum(len(_events(truth)) for _, truth in pairs)
    false, switches, found, unknown = (
        sum(counts) for counts in zip(*(_switches(one, truth, classes, rate_hz) for one, truth in pairs), strict=True)
    )
    per_class = tuple(_of_class(table, k) for k in range(classes))
    return StreamScores(
        accuracy=float(np.trace(table) / count),
        f1_macro=float(np.mean([one.f1 for one in per_class if one.samples])),
        settled_accuracy=_settled(pairs, rate_hz),
        majority=float(table.sum(1).max() / count),
        delay_median_s=_quantile(delays, 0.5),
        delay_p90_s=_quantile(delays, 0.9),
        missed=float(np.mean(np.isinf(delays))) if delays else math.nan,
        false_switches_per_minute=false * MINUTE / seconds,
        switches_per_minute=switches * MINUTE / seconds,
        events_per_minute=events * MINUTE / seconds,
        event_f1=2 * found / (switches - unknown + events) if switches - unknown + events else math.nan,
        seconds=seconds,
        streams=len(pairs),
        classes=per_class,
        confusion=tuple(tuple(int(cell) for cell in row) for row in table),
        accuracy_since_start=_since_start(pairs, rate_hz),
    )


def confusion(decisions: Decisions, y: Decisions, classes: int) -> NDArray[np.int64]:
    """Return the confusion matrices [P, K, K] of P students, rows by label, over the judged samples.

    Args:
        decisions: [P, N] class indices.
        y: [N] class indices, or -1.
        classes: K.
    """
    judged = y >= 0
    student = np.arange(len(decisions))[:, None]
    cells = (student * classes + y[judged]) * classes + decisions[:, judged]
    return np.bincount(cells.ravel(), minlength=len(decisions) * classes**2).reshape(-1, classes, classes)


def sample_accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share [P] of judged samples that are decided right, of confusion matrices [P, K, K]."""
    right: NDArray[np.float64] = np.trace(confusion, axis1=1, axis2=2) / confusion.sum((1, 2))
    return right


def macro_f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean [P] over the classes that occur of F1 = 2 hits / (samples + decisions), of confusion matrices [P, K, K]."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    samples = confusion.sum(2)
    f1 = 2 * hits / np.maximum(samples + confusion.sum(1), 1)
    occurs = samples > 0
    result: NDArray[np.float64] = (f1 * occurs).sum(1) / occurs.sum(1)
    return result


def _of_class(confusion: NDArray[np.int64], k: int) -> ClassOnStream:
    hits, said, there = int(confusion[k, k]), int(confusion[:, k].sum()), int(confusion[k].sum())
    return ClassOnStream(there, hits / said if said else 0.0, hits / there if there else 0.0, 2 * hits / max(said + there, 1))


def _settled(pairs: list[tuple[Decisions, Decisions]], rate_hz: float) -> float:
    margin = round(SETTLING_S * rate_hz)
    right = total = 0
    for one, truth in pairs:
        kept = (truth >= 0) & (one >= 0)
        for change in np.flatnonzero(np.diff(truth)) + 1:
            kept[max(0, change - margin) : change + margin] = False
        right += int((one == truth)[kept].sum())
        total += int(kept.sum())
    return right / total if total else math.nan


def _events(truth: Decisions) -> NDArray[np.intp]:
    """Return the samples at which a segment of a class begins after one of another class."""
    changes = np.flatnonzero(np.diff(truth)) + 1
    return changes[(truth[changes] >= 0) & (truth[changes - 1] >= 0)]


def _delays(one: Decisions, truth: Decisions, rate_hz: float) -> list[float]:
    ends = np.append(np.flatnonzero(np.diff(truth)) + 1, len(truth))
    delays = []
    for start in _events(truth):
        end = ends[np.searchsorted(ends, start, side="right")]
        if end - start < SHORTEST_SEGMENT_S * rate_hz:
            continue
        hits = np.flatnonzero(one[start:end] == truth[start])
        delays.append(float(hits[0] / rate_hz) if len(hits) else math.inf)
    return delays


def _switches(one: Decisions, truth: Decisions, classes: int, rate_hz: float) -> tuple[int, int, int, int]:
    """Return the false switches, all on judged samples, how many detect an event, and how many of the rest an unlabelled one."""
    reach = math.floor(TOLERANCE_S * rate_hz)
    one = _filled(one)
    at = np.flatnonzero(np.diff(one)) + 1
    at = at[(truth[at] >= 0) & (one[at - 1] >= 0)]
    false = sum(not (truth[max(0, t - reach) : t + reach + 1] == one[t]).any() for t in at)
    events = _events(truth)
    begins = np.flatnonzero((truth[1:] >= 0) & (truth[1:] != truth[:-1])) + 1  # the events, and what follows no label
    found, seen = (
        sum(_matched(those[truth[those] == k], at[one[at] == k], reach) for k in range(classes)) for those in (events, begins)
    )
    return false, len(at), found, seen - found


def _filled(one: Decisions) -> Decisions:
    """Return the decisions with the last class in place of every none; what stands before the first class stays."""
    filled: Decisions = one[np.maximum.accumulate(np.where(one >= 0, np.arange(len(one)), 0))]
    return filled


def _matched(events: NDArray[np.intp], switches: NDArray[np.intp], reach: int) -> int:
    """Return the size of the largest one-to-one matching within `reach`; with one reach for all, earliest first attains it."""
    found = position = 0
    for event in events:
        while position < len(switches) and switches[position] < event - reach:
            position += 1
        if position < len(switches) and switches[position] <= event + reach:
            found += 1
            position += 1
    return found


def _quantile(delays: list[float], share: float) -> float:
    """Return the smallest delay that at least this share of the delays does not exceed; nan without delays."""
    return sorted(delays)[math.ceil(share * len(delays)) - 1] if delays else math.nan


def _since_start(pairs: list[tuple[Decisions, Decisions]], rate_hz: float) -> tuple[tuple[float, float], ...]:
    longest = max(len(truth) for _, truth in pairs) / rate_hz
    rows, start, end = [], 0.0, 1.0
    while start < longest:
        right = total = 0
        for one, truth in pairs:
            part = slice(round(start * rate_hz), round(end * rate_hz))
            mask = (truth[part] >= 0) & (one[part] >= 0)
            right += int((one[part] == truth[part])[mask].sum())
            total += int(mask.sum())
        if total:
            rows.append((start, right / total))
        start, end = end, 2 * end
    return tuple(rows)
