# SPDX-License-Identifier: Apache-2.0
"""The whole bench on a small run: rows, kinds, files, gates and exit codes."""

import csv
import errno
import io
import json
import os
import pty
import subprocess
import threading
import tty
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from memkd_edge.benchmark.backends.litert_aarch64 import measure_file_aarch64
from memkd_edge.benchmark.builds import Builds
from memkd_edge.benchmark.emulation import arm64_root
from memkd_edge.benchmark.emulation.cores import CORTEX_M
from memkd_edge.benchmark.pipeline import bench
from memkd_edge.benchmark.report.budget import BudgetError, check_budget, parse_budget
from memkd_edge.benchmark.report.figures import (
    BenchReport,
    BuildFigures,
    DeviceReport,
    Figure,
)
from memkd_edge.cli.bench_tables import bench_parts, figure_text, to_csv
from memkd_edge.cli.main import app
from memkd_edge.cli.tables import show
from memkd_edge.config import BenchConfig
from memkd_edge.errors import GateError, MemkdEdgeError, MissingToolError, UnkeptError, UsageError
from memkd_edge.metadata import Resampling
from memkd_edge.vocabulary import FigureKind, Reset

from .conftest import make_run

TINY_BOARD = """
title = "Tiny board"
backend = "qemu-cortex-m"
core = "m4"
[clock_mhz]
value = 10
source = "made up for this test"
[flash_kib]
value = 11
source = "made up for this test"
[ram_kib]
value = 4
source = "made up for this test"
[supply_v]
value = 2.0
source = "made up for this test"
[active_ma]
lo = 1.0
hi = 3.0
source = "made up for this test"
"""


@pytest.fixture
def no_arm64_root(monkeypatch, tmp_path):
    """The emulated Pi without its optional arm64 Python."""
    monkeypatch.setenv("MEMKD_EDGE_ARM64_ROOT", str(tmp_path / "none"))


@pytest.fixture
def aarch64(require_tool, no_arm64_root):
    require_tool("qemu-aarch64", package="qemu-user")
    require_tool("aarch64-linux-gnu-gcc", package="gcc-aarch64-linux-gnu")


@pytest.fixture
def cortex_m(require_tool):
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi libnewlib-arm-none-eabi")
    require_tool("qemu-system-arm", package="qemu-system-arm")


def rows_of(report):
    return {(row.model, row.build): row for row in report.devices[0].rows}


def test_a_raspberry_pi_is_emulated_and_its_figures_are_labelled(run, aarch64):
    report = bench(run, BenchConfig(device=("rpi4",), steps=8))
    rows = rows_of(report)
    assert list(rows) == [("student", "int8 C"), ("student", "float32 C"), ("teacher", "float32 C")]
    for row in rows.values():
        kinds = {name: figure.kind for name, figure in row.figures.items()}
        assert kinds["accuracy"] == FigureKind.MEASURED
        assert kinds["latency"] == kinds["energy"] == FigureKind.ESTIMATED
        assert kinds["instructions"] == kinds["flash"] == kinds["stack"] == kinds["state"] == FigureKind.EMULATED
        latency, count = row.figures["latency"], row.figures["instructions"].value
        assert latency.value == pytest.approx(count / (1.6 * 1500))
        assert (latency.lo, latency.hi) == (pytest.approx(count / (3.2 * 1500)), pytest.approx(count / (0.6 * 1500)))
        assert "gcc" in row.figures["instructions"].tool
        assert "qemu-aarch64 " in row.figures["instructions"].tool
    # 2 x 12 LSTM with 3 classes: torch's parameters, the two bias vectors of a layer added up.
    assert rows["teacher", "float32 C"].figures["weights"].value == pytest.approx(4 * (48 * (2 + 12 + 1) + 48 * 25 + 39), abs=64)
    assert report.devices[0].ratio("instructions") > 5
    # The instructions per cycle enter the latency, and no document confirms them.
    assert "Not confirmed by any document" in report.devices[0].caveats[-1]
    assert "sustained rate" in report.devices[0].caveats[-1]
    written = json.loads((run.path / "bench" / "rpi4.json").read_text())
    assert written["rows"] == json.loads(json.dumps(report.to_dict()))["devices"][0]["rows"]
    again = bench(run, BenchConfig(device=("rpi4",), steps=8))
    assert again == report


