# SPDX-License-Identifier: Apache-2.0
"""A board on a serial port, played through a pseudo-terminal: recorded so that `distill` reads it, and watched by a model."""

import contextlib
import io
import itertools
import os
import pty
import re
import signal
import sys
import threading
import tty
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.board_stream import Reading, readings, record, watch
from memkd_edge.data.recording_loading import load_recordings
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.metadata import SignalRange
from memkd_edge.serial_port import open_port
from memkd_edge.streaming import StreamingClassifier
from tests.data.test_data_report import called
from tests.test_classification import model_file
from tests.test_progress import read_until, terminal

pytest.importorskip("serial", reason="needs pyserial: pip install 'memkd-edge[serial]'")

Board = tuple[Callable[[str], None], str]


@pytest.fixture
def board() -> Iterator[Board]:
    """A function that says text as the board, again and again from a thread, and the name of the port to listen at."""
    ours, port = pty.openpty()
    tty.setraw(ours)
    tty.setraw(port)
    os.set_blocking(ours, False)
    said, ended = [""], threading.Event()

    def run() -> None:
        left = b""
        while not ended.wait(0.01):
            left = left or said[0].encode()
            with contextlib.suppress(OSError):  # nobody reads
                left = left[os.write(ours, left[:512]) :]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def say(text: str) -> None:
        said[0] = text

    yield say, os.ttyname(port)
    ended.set()
    thread.join()
    os.close(ours)
    os.close(port)


def spoken(count: int) -> str:
    return "cut off\n# hello\nacc_x [m/s2],acc_y [m/s2]\n" + "".join(f"{t / 10:g},{-t}\n" for t in range(count))


def every(seconds: float, source: Iterable[Reading]) -> Iterator[Reading]:
    """The same readings, each so long after the one before."""
    return (replace(one, seconds=number * seconds) for number, one in enumerate(source))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


def heard(text: str, clock: Callable[[], float] = lambda: 0.0, **options: object) -> list[Reading]:
    """What is read of `text` from a port that is gone at its end."""

    class Port:
        source = io.BytesIO(text.encode())
        in_waiting = 256

        def read(self, size: int) -> bytes:
            chunk = self.source.read(min(size, 7))
            if not chunk:
                raise OSError("gone")
            return chunk

    found: list[Reading] = []

    def collect() -> None:
        for one in readings(Port(), clock=clock, **options):  # type: ignore[arg-type]
            found.append(one)

    with pytest.raises(MemkdEdgeError, match="unplugged"):
        collect()
    return found


def test_lines_are_read_with_names_units_and_damage() -> None:
    text = "1,2\nacc_x [m/s2],gyro [rad/s]\r\n1,2\n3\n# 4,5\n4,nan\n\n-5e-1,6\na,b\n7,8\n"
    found = heard(text)
    names, units = ("acc_x", "gyro"), ("m/s2", "rad/s")
    assert found == [
        Reading(names, units, (1.0, 2.0), 0.0),
        Reading(names, units, None, 0.0),
        Reading(names, units, None, 0.0),
        Reading(names, units, (-0.5, 6.0), 0.0),
        Reading(("a", "b"), ("", ""), (7.0, 8.0), 0.0),
    ]
    # Without names no sample is taken; with them the board need not say any.
    assert heard("x\n1,2\n3,4\n") == []
    assert [one.values for one in heard("x\n1,2\n3,4\n", channels=("p", "q"))] == [(1.0, 2.0), (3.0, 4.0)]


def test_a_value_that_is_no_number_is_damage_and_names_no_channel() -> None:
    assert [one.values for one in heard("x\necg\n1\nnan\novf\nInf\n2\n")] == [(1.0,), None, None, None, (2.0,)]
    assert [one.values for one in heard("x\np,q\n1,2\nnan,inf\n3,4\n")] == [(1.0, 2.0), None, (3.0, 4.0)]


