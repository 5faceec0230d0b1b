# SPDX-License-Identifier: Apache-2.0
"""Which column of a table of recordings is what: named by options, told from the names otherwise (columns.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

from memkd_edge.config import DataConfig
from memkd_edge.data.columns import Role, role, roles
from memkd_edge.errors import UsageError

EXPECTED = (
    "expected is a header such as `time,acc_x [m/s2],acc_y [m/s2],label` in every file, or `recording,subject,time,acc_x,label` "
    "in one file of all; `memkd-edge init` writes an example"
)
NO_TIME = "none"  # --time none: the stamps are not used


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they hold, "" or () for what it lacks. recording: several together name a recording."""

    channels: tuple[str, ...]
    time: str = ""
    label: str = ""
    subject: str = ""
    recording: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = {"time": (self.time,), "label": (self.label,), "subject": (self.subject,), "recording": self.recording}
        shown = [f"{what} {', '.join(columns)}" for what, columns in told.items() if any(columns)]
        shown.append(f"channels {', '.join(self.channels)}")
        return "; ".join(shown + ([f"not used {', '.join(self.unused)}"] if self.unused else []))


def find_columns(header: Sequence[str], place: str, options: DataConfig) -> Columns:
    """Return what each column holds.

    Raises:
        UsageError: a name stands there twice, an option names a column that is not there, no channel is left, two columns could
            be the label, or a name is so near to that of time, label, ... that it seems to be meant. The message shows a header
            that is right.
    """
    if len(set(header)) != len(header):
        raise UsageError(f"{place}: a column name is given twice among {', '.join(header)}")
    named = {Role.TIME: options.time, Role.LABEL: options.label, Role.SUBJECT: options.subject}
    given = {column: its for its, column in named.items() if column and (its, column) != (Role.TIME, NO_TIME)}
    for column in (*given, *options.channels):
        if column not in header:
            raise UsageError(f"{place}: no column {column!r} among {', '.join(header)}; {EXPECTED}")
    given.update(dict.fromkeys(options.channels, Role.CHANNEL))
    found: dict[str, Role] = {}
    for column in header:
        its = given.get(column) or (role(column) if column.strip() else Role.INDEX)
        if column not in given and (named.get(its) or (options.channels and its is Role.CHANNEL)):
            its = Role.UNUSED
        found[column] = its
    for its, option in ((Role.TIME, "--time"), (Role.LABEL, "--label"), (Role.SUBJECT, "--subject")):
        several = [column for column in header if found[column] is its]
        if len(several) > 1:
            raise UsageError(f"{place}: columns {' and '.join(map(repr, several))} could both be the {its}; name one by {option}")
    # What is left to its name goes through the checks of all tables: empty and repeated names, names that are nearly one of ours.
    if rest := [column for column in header if column not in given and found[column] is not Role.RECORDING]:
        roles(rest, place)
    held = {its: tuple(column for column in header if found[column] is its) for its in Role}
    if not held[Role.CHANNEL]:
        raise UsageError(f"{place}: no channels among the columns {', '.join(header)}; {EXPECTED}")
    return Columns(
        channels=options.channels or held[Role.CHANNEL],
        time="".join(held[Role.TIME]),
        label="".join(held[Role.LABEL]),
        subject="".join(held[Role.SUBJECT]),
        recording=held[Role.RECORDING],
        unused=tuple(column for column in header if found[column] in (Role.UNUSED, Role.INDEX, Role.SERIES, Role.PART)),
    )
