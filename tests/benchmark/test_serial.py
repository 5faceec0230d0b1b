# SPDX-License-Identifier: Apache-2.0
"""The serial backend, through a pseudo-terminal: fed by an emulated UART, by a faulty line, and by nothing."""

import os
import pty
import subprocess
import threading
import time
import tty
from contextlib import contextmanager, suppress
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest

from memkd_edge.benchmark.backends.serial import bench_serial, read_result
from memkd_edge.benchmark.devices.profiles import Device, Quantity, read_profile
from memkd_edge.benchmark.emulation.firmware import build_firmware
from memkd_edge.benchmark.emulation.image import write_sources
from memkd_edge.config import BenchConfig
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.progress import Reporter
from memkd_edge.serial_port import open_port
from memkd_edge.vocabulary import FigureKind

from .test_protocol import message
from .tiny_model import TINY, inputs_int8, reference_int8

pytest.importorskip("serial", reason="needs pyserial: pip install 'memkd-edge[serial]'")


@pytest.fixture
def line():
    """A pseudo-terminal: (the board's end, a Device whose port is our end)."""
    board, port = pty.openpty()
    tty.setraw(board)
    tty.setraw(port)
    yield board, Device("board", "Test board", "serial", port=os.ttyname(port))
    os.close(board)
    os.close(port)


def read(device, timeout_s=5.0):
    with open_port(device.port, device.baud) as connection:
        return read_result(connection, floats=False, timeout_s=timeout_s, where="Test board")


STOPPED = "*(volatile uint32_t *)0xE000E010u = 0;"  # SysTick, as a vendor's start-up code may leave it


@pytest.mark.parametrize("start", ["", STOPPED], ids=["plain", "SysTick stopped"])
def test_a_microcontroller_s_uart_is_read(start, tmp_path, line, require_tool):
    """Real firmware: the CMSDK UART of an emulated MPS2 board, connected to the terminal."""
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")
    require_tool("qemu-system-arm", package="qemu-system-arm")
    board, device = line
    inputs = inputs_int8(12)
    write_sources(tmp_path, TINY, inputs, passes=2)
    uart = tmp_path / "output_cmsdk_uart.c"
    uart.write_text(uart.read_text().replace("UART0->control = 1;", f"UART0->control = 1; {start}"))
    machine = build_firmware(tmp_path, "m4", TINY, output="output_cmsdk_uart.c")
    command = ["qemu-system-arm", "-M", machine.name, "-kernel", "image.elf", "-display", "none", "-monitor", "none"]
    emulator = subprocess.Popen([*command, "-serial", "stdio"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=board)
    try:
        result = read(device, timeout_s=30)
    finally:
        emulator.kill()
        emulator.wait()
    np.testing.assert_array_equal(result.logits, reference_int8(inputs))
    assert len(result.ticks) == 24
    assert sum(result.ticks) > 0


@contextmanager
def saying(board, text):
    """Say the text again and again, as a board that is reset: what came before the port was opened is lost."""
    stop = threading.Event()
    os.set_blocking(board, False)  # or the sender would wait for ever once nobody reads any more

    def send():
        left = b""
        while not stop.is_set():
            left = left or text
            with suppress(BlockingIOError):
                left = left[os.write(board, left[:64]) :]
            time.sleep(0.001)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


def test_garbage_and_a_reset_are_survived(line):
    board, device = line
    cut = b"\xff\xfe boot\r\nprotocol=1\nsteps=2\nlogits.0=9 9\n"
    with saying(board, cut + "\r\n".join(["noise\x00", *message(), ""]).encode()):
        result = read(device, timeout_s=30)
    assert result.ticks == [100, 90]


def benched(line, clock, ticks):
    """The figures of a board that says these ticks."""
    board, device = line
    lines = ["protocol=1", "steps=1", "state_bytes=8", "stack=40", "logits.0=1 -2", "overhead=0", *(f"ticks={n}" for n in ticks)]
    with saying(board, "\n".join([*message(lines), ""]).encode()):
        report = bench_serial(
            replace(device, quantities={"clock_mhz": clock}), MagicMock(), BenchConfig(timeout_s=30), Reporter()
        )
    return report.rows[0].figures


def test_a_counter_that_stands_still_gives_no_figure(line):
    with pytest.raises(MemkdEdgeError, match="every step took 0 cycles: its counter stands still"):
        benched(line, Quantity(64, 64, 64, "datasheet"), [0, 0])


def test_a_clock_that_is_not_known_exactly_makes_an_estimate_of_the_latency(line):
    exact = benched(line, Quantity(64, 64, 64, "datasheet"), [640, 640])
    assert (exact["latency"].kind, exact["latency"].value, exact["latency"].lo) == (FigureKind.MEASURED, 10, None)
    rough = benched(line, Quantity(50, 40, 80, "RC oscillator"), [640, 640])
    for name in ("latency", "latency_p99"):
        assert rough[name].kind == FigureKind.ESTIMATED
        assert (rough[name].value, rough[name].lo, rough[name].hi) == pytest.approx((12.8, 8, 16))
    assert (rough["cycles"].kind, rough["cycles"].value) == (FigureKind.MEASURED, 640)


def test_a_silent_board_ends_with_a_hint(line):
    with pytest.raises(MemkdEdgeError, match=r"within 0\.3 s; nothing came"):
        read(line[1], timeout_s=0.3)


@pytest.mark.parametrize("said", [b"hello\nworld\n", b"x" * 256], ids=["foreign firmware", "an endless line"])
def test_what_is_no_measurement_ends_with_another_hint(line, said):
    with saying(line[0], said), pytest.raises(MemkdEdgeError, match="baud rate"):
        read(line[1], timeout_s=0.6)


def test_a_port_that_is_not_there_is_named():
    board = Device("board", "Test board", "serial", port="/dev/nothing")
    with pytest.raises(MemkdEdgeError, match=r"cannot open /dev/nothing: .*; `port` of the profile names the board's serial"):
        bench_serial(board, MagicMock(), BenchConfig(), Reporter())


def test_a_serial_profile_needs_its_port(tmp_path):
    path = tmp_path / "board.toml"
    path.write_text('title = "b"\nbackend = "serial"\n[clock_mhz]\nvalue = 64\nsource = "datasheet"\n')
    with pytest.raises(UsageError, match="port is missing"):
        read_profile(path)
