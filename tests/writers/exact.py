# SPDX-License-Identifier: Apache-2.0
"""A long comparison of generated C on other machines with the numpy reference: `python -m tests.writers.exact --steps 1000000`.

Steps are random and saturating samples and states, shared by the models of a machine and form. Exits 1 at the first difference.
"""

import argparse
import functools
import tempfile
from pathlib import Path

from experiments.reference_students import reference_student
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import quantize
from tests.quantization.helpers import random_model, random_series
from tests.writers.c_library import assert_equal_on_hard_states
from tests.writers.c_program import MACHINES, CProgram

FORMS = {"fast": (), "small": ("-DMEMKD_SMALL",)}


@functools.cache
def models() -> dict[str, QuantizedClassifier]:
    """Return the reference students, and models with an odd unit, several layers and a GRU."""
    made = {name: reference_student(name) for name in "AB"}
    for name, spec in {"odd": ModelSpec(5, 7, 3, num_layers=2), "gru": ModelSpec(4, 9, 5, num_layers=2, kind="gru")}.items():
        made[name] = quantize(random_model(spec, 7, 1.5), random_series(1, 8, 50, spec.input_size))
    return made


def main() -> None:
    """Run all machines and forms."""
    parser = argparse.ArgumentParser(description="Compare generated C with the numpy reference over many steps.")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of each machine and form")
    share = parser.parse_args().steps // (len(models()) * 10)
    for machine in MACHINES:
        for form, flags in FORMS.items():
            for model in models().values():
                with tempfile.TemporaryDirectory() as folder:
                    program = CProgram(model, Path(folder), MACHINES[machine], flags)
                    assert_equal_on_hard_states(program, "i16", steps=9 * share)
                    assert_equal_on_hard_states(program, "i8", steps=share, seed=4)
            print(f"{machine} {form}: {10 * share * len(models())} steps, none differs", flush=True)


if __name__ == "__main__":
    main()