def test_a_value_beyond_float32_is_damage_and_does_not_end_the_watching(tmp_path: Path) -> None:
    lines = ["0.5,9.8"] * 30 + ["0.5,-1e39", "2e300,9.8", "0.5,3.4e38"] + ["0.5,9.8"] * 30
    source = heard("x\nacc_x,acc_y\n" + "\n".join(lines) + "\n")
    assert [at for at, one in enumerate(source) if one.values is None] == [30, 31]
    assert len(list(watch(iter(source), StreamingClassifier(model_file(tmp_path / "steps.tflite"))))) == 61


def test_what_a_wrong_baud_makes_of_lines_names_no_channel() -> None:
    assert [one.values for one in heard("x\necg\na\ufffd,b\n1\nb\x02\n2\n")] == [None, (1.0,), None, (2.0,)]


def test_named_channels_have_units_and_names_of_their_own() -> None:
    named = heard("x\n1,2\n", channels=("acc_x [m/s2]", "gyro"))
    assert named == [Reading(("acc_x", "gyro"), ("m/s2", ""), (1.0, 2.0), 0.0)]
    with pytest.raises(UsageError, match="two channels have the same name: p, p; give each its own with --channels"):
        next(readings(None, ("p", "p [g]")))
    assert [one.channels for one in heard("x\np,q\n1,2\nr,r [g]\n1,2\n")] == [("p", "q")] * 3  # the second is damage


def test_a_word_among_the_samples_is_no_other_channel() -> None:
    """A board of one channel repeats its name as it starts anew; what else it says is damage, as on a board of several."""
    ecg = heard("x\nbooting\necg [mV]\n1\nlow battery\n2\necg [mV]\n3\n")
    assert [(one.channels, one.values) for one in ecg] == [(("ecg",), value) for value in ((1.0,), None, (2.0,), (3.0,))]
    assert [one.values for one in heard("x\np,q\n1,2\nconnected\n3,4\n")] == [(1.0, 2.0), None, (3.0, 4.0)]
    late = heard("x\necg\n" + "1\n" * 100 + "ecg\n2\n", clock=Clock(), silent_s=0.05)  # long after it was first named
    assert [one.values for one in late] == [(1.0,)] * 100 + [(2.0,)]
    told = heard("x\nbooting\n1,2\n", channels=("p", "q"))
    assert [(one.channels, one.values) for one in told] == [(("p", "q"), None), (("p", "q"), (1.0, 2.0))]


def test_a_silent_or_nameless_board_is_named(board: Board) -> None:
    say, port = board
    with open_port(port, 115200) as connection:
        with pytest.raises(MemkdEdgeError, match=r"no line came for 0\.2 s; check port"):
            next(readings(connection, silent_s=0.2))
        say("1,2\n")
        with pytest.raises(MemkdEdgeError, match="does not say its channels; name them with --channels"):
            next(readings(connection, silent_s=0.05, clock=Clock()))
    with pytest.raises(MemkdEdgeError, match=r"cannot open /dev/none: .*; --serial names the board's serial device"):
        open_port("/dev/none", 115200)


def test_a_recording_is_what_distill_reads(board: Board, tmp_path: Path) -> None:
    say, port = board
    say(spoken(220))
    for subject in ("s01", "s02"):
        labels = iter(["walk"] * 100 + [""] * 20 + ["rest"] * 80)
        with open_port(port, 115200) as connection, (tmp_path / f"{subject}.csv").open("w") as out:
            source = every(0.01, readings(connection))
            got = record(source, out, label=lambda: next(labels), subject=subject, seconds=2.0)  # noqa: B023
        assert (got.rows, got.damaged) == (200, 0)
        assert got.seconds == pytest.approx(1.99)
    data = load_recordings(tmp_path)
    assert data.channels == ("acc_x", "acc_y")
    assert data.units == ("m/s2", "m/s2")
    assert sorted(one.subject for one in (*data.train, *data.test)) == ["s01", "s02"]
    assert data.sample_rate_hz == pytest.approx(100)
    one = data.train[0]
    np.testing.assert_allclose(one.x[:, 0], -one.x[:, 1] / 10, atol=1e-5)
    assert (np.diff(one.x[:, 1])[:20] == -1).sum() >= 19  # but where the board begins again
    assert [data.labels[k] if k >= 0 else "" for k in one.y[[0, 99, 110, 130]]] == ["walk", "walk", "", "rest"]


