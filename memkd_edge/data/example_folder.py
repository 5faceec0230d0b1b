# SPDX-License-Identifier: Apache-2.0
"""An example of a folder of recordings, to be replaced by one's own files: made-up movements of four people."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from memkd_edge.errors import MemkdEdgeError, UsageError

SUBJECTS, RECORDINGS, RATE_HZ, SEGMENT_S = 4, 2, 50.0, (2.0, 4.0)
LABELS = ("rest", "walk", "turn")
HEADER = "time,subject,acc_x [m/s2],acc_y [m/s2],acc_z [m/s2],gyro_z [rad/s],label"
README = """\
A data set of recordings, as memkd-edge reads it: one CSV file a recording, one row a sample.

    {header}

- time: in seconds from the start, or since 1970, also in ms, us or ns, or as ISO 8601. Rows come in order of time; a gap splits
  the recording.
- subject: who wears the sensor. People are held out whole to test with, so there should be several.
- label: what happens at that sample. An empty label is neither learnt nor judged.
- Every other column is a signal, its unit in brackets.

The files here are made up. Put yours in their place; columns of other names are named by options (--time, --label, --subject,
--channels), and names of files can tell the subject (--name-pattern '{{subject}}_{{recording}}.csv').

    memkd-edge data {folder}                 shows what is understood
    memkd-edge distill --dataset {folder}    trains on it
"""


def write_example(folder: Path, *, force: bool = False) -> list[Path]:
    """Write the example, all of it or nothing, and return its files.

    Args:
        force: overwrite files of the same names in a folder that is there.

    Raises:
        UsageError: the folder is not empty, or a file stands there.
        MemkdEdgeError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} is not empty; name another folder, or --force to write the example's files into it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".memkd-edge-", dir=folder.parent) as made:
            for subject in range(1, SUBJECTS + 1):
                for recording in range(1, RECORDINGS + 1):
                    (Path(made) / f"s{subject:02}_{recording:02}.csv").write_text(_recording(subject, recording))
            (Path(made) / "README.md").write_text(README.format(header=HEADER, folder=folder))
            folder.mkdir(exist_ok=True)
            return [Path(shutil.move(file, folder / file.name)) for file in sorted(Path(made).iterdir())]
    except OSError as error:
        raise MemkdEdgeError(f"cannot write {folder}: {error.strerror or error}") from error


def _recording(subject: int, recording: int) -> str:
    """Return the text of a file: stretches of rest, walking and turning, each person with a pace of their own."""
    generator = np.random.default_rng([subject, recording])
    pace = 1.6 + 0.15 * subject  # steps a second
    rows, second = [HEADER], 0.0
    for label in (*LABELS, *generator.permutation(LABELS), *LABELS[::-1]):
        for _ in range(int(generator.uniform(*SEGMENT_S) * RATE_HZ)):
            step = np.sin(2 * np.pi * pace * second)
            move = {
                "rest": (0.0, 0.0, 0.0, 0.0),
                "walk": (1.5 * step, 0.6, 2.5 * abs(step), 0.1 * step),
                "turn": (0.4, 0.9, 0.2, 1.5),
            }
            values = np.array([0.0, 0.0, 9.81, 0.0]) + move[label] + generator.normal(0, 0.15, 4)
            rows.append(f"{second:.2f},s{subject:02},{','.join(f'{value:.3f}' for value in values)},{label}")
            second += 1 / RATE_HZ
    return "\n".join(rows) + "\n"
