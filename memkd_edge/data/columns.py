# SPDX-License-Identifier: Apache-2.0
"""What the columns of a table are, told from their names: time, class, subject, ... and channels.

Upper and lower case, blanks, `_`, `-` and `.` make no difference. A column with a unit in brackets that is none of time is always
a channel: `activity [counts]`, `count [steps]`. A time or row number that is taken for a channel gives the class away (recordings
are mostly made class after class), so what is not clear is refused.
"""

import difflib
import re
from collections.abc import Sequence
from enum import StrEnum

from memkd_edge.errors import UsageError


class Role(StrEnum):
    """What a column holds."""

    TIME = "time"  # of a row; numbers or ISO 8601
    INDEX = "index"  # of a row, as pandas writes it
    SERIES = "series"  # the window that a row belongs to
    LABEL = "label"
    SUBJECT = "subject"
    RECORDING = "recording"
    PART = "part"  # train or test
    CHANNEL = "channel"
    UNUSED = "unused"  # a subject by its name, where another column was asked for


_NAMES = {
    Role.TIME: "time timestamp timestamps datetime date epoch unixtime elapsed elapsedtime",
    Role.INDEX: "index idx row rowid rowindex rownumber sampleid sampleindex samplenumber timestep",
    Role.SERIES: "series seriesid window windowid segment segmentid",
    Role.LABEL: "label labels labelid class classid classname classlabel target activity activityid activityname activitylabel",
    Role.SUBJECT: "subject subjects subjectid subj participant participantid person personid user userid patient patientid "
    "volunteer volunteerid",
    Role.RECORDING: "recording recordingid session sessionid trial trialid experiment experimentid",
    Role.PART: "part split partition",
}
_ROLE = {name: role for role, names in _NAMES.items() for name in names.split()}
_SECONDS_PER = {
    **dict.fromkeys(("ns", "nanos", "nanoseconds"), 1e-9),
    **dict.fromkeys(("us", "µs", "micros", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minutes"), 60.0),
}
_TIME_UNIT = "|".join((*_SECONDS_PER, "utc", "unix"))  # the last two tell the clock, which may count in any unit
_ONCE = (Role.SERIES, Role.LABEL, Role.SUBJECT, Role.RECORDING, Role.PART)
_TELLING = {"subject", "participant", "label", "timestamp"}  # first or last words that no channel's name should have
_OFTEN_MISSPELT = (
    *("time", "timestamp", "index", "series", "label", "class", "activity", "target", "recording", "session", "trial"),
    *("subject", "participant", "person", "user", "patient", "volunteer", "part", "split"),
)


def split_unit(column: str) -> tuple[str, str]:
    """Return name and unit of a column: `acc_x [m/s2]` is ("acc_x", "m/s2"); without brackets the unit is ""."""
    match = re.fullmatch(r"(.*?)\s*\[(.*)\]", column.strip(), re.DOTALL)
    return (match[1], match[2]) if match else (column.strip(), "")


def seconds_per(column: str) -> float | None:
    """Return the unit of time in a column's name, in seconds: .001 for `time [ms]`, `Time (ms)`, `time_ms`; else None."""
    for form in (rf"\[({_TIME_UNIT})\]$", rf"\(({_TIME_UNIT})\)$", rf"[\s_.-]({_TIME_UNIT})$"):
        if unit := re.search(form, column.strip(), re.IGNORECASE):
            return _SECONDS_PER.get(unit[1].lower())
    return None


def role(column: str) -> Role:
    """Return what a column of that name holds; CHANNEL for every name that tells nothing else."""
    name, unit = split_unit(column)
    if unit and not re.fullmatch(_TIME_UNIT, unit, re.IGNORECASE):
        return Role.CHANNEL
    name = re.sub(rf"\s*\(({_TIME_UNIT})\)$", "", name, flags=re.IGNORECASE)
    plain = re.sub(r"[\s_.-]+", "", name.lower())
    if re.fullmatch(rf"({_NAMES[Role.TIME].replace(' ', '|')})({_TIME_UNIT})", plain):
        return Role.TIME
    if re.fullmatch(r"unnamed:?\d+(level\d+)?|(index)?level\d+", plain):  # what pandas calls an index without a name
        return Role.INDEX
    return _ROLE.get(plain, Role.CHANNEL)


def roles(header: Sequence[str], place: str, groups: str = "") -> dict[str, Role]:
    """Return the role of each column, in the order of the header.

    Args:
        header: the names of the columns. The first may be empty: pandas writes its index so.
        place: where the header stands, for messages.
        groups: name of the column of subjects, exactly; columns that would be subjects by their names are then UNUSED.

    Raises:
        UsageError: no column, one without a name or given twice, two of one role, a name so near to that of a role that it
            seems to be meant, or no column `groups`.
    """
    if not header:
        raise UsageError(f"{place}: the file is empty; a header line is expected")
    if groups and groups not in header:
        raise UsageError(f"{place}: no column {groups!r} among {', '.join(header)} (commas separate columns)")
    found: dict[str, Role] = {}
    for number, column in enumerate(header, start=1):
        if not column.strip() and number > 1:
            raise UsageError(f"{place}: column {number} has no name")
        if column in found:
            raise UsageError(f"{place}: a column name is given twice among {', '.join(header)}")
        found[column] = role(column) if column.strip() else Role.INDEX
        if groups and (column == groups or found[column] is Role.SUBJECT):
            found[column] = Role.SUBJECT if column == groups else Role.UNUSED
    for single in _ONCE:
        several = [column for column, its in found.items() if its is single]
        if len(several) > 1:
            raise UsageError(
                f"{place}: columns {' and '.join(map(repr, several))} both name the {single}; leave one out (a measured "
                "quantity is known by its unit in brackets: `NAME [UNIT]`)"
            )
    for column, its in found.items():
        if its is Role.CHANNEL and (near := _near(column)):
            raise UsageError(
                f"{place}: column {column!r} looks like {near!r}; name it so if it is the {_ROLE[near]}, leave it out, or, if it "
                "is a measured quantity, add its unit in brackets: `NAME [UNIT]`"
            )
    return found


def _near(column: str) -> str:
    """Return the name of a role that the channel's name seems to mean, or ""."""
    name, unit = split_unit(column)
    if unit:
        return ""
    words: list[str] = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    for word in words[:1] + words[-1:]:
        if word in _TELLING:
            return word
    plain = re.sub(r"[^a-z]+", "", name.lower())
    near = difflib.get_close_matches(plain, _OFTEN_MISSPELT, n=1, cutoff=0.8)
    return near[0] if near else ""
