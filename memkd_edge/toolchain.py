# SPDX-License-Identifier: Apache-2.0
"""The external programs and Python packages: how each is installed, and the one place that runs programs, within a time limit."""

import functools
import os
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from memkd_edge.errors import MemkdEdgeError, MissingToolError

# program, or file of a compiler's library -> Debian packages
DEBIAN_PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "arm-none-eabi-g++": "gcc-arm-none-eabi libstdc++-arm-none-eabi-newlib",
    "arm-none-eabi-nm": "binutils-arm-none-eabi",
    "arm-none-eabi-objdump": "binutils-arm-none-eabi",
    "arm-none-eabi-readelf": "binutils-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "riscv64-unknown-elf-nm": "binutils-riscv64-unknown-elf",
    "riscv64-unknown-elf-objdump": "binutils-riscv64-unknown-elf",
    "riscv64-unknown-elf-size": "binutils-riscv64-unknown-elf",
    "qemu-system-riscv32": "qemu-system-misc",
    "qemu-aarch64": "qemu-user",
    "qemu-riscv32": "qemu-user",
    "qemu-ppc": "qemu-user",
    "powerpc-linux-gnu-gcc": "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "aarch64-linux-gnu-nm": "binutils-aarch64-linux-gnu",
    "aarch64-linux-gnu-objdump": "binutils-aarch64-linux-gnu",
    "cc": "gcc libc6-dev",
    "clang": "clang",
    "wasm-ld": "lld",
    "ssh": "openssh-client",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "nano.specs": "libnewlib-arm-none-eabi",
    "picolibc.specs": "picolibc-riscv64-unknown-elf",
    "rdimon.specs": "libnewlib-arm-none-eabi",
    "libstdc++_nano.a": "libstdc++-arm-none-eabi-newlib",
}


@dataclass(frozen=True)
class PythonPackage:
    """A package as pip knows it; extra: the extra of memkd-edge that brings it, "" for one that every installation has."""

    distribution: str
    extra: str = ""

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install 'memkd-edge[{self.extra}]'" if self.extra else f"pip install {self.distribution}"


_REQUIRED = (
    "aeon",
    "flatbuffers",
    "jinja2",
    "matplotlib",
    "numba",
    "onnx",
    "onnxruntime",
    "pandas",
    "rich",
    "safetensors",
    "scipy",
)
# by the name of the module
PYTHON_PACKAGES = {
    **{name: PythonPackage(name) for name in (*_REQUIRED, "torch", "typer")},
    "ai_edge_litert": PythonPackage("ai-edge-litert"),
    "google": PythonPackage("protobuf"),
    "ray": PythonPackage("ray", "ray"),
    "serial": PythonPackage("pyserial", "serial"),
    "sklearn": PythonPackage("scikit-learn"),
    "tensorflow": PythonPackage("tensorflow", "tensorflow"),
    "tflite_micro": PythonPackage("tflite-micro", "tflm"),
}


