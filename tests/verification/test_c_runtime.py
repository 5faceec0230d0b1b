# SPDX-License-Identifier: Apache-2.0
"""The runtime's tables and its arithmetic without 64-bit products, against their definitions."""

import re
import shutil

import numpy as np
import pytest

from memkd_edge.assets import asset_dir
from memkd_edge.quantization.fixed_point import SIGMOID_TABLE, multiplier, rescale, sigmoid, tanh
from memkd_edge.quantization.integer_model import CELL_SCALE
from memkd_edge.writers.c_integer import RUNTIME_FILES
from memkd_edge.writers.c_text import runtime_files
from tests.writers.c_library import compile_library, pointer, write

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: apt-get install gcc")

CURVES = """
#include "memkd_lstm.h"
void sigmoids(int n, const int32_t *z, int32_t *out);
void tanhs(int n, const int32_t *argument, int32_t *out);
void sigmoids(int n, const int32_t *z, int32_t *out) {
    for (int k = 0; k < n; k++) {
        out[k] = memkd_sigmoid_curve(memkd_table(), z[k]) >> MEMKD_SIGMOID_SHIFT;
    }
}
void tanhs(int n, const int32_t *argument, int32_t *out) {
    for (int k = 0; k < n; k++) {
        out[k] = memkd_tanh(memkd_table(), argument[k]);
    }
}
"""
# Pulls the cell out of a unit whose forget gate is shut, so that it is i * g rescaled.
CELL = """
#include "memkd_lstm.h"
void cells(int n, const int32_t *zi, const int32_t *zg, int cell_shift, int16_t *out);
void cells(int n, const int32_t *zi, const int32_t *zg, int cell_shift, int16_t *out) {
    for (int k = 0; k < n; k++) {
        int16_t h = 0;
        out[k] = 0;
        memkd_lstm_unit(memkd_table(), zi[k], 0, 0, zg[k], cell_shift, 17, &h, &out[k]);
    }
}
"""


def runtime(tmp_path, driver: str, flags: tuple[str, ...]):
    return compile_library(tmp_path, write(tmp_path, runtime_files(RUNTIME_FILES) | {"driver.c": driver}), flags)


def run(function, *columns: np.ndarray, extra: tuple[int, ...] = (), dtype=np.int32) -> np.ndarray:
    columns = tuple(np.ascontiguousarray(column, np.int32) for column in columns)
    out = np.zeros(len(columns[0]), dtype)
    function(len(out), *(pointer(column) for column in columns), *extra, pointer(out))
    return out


@pytest.mark.parametrize("flags", [(), ("-DMEMKD_MEDIUM",), ("-DMEMKD_SMALL",)], ids=["fast", "medium", "small"])
def test_both_curves_equal_the_reference_at_every_argument(flags, tmp_path):
    library = runtime(tmp_path, CURVES, flags)
    z = np.arange(-32768, 32768)
    np.testing.assert_array_equal(run(library.sigmoids, z), sigmoid(z))
    np.testing.assert_array_equal(run(library.tanhs, 9 * z), tanh(z))
    for shift in (-2, -1, 1, 2, 3):
        argument = 9 * z << shift if shift > 0 else (9 * z + (1 << (-shift - 1))) >> -shift
        np.testing.assert_array_equal(run(library.tanhs, argument), tanh(z, shift))
    # Pre-activations need no clamping to 16 bits.
    far = np.array([-(2**26), -32769, 32768, 2**26])
    np.testing.assert_array_equal(run(library.sigmoids, far), sigmoid(np.clip(far, -32768, 32767)))
    np.testing.assert_array_equal(run(library.tanhs, 9 * far), tanh(np.clip(far, -32768, 32767)))


@pytest.mark.parametrize("cell_shift", range(-2, 4))
def test_the_input_product_equals_the_64_bit_product(cell_shift, tmp_path):
    library = runtime(tmp_path, CELL, ())
    generator = np.random.default_rng(cell_shift + 2)
    zi, zg = generator.integers(-15000, 15000, (2, 2_000_000)).astype(np.int32)
    expected = rescale(
        sigmoid(zi.astype(np.int64)) * tanh(zg.astype(np.int64)), multiplier(2.0**-30 / (CELL_SCALE * 2.0**cell_shift))
    )
    np.testing.assert_array_equal(run(library.cells, zi, zg, extra=(cell_shift,), dtype=np.int16), expected)


def test_the_small_table_is_the_reference_table():
    text = (asset_dir("export") / "runtime" / "memkd_lstm.c").read_text()
    body = re.search(r"memkd_sigmoid_table\[256\] = \{(.*?)\}", text, re.S)[1]
    assert [int(value) for value in body.replace(",", " ").split()] == SIGMOID_TABLE.tolist()


def test_the_fast_table_holds_the_lines_between_the_reference_nodes():
    text = (asset_dir("export") / "runtime" / "memkd_lstm.c").read_text()
    body = re.search(r"memkd_segment_table\[512\] = \{(.*)\};", text, re.S)[1]
    segments = [(int(offset, 16), int(slope)) for offset, slope in re.findall(r"\{(0x\w+)u, (\d+)u\}", body)]
    assert len(segments) == 512
    full, end = 1 << 25, 640  # of the curve; what saturation stays away from either end
    vectors = re.search(r"memkd_segments = \{\s*\{(.*?)\},\s*\{(.*?)\},\s*\};", text, re.S)
    offsets, slopes = ([int(value, 0) for value in re.findall(r"(\w+)u", vectors[group])] for group in (1, 2))
    # For vectors the argument counts from the left end, 2^17 below.
    assert [((offset + (slope << 17)) % (1 << 32), slope) for offset, slope in zip(offsets, slopes, strict=True)] == segments
    for index, (offset, slope) in zip(range(-256, 256), segments, strict=True):
        if index in (-256, 255):
            assert (offset, slope) == ((end + 511) * 64 if index < 0 else (full - end + 512) * 64, 0)
            continue
        left = index if index >= 0 else -index - 1
        step = int(SIGMOID_TABLE[left + 1] - SIGMOID_TABLE[left])
        for argument in (512 * index, 512 * index + 511):
            curve = (int(SIGMOID_TABLE[left]) << 9) + (abs(argument) - 512 * left) * step
            rounded = curve + 512 if index >= 0 else full - curve + 511
            assert (offset + argument * slope) % (1 << 32) == 64 * rounded
