# SPDX-License-Identifier: Apache-2.0
"""A .csv or .parquet file of decisions: a row a sample, written as they come, so that its length costs no memory; or a window."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from memkd_edge.data.dataset import Windows
from memkd_edge.data.recordings import Recording
from memkd_edge.errors import MissingToolError, UsageError
from memkd_edge.runs import atomic_file
from memkd_edge.streaming import Streamed

Write = Callable[[Recording, int, Streamed], None]


def check_out(out: Path, force: bool) -> None:
    """Check what can be said before anything is computed.

    Raises:
        UsageError: another ending, or the file is there and `force` is not set. MissingToolError: Parquet needs pyarrow.
    """
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(f"--out {out}: a file that ends in .csv or .parquet")
    if os.path.exists(out) and not force:
        raise UsageError(f"--out {out} is there already; name another file, or --force to overwrite it")
    if out.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingToolError(f"{out}: writing Parquet needs pyarrow: pip install 'memkd-edge[parquet]'") from error


@contextmanager
def writing(out: Path, labels: tuple[str, ...], rate_hz: float) -> Iterator[Write]:
    """Yield a function that takes a stretch, its first sample that is meant, and what was decided from there on.

    Columns: recording, subject, time in seconds since the recording's first row, label, decision, a score a class. The file
    stands there whole when the block has ended, and not at all where an exception ends it.

    Raises:
        MemkdEdgeError: the file system refuses.
    """
    names = np.array([*labels, "", ""], dtype=object)  # the last are those of NONE and of NO_CLASS or NOT_YET

    def columns(stretch: Recording, start: int, streamed: Streamed) -> dict[str, Any]:
        end = start + len(streamed.decisions)
        return {
            "recording": stretch.name,
            "subject": stretch.subject,
            "time": stretch.start_s + np.arange(start, end) / (stretch.stamped_hz or rate_hz),
            "label": names[stretch.y[start:end]],
            "decision": names[streamed.decisions],
            **{f"score {label}": streamed.scores[:, index] for index, label in enumerate(labels)},
        }

    with _table(out) as add:
        yield lambda stretch, start, streamed: add(columns(stretch, start, streamed))


def write_windows(out: Path, labels: tuple[str, ...], windows: Windows, streamed: Streamed) -> None:
    """Write a row a window: where it stands, subject, label, decision, a score a class.

    Raises:
        MemkdEdgeError: the file system refuses.
    """
    names = np.array([*labels, "", ""], dtype=object)
    with _table(out) as add:
        add(
            {
                "window": windows.places,
                "subject": windows.subjects,
                "label": windows.labels,
                "decision": names[streamed.decisions],
                **{f"score {label}": streamed.scores[:, index] for index, label in enumerate(labels)},
            }
        )


@contextmanager
def _table(out: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    with atomic_file(out) as file, (_csv if out.suffix.lower() == ".csv" else _parquet)(file) as add:
        yield add


@contextmanager
def _csv(file: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    import pandas as pd

    begun = False

    def add(columns: dict[str, Any]) -> None:
        nonlocal begun
        frame = pd.DataFrame(columns)
        if "time" in frame:  # hours have more digits before the point than scores
            frame["time"] = [f"{second:.6f}".rstrip("0").rstrip(".") for second in frame["time"]]
        frame.to_csv(file, mode="wb", index=False, header=not begun, float_format="%.6g")
        begun = True

    yield add


@contextmanager
def _parquet(file: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    writer = None

    def add(columns: dict[str, Any]) -> None:
        nonlocal writer
        table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
        writer = writer or parquet.ParquetWriter(file, table.schema)
        writer.write_table(table.cast(writer.schema))

    try:
        yield add
    finally:
        if writer is not None:
            writer.close()
