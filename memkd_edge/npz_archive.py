# SPDX-License-Identifier: Apache-2.0
"""The arrays of an .npz file, read only as far as they are asked for, and only after their size is known."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError

INFLATED = 1 << 30  # bytes; a greater array may be INFLATION times as large as what stands in the file, no more
INFLATION = 100  # measured signals shrink by 2 to 10 times


class NpzArchive:
    """An open .npz file; a context manager.

    Raises:
        UsageError: the file is missing or no .npz file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
        except Exception as error:  # damage surfaces as whatever zipfile and its codecs raise
            raise UsageError(f"{path}: not a readable .npz file ({_what_it_is(path) or error})") from error
        self._members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    @property
    def names(self) -> str:
        """The names of all members, sorted, for messages."""
        return ", ".join(sorted(self._members)) or "nothing"

    def read(self, name: str) -> NDArray[Any]:
        """Return an array.

        Raises:
            UsageError: there is none of that name, or it is damaged, no array, of pickled objects, or inflates out of proportion.
        """
        if name not in self._members:
            raise UsageError(f"{self._path}: no array {name}; it holds {self.names}")
        info = self._members[name]
        if info.file_size > max(INFLATED, INFLATION * info.compress_size):
            raise UsageError(
                f"{self._path}: {name} would grow from {info.compress_size / 1e6:,.1f} MB in the file to "
                f"{info.file_size / 1e9:,.1f} GB; if that is meant, store it uncompressed (numpy.savez)"
            )
        try:
            with self._zip.open(info) as member:
                self._check_header(name, member, info.file_size)
            with self._zip.open(info) as member:
                read: Any = np.lib.format.read_array
                array: NDArray[Any] = read(member, allow_pickle=False)
        except UsageError:
            raise
        except Exception as error:  # damage surfaces as whatever zipfile, zlib and numpy's header parser raise
            raise UsageError(f"{self._path}: {name} is damaged ({error})") from error
        return array

    def _check_header(self, name: str, member: IO[bytes], size: int) -> None:
        """Compare what the array's header announces with the member's size, before anything of that size is allocated."""
        if member.read(6) != b"\x93NUMPY":
            raise UsageError(f"{self._path}: {name} is no numpy array; write the file with numpy.savez")
        version = tuple(member.read(2))
        if version not in ((1, 0), (2, 0)):
            raise UsageError(f"{self._path}: {name} is of npy version {version}; numbers and text are stored in 1.0 or 2.0")
        read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        if dtype.hasobject:
            raise UsageError(
                f"{self._path}: {name} holds pickled Python objects, which are not read, because that could run code; save "
                "numbers or text: numpy.array(values.tolist()) makes such an array"
            )
        announced = int(np.prod(shape, dtype=object)) * dtype.itemsize if shape else dtype.itemsize
        if member.tell() + announced != size:
            raise UsageError(f"{self._path}: {name} is damaged (its header announces {announced} bytes)")


def _what_it_is(path: Path) -> str:
    """Return what a file that is no .npz file seems to be, "" when unknown."""
    with path.open("rb") as file:
        start = file.read(40)
    if start.startswith(b"\x93NUMPY"):
        return "it is a single array, as numpy.save writes it; numpy.savez(path, X=..., y=...) writes several"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; `git lfs pull` brings the file"
    if start.startswith(b"PK"):
        return ""
    return "it is a text file" if start and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in start) else ""
