# SPDX-License-Identifier: Apache-2.0
"""The data set that a configuration names: recordings, windows cut from them, or windows as they come."""

from pathlib import Path

from memkd_edge.config import DataConfig
from memkd_edge.data.bundled_recordings import BUNDLED_RECORDINGS, load_bundled
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.recording_files import Note, holds_recordings
from memkd_edge.data.recording_loading import Source, load_with_sources
from memkd_edge.data.recordings import Recordings
from memkd_edge.data.registry import load_dataset
from memkd_edge.data.windowing import cut_windows


def load_data(config: DataConfig, note: Note) -> tuple[Dataset | Recordings, list[Source]]:
    """Load what `config.dataset` names, and, of recordings, each as it was found.

    A folder of tables, a .parquet file or a text table is recordings, if it has no column `series`, and so are the sets of
    BUNDLED_RECORDINGS; with `config.windows` they are cut. Everything else is windows, see registry.py. `note` is told what was
    taken for what.

    Raises:
        UsageError: no such data, or not to be learnt from; the message names the place.
        MissingToolError: reading .parquet needs an optional package. MemkdEdgeError: a known set could not be downloaded.
    """
    path = Path(config.dataset)
    if path.exists() and holds_recordings(path):
        recordings, sources = load_with_sources(path, config, note=note)
    elif config.dataset in BUNDLED_RECORDINGS:
        recordings, sources = load_bundled(config.dataset, config, note=note)
    else:
        dataset = load_dataset(config.dataset, data_root=config.data_root, groups=config.groups)
        for text in dataset.notes:
            note(text)
        return dataset, []
    return cut_windows(recordings, config.windows, config.hop, note) if config.windows else recordings, sources