def test_gru_students_and_foreign_teachers_get_the_rows_there_are(tmp_path, aarch64):
    report = bench(make_run(tmp_path, student="gru", teacher="gru"), BenchConfig(device=("rpi4",), steps=6))
    assert list(rows_of(report)) == [("student", "int8 C")]
    assert any("teacher: it is no causal LSTM" in caveat for caveat in report.devices[0].caveats)


def test_a_student_that_cannot_stream_is_said_so(tmp_path, aarch64):
    report = bench(make_run(tmp_path, student="cnn"), BenchConfig(device=("rpi4",), steps=6))
    assert list(rows_of(report)) == [("teacher", "float32 C")]
    assert any("student does not stream" in caveat for caveat in report.devices[0].caveats)


def test_a_microcontroller_is_emulated_with_cycles_and_battery_life(run, cortex_m):
    report = bench(run, BenchConfig(device=("nrf52840",), steps=4, battery="100mAh", sleep_current="2uA", rate=50))
    student = rows_of(report)["student", "int8 C"].figures
    cycles, latency, life = student["cycles"], student["latency"], student["battery"]
    assert student["instructions"].value * 0.8 <= cycles.lo < cycles.value < cycles.hi <= student["instructions"].value * 4
    assert latency.value == pytest.approx(cycles.value / 64)
    busy = 50 * latency.hi * 1e-6
    assert life.lo == pytest.approx(0.1 / (busy * 6.3e-3 + (1 - busy) * 2e-6) / 24)
    assert life.lo < life.value < life.hi
    assert student["ram"].value == student["state"].value + student["stack"].value + student["static"].value
    assert any("100 mAh at 50 samples per second" in caveat for caveat in report.devices[0].caveats)


@pytest.mark.parametrize(
    ("fields", "steps", "said"),
    [
        ({"window_length": 20}, 2, "takes 2 of them, in two states half a window apart."),
        (
            {"reset": Reset.EVENT, "resampling": Resampling("decimate", factor=4, taps=(0.25,) * 4)},
            0.25,
            "takes 0.25 of them; what resamples is not counted.",
        ),
        (
            {"window_length": 20, "resampling": Resampling("decimate", factor=2, taps=(0.5,) * 2)},
            1,
            "takes 1 of them, in two states half a window apart; what resamples is not counted.",
        ),
    ],
)
def test_battery_life_is_of_all_the_steps_that_a_sample_takes(fields, steps, said, tmp_path, cortex_m):
    run = make_run(tmp_path, **fields)
    report = bench(run, BenchConfig(device=("nrf52840",), steps=4, battery="100mAh", sleep_current="2uA", rate=50))
    student = rows_of(report)["student", "int8 C"].figures
    busy = steps * 50 * student["latency"].hi * 1e-6
    assert student["battery"].lo == pytest.approx(0.1 / (busy * 6.3e-3 + (1 - busy) * 2e-6) / 24)
    assert any(caveat.endswith(said) for caveat in report.devices[0].caveats)


def test_a_device_without_a_sleep_current_says_why_it_has_no_battery_life(run, aarch64):
    report = bench(run, BenchConfig(device=("rpi4",), steps=4, battery="1Ah"))
    assert not any("battery" in row.figures for row in report.devices[0].rows)
    assert any("No battery life" in caveat and "--sleep-current" in caveat for caveat in report.devices[0].caveats)


def test_battery_life_needs_a_rate_that_somebody_has_told(tmp_path):
    run = make_run(tmp_path)
    run.write_text("model.json", replace(run.metadata, sample_rate_hz=None).to_json())
    run.set_state("complete")
    with pytest.raises(UsageError, match="--battery needs --rate"):
        bench(run, BenchConfig(device=("rpi4",), battery="100mAh"))


