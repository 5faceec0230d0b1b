# SPDX-License-Identifier: Apache-2.0
"""What columns are by their names, and which names are refused."""

import pytest

from memkd_edge.data.columns import Role, role, roles, split_unit
from memkd_edge.errors import UsageError


@pytest.mark.parametrize(
    ("expected", "names"),
    [
        (Role.TIME, ["time", "Timestamp", "time_ms", "Time (s)", "time [s]", "TIME [ms]", "date-time", "timestamp_utc", "epoch"]),
        (Role.TIME, ["time [UTC]", "Time (unix)", "time [min]"]),
        (Role.INDEX, ["index", "Unnamed: 0", "Unnamed: 0.1", "idx", "row", "sample_index", "level_0", "__index_level_0__"]),
        (Role.SERIES, ["series", "Series ID", "window"]),
        (Role.LABEL, ["label", "Activity", "CLASS", "activity_id", "target"]),
        (Role.SUBJECT, ["subject", "Subject", "SUBJECT_ID", "participant", "user"]),
        (Role.RECORDING, ["recording", "session", "Trial"]),
        (Role.PART, ["part", "Part", "split"]),
        (
            Role.CHANNEL,
            ["acc_x", "x", "gyro", "temp", "activity [counts]", "index [1]", "hr [1/min]", "ibi [s]", "step", "wind", "roll"],
        ),
    ],
)
def test_names_tell_the_role(expected, names):
    assert {name: role(name) for name in names} == dict.fromkeys(names, expected)


def test_units_stand_in_brackets():
    assert split_unit("acc_x [m/s2]") == ("acc_x", "m/s2")
    assert split_unit(" x [a, b] ") == ("x", "a, b")
    assert split_unit("x") == ("x", "")


def test_a_header_is_read_in_its_order():
    found = roles(["", "Series", "label", "Subject", "timestamp", "ax [g]", "ay"], "f.csv, line 1")
    assert list(found.values()) == [Role.INDEX, Role.SERIES, Role.LABEL, Role.SUBJECT, Role.TIME, Role.CHANNEL, Role.CHANNEL]


def test_another_column_can_be_the_subject():
    found = roles(["series", "label", "subject", "site", "x"], "f.csv", groups="site")
    assert (found["subject"], found["site"]) == (Role.UNUSED, Role.SUBJECT)
    assert roles(["label", "Subject", "x"], "f.csv", groups="Subject")["Subject"] is Role.SUBJECT


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "the file is empty; a header line is expected"),
        (["series", "label", "", "x"], "column 3 has no name"),
        (["series", "label", "x", "x"], "a column name is given twice among series, label, x, x"),
        (["series", "label", "activity", "x"], "columns 'label' and 'activity' both name the label; leave one out"),
        (["series", "label", "user", "subject", "x"], "columns 'user' and 'subject' both name the subject; leave one out"),
        (["series", "label", "Subjct", "x"], "column 'Subjct' looks like 'subject'; name it so if it is the subject"),
        (["series", "label", "subjectCode", "x"], "column 'subjectCode' looks like 'subject'"),
        (
            ["series", "label", "participent", "x"],
            "column 'participent' looks like 'participant'; name it so if it is the subject",
        ),
        (["series", "label", "sensor timestamp", "x"], "column 'sensor timestamp' looks like 'timestamp'"),
        (
            ["series", "label", "timestmp", "x"],
            "column 'timestmp' looks like 'timestamp'; name it so if it is the time, leave it out",
        ),
        (["series", "lable", "x"], "column 'lable' looks like 'label'"),
    ],
)
def test_what_is_not_clear_is_refused(header, message):
    with pytest.raises(UsageError, match=f"^f.csv, line 1: {message}"):
        roles(header, "f.csv, line 1")


def test_a_unit_makes_a_near_name_a_channel():
    assert roles(["series", "label", "times [count]", "subject_load [N]"], "f")["subject_load [N]"] is Role.CHANNEL


def test_a_missing_group_column_is_named():
    with pytest.raises(UsageError, match=r"^f: no column 'person' among series, label, x"):
        roles(["series", "label", "x"], "f", groups="person")
