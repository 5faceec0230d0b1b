# SPDX-License-Identifier: Apache-2.0
"""Generated C on 32-bit RISC-V and on a big-endian machine: the reference's logits and states, and its own self-test passes.

`make exact` takes a million steps.
"""

import subprocess
from pathlib import Path

import pytest

from memkd_edge.packages.folders import package_files
from memkd_edge.quantization.post_training import quantize
from tests.writers import toy
from tests.writers.c_library import assert_equal_on_hard_states, write
from tests.writers.c_program import CProgram, require
from tests.writers.exact import FORMS, models

SELF_TEST = '#include "gesture_selftest.h"\nint main(void) { return gesture_selftest() + gesture_selftest_f32(); }\n'


@pytest.fixture(scope="module")
def self_test() -> dict[str, str]:
    """The C of a model and a program that is its self-test."""
    files = package_files("c", quantize(toy.student("lstm"), toy.series()), toy.metadata(), name="gesture")
    sources = {Path(path).name: data.decode() for path, data in files.items() if path.startswith("src/")}
    return sources | {"main.c": SELF_TEST}


@pytest.mark.parametrize(
    ("machine", "form"),
    [("esp32c3", "fast"), ("esp32c3", "small"), ("hazard3", "fast"), ("powerpc", "fast"), ("powerpc", "small")],
)
def test_hard_steps_equal_the_reference(machine, form, tmp_path):
    target = require(machine)
    for name, model in models().items():
        program = CProgram(model, tmp_path / name, target, FORMS[form])
        assert_equal_on_hard_states(program, "i16", steps=5_000)
        assert_equal_on_hard_states(program, "i8", steps=1_000, seed=4)


@pytest.mark.parametrize("form", FORMS)
def test_the_self_test_passes_on_a_big_endian_machine(form, self_test, tmp_path):
    target = require("powerpc")
    names = write(tmp_path, self_test)
    target.build(tmp_path, names, FORMS[form], "selftest")
    subprocess.run([*target.emulator, "selftest"], cwd=tmp_path, check=True)
