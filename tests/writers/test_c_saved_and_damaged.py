# SPDX-License-Identifier: Apache-2.0
"""Saved states that were damaged, buffers at odd addresses, and NaN in the float C: on this machine and on emulated cores.

The program under test saves, flips a bit, loads and looks by itself; a row of inputs is a case, the logits say what came of it.
"""

import dataclasses
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.benchmark.emulation.firmware import measure_firmware
from memkd_edge.benchmark.emulation.image import CModel
from memkd_edge.metadata import Resampling
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.sensor_front_end import Sensor
from memkd_edge.writers.c_float import emit_c_float
from memkd_edge.writers.c_integer import emit_c
from tests.writers import toy
from tests.writers.c_library import compile_library, pointer, write
from tests.writers.test_c_contract import CONTRACTS, COUNTS

MACHINES = ("this machine", "m4", "m0plus")  # Armv6-M faults at a word that stands at an odd address
ALIGNMENTS = 4

# A case is a bit of a saved stream (-1: none; 1000 and more: from its end) and an address. Logits: the result of load; 1 where
# the stream is as it must be.
_SAVED = """
#include "demo.h"
#define CASE_CHANNELS 2
#define CASE_CLASSES 2
typedef demo_stream_t case_state_t;
#define case_reset demo_begin

static inline int case_same(const void *a, const void *b, unsigned bytes) {
    for (unsigned k = 0; k < bytes; k++) {
        if (((const uint8_t *)a)[k] != ((const uint8_t *)b)[k]) {
            return 0;
        }
    }
    return 1;
}

static inline void case_push(demo_stream_t *stream, unsigned samples) {
    for (unsigned t = 0; t < samples; t++) {
        VALUE x[DEMO_CHANNELS];
        for (unsigned j = 0; j < DEMO_CHANNELS; j++) {
            x[j] = (VALUE)((t * 37u + j * 11u) % 50u) - (VALUE)20;
        }
        PUSH(stream, x);
    }
}

static inline void case_step_i16(demo_stream_t *stream, const int16_t *x, int16_t *logits) {
    static uint32_t memory[(DEMO_STREAM_SAVE_BYTES + 8) / 4];
    static demo_stream_t other, before;
    uint8_t *saved = (uint8_t *)memory + x[1];
    demo_begin(stream);
    case_push(stream, 23);
    demo_stream_save(stream, saved);
    case_push(&other, 5);
    before = other;
    if (x[0] >= 0) {
        const unsigned bit = x[0] < 1000 ? (unsigned)x[0] : 8u * (unsigned)DEMO_STREAM_SAVE_BYTES + 999u - (unsigned)x[0];
        saved[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    logits[0] = (int16_t)demo_stream_load(&other, saved);
    logits[1] = (int16_t)case_same(&other, logits[0] == 0 ? stream : &before, sizeof other);
}
"""

# A case is one step of two streams in physical units. 1: a sample that is no number; 2: an infinite one. Logits: 1 where NaN
# counts as the mean; 1 where all is finite.
_PHYSICAL = """
#include <math.h>
#include "demo.h"
#define CASE_CHANNELS 1
#define CASE_CLASSES 2
typedef struct {
    demo_state_t given, expected;
} case_state_t;

static inline void case_reset(case_state_t *state) {
    demo_reset(&state->given);
    demo_reset(&state->expected);
}

static inline void case_step_i16(case_state_t *state, const int16_t *x, int16_t *logits) {
    static const float means[DEMO_CHANNELS] = DEMO_MEAN;
    float given[DEMO_CHANNELS], expected[DEMO_CHANNELS], a[DEMO_CLASSES], b[DEMO_CLASSES];
    for (int j = 0; j < DEMO_CHANNELS; j++) {
        const float value = (float)x[0] * 0.01f + (float)j;
        given[j] = x[0] == 1 ? (float)NAN : x[0] == 2 ? (j == 0 ? -(float)INFINITY : (float)INFINITY) : value;
        expected[j] = x[0] == 1 ? means[j] : x[0] == 2 ? (j == 0 ? -3e38f : 3e38f) : value;
    }
    demo_step_f32(&state->given, given, a);
    demo_step_f32(&state->expected, expected, b);
    logits[0] = logits[1] = 1;
    for (int k = 0; k < DEMO_CLASSES; k++) {
        logits[0] = (int16_t)(logits[0] != 0 && a[k] >= b[k] && a[k] <= b[k]);
        logits[1] = (int16_t)(logits[1] != 0 && fabsf(a[k]) < 1e6f);
    }
    for (int u = 0; u < DEMO_HIDDEN; u++) {
        logits[1] = (int16_t)(logits[1] != 0 && fabsf((float)state->given.h[0][u]) < 1e6f);
        logits[1] = (int16_t)(logits[1] != 0 && fabsf((float)state->given.c[0][u]) < 1e6f);
    }
}
"""


