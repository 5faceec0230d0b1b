# SPDX-License-Identifier: Apache-2.0
"""An arm64 Python with LiteRT in a folder, to run .tflite files under qemu-user as on a Raspberry Pi.

It is made of Debian's arm64 packages, unpacked, not installed: neither root nor a foreign architecture on this system is needed.
It takes about 190 MB on disk.
"""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from memkd_edge import toolchain
from memkd_edge.errors import MemkdEdgeError

PYTHON = "usr/bin/python3"
SITE_PACKAGES = "site-packages"
# ai-edge-litert after 2.1.6 crashes under user-mode emulation.
WHEELS = ("ai-edge-litert==2.1.6", "numpy==2.2.6")
PACKAGES = ("python3-minimal", "python3", "libstdc++6", "libc-bin")


def location() -> Path:
    """Return the folder of the arm64 root: $MEMKD_EDGE_ARM64_ROOT, or one in the user's data folder."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(os.environ.get("MEMKD_EDGE_ARM64_ROOT") or data / "memkd-edge" / "arm64-root")


def is_built(root: Path) -> bool:
    """Tell whether `root` holds an arm64 Python with LiteRT."""
    return (root / PYTHON).exists() and (root / SITE_PACKAGES / "ai_edge_litert").is_dir()


def build(root: Path) -> None:
    """Download and unpack the root; an existing one is replaced when the new one is complete.

    Raises:
        MissingToolError: apt-get or dpkg-deb is not installed (this is no Debian).
        MemkdEdgeError: a download failed.
    """
    apt, unpack = toolchain.find("apt-get"), toolchain.find("dpkg-deb")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MemkdEdgeError(
            f"cannot write {root.parent}: {error.strerror}; choose another with MEMKD_EDGE_ARM64_ROOT"
        ) from error
    with tempfile.TemporaryDirectory(dir=root.parent) as name:
        folder = Path(name)
        fresh = folder / "root"
        for part in ("state/lists/partial", "cache/archives/partial", "root"):
            (folder / part).mkdir(parents=True)
        (folder / "state" / "status").touch()  # nothing is installed there: apt fetches all dependencies
        # fmt: off
        options = [
            "-o", "APT::Architecture=arm64", "-o", "APT::Architectures::=arm64", "-o", "APT::Sandbox::User=root",
            "-o", f"Dir::State={folder / 'state'}", "-o", f"Dir::State::status={folder / 'state' / 'status'}",
            "-o", f"Dir::Cache={folder / 'cache'}",
        ]
        # fmt: on
        toolchain.run([apt, *options, "-qq", "update"], timeout_s=600)
        toolchain.run(
            [apt, *options, "-qq", "-y", "--no-install-recommends", "--download-only", "install", *PACKAGES], timeout_s=900
        )
        for package in sorted((folder / "cache" / "archives").glob("*.deb")):
            toolchain.run([unpack, "-x", str(package), str(fresh)], timeout_s=120)
        _install_wheels(fresh)
        if not is_built(fresh):
            raise MemkdEdgeError(f"the downloaded packages hold no Python; see {', '.join(PACKAGES)} in your Debian release")
        shutil.rmtree(root, ignore_errors=True)
        os.replace(fresh, root)


def _install_wheels(root: Path) -> None:
    version = re.search(r"python(3\.\d+)", os.readlink(root / PYTHON))
    if version is None:
        raise MemkdEdgeError(f"{root}/usr/bin/python3 names no Python version")
    # fmt: off
    pip = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(root / SITE_PACKAGES),
        "--python-version", version[1], "--implementation", "cp", "--only-binary", ":all:",
    ]
    # fmt: on
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 31, 34, 35)] + ["manylinux2014_aarch64"]
    toolchain.run([*pip, *(word for name in platforms for word in ("--platform", name)), *WHEELS], timeout_s=900)
