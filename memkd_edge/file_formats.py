# SPDX-License-Identifier: Apache-2.0
"""The format number of every kind of file that outlives a process.

A number is raised when a reader of the old format would misread the new one. Files of before the numbers count as format 1.
"""

from typing import Any

from memkd_edge.errors import MemkdEdgeError

KEY = "format"  # under which a file carries its number
# Of a training phase; 1: teachers without their best stretch; 2: scores were called auc; 3: students by shards; 4: one teacher at
# last; 5: a fold that trains on everything had a teacher of its own
CHECKPOINT = 6
CONFIGURATION = 2  # config.toml and compare.toml; 1: what trains was called `device`


def check_format(found: Any, known: int, where: object) -> None:
    """Check the format number that a file carries.

    Raises:
        MemkdEdgeError: it is newer than `known`, or no number; the message names the file, `where`.
    """
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise MemkdEdgeError(f"{where}: {KEY} is {found!r:.60}, which is no format number; the file is damaged")
    if found > known:
        raise MemkdEdgeError(f"{where}: format {found} is newer than this version reads ({known}); upgrade memkd-edge")
