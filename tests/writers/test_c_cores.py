# SPDX-License-Identifier: Apache-2.0
"""Generated C on emulated cores: the reference's logits, and the promised size and speed."""

import shutil

import numpy as np
import pytest

from experiments.reference_students import reference_inputs, reference_student
from memkd_edge.benchmark.emulation.cores import RISCV
from memkd_edge.benchmark.emulation.firmware import measure_firmware
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.benchmark.emulation.qemu_user import measure_aarch64
from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.fixed_point import sigmoid, tanh
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.writers.c_integer import RUNTIME_FILES, emit_c
from memkd_edge.writers.c_text import runtime_files
from tests.quantization.helpers import random_model, random_series
from tests.writers import exact_cores
from tests.writers.c_library import hard_values

CORES = ("m0plus", "m3", "m4", "m7", "m33", "m55", "esp32c3", "hazard3")
SMALL, MEDIUM = ("-DMEMKD_SMALL",), ("-DMEMKD_MEDIUM",)


@pytest.fixture(autouse=True)
def tools(request):
    needed, packages = ("arm-none-eabi-gcc", "qemu-system-arm"), "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
    if "aarch64" in request.node.name:
        needed, packages = ("aarch64-linux-gnu-gcc", "qemu-aarch64"), "gcc-aarch64-linux-gnu qemu-user"
    elif any(core in request.node.name for core in RISCV):
        needed = ("riscv64-unknown-elf-gcc", "qemu-system-riscv32")
        packages = "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc"
    if any(shutil.which(tool) is None for tool in needed):
        pytest.skip(f"needs {' and '.join(needed)}: apt-get install {packages}")


def hard_inputs(channels: int, steps: int = 200) -> np.ndarray:
    return hard_values(np.random.default_rng(1), (steps, channels), np.int16)


def expected(model, x: np.ndarray) -> np.ndarray:
    return integer_classifier(model).run(x[None])[0]


BUILDS = (
    [(core, ()) for core in CORES]
    + [(core, form) for core in ("m0plus", "m3", "m4", "m33", "m55", "esp32c3") for form in (MEDIUM, SMALL)]
    + [(core, ("-DMEMKD_PORTABLE",)) for core in ("m4", "esp32c3")]
)


@pytest.mark.parametrize(
    ("core", "flags"), BUILDS, ids=lambda value: value if isinstance(value, str) else "".join(value) or "fast"
)
def test_a_core_gives_the_references_logits(core, flags):
    for spec in (ModelSpec(1, 8, 2), ModelSpec(5, 7, 3, num_layers=2)):
        model = quantize(random_model(spec, 3, 1.5), random_series(1, 8, 50, spec.input_size))
        x = hard_inputs(spec.input_size)
        measured = measure_firmware(core, CModel("demo", emit_c(model, None, "demo")), x, flags=("-O2", *flags))
        np.testing.assert_array_equal(measured.logits, expected(model, x))


@pytest.mark.parametrize("name", exact_cores.models())
def test_vectors_give_the_references_logits_and_states_whatever_the_shape(name):
    model = exact_cores.models()[name]
    measured = measure_firmware("m55", exact_cores.driver(model), exact_cores.blocks(2))
    np.testing.assert_array_equal(measured.logits, exact_cores.expected(model, 2))


@pytest.mark.parametrize(
    ("core", "flags", "name"),
    [(core, (), "5 units, c * 8") for core in ("m0plus", "m3", "m4", "hazard3")]
    + [(core, (), name) for core in ("m0plus", "esp32c3") for name in ("7 units, c / 4", "60 columns", "tiny weights", "gru")]
    + [("m4", MEDIUM, name) for name in ("5 units, c * 8", "large weights", "gru")],
)
def test_a_core_gives_the_references_logits_and_states_from_any_state(core, flags, name):
    model = exact_cores.models()[name]
    measured = measure_firmware(core, exact_cores.driver(model), exact_cores.blocks(4), flags=("-O2", *flags))
    np.testing.assert_array_equal(measured.logits, exact_cores.expected(model, 4))


# Digests of a core's own curves over 256 pre-activations; the input says which.
CURVES = """
#include "memkd_lstm.h"
#define CURVES_CHANNELS 1
#define CURVES_CLASSES 3
typedef struct { int16_t none[2]; } curves_state_t;
static inline void curves_reset(curves_state_t *state) { (void)state; }
static inline void curves_step_i16(curves_state_t *state, const int16_t *block, int16_t *digests) {
    uint32_t sums[3] = {0, 0, 0};
    (void)state;
    for (int32_t k = 0; k < 256; k++) {
        const int32_t z = 256 * (int32_t)*block + k - 32768;
        const int32_t curve = memkd_sigmoid_curve(memkd_table(), z) >> MEMKD_SIGMOID_SHIFT;
        sums[0] += (uint32_t)(curve * (2 * k + 1));
        sums[1] += (uint32_t)(memkd_tanh(memkd_table(), 9 * z) * (2 * k + 1));
        sums[2] += (uint32_t)(memkd_tanh(memkd_table(), 72 * z) * (2 * k + 1));
    }
    for (int k = 0; k < 3; k++) {
        digests[k] = (int16_t)(sums[k] & 0xFFFFu);
    }
}
"""


