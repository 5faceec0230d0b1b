# SPDX-License-Identifier: Apache-2.0
"""Finds the resource folders `export`, `firmware_bench`, `models` and `datasets`, in a checkout and in a wheel alike."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset_dir(name: str) -> Path:
    """Return the resource folder `name` ("export", "firmware_bench", "models" or "datasets").

    A wheel carries the folders in `memkd_edge/_assets/`; a checkout has them beside the package.

    Raises:
        FileNotFoundError: the installation lacks the folder (a broken wheel).
    """
    for root in (_PACKAGE / "_assets", _PACKAGE.parent):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"resource folder {name!r} is missing from this installation of memkd-edge")