def test_damaged_lines_have_no_row_and_other_channels_end_it() -> None:
    names, units = ("p", "q"), ("", "g")
    source = [
        Reading(names, units, (8388607.0, 0.1), 5.0),
        Reading(names, units, None, 6.0),
        Reading(names, units, (-16777215.0, 2.5), 7.25),
        Reading(("p",), ("",), (1.0,), 8.0),
    ]
    out = io.StringIO()
    with pytest.raises(MemkdEdgeError, match="other channels or units on the way \\(p\\)"):
        record(iter(source), out, label=lambda: "a,b")
    with pytest.raises(MemkdEdgeError, match="other channels or units on the way"):
        record(iter([source[0], replace(source[0], units=("", "m/s2"))]), io.StringIO(), label=lambda: "")
    # A converter's 24 bits lose none.
    assert out.getvalue() == 'time,p,q [g],label\n0.000000,8388607,0.1,"a,b"\n2.250000,-16777215,2.5,"a,b"\n'
    got = record(iter(source[:3]), io.StringIO(), label=lambda: "")
    assert (got.rows, got.damaged, got.seconds) == (2, 1, 2.25)


def test_a_board_that_starts_while_it_is_recorded_leaves_its_log_out() -> None:
    """ESP-IDF's log: some lines look like names, and lines in colour after them like damaged samples of these."""
    log = "rst:0x1 (POWERON),boot:0x8 (SPI_FAST_FLASH_BOOT)\nentry 0x400805e4\n\x1b[0;32mI (27) boot: ESP-IDF v5.1\x1b[0m\n"
    source = heard(f"x\n{log}p [g],q\n1,2\n3,{log}p [g],q\n5,6\n")
    out = io.StringIO()
    recorded = record(iter(source), out, label=lambda: "walk")
    assert [line.partition(",")[2] for line in out.getvalue().splitlines()] == ["p [g],q,label", "1,2,walk", "5,6,walk"]
    assert (recorded.rows, recorded.damaged) == (2, 4)


def test_ctrl_c_ends_a_recording_and_what_was_left_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Reading(("p",), ("",), (1.0,), 0.0)

    def spoken(*said: Reading) -> Callable[..., Iterator[Reading]]:
        def until_ctrl_c(*_: object) -> Iterator[Reading]:
            yield from said
            raise KeyboardInterrupt

        return until_ctrl_c

    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    monkeypatch.setattr("memkd_edge.serial_port.open_port", lambda *_: contextlib.nullcontext())
    out = tmp_path / "r.csv"
    for said, printed in (
        (
            (good, replace(good, values=None), replace(good, seconds=2.5)),
            f"2 samples in 2.5 s, 1 damaged lines left out: {out}\n",
        ),
        ((), "0 samples in 0.0 s: no file\n"),
    ):
        out.unlink(missing_ok=True)
        monkeypatch.setattr("memkd_edge.board_stream.readings", spoken(*said))
        assert called(monkeypatch, capsys, "record", "--serial", "port", "--out", str(out))[:2] == (0, printed)
        assert out.exists() == bool(said)


@pytest.mark.parametrize("name", ["time", "Label", "subject"])
def test_a_channel_named_as_a_column_of_the_recording_is_refused_at_once(name: str) -> None:
    out = io.StringIO()
    with pytest.raises(UsageError, match=f"the board has a channel {name}, which a recording has a column of its own for"):
        record(iter([Reading(("p", name), ("", ""), (1.0, 2.0), 0.0)]), out, label=lambda: "walk")
    assert out.getvalue() == ""


