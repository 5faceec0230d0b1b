# SPDX-License-Identifier: Apache-2.0
"""The external programs and Python packages: how each is installed, and the one place that runs programs, within a time limit."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from memkd_edge.errors import MemkdEdgeError, MissingToolError

# program -> Debian package
PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "arm-none-eabi-g++": "gcc-arm-none-eabi libstdc++-arm-none-eabi-newlib",
    "arm-none-eabi-objdump": "binutils-arm-none-eabi",
    "arm-none-eabi-readelf": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-aarch64": "qemu-user",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "aarch64-linux-gnu-nm": "binutils-aarch64-linux-gnu",
    "aarch64-linux-gnu-objdump": "binutils-aarch64-linux-gnu",
    "arm-none-eabi-nm": "binutils-arm-none-eabi",
    "cc": "gcc",
    "ssh": "openssh-client",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
}

# module -> how pip installs it. A Raspberry Pi has only numpy and ai-edge-litert of these.
MODULES = {
    **{name: f"pip install {name}" for name in ("aeon", "flatbuffers", "jinja2", "matplotlib", "numba", "onnx", "onnxruntime")},
    **{name: f"pip install {name}" for name in ("pandas", "rich", "safetensors", "scipy", "torch", "typer")},
    "ai_edge_litert": "pip install ai-edge-litert",
    "google": "pip install protobuf",
    "ray": "pip install 'memkd-edge[ray]'",
    "serial": "pip install 'memkd-edge[serial]'",
    "sklearn": "pip install scikit-learn",
    "tflite_micro": "pip install 'memkd-edge[tflm]'",
}


@contextmanager
def naming_missing_packages() -> Iterator[None]:
    """Turn the import error of a package that is not installed into a MissingToolError that says how to install it.

    Also a decorator. An import error of any other module is a defect and passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in MODULES:
            raise
        raise MissingToolError(
            f"{module} is not installed; {MODULES[module]}, or pip install memkd-edge for all that it works with"
        ) from error


def find(program: str) -> str:
    """Return the path of `program`.

    Raises:
        MissingToolError: it is not installed; the message names the Debian package.
    """
    path = shutil.which(program)
    if path is None:
        raise MissingToolError(f"{program} is not installed; on Debian: apt-get install {PACKAGES[program]}")
    return path


def find_cxx() -> str:
    """Return the path of arm-none-eabi-g++, whose C++ library is a package of its own.

    Raises:
        MissingToolError: one of the two is not installed.
    """
    compiler = find("arm-none-eabi-g++")
    library = run([compiler, "-print-file-name=libstdc++_nano.a"], timeout_s=30).strip()
    if not os.path.isabs(library):  # the bare name: not found
        raise MissingToolError(
            "the C++ library of arm-none-eabi-g++ is not installed; on Debian: apt-get install libstdc++-arm-none-eabi-newlib"
        )
    return compiler


@functools.cache
def version(program: str) -> str:
    """Return "program 1.2.3", from the first line of `program --version`."""
    line = run([find(program), "--version"], timeout_s=30).splitlines()[0]
    number = re.search(r"\d+\.\d+(\.\d+)?", line)
    return f"{program} {number[0] if number else '?'}"


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
        MemkdEdgeError: it ran longer than `timeout_s` seconds and was ended.
    """
    name = os.path.basename(command[0])
    errors = subprocess.STDOUT if join_stderr else subprocess.PIPE
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=errors,
            timeout=timeout_s,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},  # some messages are parsed
        )
    except subprocess.TimeoutExpired as error:
        raise MemkdEdgeError(
            f"{name} did not end within {timeout_s:g} s and was stopped; raise --timeout if the model is large"
        ) from error
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        message = (done.stderr or b"").decode(errors="replace").strip() or output.strip()
        raise ToolFailedError(f"{name} failed (exit {done.returncode}): {message[-2000:]}", message)
    return output


class ToolFailedError(MemkdEdgeError):
    """An external program ended with an error; `output` is all it said."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output

    @property
    def last_line(self) -> str:
        """The last line of the output, where most programs name the error."""
        return (self.output.strip().splitlines() or ["it said nothing"])[-1]
