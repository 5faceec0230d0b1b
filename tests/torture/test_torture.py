# SPDX-License-Identifier: Apache-2.0
"""Each command, killed once or twice, ends as if nothing had happened; `make torture` kills more often."""

import random
from pathlib import Path

import pytest

from tests.torture.commands import commands
from tests.torture.kills import fresh, killed, undisturbed


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