@pytest.mark.parametrize(("option", "config"), [("--rate", {"rate": 50.0}), ("--sleep-current", {"sleep_current": "2uA"})])
def test_an_option_that_would_change_nothing_without_a_battery_is_refused(run, option, config):
    with pytest.raises(UsageError, match=f"{option} is for battery life alone"):
        bench(run, BenchConfig(device=("rpi4",), **config))


def test_sources_for_a_board_are_not_asked_of_a_device_that_is_measured(run, tmp_path):
    with pytest.raises(UsageError, match=r"--firmware writes sources .* one with backend = .serial"):
        bench(run, BenchConfig(device=("nrf52840",), firmware=str(tmp_path / "firmware")))


def test_a_teacher_too_large_for_the_board_is_a_note_with_bytes(run, cortex_m, tmp_path):
    board = tmp_path / "tinyboard.toml"
    board.write_text(TINY_BOARD)
    rows = rows_of(bench(run, BenchConfig(device=(str(board),), steps=4)))
    assert "instructions" in rows["student", "int8 C"].figures
    teacher = rows["teacher", "float32 C"]
    assert "does not fit" in teacher.note
    assert "has 11,264 B" in teacher.note
    assert "instructions" not in teacher.figures
    assert teacher.figures["weights"].value > 0
    energy, latency = (rows["student", "int8 C"].figures[name] for name in ("energy", "latency"))
    assert energy.value == pytest.approx(latency.value * 2.0 * 2.0 / 1000)
    assert energy.hi == pytest.approx(latency.hi * 2.0 * 3.0 / 1000)


@pytest.mark.parametrize(("device", "clock", "scale"), [("esp32c3", 160, 3.81 / 2.55), ("rp2350-riscv", 150, 1)])
def test_riscv_is_emulated_with_cycles(device, clock, scale, run, require_tool):
    require_tool("riscv64-unknown-elf-gcc", package="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf")
    require_tool("qemu-system-riscv32", package="qemu-system-misc")
    rows = rows_of(bench(run, BenchConfig(device=(device,), steps=4)))
    assert ("teacher", "float32 C") in rows
    for build in ("int8 C", "int8 C, MEMKD_MEDIUM", "int8 C, MEMKD_SMALL"):
        figures = rows["student", build].figures
        assert figures["instructions"].kind == FigureKind.EMULATED
        assert "riscv64-unknown-elf-gcc" in figures["instructions"].tool
        # Most instructions take a cycle, loads that are waited for and branches more.
        assert 1 < figures["cycles"].value / scale / figures["instructions"].value < 1.3
        assert figures["cycles"].lo < figures["cycles"].value < figures["cycles"].hi
        assert figures["latency"].value == pytest.approx(figures["cycles"].value / clock)


def test_a_core_without_emulator_gives_sizes_and_says_so(run, cortex_m):
    report = bench(run, BenchConfig(device=("esp32s3",), steps=4))
    student = rows_of(report)["student", "int8 C"].figures
    assert set(student) == {"accuracy", "weights", "tables", "state", "static"}
    assert "neither a compiler nor an emulator of this core" in " ".join(report.devices[0].caveats)


def test_this_machine_is_measured(run, require_tool):
    require_tool("cc", package="gcc")
    report = bench(run, BenchConfig(device=("host",), steps=8))
    rows = rows_of(report)
    assert {model for model, _ in rows} == {"student", "teacher"}
    assert any("LiteRT" in build or "litert" in build for _, build in rows)
    assert any("onnxruntime" in build for _, build in rows)
    for row in rows.values():
        assert row.figures["latency"].kind == FigureKind.MEASURED
        assert 0 <= row.figures["latency"].value <= row.figures["latency_p90"].value <= row.figures["latency_p99"].value
        assert row.figures["peak_memory"].value > 0.1