def answers(
    machine: str, sources: dict[str, str], header: str, cases: np.ndarray, folder: Path, flags: tuple[str, ...] = ("-O2",)
) -> np.ndarray:
    """What the program says of each case [N, 2], on this machine or a core, there built with `flags`."""
    if machine != "this machine":
        if any(shutil.which(tool) is None for tool in ("arm-none-eabi-gcc", "qemu-system-arm")):
            pytest.skip("needs arm-none-eabi-gcc and qemu-system-arm: apt-get install gcc-arm-none-eabi qemu-system-arm")
        return measure_firmware(machine, CModel("case", {**sources, "case.h": header}), cases, flags=flags).logits
    loop = """#include "case.h"
int main(void) {
    static case_state_t state;
    int16_t x[CASE_CHANNELS], logits[CASE_CLASSES];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        case_step_i16(&state, x, logits);
        fwrite(logits, sizeof logits, 1, stdout);
    }
    return fflush(stdout);
}
"""
    files = write(folder, {**sources, "case.h": "#include <stdio.h>\n" + header, "main.c": loop})
    sanitized = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
    subprocess.run(["gcc", "-std=c99", "-O1", *sanitized, *files, "-lm", "-o", "cases"], cwd=folder, check=True)
    said = subprocess.run([folder / "cases"], input=cases.tobytes(), stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(said, np.int16).reshape(len(cases), 2)


@pytest.fixture(autouse=True)
def compiler(require_tool):
    require_tool("gcc", package="gcc")


def integer_sources() -> dict[str, str]:
    """A model whose stream has everything: a low-pass filter, two staggered states, a margin."""
    resampling = Resampling("decimate", factor=3, taps=(0.25, 0.5, 0.25))
    metadata = dataclasses.replace(toy.metadata(2, 3), resampling=resampling, **COUNTS["window"])
    sensor = Sensor((100.0, 250.0), metadata.mean, metadata.std, resampling)
    return emit_c(quantize(toy.student("lstm", 2, 6, 3), toy.series(channels=2), sensor=sensor), metadata, "demo")


def float_sources(contract: str = "window") -> dict[str, str]:
    metadata = dataclasses.replace(toy.metadata(), **CONTRACTS[contract])
    return emit_c_float(toy.student(), metadata, "demo")


@pytest.mark.parametrize(
    ("form", "machine"), [*(("integer", machine) for machine in MACHINES), *(("float", machine) for machine in MACHINES[:2])]
)
def test_a_flipped_bit_is_refused_and_an_odd_address_is_not(form, machine, tmp_path):
    sources, entry, value = (integer_sources(), "i16", "int16_t") if form == "integer" else (float_sources(), "f32", "float")
    bits = [*range(300), *range(1000, 1040)]
    cases = np.array([(-1, at) for at in range(ALIGNMENTS)] + [(bit, bit % ALIGNMENTS) for bit in bits], np.int16)
    header = f"#define VALUE {value}\n#define PUSH demo_push_{entry}\n{_SAVED}"
    expected = [(0, 1)] * ALIGNMENTS + [(-1 if bit < 32 else -2 if bit < 64 else -3, 1) for bit in bits]
    np.testing.assert_array_equal(answers(machine, sources, header, cases, tmp_path), expected)


@pytest.mark.parametrize(("form", "machine"), [("integer", MACHINES[0]), *(("float", machine) for machine in MACHINES[:2])])
def test_a_sample_that_is_no_number_counts_as_the_mean_and_no_state_is_lost(form, machine, tmp_path):
    cases = np.random.default_rng(0).integers(-300, 300, (200, 1)).astype(np.int16)
    cases[cases < 3] += 300
    cases[20:30], cases[60], cases[90:95], cases[-1] = 1, 2, 2, 1
    sources = emit_c(quantize(toy.student(), toy.series()), toy.metadata(), "demo") if form == "integer" else float_sources()
    found = answers(machine, sources, _PHYSICAL, cases, tmp_path)
    np.testing.assert_array_equal(found, np.ones((200, 2)))


@pytest.mark.parametrize(("core", "form"), [("m4", ""), ("m4", "SMALL"), ("m0plus", ""), ("m55", ""), ("m55", "MEDIUM")])
def test_weights_and_tables_of_every_form_have_the_checksum_that_was_exported(core, form, tmp_path):
    header = """#include "demo.h"
#define CASE_CHANNELS 1
#define CASE_CLASSES 2
typedef demo_state_t case_state_t;
#define case_reset demo_reset
static inline void case_step_i16(demo_state_t *state, const int16_t *x, int16_t *logits) {
    (void)state;
    logits[0] = (int16_t)demo_damaged();
    logits[1] = x[0];
}
"""
    flags = ("-O2", *([f"-DMEMKD_{form}"] if form else []))
    sources = emit_c(quantize(toy.student(), toy.series()), toy.metadata(), "demo")
    found = answers(core, sources, header, np.array([[7], [8]], np.int16), tmp_path, flags)
    assert found.tolist() == [[0, 7], [0, 8]]


@pytest.mark.parametrize("function", ["state", "stream"])
def test_a_float_state_that_no_step_can_leave_is_refused_though_its_checksum_is_right(function, tmp_path):
    library = compile_library(tmp_path, write(tmp_path, float_sources("never")))
    state, hidden = np.zeros(4096, np.uint8), 8
    values = state[: 2 * hidden * 4].view(np.float32)
    library.demo_begin(pointer(state))
    for at, value, result in (
        *((0, v, -3) for v in (np.nan, np.inf, -np.inf, 1.1, -3e38)),
        *((2 * hidden - 1, v, -3) for v in (np.nan, np.inf, -np.inf, 1e8)),
        *((at, v, 0) for at in (0, hidden - 1, hidden, 2 * hidden - 1) for v in (1.0, -1.0, 1e-40)),
        (hidden, 2.0**24, 0),
    ):
        values[:] = 0
        values[at] = value
        saved = np.zeros(4096, np.uint8)
        getattr(library, f"demo_{function}_save")(pointer(state), pointer(saved))
        kept = state.copy()
        assert getattr(library, f"demo_{function}_load")(pointer(kept), pointer(saved)) == result, (at, value)
        assert (kept == state).all()


@pytest.mark.parametrize("flags", [("-Ofast",), ("-mfpmath=387",)], ids=lambda flags: flags[0])
def test_fast_math_and_the_x87_change_no_integer_function_and_the_float_one_by_little(flags, tmp_path):
    if subprocess.run(["gcc", "-dumpmachine"], capture_output=True, text=True, check=True).stdout[:6] not in ("x86_64", "i686-l"):
        pytest.skip("the x87 is a part of x86 processors")
    sources = emit_c(quantize(toy.student(), toy.series()), toy.metadata(), "demo")
    logits = {}
    for name, options in (("plain", ()), ("other", flags)):
        folder = tmp_path / name
        library = compile_library(folder, write(folder, sources), options)
        x = np.random.default_rng(1).normal(0, 2, (300, 3)).astype(np.float32)
        for entry, given, kind in (
            ("i8", np.round(x * 30).clip(-128, 127).astype(np.int8), np.int8),
            ("i16", np.round(x * 4000).astype(np.int16), np.int16),
            ("f32", x, np.float32),
        ):
            state, rows = np.zeros(256, np.uint8), np.zeros((300, 4), kind)
            for t in range(300):
                getattr(library, f"demo_step_{entry}")(pointer(state), pointer(given[t].copy()), pointer(rows[t]))
            logits[name, entry] = rows
    for entry in ("i8", "i16"):
        np.testing.assert_array_equal(logits["other", entry], logits["plain", entry])
    np.testing.assert_allclose(logits["other", "f32"], logits["plain", "f32"], atol=0.05)


def test_saved_bytes_have_the_checksum_of_zlib(tmp_path):
    library = compile_library(tmp_path, write(tmp_path, float_sources("never")))
    state, saved = np.zeros(4096, np.uint8), np.zeros(4096, np.uint8)
    library.demo_begin(pointer(state))
    library.demo_state_save(pointer(state), pointer(saved))
    size = 2 * 8 * 4 + 8
    assert saved[size : size + 4].view(np.uint32)[0] == zlib.crc32(saved[:size])
