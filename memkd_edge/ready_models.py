# SPDX-License-Identifier: Apache-2.0
"""Ready-made students: the runs under models/, listed by `memkd-edge models` and opened wherever a run is asked for.

A shipped run lacks two files: calibration.npz, the series of its data set, most of which are not ours to give, and
teacher.safetensors, which is large. `open_run` copies it to the run root, where commands may write, and takes the series from the
data set itself.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memkd_edge.assets import asset_dir
from memkd_edge.contents import read_config
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.file_formats import KEY, check_format
from memkd_edge.parsing import json_object
from memkd_edge.runs import FORMAT, SERIES, STUDENT, Run, find_run
from memkd_edge.vocabulary import FigureKind, Reset

if TYPE_CHECKING:  # it takes a while to load, and listing models needs none of it
    from memkd_edge.config import DistillConfig
    from memkd_edge.data.dataset import Dataset
    from memkd_edge.data.recordings import Recordings
    from memkd_edge.metadata import Metadata

PREFIX = "model:"
FIGURES = "figures.json"
KINDS = {
    **dict.fromkeys(("accuracy", "accuracy_int8", "f1_macro", "f1_macro_int8", "bytes"), FigureKind.MEASURED),
    **dict.fromkeys(("flash_bytes", "instructions"), FigureKind.EMULATED),
}


@dataclass(frozen=True)
class ReadyModel:
    """One line of models/figures.json.

    reset: what it is for; `never` a stream that nobody resets, `event` series that the caller starts. Measured on the test part:
    accuracy and f1_macro of the float student, *_int8 of its integers with the int8 entry; of a stream its decisions at every
    sample, of events one answer each. bytes: of each exported file, by its name's ending. Emulated-exact on a Cortex-M4:
    flash_bytes, and instructions a sample, of the generated C with the int8 entry.
    """

    name: str
    dataset: str
    channels: int
    classes: int
    reset: Reset
    compression: float
    accuracy: float
    accuracy_int8: float
    f1_macro: float
    f1_macro_int8: float
    bytes: dict[str, int]
    flash_bytes: float
    instructions: float


def ready_models() -> list[ReadyModel]:
    """Return what models/figures.json says of the ready-made students.

    Raises:
        MemkdEdgeError: the file is missing or damaged.
    """
    path = asset_dir("models") / FIGURES
    try:
        record = json_object(path.read_bytes())
        check_format(record.get(KEY, 1), FORMAT, path)
        return [ReadyModel(**row | {"reset": Reset(row["reset"])}) for row in record["models"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MemkdEdgeError(f"{path}: no readable figures ({error}); install memkd-edge again") from error


def ready_folder(name: str) -> Path:
    """Return the shipped run of ready-made model `name`, to read only.

    Raises:
        UsageError: there is none of that name; near names are suggested.
    """
    models = asset_dir("models")
    names = sorted(path.parent.name for path in models.glob(f"*/{STUDENT}"))
    if name in names:
        return models / name
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    advice = f"did you mean {' or '.join(PREFIX + one for one in near)}?" if near else f"there are {', '.join(names) or 'none'}"
    raise UsageError(f"no ready-made model named {name!r}; {advice}")


def model_file(text: str) -> Path:
    """Return the model file that the user names: a path, or the shipped int8 .tflite of "model:NAME".

    Raises:
        UsageError: there is no model of that name.
    """
    if not text.startswith(PREFIX):
        return Path(text)
    name = text.removeprefix(PREFIX)
    return ready_folder(name) / "export" / f"{name}_int8.tflite"


def open_run(text: str, run_root: Path) -> Run:
    """Open the run that the user names: a directory, a name under `run_root`, "model:NAME", or "" for the newest complete one.

    A ready-made model is copied to <run_root>/model-NAME the first time, and found there from then on.

    Raises:
        UsageError: no such run or model, a directory of shipped models, or <run_root>/model-NAME is another student.
        MemkdEdgeError: the run is incomplete or damaged; the model's data set is not at hand, or holds other series; the copy
            cannot be written.
    """
    if not text:
        return Run.newest(run_root)
    if not text.startswith(PREFIX):
        path = find_run(text, run_root)
        if path.resolve().parent == asset_dir("models"):
            raise UsageError(f"{path} is shipped with memkd-edge and not written to; name it {PREFIX}{path.resolve().name}")
        return Run.open(path)
    name = text.removeprefix(PREFIX)
    shipped = Run.open(ready_folder(name))
    copy = run_root / f"model-{name}"
    if not copy.exists():
        _copy(shipped, copy, _series(shipped))
    run = Run.open(copy)
    if run.read_bytes(STUDENT) != shipped.read_bytes(STUDENT):
        raise UsageError(f"{copy} holds another student than {text} of this version; remove it, or choose another --run-root")
    return run


def _copy(shipped: Run, place: Path, series: dict[str, Any]) -> None:
    """Make `place` a copy of the shipped run with its series; it appears whole or not at all."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as folder:
            new = Run(Path(folder) / place.name)
            new.path.mkdir()
            for path in sorted(shipped.path.rglob("*")):
                if path.is_file():
                    new.write_bytes(path.relative_to(shipped.path).as_posix(), path.read_bytes())
            new.write_arrays(SERIES, series)
            os.rename(new.path, place)
    except OSError as error:
        raise MemkdEdgeError(f"cannot write {place}: {error.strerror}; choose another folder with --run-root") from error


