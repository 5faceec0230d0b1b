# SPDX-License-Identifier: Apache-2.0
"""A path as a program gives it, to be told from the data that it leads to.

What a user names is looked for by os.path, to which a text that can be no path is not there; pathlib raises OSError.
"""

import os

from memkd_edge.errors import UsageError


def path_text(given: object, what: str, instead: str = "") -> str:
    """Return a path, or a name that may stand in its place, as text.

    Args:
        what: takes it, for the message.
        instead: what to do with anything else, for the message.

    Raises:
        UsageError: it is something else.
    """
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if isinstance(text, str):
        return text
    wanted = f"{what} takes a path, as str or pathlib.Path, and this is of type {type(given).__name__}"
    raise UsageError(f"{wanted}; {instead}" if instead else wanted)
