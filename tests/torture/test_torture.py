# SPDX-License-Identifier: Apache-2.0
"""Each command, killed once or twice, ends as if nothing had happened; `make torture` kills more often."""

import random
from pathlib import Path

import pytest

from tests.torture.commands import commands
from tests.torture.kills import finish, fresh, killed, start, undisturbed


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_killed_command_ends_as_undisturbed_and_leaves_nothing_over(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name == "bench":
        request.getfixturevalue("require_tool")("arm-none-eabi-gcc", package="gcc-arm-none-eabi")
    command = commands()[name]
    with fresh(tmp_path) as folder:
        expected, seconds = undisturbed(command, folder)
    assert expected
    trial = killed(command, tmp_path, expected, seconds, 2, random.Random(0))
    assert trial.faults == []


def test_of_two_comparisons_started_at_once_in_one_folder_one_is_through_and_one_is_told(tmp_path: Path) -> None:
    command = commands()["compare"]
    with fresh(tmp_path) as place, fresh(tmp_path) as elsewhere:
        children = [start(command.start(place), folder) for folder in (place, elsewhere)]  # each with a TMPDIR of its own
        ended = sorted(finish(child) for child in children)
        assert [status for status, _ in ended] == [0, 2]
        assert "another process compares in" in ended[1][1]
        assert len(command.ends(place)) == 1
