# SPDX-License-Identifier: Apache-2.0
"""What an exported file decides on windows, each by itself from a reset, and how good that is."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.config import DataConfig
from memkd_edge.data.dataset import Windows, channel_names, windows
from memkd_edge.data.loading import check_window_options
from memkd_edge.data.recording_timing import KEPT_WITHIN
from memkd_edge.data.registry import read_parts
from memkd_edge.decision_files import write_windows
from memkd_edge.decisions import NONE, NOT_YET
from memkd_edge.errors import MemkdEdgeError, UnkeptError, UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.model_channels import channel_order
from memkd_edge.padding import lengths
from memkd_edge.progress import Reporter
from memkd_edge.quantization.batch import CHUNK
from memkd_edge.scores import classification_metrics, majority_class, per_class_table
from memkd_edge.streaming import Streamed, StreamingClassifier
from memkd_edge.vocabulary import Reset

_SMALLEST = np.float32(1e-30)  # of a score, in logarithms


@dataclass(frozen=True)
class WindowsReport:
    """What `memkd-edge classify` shows of windows.

    decided: of each class; undecided: windows that end before the model decides. refused: whose answer is none. scores: over the
    decided windows of a class that the model has, None without any: `windows`, `accuracy`, `majority` (accuracy of always saying
    their most frequent class) and, of two classes or more, those of `classification_metrics` and `classes`. notes: what was
    taken for what. out: the file written, or "".
    """

    model: str
    labels: tuple[str, ...]
    windows: int
    decided: dict[str, int]
    undecided: int
    refused: int
    scores: dict[str, Any] | None
    notes: tuple[str, ...]
    out: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON's types."""
        return asdict(self)


def classify_windows(
    model: Path, classifier: StreamingClassifier, options: DataConfig, out: Path | None, progress: Reporter
) -> WindowsReport:
    """Classify all windows of `options.dataset`, of training and of test part: a file or a UCR/UEA name, as `distill` reads it.

    Args:
        model: the file that `classifier` runs.
        out: checked .csv or .parquet file for a row a window: where it stands, subject, label, decision, a score a class.

    Raises:
        UsageError: windows that the model cannot take; the message says which channel or rate differs.
        UnkeptError: `out` cannot be written; it carries the report. MemkdEdgeError: a known set could not be downloaded.
    """
    metadata = classifier.metadata
    notes = learnt_already(metadata, options.dataset)
    found = _read(metadata, options, notes)
    if metadata.reset == Reset.NEVER:
        notes.append("the model is for streams that are never reset; here every window begins with a reset")
    streamed = _decided(classifier, found.x, progress)
    report = WindowsReport(
        model=str(model),
        labels=metadata.labels,
        windows=len(found.x),
        decided={label: int((streamed.decisions == index).sum()) for index, label in enumerate(metadata.labels)},
        undecided=int((streamed.decisions == NOT_YET).sum()),
        refused=int((streamed.decisions == NONE).sum()),
        scores=_scores(streamed, found.labels, metadata.labels),
        notes=tuple(notes),
        out="" if out is None else str(out),
    )
    if out is not None:
        try:
            write_windows(out, metadata.labels, found, streamed)
        except MemkdEdgeError as error:
            raise UnkeptError(replace(report, out=""), error) from error
    return report


def learnt_already(metadata: Metadata, dataset: str) -> list[str]:
    """Return the note on a data set of the name of that from which the model was made, none for another."""
    if not metadata.dataset or metadata.dataset not in (Path(dataset).name, Path(dataset).stem):
        return []
    test = f" ({metadata.dataset_split})" if metadata.dataset_split else ""
    return [
        f"the model was made from a data set named {metadata.dataset}; if it is this one, it has learnt from all but the test "
        f"part{test}, and the figures are of both together"
    ]


def _read(metadata: Metadata, options: DataConfig, notes: list[str]) -> Windows:
    """Return the windows with the channels that the model takes."""
    name, train, test, described = read_parts(options.dataset, data_root=options.data_root, groups=options.groups)
    check_window_options(options)
    parts = [train] if test is None else [train, test]
    if test is not None:
        notes.append(f"{len(train.series):,} windows of the training part and {len(test.series):,} of the test part, together")
    rate, wanted = described.sample_rate_hz, metadata.sample_rate_hz
    if rate and wanted and abs(rate / wanted - 1) > KEPT_WITHIN:
        raise UsageError(f"{name}: {rate:g} samples a second, and the model takes {wanted:g}; resample the windows")
    there = next((series.shape[1] for part in parts for series in part.series), 0)
    channels, units = channel_names(name, described, there)
    if described.channels:
        order = channel_order(metadata, channels, units, name, notes.append)
    elif there == len(metadata.channels):
        order = list(range(there))
    else:
        raise UsageError(
            f"{name}: {there} channel{'s' if there != 1 else ''} without names, and the model takes {len(metadata.channels)}: "
            f"{', '.join(metadata.channels)}"
        )
    found = windows(name, parts, channels)
    notes += [*described.notes, *found.notes]
    unknown = sorted(set(found.labels) - set(metadata.labels))
    if unknown:
        notes.append(f"not judged, as the model has no such class: {', '.join(unknown)}")
    return Windows(found.x[:, :, order], found.labels, found.places, found.subjects, found.notes)


def _decided(classifier: StreamingClassifier, x: NDArray[np.float32], progress: Reporter) -> Streamed:
    """Return scores and answer after each series' own last sample."""
    ends = lengths(x)
    scores, decisions = np.empty((len(x), len(classifier.labels)), np.float32), np.empty(len(x), np.int64)
    done = 0
    for length in np.unique(ends).tolist():
        of_length = np.flatnonzero(ends == length)
        for rows in np.array_split(of_length, -(-len(of_length) * length // CHUNK)):
            progress.step("classify", done, len(x), "windows")
            scores[rows], decisions[rows] = classifier.decide(x[rows, :length])
            done += len(rows)
    progress.step("classify", done, len(x), "windows")
    return Streamed(scores, decisions)


def _scores(streamed: Streamed, labels: tuple[str, ...], known: tuple[str, ...]) -> dict[str, Any] | None:
    truth = np.array([known.index(label) if label in known else -1 for label in labels])
    judged = (truth >= 0) & (streamed.decisions >= 0)
    if not judged.any():
        return None
    y, logits = truth[judged], np.log(np.maximum(streamed.scores[judged], _SMALLEST))
    scores = {
        "windows": len(y),
        "accuracy": float((streamed.decisions[judged] == y).mean()),
        "majority": float((y == majority_class(y)).mean()),
    }
    if len(np.unique(y)) < 2:
        return scores
    return classification_metrics(logits, y) | scores | {"classes": per_class_table(logits, y, known)}
