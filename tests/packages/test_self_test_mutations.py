# SPDX-License-Identifier: Apache-2.0
"""The boot self-test notices every single bit that flips in weights, tables and what makes the input of counts."""

import ctypes
import re
import subprocess
from dataclasses import replace

import pytest

from memkd_edge.metadata import Resampling
from memkd_edge.packages.folders import package_files
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.sensor_front_end import Sensor
from tests.writers import toy

# The constants become variables, and visible, so that the test can change them in the running program.
CONSTANT = re.compile(r"^(?:static |extern )?const ((?:uint32_t \w+_weights|int32_t taps|\w+ memkd_\w+_table)\[)", re.M)
PAIR = re.compile(r"^static const (int16_t offsets\[.*gains\[.*)", re.M)


@pytest.mark.parametrize("form", ["fast", "medium", "small"])
@pytest.mark.parametrize("kind", ["lstm", "gru for counts"])
def test_every_flipped_bit_is_noticed(kind, form, tmp_path, require_tool):
    require_tool("gcc", "nm", package="gcc binutils")
    metadata, sensor = toy.metadata(), None
    if kind == "gru for counts":
        metadata = replace(metadata, resampling=Resampling("decimate", 30, 10, 3, (0.25, 0.5, 0.25)))
        sensor = Sensor((100.0, -2048.0, 16.4), metadata.mean, metadata.std, metadata.resampling)
    model = quantize(toy.student(kind.split()[0]), toy.series(), sensor=sensor)
    for path, data in package_files("c", model, metadata, name="gesture").items():
        if path.startswith("src/"):
            text = CONSTANT.sub(lambda m: ("extern " if m[0].startswith("extern") else "") + m[1], data.decode())
            (tmp_path / path.removeprefix("src/")).write_text(PAIR.sub(r"\1", text))
    flags = [] if form == "fast" else [f"-DMEMKD_{form.upper()}"]
    sources = sorted(file.name for file in tmp_path.glob("*.c"))
    subprocess.run(["gcc", "-std=c99", "-O1", "-shared", "-fPIC", *flags, *sources, "-o", "m.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "m.so"))
    listed = subprocess.run(["nm", "-S", "m.so"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    symbols = [line.split() for line in listed.splitlines() if line.count(" ") == 3]
    sizes = {name: int(size, 16) for _, size, kind, name in symbols if kind == "D" and name != "gesture_labels"}
    raw = {"offsets", "gains", "taps"} if sensor else set()
    table = "memkd_segment_table" if form == "fast" else "memkd_sigmoid_table"
    assert sizes.keys() == {"gates0_weights", "head_weights", table} | raw
    assert library.gesture_selftest() == 0
    for name, size in sizes.items():
        bytes_ = (ctypes.c_uint8 * size).in_dll(library, name)
        for at in range(size):
            for bit in range(8):
                bytes_[at] ^= 1 << bit
                assert library.gesture_selftest() > 0, f"{name}, byte {at}, bit {bit}"
                bytes_[at] ^= 1 << bit
    assert library.gesture_selftest() == 0
