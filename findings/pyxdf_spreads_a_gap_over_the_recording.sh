#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# pyxdf moves the samples of a wearable by seconds where its radio was silent, though the file has the right time of every one.
#
# Software: pyxdf 1.17.5 (numpy 2.3.5, Python 3.11).
# Seen: an accelerometer of 50 Hz beside labels, on one clock, silent for 3 s in the middle of two minutes: load_xdf gives
#   one segment, evenly spaced at 48.1 Hz, every sample at a time of its own making, up to 1.5 s off; the labels stay, so that
#   6.5 s get a neighbour's. After 9 s of silence it is 4.6 s and 20.6 s. At 600 Hz either makes two segments, and nothing moves:
#   a break is longer than jitter_break_threshold_seconds = 1 and than jitter_break_threshold_samples = 500, at 50 Hz 10 s. Where
#   it splits, it warns that segments and clock segments differ; of the 3 s that it spreads it says nothing.
# Guess: that either threshold makes a break, so that the time stamps round a silence of more than a second are left alone.
# For users: load_xdf(..., jitter_break_threshold_samples=1), or dejitter_timestamps=False, before you write CSV for memkd-edge.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pyxdf==1.17.5 numpy==2.3.5
cat > demonstrate.py <<'PY'
import struct

import numpy as np
import pyxdf

DURATION, SILENCE_AT = 120, 58  # s
LABELS = np.arange(0, DURATION, 10) + 0.001  # s, between two samples


def chunk(tag, content):
    return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content


def header(number, name, kind, rate):
    text = f"<info><name>{name}</name><type>{name}</type><channel_count>1</channel_count><channel_format>{kind}</channel_format>"
    text += f"<nominal_srate>{rate}</nominal_srate></info>"
    return chunk(2, struct.pack("<I", number) + text.encode())


def samples(number, times, contents):
    body = struct.pack("<IBI", number, 4, len(times))
    return chunk(3, body + b"".join(b"\x08" + struct.pack("<d", time) + data for time, data in zip(times, contents, strict=True)))


def clock(number):
    """What the recorder measures every 5 s: both clocks are one."""
    return b"".join(chunk(4, struct.pack("<Idd", number, time, 0)) for time in range(0, DURATION, 5))


def file(name, rate, silence):
    """Writes a recording whose value is the time of its sample."""
    times = np.arange(DURATION * rate) / rate
    times = times[(times < SILENCE_AT) | (times >= SILENCE_AT + silence)]
    words = [b"\x01\x01" + letter.encode() for letter in "wr" * (len(LABELS) // 2)]  # walk and run in turn
    with open(name, "wb") as target:
        target.write(b"XDF:" + chunk(1, b"<info><version>1.0</version></info>"))
        target.write(header(1, "ACC", "double64", rate) + header(2, "labels", "string", 0))
        target.write(samples(1, times, [struct.pack("<d", time) for time in times]))
        target.write(samples(2, LABELS, words) + clock(1) + clock(2))


def read(name, **options):
    """Of the samples: segments, rate found, seconds by which they moved, seconds that have another's label now."""
    streams, _ = pyxdf.load_xdf(name, **options)
    streams = {stream["info"]["name"][0]: stream for stream in streams}
    signal, labels = streams["ACC"], streams["labels"]
    assert np.array_equal(labels["time_stamps"], LABELS)
    written, found = signal["time_series"][:, 0], signal["time_stamps"]
    wrong = np.searchsorted(LABELS, found) != np.searchsorted(LABELS, written)
    rate = float(signal["info"]["nominal_srate"][0])
    moved = float(np.abs(found - written).max())
    return len(signal["info"]["segments"]), float(signal["info"]["effective_srate"]), moved, float(wrong.sum() / rate)


results = {}
for rate in (50, 600):
    for silence in (3, 9):
        file("recording.xdf", rate, silence)
        for what, options in (
            ("as it is", {}),
            ("threshold of 1 sample", {"jitter_break_threshold_samples": 1}),
            ("not dejittered", {"dejitter_timestamps": False}),
        ):
            segments, found, moved, wrong = results[rate, silence, what] = read("recording.xdf", **options)
            print(f"{rate} Hz, {silence} s of silence, {what}: segments: {segments}, {found:.1f} Hz, ", end="")
            print(f"moved by up to {moved:.1f} s, {wrong:.1f} s have another label")
            if what != "as it is":
                assert moved < 1e-6 and wrong == 0
for silence in (3, 9):
    segments, found, moved, wrong = results[50, silence, "as it is"]
    assert segments == 1 and found < 48.5 and moved > 0.45 * silence and wrong > 5, "the behaviour has changed"
    segments, _, moved, _ = results[600, silence, "as it is"]
    assert segments == 2 and moved < 1e-6, "the behaviour has changed"
PY
env/bin/python demonstrate.py
