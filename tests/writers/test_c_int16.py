# SPDX-License-Identifier: Apache-2.0
"""Generated C where int has 16 bits: on an emulated AVR it gives what it gives on this machine, to the last bit."""

import re
import subprocess
from dataclasses import replace

import pytest

from memkd_edge.metadata import Resampling
from memkd_edge.packages.folders import package_files
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.sensor_front_end import Sensor
from tests.writers import toy

SERIAL = """
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
static void start(void) { UCSR0B = 1 << TXEN0; }
static void put(char c) { while (!(UCSR0A & (1 << UDRE0))) {} UDR0 = (uint8_t)c; }
static void stop(void) { cli(); sleep_mode(); }
"""
STDOUT = """
#include <stdio.h>
static void start(void) {}
static void put(char c) { putchar(c); }
static void stop(void) {}
"""
# Prints the self-tests' counts, then logits of a stream of pseudo-random and saturating samples; a number a line.
PROGRAM = """
#include "gesture.h"
#include "gesture_selftest.h"
static void number(int32_t value) {
    char digits[12];
    int n = 0;
    if (value < 0) { put('-'); value = -value; }
    do { digits[n++] = (char)('0' + value % 10); value /= 10; } while (value != 0);
    while (n > 0) { put(digits[--n]); }
    put('\\n');
}
int main(void) {
    static gesture_state_t state;
    static uint8_t saved[GESTURE_SAVE_BYTES];
    uint32_t seed = 1;
    start();
    number(gesture_selftest());
    number(gesture_selftest_f32());
    gesture_init(&state);
    for (int t = 0; t < 40; t++) {
        int16_t x[GESTURE_CHANNELS], logits[GESTURE_CLASSES];
        for (int j = 0; j < GESTURE_CHANNELS; j++) {
            seed = seed * 1664525u + 1013904223u;
            x[j] = (int16_t)(seed >> 16);
            x[j] = t % 4 == 3 ? (x[j] < 0 ? -32767 - 1 : 32767) : t % 4 == 2 ? (int16_t)(x[j] / 64) : x[j];
        }
        if (STEP(&state, x, logits)) {
            for (int k = 0; k < GESTURE_CLASSES; k++) { number(logits[k]); }
        }
    }
    gesture_state_save(&state, saved);
    number(gesture_state_load(&state, saved));
    stop();
    return 0;
}
"""
STEPS = {
    False: "#define STEP(state, x, logits) (gesture_step_i16(state, x, logits), 1)\n",
    True: "#define STEP(state, x, logits) gesture_take_i16(state, x, logits)\n",
}


@pytest.mark.parametrize("kind", ["lstm", "stacked", "gru for counts"])
def test_an_avr_gives_the_hosts_logits(kind, tmp_path, require_tool):
    require_tool("avr-gcc", "simavr", package="gcc-avr avr-libc simavr")
    metadata, sensor = toy.metadata(), None
    if kind == "gru for counts":
        metadata = replace(metadata, resampling=Resampling("decimate", 30, 10, 3, (0.25, 0.5, 0.25)))
        sensor = Sensor((100.0, -2048.0, 16.4), metadata.mean, metadata.std, metadata.resampling)
    student = toy.student(kind.split()[0]) if kind != "stacked" else toy.student("lstm", layers=2)
    files = package_files("c", quantize(student, toy.series(), sensor=sensor), metadata, name="gesture")
    for path, data in files.items():
        if path.startswith("src/"):
            (tmp_path / path.removeprefix("src/")).write_bytes(data)
    step = STEPS[sensor is not None]
    (tmp_path / "host.txt").write_text(STDOUT + step + PROGRAM)
    (tmp_path / "avr.txt").write_text(SERIAL + step + PROGRAM)
    units = sorted(path.name for path in tmp_path.glob("*.c"))

    def build(*command: str) -> None:
        subprocess.run([*command, *units], cwd=tmp_path, check=True)

    build("gcc", "-O1", "-x", "c", "host.txt", "-o", "host")
    strict = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Werror")
    build("avr-gcc", "-mmcu=atmega2560", "-std=gnu99", "-O2", *strict, "-x", "c", "avr.txt", "-o", "avr.elf")
    build("avr-gcc", "-mmcu=atmega2560", "-std=gnu99", "-O2", "-DMEMKD_MEDIUM", *strict, "-x", "c", "avr.txt", "-o", "medium.elf")
    expected = subprocess.run([tmp_path / "host"], capture_output=True, text=True, check=True).stdout.split()
    emulator = ["simavr", "-m", "atmega2560", "-f", "16000000", "avr.elf"]
    done = subprocess.run(emulator, cwd=tmp_path, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    printed = re.findall(r"^(?:\x1b\[\d+m)*(-?\d+)\.", done.stdout + done.stderr, re.M)
    assert expected[:2] == ["0", "0"]
    assert len(set(expected)) > 20
    assert printed == expected