def test_samples_that_arrive_together_have_times_of_their_own(tmp_path: Path) -> None:
    """A board of 50 Hz whose lines arrive five at a time: what is recorded is evenly spaced, and read as 50 Hz."""
    lines = [b"%d,%d\n" % (37 * t % 97, -t % 89) for t in range(200)]
    clock, pieces = [0.0], []

    class Port:
        in_waiting = 4096

        def read(self, size: int) -> bytes:
            if not pieces:
                raise OSError("gone")
            clock[0] += 0.1
            return pieces.pop(0)

    for subject in ("s01", "s02"):
        pieces = [b"-\nacc_x,acc_y\n", *(b"".join(lines[at : at + 5]) for at in range(0, len(lines), 5))]
        out, labels = tmp_path / f"{subject}.csv", itertools.cycle(["walk"] * 50 + ["rest"] * 50)
        with out.open("w") as file, pytest.raises(MemkdEdgeError, match="unplugged"):
            record(readings(Port(), clock=lambda: clock[0]), file, label=partial(next, labels), subject=subject)
        times = [float(row.split(",")[0]) for row in out.read_text().splitlines()[1:]]
        np.testing.assert_allclose(np.diff(times), 0.02, atol=2e-6)
    assert load_recordings(tmp_path).sample_rate_hz == pytest.approx(50)


@pytest.mark.parametrize("together", [1, 2, 10, 32])
def test_a_pause_of_a_board_whose_lines_arrive_together_is_a_pause(together: int, tmp_path: Path) -> None:
    """A sensor's queue of so many samples at 50 Hz, and 5 s without any: no sample is taken into the pause."""
    x = np.random.default_rng(0).normal(size=(20 * together, 2)).round(3)
    lines = [b"%r,%r\n" % tuple(sample) for sample in x.tolist()]
    clock, pieces = [0.0], [b"-\nacc_y,acc_x\n", *(b"".join(lines[at : at + together]) for at in range(0, len(lines), together))]

    class Port:
        in_waiting = 4096

        def read(self, size: int) -> bytes:
            if not pieces:
                raise OSError("gone")
            clock[0] += 0.02 * together + 5.0 * (len(pieces) == 10)
            return pieces.pop(0)

    source: list[Reading] = []
    with pytest.raises(MemkdEdgeError, match="unplugged"):
        source.extend(readings(Port(), clock=lambda: clock[0]))
    expected = np.full(len(x) - 1, 0.02)
    expected[10 * together - 1] += 5.0
    np.testing.assert_allclose(np.diff([one.seconds for one in source]), expected, atol=1e-9)
    moments = list(watch(iter(source), StreamingClassifier(model_file(tmp_path / "steps.tflite"))))
    assert [(at, one.notes) for at, one in enumerate(moments) if one.notes] == [(10 * together, ("no sample came for 5.0 s",))]


def test_a_model_decides_on_what_the_board_says(tmp_path: Path) -> None:
    file = model_file(tmp_path / "steps.tflite")
    x = np.repeat(np.random.default_rng(0).normal(size=(6, 2)), 50, 0) * [1.5, 0.6] + [0.0, 9.8]
    # The board's columns stand in another order than the model's, and it has one more.
    names, units = ("acc_x", "temperature", "acc_y"), ("", "", "")
    source = [Reading(names, units, (float(a), 20.0, float(b)), 0.0) for a, b in x]
    source.insert(100, Reading(names, units, None, 0.0))
    moments = list(watch(every(0.01, source), StreamingClassifier(file)))
    assert len(moments) == len(x)  # what was damaged has none
    reference = StreamingClassifier(file)
    expected, held = [], None
    for t, (a, b) in enumerate(x):
        if t == 100:
            reference.gap(1)
        scores = reference.push(np.array([b, a], np.float32))
        if reference.decision != held:
            held = reference.decision
            expected.append((held, pytest.approx(float(scores[held]))))
    changes = [one for one in moments if one.changed]
    assert [(one.answer, one.scores[one.answer]) for one in changes if one.scores is not None] == expected
    assert len(changes) > 1
    assert [note for one in moments for note in one.notes] == []  # the samples end before they are counted
    assert moments[-1].rate_hz == pytest.approx(100)
    turned = [replace(one, channels=names[::-1], values=one.values and one.values[::-1]) for one in source]
    others = list(watch(every(0.01, [*source[:120], *turned[120:]]), StreamingClassifier(file)))  # another firmware on the way
    assert [one.answer for one in others] == [one.answer for one in moments]
    last_words = [replace(one, channels=("Guru Meditation Error",), units=("",), values=None) for one in source[120:123]]
    again = list(watch(every(0.01, [*source[:120], *last_words, *source[123:]]), StreamingClassifier(file)))
    assert len(again) > 150
    with pytest.raises(UsageError, match="no channel acc_y: it says acc_x; the model needs acc_y, acc_x"):
        next(watch(iter([Reading(("acc_x",), ("",), (1.0,), 0.0)]), StreamingClassifier(file)))
    with pytest.raises(UsageError, match="says acc_x in g, and the model takes m/s2; convert it"):
        next(watch(iter([Reading(names, ("g", "", ""), (0.0, 0.0, 1.0), 0.0)]), StreamingClassifier(file)))


