# SPDX-License-Identifier: Apache-2.0
"""The counting plugin (firmware_bench/plugin/count.c): compiled once for the installed QEMU, and its results."""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from memkd_edge import toolchain
from memkd_edge.assets import asset_dir
from memkd_edge.errors import MemkdEdgeError


@dataclass(frozen=True)
class Execution:
    """One instruction's executions inside the windows; taken: how often the next one executed was not its successor."""

    count: int
    taken: int


@dataclass(frozen=True)
class Counts:
    """windows: instructions of each window, in order. profile: by address."""

    windows: tuple[int, ...]
    profile: dict[int, Execution]


def build(emulator: str) -> Path:
    """Return the plugin for `emulator` ("qemu-system-arm", "qemu-aarch64"), compiled into the cache folder at need.

    Raises:
        MissingToolError: emulator or host compiler is not installed.
        MemkdEdgeError: the cache folder cannot be written.
    """
    source = asset_dir("firmware_bench") / "plugin" / "count.c"
    major = int(re.findall(r"\d+", toolchain.version(emulator).removeprefix(emulator))[0])
    api = 1 if major < 9 else 2
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memkd-edge"
    library = cache / f"count-{digest}-api{api}.so"
    if not library.is_file():
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MemkdEdgeError(f"cannot write {cache}: {error.strerror}; choose another place with XDG_CACHE_HOME") from error
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fresh = Path(folder) / "count.so"
            command = [toolchain.find("cc"), "-std=gnu11", "-shared", "-fPIC", "-O2", f"-DPLUGIN_API={api}"]
            toolchain.run([*command, str(source), "-o", str(fresh)], timeout_s=60)
            os.replace(fresh, library)
    return library


def read(path: Path) -> Counts:
    """Read the plugin's result file."""
    windows = []
    profile: dict[int, Execution] = {}
    for line in path.read_text().splitlines():
        kind, *values = line.split()
        if kind == "window":
            windows.append(int(values[0]))
        else:
            address, count, taken = int(values[0], 16), int(values[1]), int(values[2])
            before = profile.get(address, Execution(0, 0))
            profile[address] = Execution(before.count + count, before.taken + taken)
    return Counts(tuple(windows), profile)