@contextmanager
def naming_missing_packages() -> Iterator[None]:
    """Turn the import error of a package that is not installed into a MissingToolError that says how to install it.

    Also a decorator. An import error of any other module is a defect and passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = PYTHON_PACKAGES.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        raise MissingToolError(f"{package.distribution} is not installed; {package.install}") from error


def find(program: str) -> str:
    """Return the path of `program`.

    Raises:
        MissingToolError: it is not installed; the message names the Debian package.
    """
    path = shutil.which(program)
    if path is None:
        raise MissingToolError(f"{program} is not installed; on Debian: apt-get install {DEBIAN_PACKAGES[program]}")
    return path


def find_library(compiler: str, file: str) -> Path:
    """Return where `compiler` keeps `file`, of a library that is a Debian package of its own.

    Raises:
        MissingToolError: one of the two is not installed.
    """
    place = Path(run([find(compiler), f"-print-file-name={file}"], timeout_s=30).strip())
    if not place.is_file():  # the bare name comes back when there is none
        raise MissingToolError(f"{compiler} has no {file}; on Debian: apt-get install {DEBIAN_PACKAGES[file]}")
    return place


def find_cxx() -> str:
    """Return the path of arm-none-eabi-g++, with its C++ library.

    Raises:
        MissingToolError: one of the two is not installed.
    """
    find_library("arm-none-eabi-g++", "libstdc++_nano.a")
    return find("arm-none-eabi-g++")


@functools.cache
def version(program: str) -> str:
    """Return "program 1.2.3", from the first line of `program --version`."""
    line = run([find(program), "--version"], timeout_s=30).splitlines()[0]
    number = re.search(r"\d+\.\d+\.\d+", line) or re.search(r"\d+\.\d+", line)
    return f"{program} {number[0] if number else '?'}"


@dataclass(frozen=True)
class Finished:
    """How a program ended. exit_code: negative where a signal ended it; errors: its error output."""

    exit_code: int
    output: bytes
    errors: str


def execute(
    command: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    join_stderr: bool = False,
) -> Finished:
    """Run `command` to its end, whichever that is; arguments as of `run`.

    Raises:
        MissingToolError: there is no such program, or it is none.
        TimeLimitError: it ran longer than `timeout_s` seconds and was ended.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if join_stderr else subprocess.PIPE,
            timeout=timeout_s,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},  # some messages are parsed
        )
    except subprocess.TimeoutExpired as error:
        name = os.path.basename(command[0])
        raise TimeLimitError(
            f"{name} did not end within {timeout_s:g} s and was stopped; raise --timeout if the model is large"
        ) from error
    except OSError as error:
        raise MissingToolError(f"{command[0]} cannot be run: {error.strerror}") from error
    return Finished(done.returncode, done.stdout, (done.stderr or b"").decode(errors="replace"))


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    join_stderr: bool = False,
) -> str:
    """Run `command` and return its standard output, with `join_stderr` its error output among it.

    `environment` is added to ours; `stdin` is what the command reads.

    Raises:
        ToolFailedError: it ended with an error.
        TimeLimitError: it ran longer than `timeout_s` seconds and was ended.
    """
    done = execute(command, timeout_s=timeout_s, cwd=cwd, environment=environment, stdin=stdin, join_stderr=join_stderr)
    output = done.output.decode(errors="replace")
    if done.exit_code != 0:
        message = done.errors.strip() or output.strip()
        raise ToolFailedError(f"{os.path.basename(command[0])} failed (exit {done.exit_code}): {message[-2000:]}", message)
    return output


class Companion:
    """A program that goes on running and answers each line that it is given with a line, until it is stopped or ends by itself.

    Raises:
        MissingToolError: there is no such program, or it is none.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._name = os.path.basename(command[0])
        self._answered = 0  # bytes of errors up to its last answer
        environment = {**os.environ, "LC_ALL": "C"}
        pipe = subprocess.PIPE
        with ExitStack() as opened:
            self._errors = opened.enter_context(tempfile.TemporaryFile("a+b"))  # a pipe that nobody reads would make it wait
            try:
                process = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=self._errors, env=environment)
            except OSError as error:
                raise MissingToolError(f"{command[0]} cannot be run: {error.strerror}") from error
            self._process = opened.enter_context(process)
            self._opened = opened.pop_all()

    def ask(self, line: str, *, timeout_s: float) -> Finished | None:
        """Give it a line and wait for its answer; return None then, or how it ended and what it said since the last one.

        Raises:
            TimeLimitError: it has not answered within `timeout_s` seconds; it was stopped.
        """
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        with suppress(BrokenPipeError):  # it has ended, as reading tells
            questions.write(f"{line}\n".encode())
        if not select.select([answers], [], [], timeout_s)[0]:
            self.stop()
            raise TimeLimitError(f"{self._name} did not answer within {timeout_s:g} s and was stopped")
        if answers.readline():
            self._answered = self._errors.seek(0, os.SEEK_END)
            return None
        exit_code = self._process.wait()
        self._errors.seek(self._answered)
        return Finished(exit_code, b"", self._errors.read().decode(errors="replace"))

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._opened.close()


class TimeLimitError(MemkdEdgeError):
    """An external program ran longer than it may."""


class ToolFailedError(MemkdEdgeError):
    """An external program ended with an error; `output` is all it said."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output

    @property
    def last_line(self) -> str:
        """The last line of the output, where most programs name the error."""
        return (self.output.strip().splitlines() or ["it said nothing"])[-1]