def test_after_a_pause_the_stream_begins_anew(tmp_path: Path) -> None:
    """Five seconds without a sample are a gap, longer than what is filled; the rate is that of the samples that came."""
    file = model_file(tmp_path / "steps.tflite")
    x = np.random.default_rng(0).normal(size=(800, 2)) * [0.2, 0.5] + [9.8, 0.0]
    source = [Reading(("acc_y", "acc_x"), ("", ""), (float(a), float(b)), 0.0) for a, b in x]
    paused = [replace(one, seconds=at * 0.02 + 5.0 * (at >= 200)) for at, one in enumerate(source)]
    reference = StreamingClassifier(file)
    scores = [reference.push(sample) for sample in x[:200]]
    reference.reset()
    scores += [reference.push(sample) for sample in x[200:]]
    moments = list(watch(iter(paused), StreamingClassifier(file)))
    np.testing.assert_array_equal([one.scores for one in moments], scores)
    assert [(moments.index(one), one.notes) for one in moments if one.notes] == [(200, ("no sample came for 5.0 s",))]
    assert [one.answer for one in moments[200:206]][:5] == [-1] * 5
    assert moments[-1].rate_hz == pytest.approx(50)


def test_samples_that_are_due_a_second_apart_are_no_pauses(tmp_path: Path) -> None:
    file = model_file(tmp_path / "steps.tflite", sample_rate_hz=0.8)
    seconds = np.cumsum([*[1.25, 1.3, 1.2] * 20, 6.25, *[1.25] * 20])
    source = [Reading(("acc_y", "acc_x"), ("", ""), (9.8, 0.0), at) for at in seconds.tolist()]
    moments = list(watch(iter(source), StreamingClassifier(file)))
    assert [(at, one.notes) for at, one in enumerate(moments) if one.notes] == [(60, ("no sample came for 6.2 s",))]
    assert moments[59].rate_hz == pytest.approx(0.8, rel=0.1)


def test_another_rate_and_an_odd_signal_are_noted_once(tmp_path: Path) -> None:
    usual = SignalRange(64, (-1.0,) * 2, (1.0,) * 2, (0.5,) * 2, (2.0,) * 2, 0.1, 3.0)
    file = model_file(tmp_path / "steps.tflite", usual=usual)
    x = np.random.default_rng(0).normal(size=(1000, 2)) * [0.1, 0.25] + [9.8, 0.0]
    x[:, 1] += np.where((np.arange(1000) >= 400) & (np.arange(1000) < 800), 0.75, 0.0)
    source = [Reading(("acc_y", "acc_x"), ("", ""), (float(a), float(b)), 0.0) for a, b in x]
    moments = list(watch(every(0.01, source), StreamingClassifier(file)))
    assert moments[62].odd is None
    assert moments[63].odd == ()
    assert moments[700].odd is not None
    assert "acc_x: mean" in moments[700].odd[0]
    assert moments[-1].odd == ()
    notes = [note for one in moments for note in one.notes]
    # Where the kind changes, not at every reading; of two that the change falls into, one is odd in spread as well.
    assert 1 <= sum("acc_x: mean" in note for note in notes) <= 3
    assert notes[-1] == "the signal is as in training"
    assert [note for note in notes if "a second" in note] == ["samples come at 100.0 a second; the model was trained on 50"]


