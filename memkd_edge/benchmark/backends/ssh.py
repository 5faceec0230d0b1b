# SPDX-License-Identifier: Apache-2.0
"""Measures on a real Linux board, a Raspberry Pi for instance, over ssh; needs nothing there but a shell and tar.

The profile names the board: backend = "ssh", host = "pi@raspberrypi.local" (or an alias of ~/.ssh/config, for port and key).
C rows are static programs built here. Model files need Python with numpy and LiteRT or onnxruntime there; without, their rows say
so. Whatever happens, the files copied to the board are removed.
"""

import io
import platform
import shlex
import tarfile

from memkd_edge import toolchain
from memkd_edge.benchmark.backends.linux_rows import linux_makers, measured_row, write_bundle
from memkd_edge.benchmark.builds import Build, Builds, collect
from memkd_edge.benchmark.devices.profiles import Device
from memkd_edge.benchmark.report.figures import BuildFigures, DeviceReport
from memkd_edge.config import BenchConfig
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.progress import Reporter
from memkd_edge.scratch import scratch_folder

CONNECT_TIMEOUT_S = 10
# What bears on the time: one `key=value` line for each that the board can tell.
_CONDITIONS = """
echo "model=$(tr -d '\\0' 2>/dev/null </proc/device-tree/model || uname -sm)"
governor=/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
[ -r $governor ] && echo "governor=$(cat $governor)"
temperature=/sys/class/thermal/thermal_zone0/temp
[ -r $temperature ] && echo "temperature=$(cat $temperature)"
command -v vcgencmd >/dev/null && vcgencmd get_throttled
true
"""


class Board:
    """A shell on the board."""

    def __init__(self, host: str) -> None:
        self.host = host

    def run(self, command: str, *, timeout_s: float, stdin: bytes = b"") -> str:
        """Run a shell command there and return its output.

        Raises:
            MemkdEdgeError: the board is out of reach, or the command failed or did not end.
        """
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"]
        try:
            return toolchain.run([toolchain.find("ssh"), *options, "--", self.host, command], timeout_s=timeout_s, stdin=stdin)
        except toolchain.ToolFailedError as error:
            if "(exit 255)" in str(error):
                raise MemkdEdgeError(
                    f"cannot reach {self.host}: {error.output}; `ssh {self.host}` must work without a password"
                ) from error
            raise


def bench_ssh(device: Device, builds: Builds, config: BenchConfig, progress: Reporter) -> DeviceReport:
    """Measure every build that the board can run."""
    board = Board(device.host)
    machine = board.run("uname -m", timeout_s=60).strip()
    compiler = _compiler(machine, device.host)
    made, caveats = collect(linux_makers(builds))
    before = _conditions(board)
    rows = []
    for build in progress.each(device.name, made, "builds"):
        try:
            rows.append(measure_ssh(board, build, compiler, timeout_s=config.timeout_s))
        except toolchain.ToolFailedError as error:
            if build.source is not None:
                raise
            rows.append(BuildFigures(build.model, build.name, note=f"did not run on the board: {error.last_line}"))
    caveats += _caveats(before, _conditions(board))
    return DeviceReport(device.name, f"{device.title} ({before.get('model', machine)})", tuple(rows), tuple(caveats))


def measure_ssh(board: Board, build: Build, compiler: str, *, timeout_s: float) -> BuildFigures:
    """Copy a self-contained bundle to the board, run it, remove it, and return its row.

    Raises:
        GateError: the outputs are not the reference's.
        MemkdEdgeError: the board is out of reach, or the measurement did not complete.
    """
    with scratch_folder() as local:
        command, tool = write_bundle(local, build, compiler=compiler, python="python3")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path in sorted(local.iterdir()):
                if path.suffix in (".elf", ".py", ".tflite", ".onnx", ".npy"):
                    tar.add(path, path.name)
    folder = board.run("mktemp -d", timeout_s=60).strip()
    try:
        board.run(f"tar -x -C {shlex.quote(folder)}", timeout_s=timeout_s, stdin=archive.getvalue())
        # The limit there ends the program when the connection here is gone.
        limited = f"cd {shlex.quote(folder)} && timeout {timeout_s:.0f} {shlex.join(command)}"
        text = board.run(limited, timeout_s=timeout_s + CONNECT_TIMEOUT_S)
    finally:
        board.run(f"rm -rf {shlex.quote(folder)}", timeout_s=60)
    return measured_row(build, text, tool, board.host)


def _compiler(machine: str, host: str) -> str:
    if machine == "aarch64":
        return "aarch64-linux-gnu-gcc" if platform.machine() != "aarch64" else "cc"
    if machine == platform.machine():
        return "cc"
    raise MemkdEdgeError(
        f"{host} is a {machine}: programs can be built for aarch64 (a 64-bit Raspberry Pi OS) and {platform.machine()}"
    )


def _conditions(board: Board) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in board.run(_CONDITIONS, timeout_s=60).splitlines())


def _caveats(before: dict[str, str], after: dict[str, str]) -> list[str]:
    caveats = []
    if before.get("governor", "performance") != "performance":
        caveats.append(f"The frequency governor was {before['governor']}; `performance` gives steadier times.")
    if "temperature" in before and "temperature" in after:
        start, end = (int(conditions["temperature"]) / 1000 for conditions in (before, after))
        caveats.append(f"The processor went from {start:.0f} to {end:.0f} degrees Celsius.")
    if after.get("throttled", "0x0") != "0x0":
        caveats.append(f"The board has been throttled (vcgencmd get_throttled: {after['throttled']}): times are too long.")
    return caveats