def _series(shipped: Run) -> dict[str, Any]:
    """Return the series that a run keeps, from the data set that the shipped run was trained on."""
    from memkd_edge.data.loading import load_data
    from memkd_edge.data.recordings import Recordings

    config = read_config(shipped)
    name, what = shipped.path.name, "series of its data set, which are not shipped, are needed to quantise and to verify it"
    still = f"The files in {shipped.path / 'export'} work without; `memkd-edge verify FILE` tries them on random series"
    try:
        data, _ = load_data(config, note=lambda text: None)
    except MemkdEdgeError as error:
        folder = (
            "The folder to look in for a ready-made model's data set is named by AEON_DATA in the environment, not by --data-root"
        )
        raise MemkdEdgeError(f"{PREFIX}{name}: {what}: {error}. {folder}. {still}") from error
    metadata, kept = _of_recordings(data, config) if isinstance(data, Recordings) else _of_windows(data, config, shipped)
    if metadata.dataset_sha256 != shipped.metadata.dataset_sha256:
        raise MemkdEdgeError(
            f"{PREFIX}{name}: {what}, and {data.source or config.dataset} holds other series or labels than those it was "
            f"trained on; {shipped.path / 'README.md'} says where they come from. {still}"
        )
    return kept


def _of_recordings(recordings: Recordings, config: DistillConfig) -> tuple[Metadata, dict[str, Any]]:
    from memkd_edge.data.prepare_recordings import prepare_recordings
    from memkd_edge.distillation.streams import chunk_steps

    prepared = prepare_recordings(recordings, config)
    learnt = sum(len(y) for _, y in (*prepared.train, *prepared.unlabelled))
    return prepared.metadata, prepared.kept_series(chunk_steps(recordings.sample_rate_hz, learnt))


def _of_windows(dataset: Dataset, config: DistillConfig, shipped: Run) -> tuple[Metadata, dict[str, Any]]:
    from memkd_edge.data.labels import label_text
    from memkd_edge.data.prepare import prepare

    labels = shipped.metadata.labels
    if dataset.labels == tuple(label_text(label, shipped.path.name) for label in labels):
        dataset = replace(dataset, labels=labels)  # class numbers may be spelt `1.0` in the model
    prepared = prepare(dataset, config)
    return prepared.metadata, prepared.kept_series()
