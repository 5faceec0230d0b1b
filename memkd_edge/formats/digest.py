# SPDX-License-Identifier: Apache-2.0
"""A check digest inside an exported file, so that a damaged one is told before a native runtime, which may crash on it, sees it.

The embedded metadata carries `"file_check"`: the first 16 hex digits of the file's SHA-256, taken while those digits are 0.
"""

import hashlib
import re

_BLANK = b'"file_check":"0000000000000000"'
_CHECK = re.compile(rb'"file_check":"([0-9a-f]{16})"')


def with_blank_check(metadata: str) -> bytes:
    """Return the metadata, a JSON object, with room for the digest."""
    return metadata.removesuffix("}").encode() + b"," + _BLANK + b"}"


def with_digest(data: bytes) -> bytes:
    """Return the file `data` with its digest filled in, or renewed; a file without room for one is returned as it is."""
    blank = _CHECK.sub(_BLANK, data, count=1)
    return blank.replace(_BLANK, _BLANK.replace(b"0" * 16, _digest(blank)), 1)


def digest_holds(data: bytes) -> bool:
    """Return whether the file holds a digest, and just that of its content."""
    found = _CHECK.search(data)
    if found is None:
        return False
    blank = data[: found.start(1)] + b"0" * 16 + data[found.end(1) :]
    return _digest(blank) == found[1]


def is_broken(data: bytes) -> bool:
    """Return whether the file holds a digest that is not that of its content. One that other programs wrote may hold none."""
    return _CHECK.search(data) is not None and not digest_holds(data)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:16].encode()