def test_wrong_outputs_fail_the_gate(run, aarch64, monkeypatch):
    right = Builds.student_int8_c
    monkeypatch.setattr(Builds, "student_int8_c", lambda self: replace(s := right(self), expected=s.expected + 1))
    with pytest.raises(GateError, match=r"rpi4: student, int8 C: 24 of 24 logits differ .* step 0, class 0"):
        bench(run, BenchConfig(device=("rpi4",), steps=8))


def test_not_a_number_is_a_wrong_output(run):
    build = Builds(run, 4).float_tflite("student")
    build.check(build.expected, "here")
    broken = build.expected.copy()
    broken[2, 1] = np.nan
    with pytest.raises(GateError, match="step 2, class 1: nan"):
        build.check(broken, "here")


def test_a_tflite_runs_through_litert_on_an_emulated_pi(run, require_tool):
    require_tool("qemu-aarch64", package="qemu-user")
    root = arm64_root.location()
    if not arm64_root.is_built(root):
        pytest.skip("needs the arm64 Python: memkd-edge doctor --arm64-root")
    build = Builds(run, 6).student_int8_tflite()
    first, second = (measure_file_aarch64(root, "cortex-a72", build, timeout_s=300) for _ in range(2))
    build.check(first.result.logits, "rpi4")
    assert first.instructions_per_step == second.instructions_per_step > 5000
    assert first.runtime == "ai_edge_litert"


def test_building_the_arm64_root_elsewhere_than_on_debian_names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingToolError, match="apt-get is not installed"):
        arm64_root.build(tmp_path / "root")
    assert list(tmp_path.iterdir()) == []


# --- a board on a serial port ---


def test_a_board_s_firmware_is_written_built_and_read(run, tmp_path, cortex_m, monkeypatch):
    """From the written sources alone: built as a user would, run on an emulated board, read through a pseudo-terminal."""
    pytest.importorskip("serial", reason="needs pyserial: pip install 'memkd-edge[serial]'")
    board, port = pty.openpty()
    tty.setraw(board)
    tty.setraw(port)
    profile = tmp_path / "mps2.toml"
    profile.write_text(
        f'title = "MPS2"\nbackend = "serial"\nport = "{os.ttyname(port)}"\n[clock_mhz]\nvalue = 25\nsource = "MPS2 manual"\n'
    )
    sources = tmp_path / "firmware"
    config = BenchConfig(device=(str(profile),), steps=6, firmware=str(sources), timeout_s=30)
    assert str(sources) in bench(run, config).devices[0].caveats[0]
    with pytest.raises(UsageError, match="not empty"):
        bench(run, config)
    objects = sorted(path.name for path in sources.glob("*.c") if path.name not in ("port_linux.c", "output_semihosting.c"))
    layout = {"FLASH_ORIGIN": 0, "FLASH_LENGTH": 2**20, "RAM_ORIGIN": 0x20000000, "RAM_LENGTH": 2**16, "STACK_LENGTH": 4096}
    symbols = [f"-Wl,--defsym={name}={value}" for name, value in layout.items()]
    compiler = ["arm-none-eabi-gcc", *CORTEX_M["m4"].flags, "-O2", "-std=c99", "-nostartfiles", *symbols, "-T", "cortex_m.ld"]
    subprocess.run([*compiler, *objects, "-o", "firmware.elf"], cwd=sources, check=True)
    command = ["qemu-system-arm", "-M", "mps2-an386", "-kernel", "firmware.elf", "-display", "none", "-monitor", "none"]
    stop = threading.Event()

    def keep_resetting() -> None:
        while not stop.is_set():
            emulator = subprocess.Popen([*command, "-serial", "stdio"], cwd=sources, stdin=subprocess.DEVNULL, stdout=board)
            stop.wait(5)
            emulator.kill()
            emulator.wait()

    resets = threading.Thread(target=keep_resetting)
    resets.start()
    try:
        figures = bench(run, replace(config, firmware="")).devices[0].rows[0].figures
    finally:
        stop.set()
        resets.join()
        os.close(board)
        os.close(port)
    assert figures["cycles"].kind == figures["latency"].kind == FigureKind.MEASURED
    assert figures["latency"].value == pytest.approx(figures["cycles"].value / 25, abs=0.01)
    assert json.loads((run.path / "bench" / "mps2.json").read_text())["device"] == "mps2"


