# SPDX-License-Identifier: Apache-2.0
"""The data set that a configuration names: recordings, windows cut from them, or windows as they come."""

import os
from pathlib import Path

from memkd_edge.config import DataConfig
from memkd_edge.data.bundled_recordings import BUNDLED_RECORDINGS, load_bundled
from memkd_edge.data.dataset import Dataset
from memkd_edge.data.recording_files import Note, holds_recordings
from memkd_edge.data.recording_loading import Source, load_with_sources
from memkd_edge.data.recordings import Recordings
from memkd_edge.data.registry import load_dataset
from memkd_edge.data.windowing import cut_windows
from memkd_edge.errors import UsageError
from memkd_edge.options import refuse

# A comparison gives --name-pattern, --windows and --hop for those of its sets that are recordings.
_FIND = ("label", "time", "time_unit", "subject", "channels", "intervals")
_TAKE = ("rate", "max_gap", "ignore", "other", "unlabelled", "test_fraction", "test_subjects")


def load_data(config: DataConfig, note: Note) -> tuple[Dataset | Recordings, list[Source]]:
    """Load what `config.dataset` names, and, of recordings, each as it was found.

    A folder of tables, a .parquet file or a text table is recordings, if it has no column `series`, and so are the sets of
    BUNDLED_RECORDINGS; with `config.windows` they are cut. Everything else is windows, see registry.py. `note` is told what was
    taken for what.

    Raises:
        UsageError: no such data, or not to be learnt from; the message names the place. An option that is for the other kind.
        MissingToolError: reading .parquet needs an optional package. MemkdEdgeError: a known set could not be downloaded.
    """
    path = Path(config.dataset)
    there = os.path.exists(path) and holds_recordings(path)
    if not there and config.dataset not in BUNDLED_RECORDINGS:
        dataset = load_dataset(config.dataset, data_root=config.data_root, groups=config.groups)
        check_window_options(config)
        for text in dataset.notes:
            note(text)
        return dataset, []
    refuse(config, ("groups",), "is for windows; name the column of people with --subject")
    if not config.windows:
        refuse(config, ("hop",), "is the distance of windows; give their length with --windows, too")
    load = load_with_sources if there else load_bundled
    recordings, sources = load(config.dataset, config, note=note)
    return cut_windows(recordings, config.windows, config.hop, note) if config.windows else recordings, sources


def as_wanted(data: Dataset | Recordings, config: DataConfig) -> Dataset | Recordings:
    """Return data that a program has loaded: recordings as they are or, with `config.windows`, cut.

    Raises:
        UsageError: no such data, an option that says how data are read, or windows that cannot be cut.
    """
    if not isinstance(data, Dataset | Recordings):
        raise UsageError(
            f"data is a {type(data).__name__}; it takes what recordings_from_frame, recordings_from_arrays or load_recordings "
            "return, and names and paths are for dataset"
        )
    reading = ("dataset", "data_root", "groups", "name_pattern", *_FIND, *_TAKE)
    refuse(config, reading, "says how data are read, and these are read already; give it to what read them, in a DataConfig")
    if isinstance(data, Recordings) and config.windows:
        return cut_windows(data, config.windows, config.hop, note=lambda text: None)
    refuse(config, ("windows", "hop"), "cuts recordings; leave it out")
    return data


def check_window_options(config: DataConfig) -> None:
    """Refuse what is asked of recordings where there are windows.

    Raises:
        UsageError: such an option is given.
    """
    refuse(config, (*_FIND, *_TAKE), f"is for recordings, and {config.dataset} holds windows; prepare them so, and leave it out")
