# SPDX-License-Identifier: Apache-2.0
"""Two whole recordings in every program that decides; `make exact` takes 100,000 samples."""

from tests.packages.exact_decisions import programs, recorded


def test_every_program_gives_the_same_answers_at_the_same_samples(tmp_path, require_tool):
    for tool, package in (
        ("arm-none-eabi-gcc", "gcc-arm-none-eabi"),
        ("qemu-system-arm", "qemu-system-arm"),
        ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        ("qemu-aarch64", "qemu-user"),
        ("g++", "g++"),
    ):
        require_tool(tool, package=package)
    samples, found, wanted = programs("never", lambda hold: recorded(2000, hold), tmp_path)
    assert samples >= 2000
    assert len(wanted) > 20
    assert {line.split()[1] for line in wanted} > {"none"}
    for name, own in found.items():
        assert own == wanted, name