# --- budget ---


def a_report(**figures) -> BenchReport:
    student = BuildFigures("student", "int8 C", figures)
    return BenchReport("id", (DeviceReport("board", "Board", (student,)),))


def exact(value, unit=""):
    return Figure(value, FigureKind.EMULATED, unit, "test")


def test_a_budget_names_each_exceeded_line_and_takes_an_estimate_s_upper_bound():
    latency = Figure(900.0, FigureKind.ESTIMATED, "us", "test", 500.0, 1100.0)
    report = a_report(flash=exact(8193, "B"), ram=exact(1024, "B"), instructions=exact(4000), latency=latency)
    limits = parse_budget("flash=8k,ram=1k,instructions=4000,latency=1ms,energy=5uJ")
    with pytest.raises(BudgetError) as caught:
        check_budget(report, limits)
    lines = str(caught.value).removeprefix("over budget: ").split("; ")
    assert len(lines) == 3
    assert "flash is 8,193 B, allowed are flash=8k" in lines[0]
    assert "latency is up to 1,100 us" in lines[1]
    assert "energy=5uJ cannot be checked" in lines[2]
    check_budget(report, parse_budget("flash=8193,ram=1k,instructions=4k,latency=2ms"))


@pytest.mark.parametrize("text", ["speed=3", "flash", "flash=", "flash=-1", "latency=1km", "flash=8g", "ram=1kk"])
def test_a_budget_that_means_nothing_is_refused(text):
    with pytest.raises(UsageError, match="budget"):
        parse_budget(text)


# --- command line ---


def invoke(*arguments):
    result = CliRunner().invoke(app, ["bench", *arguments])
    code = result.exception.exit_code if isinstance(result.exception, MemkdEdgeError) else result.exit_code
    return code, result


def test_the_newest_run_is_taken_and_json_is_clean(run, aarch64):
    code, result = invoke("--device", "rpi4", "--run-root", str(run.path.parent), "--steps", "4", "--json")
    assert code == 0, result.exception
    report = json.loads(result.stdout)
    assert report["run"] == run.run_id
    assert report["devices"][0]["rows"][0]["figures"]["instructions"]["kind"] == "emulated-exact"


def test_devices_are_compared_and_csv_has_one_figure_a_line(run, aarch64, cortex_m):
    code, result = invoke("--device", "rpi4", "--device", "nrf52840", "--run", str(run.path), "--steps", "4", "--csv")
    assert code == 0, result.exception
    lines = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {line["device"] for line in lines} == {"rpi4", "nrf52840"}
    assert all(line["lo"] and line["hi"] for line in lines if line["kind"] == FigureKind.ESTIMATED)


def test_a_broken_budget_prints_the_table_and_exits_4(run, aarch64):
    code, result = invoke("--device", "rpi4", "--run", str(run.path), "--steps", "4", "--budget", "flash=10,instructions=5")
    assert code == 4
    assert "student, int8 C" in result.stdout
    assert "flash" in str(result.exception)
    assert "instructions" in str(result.exception)


def test_exit_codes_of_wrong_requests(run, tmp_path):
    assert invoke("--device", "rpi44", "--run", str(run.path))[0] == 2
    assert invoke("--run-root", str(tmp_path))[0] == 2
    assert invoke("--run", str(run.path), "--battery", "many")[0] == 2
    assert invoke("--run", str(run.path), "--steps", "1")[0] == 2


