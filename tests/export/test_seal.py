"""The check digest inside an exported file."""

import hashlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.export.seal import is_sealed, seal, with_blank_check

METADATA = with_blank_check('{"name":"m"}')


def test_the_metadata_stays_a_json_object():
    assert json.loads(METADATA) == {"name": "m", "file_check": "0" * 16}


def test_a_sealed_file_holds_the_digest_of_itself_with_the_digest_blank():
    sealed = seal(b"head" + METADATA + b"tail")
    digest = hashlib.sha256(b"head" + METADATA + b"tail").hexdigest()[:16].encode()
    assert sealed == b"head" + METADATA.replace(b"0" * 16, digest) + b"tail"
    assert is_sealed(sealed)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=60), place=st.floats(0, 0.9999), mask=st.integers(1, 255))
def test_every_change_of_a_byte_breaks_the_seal(content, place, mask):
    sealed = bytearray(seal(content + METADATA + content))
    sealed[int(place * len(sealed))] ^= mask
    assert not is_sealed(bytes(sealed))


def test_a_file_without_metadata_is_left_alone_and_counts_as_unsealed():
    assert seal(b"bare") == b"bare"
    assert not is_sealed(b"bare")
    assert not is_sealed(b"head" + METADATA)
