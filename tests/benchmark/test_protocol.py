# SPDX-License-Identifier: Apache-2.0
"""The runner's text, as it may arrive: whole, with garbage between, twice, damaged, cut off."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.benchmark.protocol import Parser, fnv1a, parse
from memkd_edge.errors import MemkdEdgeError

BODY = [
    "protocol=1",
    "steps=2",
    "state_bytes=8",
    "stack=40",
    "logits.0=1 -2",
    "logits.1=3 4",
    "overhead=5",
    "ticks=105",
    "ticks=95",
]


def message(lines=BODY):
    digest = fnv1a("".join(line + "\n" for line in lines))
    return [*lines, f"done={digest:08x}"]


def test_the_hash_is_fnv_1a():
    assert fnv1a("") == 0x811C9DC5
    assert fnv1a("foobar") == 0xBF9CF968  # from the authors' test vectors


def test_a_whole_message_is_read():
    result = parse(message(), floats=False)
    assert (result.steps, result.state_bytes, result.stack) == (2, 8, 40)
    assert result.ticks == [100, 90]
    np.testing.assert_array_equal(result.logits, [[1, -2], [3, 4]])


def test_floats_come_as_their_bits():
    lines = ["protocol=1", "steps=1", "logits.0=3f800000 c0490fdb"]
    result = parse(message(lines), floats=True)
    np.testing.assert_array_equal(result.logits, np.array([[1.0, -3.1415927410125732]], np.float32))


def test_foreign_lines_and_carriage_returns_are_skipped():
    lines = ["boot v1.2", *(line + "\r\n" for line in message()[:4]), "[debug] adc=17?", *message()[4:]]
    assert parse(lines, floats=False).steps == 2


def test_a_reset_in_the_middle_begins_anew():
    assert parse([*BODY[:6], "\x00\xff", *message()], floats=False).ticks == [100, 90]


@pytest.mark.parametrize("length", range(len("\n".join(message()))))
def test_a_reset_after_any_character_begins_anew(length):
    text = "\n".join(message())
    assert parse((text[:length] + text).split("\n"), floats=False).ticks == [100, 90]


@pytest.mark.parametrize("start", range(1, len(message()) + 1))
def test_a_port_opened_in_the_middle_waits_for_the_next_start(start):
    assert parse([*message()[start:], *message()], floats=False).ticks == [100, 90]


@pytest.mark.parametrize("index", range(1, len(BODY)))
def test_a_lost_line_is_noticed(index):
    lines = message()
    del lines[index]
    with pytest.raises(MemkdEdgeError, match="lost or damaged"):
        parse(lines, floats=False)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(BODY) - 1), st.integers(0, 40), st.characters(min_codepoint=1, max_codepoint=126))
def test_a_damaged_character_never_gives_another_measurement(line, position, character):
    lines = message()
    text = lines[line]
    position %= len(text)
    lines[line] = text[:position] + character + text[position + 1 :]
    try:
        result = parse(lines, floats=False)
    except MemkdEdgeError:
        return
    assert lines[line].strip() == text or result.ticks == [100, 90]


def test_a_cut_message_is_refused():
    with pytest.raises(MemkdEdgeError, match="ended early"):
        parse(message()[:-1], floats=False)


def test_a_fault_is_reported():
    with pytest.raises(MemkdEdgeError, match="hardware fault"):
        parse(["protocol=1", "fault=1"], floats=False)
    with pytest.raises(MemkdEdgeError, match="hardware fault"):  # the port was opened after the first line
        parse(["fault=1"], floats=False)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=30), max_size=20))
def test_arbitrary_text_never_breaks_the_parser(lines):
    parser = Parser(floats=False)
    for line in lines:
        with contextlib.suppress(MemkdEdgeError):
            assert parser.push(line) is None


@pytest.mark.parametrize(
    "lines",
    [
        ["protocol=1", "steps=" + "9" * 5000, "logits.0=1"],
        ["protocol=1", "steps=1", "logits.0=" + "9" * 5000],
        ["protocol=1", "steps=1", "ticks=" + "9" * 5000, "logits.0=1"],
    ],
)
def test_a_number_of_thousands_of_digits_is_a_foreign_line(lines):
    with pytest.raises(MemkdEdgeError, match="lost or damaged"):
        parse(message(lines), floats=False)


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize(
    "lines",
    [
        ["protocol=1", "steps=9999999999999999999", "logits.0=1"],
        ["protocol=1", "steps=2", "logits.0=1 2", "logits.1=1"],
        ["protocol=1", "steps=1", "logits.5=1"],
        ["protocol=1", "steps=1", "logits.0=--"],
        ["protocol=1", "steps=1", "logits.0=99999999999"],
        ["protocol=1"],
        ["protocol=2", *BODY[1:]],
    ],
)
def test_lines_of_a_right_checksum_that_make_no_sense_are_one_error(lines, floats):
    with pytest.raises(MemkdEdgeError, match="does not speak this version's protocol"):
        parse(message(lines), floats=floats)