def test_a_missing_emulator_exits_3_and_names_the_package(run, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    code, result = invoke("--device", "rpi4", "--run", str(run.path))
    assert code == 3
    assert isinstance(result.exception, MissingToolError)
    assert "apt-get install qemu-user" in str(result.exception)


def test_an_emulator_beyond_its_time_exits_1(run, aarch64):
    code, result = invoke("--device", "rpi4", "--run", str(run.path), "--timeout", "0.001")
    assert code == 1
    assert "did not end within 0.001 s" in str(result.exception)


def test_an_interrupted_write_leaves_no_half_report(run, aarch64, monkeypatch):
    monkeypatch.setattr("memkd_edge.runs.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    before = {path.name: path.read_bytes() for path in (run.path / "bench").glob("*")}
    with pytest.raises(MemkdEdgeError, match="No space left"):
        bench(run, BenchConfig(device=("rpi4",), steps=4))
    assert {path.name: path.read_bytes() for path in (run.path / "bench").glob("*")} == before


@pytest.mark.parametrize(("more", "code"), [((), 1), (("--budget", "flash=10"), 4)])
def test_what_was_measured_is_printed_where_it_cannot_be_kept(run, aarch64, monkeypatch, more, code):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("memkd_edge.runs.tempfile.mkstemp", read_only)
    before = sorted(run.path.rglob("*"))
    ended, result = invoke("--device", "rpi4", "--run", str(run.path), "--steps", "4", *more)
    assert ended == code
    assert "student, int8 C" in result.stdout
    assert "rpi4.json: Read-only file system; choose a folder that can be written" in f"{result.stderr}{result.exception}"
    assert sorted(run.path.rglob("*")) == before
    with pytest.raises(UnkeptError, match=r"the report is not kept: cannot write .*rpi4\.json") as caught:
        bench(run, BenchConfig(device=("rpi4", "rpi4"), steps=4))
    assert [one.device for one in caught.value.report.devices] == ["rpi4", "rpi4"]  # the first failure did not end it


def test_devices_and_doctor_list_what_there_is():
    listed = CliRunner().invoke(app, ["devices"])
    assert listed.exit_code == 0
    assert "nRF52840" in listed.stdout
    checks = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert {"qemu-aarch64", "arm-none-eabi-gcc", "arm64 Python"} <= {check["name"] for check in checks}


def test_doctor_exits_3_when_a_needed_tool_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 3
    assert "apt-get install qemu-user" in result.stdout


# --- presentation ---


def test_figures_read_well():
    assert figure_text(Figure(0.409, FigureKind.ESTIMATED, "us", "", 0.204, 0.817)) == "~0.409 us\n[0.204, 0.817]"
    assert figure_text(Figure(24100.0, FigureKind.ESTIMATED, "us", "", 16500.0, 33800.0)) == "~24.1 ms\n[16.5, 33.8]"
    assert figure_text(exact(5064, "B")) == "=5,064 B"
    assert figure_text(Figure(961.25, FigureKind.EMULATED, "instructions", "")) == "=961"
    assert figure_text(Figure(0.975, FigureKind.MEASURED, "", "")) == "0.975"
    assert figure_text(Figure(1.0, FigureKind.MEASURED, "", "")) == "1.000"
    with pytest.raises(ValueError, match="interval"):
        Figure(1.0, FigureKind.ESTIMATED, "us", "")


def test_several_devices_are_compared_in_one_table(capsys):
    row = BuildFigures("student", "int8 C", {"flash": exact(5064, "B")})
    show(bench_parts(BenchReport("id", tuple(DeviceReport(name, f"Board {name}", (row,)) for name in "ab"))))
    comparison = capsys.readouterr().out.split("The student on each device")[1]
    assert "Board a: int8 C" in comparison
    assert "Board b: int8 C" in comparison
    assert comparison.count("=5,064 B") == 2


def test_csv_quotes_what_it_must():
    report = BenchReport("id", (DeviceReport("b", "B", (BuildFigures("student", 'int8 "C", fast', {"flash": exact(1, "B")}),)),))
    assert list(csv.reader(io.StringIO(to_csv(report))))[1][2] == 'int8 "C", fast'
