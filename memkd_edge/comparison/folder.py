# SPDX-License-Identifier: Apache-2.0
"""The folder of a comparison: whose it is, and what it holds."""

import shutil
from pathlib import Path

from memkd_edge.config import CompareConfig, from_table, parse_toml, to_toml
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.options import values_of
from memkd_edge.runs import write_atomic

ROOT = Path("compare")  # of comparisons whose folder is not named
TABLE = "rows.csv"
CONFIGURATION = "compare.toml"

# Settings that say where and how fast, not what: a comparison may continue with others.
_FREE = ("data_root", "accelerator", "threads", "memory_limit", "executor", "ray_address")


def newest() -> Path:
    """Return the folder of the comparison under compare/ to whose table rows were added last.

    Raises:
        UsageError: there is none.
    """
    tables = sorted(ROOT.glob(f"*/{TABLE}"), key=lambda table: table.stat().st_mtime)
    if not tables:
        raise UsageError(f"no comparison under {ROOT.resolve()} has rows yet; `memkd-edge compare` makes one")
    return tables[-1].parent


def teachers_file(folder: Path, dataset: str) -> Path:
    """Return the file that keeps a data set's teachers while it trains."""
    return folder / f"teachers-{dataset}.safetensors"


def read_configuration(path: Path, remedy: str) -> CompareConfig:
    """Return the configuration that a comparison saved.

    Raises:
        MemkdEdgeError: the file is damaged; the message ends with `remedy`.
    """
    try:
        return from_table(CompareConfig, parse_toml(path.read_bytes(), path)["compare"])
    except (KeyError, TypeError, UsageError) as error:
        raise MemkdEdgeError(f"{path}: damaged ({error}); {remedy}") from error


def claim(folder: Path, config: CompareConfig, force: bool) -> None:
    """Make `folder` this comparison's: a new or empty one, or one that holds the same comparison.

    Raises:
        UsageError: it holds something else.
        MemkdEdgeError: its compare.toml is damaged.
    """
    path = folder / CONFIGURATION
    if path.is_file() and force:
        shutil.rmtree(folder / "runs", ignore_errors=True)
        for file in (folder / TABLE, *folder.glob(teachers_file(folder, "*").name)):
            file.unlink(missing_ok=True)
    elif path.is_file():
        before = read_configuration(path, "--force starts the comparison anew")
        there, here = values_of(before), values_of(config)
        other = [
            f"{key} is {there[key]} there and {here[key]} here" for key in here if key not in _FREE and there[key] != here[key]
        ]
        if other:
            raise UsageError(
                f"{folder} holds another comparison: {'; '.join(other)}. Choose another --out, or --force to start anew"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no comparison; choose another --out")
    write_atomic(path, to_toml("compare", config).encode())