@pytest.mark.parametrize(
    ("core", "flags"), [(core, flags) for core in ("m0plus", "m3", "m4", "esp32c3") for flags in ((), MEDIUM)]
)
def test_a_core_has_the_references_curves_at_every_pre_activation(core, flags):
    sources = runtime_files(RUNTIME_FILES) | {"curves.h": CURVES}
    measured = measure_firmware(core, CModel("curves", sources), np.arange(256, dtype=np.int16)[:, None], flags=("-O2", *flags))
    z = np.arange(-32768, 32768).reshape(256, 256)
    curves = np.stack([sigmoid(z), tanh(z), tanh(z, 3)], axis=1).astype(np.int64)
    np.testing.assert_array_equal(measured.logits, (curves @ (2 * np.arange(256) + 1)).astype(np.int16))


@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
@pytest.mark.parametrize("core", ["m0plus", "m4", "m55", "hazard3"])
def test_optimisation_levels_do_not_change_the_logits(core, level):
    model = quantize(random_model(ModelSpec(3, 5, 3, kind="gru"), 3, 1.5), random_series(1, 8, 50, 3))
    x = hard_inputs(3, 100)
    measured = measure_firmware(core, CModel("demo", emit_c(model, None, "demo")), x, flags=(level,))
    np.testing.assert_array_equal(measured.logits, expected(model, x))


@pytest.mark.parametrize("core", ["m0plus", "m4", "esp32c3"])
def test_the_int8_interface_gives_the_references_logits(core):
    model = reference_student("B")
    x = hard_values(np.random.default_rng(2), (150, 6), np.int8)
    measured = measure_firmware(core, CModel("demo", emit_c(model, None, "demo")), x)
    np.testing.assert_array_equal(measured.logits, expected(model, x))


@pytest.mark.parametrize("flags", [(), MEDIUM, SMALL], ids=["fast", "medium", "small"])
def test_aarch64_gives_the_references_logits(flags):
    model = reference_student("B")
    x = hard_inputs(6)
    measured = measure_aarch64("cortex-a72", CModel("demo", emit_c(model, None, "demo")), x, flags=("-O2", *flags))
    np.testing.assert_array_equal(measured.logits, expected(model, x))


# ---- size and speed ----


@pytest.fixture(scope="module")
def cost():
    """Measure a reference student, once for each core and form."""
    known = {}

    def measure(core: str, name: str, *flags: str):
        key = (core, name, *flags)
        if key not in known:
            sources = CModel("student", emit_c(reference_student(name), None, "student"))
            known[key] = measure_firmware(core, sources, reference_inputs(name), flags=("-O2", *flags))
        return known[key]

    return measure


@pytest.mark.parametrize(
    ("core", "name", "most"),
    [
        *(
            ("m4", "A", 850),
            ("m4", "B", 2700),
            ("m3", "A", 1665),
            ("m3", "B", 5960),
            ("m0plus", "A", 2430),
            ("m0plus", "B", 7900),
            ("m55", "A", 350),
            ("m55", "B", 890),
        ),
        *(("esp32c3", "A", 1920), ("esp32c3", "B", 6600), ("hazard3", "A", 1850), ("hazard3", "B", 6460)),
    ],
)
def test_a_step_takes_few_instructions(core, name, most, cost):
    assert cost(core, name).instructions_per_step <= most


@pytest.mark.parametrize("core", ["m7", "m33"])
@pytest.mark.parametrize("name", ["A", "B"])
def test_a_step_takes_as_many_instructions_on_all_cores_with_the_dual_multiply(core, name, cost):
    assert cost(core, name).instructions_per_step == pytest.approx(cost("m4", name).instructions_per_step, rel=0.02)


def test_the_fast_form_fits_five_and_a_half_kibibytes(cost):
    assert cost("m4", "A").sections.flash <= 5.5 * 1024


def test_the_small_form_fits_two_and_a_half_kibibytes_at_half_the_speed(cost):
    small = cost("m4", "A", *SMALL)
    assert small.sections.flash <= 2.5 * 1024
    assert small.instructions_per_step <= 2 * cost("m4", "A").instructions_per_step


@pytest.mark.parametrize(("name", "instructions", "flash"), [("A", 1225, 2100), ("B", 3035, 4824)])
def test_the_medium_form_stands_between(name, instructions, flash, cost):
    medium = cost("m4", name, *MEDIUM)
    assert medium.instructions_per_step <= instructions
    assert medium.sections.flash <= flash


@pytest.mark.parametrize(("core", "name", "most"), [("m4", "A", 128), ("m4", "B", 160), ("m55", "A", 192), ("m55", "B", 320)])
def test_state_and_stack_are_small(core, name, most, cost):
    measured = cost(core, name)
    assert measured.state_bytes == 4 * reference_student(name).hidden_size
    assert measured.state_bytes + measured.stack_bytes <= most
    assert measured.sections.static == 0
