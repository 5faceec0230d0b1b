# SPDX-License-Identifier: Apache-2.0
"""The check digest inside an exported file."""

import hashlib
import json

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.formats.digest import digest_holds, is_broken, with_blank_check, with_digest
from memkd_edge.formats.inspection import CHANGED, inspect
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.verification.pipeline import verify
from memkd_edge.writers.onnx import quantize_dynamic, write_onnx_sequence, write_onnx_step
from tests.writers.toy import metadata, student

METADATA = with_blank_check('{"name":"m"}')


def test_the_metadata_stays_a_json_object():
    assert json.loads(METADATA) == {"name": "m", "file_check": "0" * 16}


def test_a_sealed_file_holds_the_digest_of_itself_with_the_digest_blank():
    written = with_digest(b"head" + METADATA + b"tail")
    digest = hashlib.sha256(b"head" + METADATA + b"tail").hexdigest()[:16].encode()
    assert written == b"head" + METADATA.replace(b"0" * 16, digest) + b"tail"
    assert digest_holds(written)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=60), place=st.floats(0, 0.9999), mask=st.integers(1, 255))
def test_every_change_of_a_byte_breaks_the_seal(content, place, mask):
    written = bytearray(with_digest(content + METADATA + content))
    written[int(place * len(written))] ^= mask
    assert not digest_holds(bytes(written))


def test_a_file_without_metadata_is_left_alone_and_counts_as_unsealed():
    assert with_digest(b"bare") == b"bare"
    assert not digest_holds(b"bare")
    assert not digest_holds(b"head" + METADATA)


def test_a_seal_can_be_renewed():
    written = with_digest(b"head" + METADATA + b"tail")
    assert with_digest(written) == written
    assert digest_holds(with_digest(written.replace(b"tail", b"toes")))


def test_a_file_of_another_program_is_not_broken():
    assert not is_broken(b"bare")
    assert not is_broken(with_digest(b"head" + METADATA))
    assert is_broken(b"head" + METADATA)


@pytest.mark.parametrize(
    "write", [write_onnx_step, write_onnx_sequence, lambda *given: quantize_dynamic(write_onnx_step(*given))]
)
def test_onnx_files_are_sealed_and_stay_whole_to_onnx(write):
    data = write(student(), metadata())
    assert digest_holds(data)
    assert not digest_holds(onnx.load_model_from_string(data).SerializeToString() + b" ")
    onnx.checker.check_model(data)


def test_an_altered_onnx_weight_is_one_error_that_names_the_file(tmp_path):
    model = onnx.load_model_from_string(write_onnx_step(student(), metadata()))
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "head_weight")
    weight.raw_data = weight.raw_data[:-1] + bytes([weight.raw_data[-1] ^ 1])
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    with pytest.raises(MemkdEdgeError, match=r"m\.onnx: changed since export: .*does not match its check digest"):
        StreamingClassifier(path)
    assert inspect(path).warnings == (CHANGED,)
    (file,) = verify(path).files  # it has no golden vector, and one runtime: nothing contradicts it
    assert (file.failures, file.notes) == ((), (CHANGED,))