def test_a_model_that_refuses_says_none_and_again_a_class(tmp_path: Path) -> None:
    file = model_file(tmp_path / "steps.tflite", refuse_below=0.3)
    x = np.repeat(np.random.default_rng(0).normal(size=(9, 2)), 50, 0) * [0.6, 1.5] + [9.8, 0.0]
    source = [Reading(("acc_y", "acc_x"), ("", ""), (float(a), float(b)), 0.0) for a, b in x]
    said = [one.answer for one in watch(iter(source), StreamingClassifier(file)) if one.changed]
    answers = StreamingClassifier(file).stream(x).decisions
    changes = answers[np.flatnonzero(np.diff(answers, prepend=-1))]
    assert said == changes.tolist()
    assert {-2, 0} < set(said)


def test_commands(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    say, port = board
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    say(spoken(50))
    out = tmp_path / "new" / "r.csv"
    code, _, err = called(
        monkeypatch, capsys, "record", "--serial", port, "--out", str(out), "--label", "walk", "--seconds", ".2"
    )
    assert code == 0, err
    assert out.read_text().splitlines()[0] == "time,acc_x [m/s2],acc_y [m/s2],label"
    assert out.read_text().splitlines()[1].endswith(",walk")
    code, _, err = called(monkeypatch, capsys, "record", "--serial", port, "--out", str(out), "--label", "walk")
    assert (code, "exists; name another file with --out" in err) == (2, True)
    code, _, err = called(monkeypatch, capsys, "watch", str(tmp_path / "none.tflite"), "--serial", port)
    assert code == 2
    code, _, err = called(monkeypatch, capsys, "record", "--serial", port, "--out", str(out), "--baud", "99999999999")
    assert (code, "--baud" in err) == (2, True)
    # A board that says nothing of use leaves no file that the next call would stumble over.
    monkeypatch.setattr("memkd_edge.board_stream.readings", partial(readings, silent_s=0.05, clock=Clock()))
    say("1,2\n")
    code, _, err = called(monkeypatch, capsys, "record", "--serial", port, "--out", str(tmp_path / "silent.csv"))
    assert (code, "name them with --channels" in err) == (1, True)
    assert not (tmp_path / "silent.csv").exists()
    # What a model refuses is told from what it has not decided yet.
    file = model_file(tmp_path / "refuses.tflite", refuse_below=1e6)
    monkeypatch.setattr(
        "memkd_edge.board_stream.readings", lambda *_: iter([Reading(("acc_x", "acc_y"), ("", ""), (0.0, 9.8), 0.0)] * 9)
    )
    code, printed, err = called(monkeypatch, capsys, "watch", str(file), "--serial", port)
    assert (code, printed.split()) == (0, ["0.00", "s", "none"]), err


def test_a_terminal_shows_scores_rate_and_signal_and_is_clean_in_the_end(board: Board, tmp_path: Path) -> None:
    say, port = board
    say(spoken(50))
    file = model_file(tmp_path / "steps.tflite")
    command = [sys.executable, "-m", "memkd_edge", "watch", str(file), "--serial", port]
    with terminal(command, tmp_path) as (process, ours):
        seen = read_until(ours, b" samples/s")
        process.send_signal(signal.SIGINT)
        seen += read_until(ours, None)
        assert process.wait(60) == 130
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen).decode()
    assert re.search(r"rest +[━╸╺]+ [01]\.\d\d", text)
    assert re.search(r"walk +[━╸╺]+ [01]\.\d\d", text)
    assert re.search(r"(rest|walk) [01]\.\d\d  \d+\.\d samples/s", text)
    assert re.search("input: (not read yet|as in training|acc)", text)
    assert re.search(r"\d\.\d\d s  (rest|walk) [01]\.\d\d\r\n", text)  # a change
    assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h") == 1
    assert b"input" not in seen.rpartition(b"\x1b[2K")[2]
    assert "Traceback" not in text
