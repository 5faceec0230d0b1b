# SPDX-License-Identifier: Apache-2.0
"""Generated C on a big-endian machine, and on RISC-V by clang: the reference's logits and states, and its own self-test."""

from pathlib import Path

import pytest

from memkd_edge.packages.folders import package_files
from memkd_edge.quantization.post_training import quantize
from tests.writers import exact_cores, toy
from tests.writers.c_library import assert_equal_on_hard_states, write
from tests.writers.c_program import MACHINES, CProgram, require

FORMS = {"fast": (), "medium": ("-DMEMKD_MEDIUM",), "small": ("-DMEMKD_SMALL",)}
SELF_TEST = '#include "gesture_selftest.h"\nint main(void) { return gesture_selftest() + gesture_selftest_f32(); }\n'


@pytest.fixture(scope="module")
def self_test() -> dict[str, str]:
    """The C of a model and a program that is its self-test."""
    files = package_files("c", quantize(toy.student("lstm"), toy.series()), toy.metadata(), name="gesture")
    sources = {Path(path).name: data.decode() for path, data in files.items() if path.startswith("src/")}
    return sources | {"main.c": SELF_TEST}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("machine", MACHINES)
def test_hard_steps_equal_the_reference(machine, form, tmp_path):
    target, models = require(machine), exact_cores.models()
    for name in ("16 units", "5 units, c * 8", "gru"):
        program = CProgram(models[name], tmp_path / name, target, FORMS[form])
        assert_equal_on_hard_states(program, "i16", steps=5_000)
        assert_equal_on_hard_states(program, "i8", steps=1_000, seed=4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_self_test_passes(machine, form, self_test, tmp_path):
    target = require(machine)
    target.build(tmp_path, write(tmp_path, self_test), FORMS[form], "selftest")
    target.run(tmp_path, "selftest")
