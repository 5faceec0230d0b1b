#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fitdecode puts the heartbeats of a FIT file up to 4 s late; where their clock is tied anew, by all the time that has passed.
#
# Software: fitdecode 0.11.0; garmin-fit-sdk 21.218.0 writes the file and reads it right (Python 3.11).
# Seen: a chest strap stamps beats by its own clock, in 1/1024 s; one message ties that clock to the time of day, the following
#   have its lowest 12 bits only. fitdecode counts these from 0, not from those of the tying message: every beat is late by what
#   the clock has beyond a multiple of 4 s there, here 2.90 s. From a second tying message on, after 30 minutes, it adds these
#   30 minutes twice. The distances between beats of one tie are right. No warning.
# Guess: that what is given as a datetime to the microsecond is on the clock of the message that ties it.
# For users: read hr messages with garmin-fit-sdk before you lay beats beside another signal; distances alone are right with both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check fitdecode==0.11.0 garmin-fit-sdk==21.218.0
cat > demonstrate.py <<'PY'
import datetime
import random

import fitdecode
from garmin_fit_sdk import Decoder, Encoder, Profile, Stream

TICKS = 1024  # a second of the strap's clock
START = datetime.datetime(2026, 3, 1, 8, tzinfo=datetime.UTC)
REMAINDER = 2970  # 2.90 s
BEFORE = 600 * 4096 + REMAINDER  # the strap's clock at START
LATER = 1800 * TICKS
random.seed(0)


def some_beats(first, end):
    """Beats of 64 to 87 a minute in ticks of the strap's clock since START, a multiple of 8 of them."""
    beats = [first]
    while beats[-1] < end or len(beats) % 8:
        beats.append(beats[-1] + random.randrange(700, 960))
    return beats


def tie(encoder, ticks):
    """The message that gives a time of day to a time of the strap's clock."""
    message = {
        "timestamp": START + datetime.timedelta(seconds=ticks // TICKS),
        "fractional_timestamp": 0.0,
        "filtered_bpm": [70],
        "event_timestamp": [(BEFORE + ticks) / TICKS],
    }
    encoder.on_mesg(Profile["mesg_num"]["HR"], message)


def add(encoder, beats):
    """Messages of 8 beats each, 12 bits a beat."""
    for at in range(0, len(beats), 8):
        bits = sum(((BEFORE + ticks) % 4096) << (12 * place) for place, ticks in enumerate(beats[at : at + 8]))
        message = {"filtered_bpm": [70] * 8, "event_timestamp_12": list(bits.to_bytes(12, "little"))}
        encoder.on_mesg(Profile["mesg_num"]["HR"], message)


def write(name, *parts):
    encoder = Encoder()
    about = {"type": "activity", "manufacturer": "development", "product": 1, "time_created": START}
    encoder.on_mesg(Profile["mesg_num"]["FILE_ID"], about)
    for ticks, beats in parts:
        tie(encoder, ticks)
        add(encoder, beats)
    with open(name, "wb") as file:
        file.write(encoder.close())


def of_the_sdk(name):
    """Seconds since START of each beat, by the newest tie before it."""
    messages, errors = Decoder(Stream.from_file(name)).read(merge_heart_rates=False)
    assert not errors
    seconds = []
    for message in messages["hr_mesgs"]:
        if "timestamp" in message:
            origin = (message["timestamp"] - START).total_seconds() - message["event_timestamp"]
        else:
            seconds += [origin + stamp for stamp in message["event_timestamp"]]
    return seconds


def of_fitdecode(name):
    with fitdecode.FitReader(name) as reader:
        frames = [frame for frame in reader if isinstance(frame, fitdecode.FitDataMessage) and frame.name == "hr"]
    deltas = [frame for frame in frames if not frame.has_field("timestamp")]
    stamps = [field.value for frame in deltas for field in frame.fields if field.name == "event_timestamp"]
    return [(stamp - START).total_seconds() for stamp in stamps]


def late(seconds, beats):
    return [one - ticks / TICKS for one, ticks in zip(seconds, beats, strict=True)]


half_an_hour = some_beats(500, LATER)
tied_anew = half_an_hour[-1] // TICKS * TICKS + TICKS
after_it = some_beats(tied_anew + 500, tied_anew + 60 * TICKS)
for name, parts, expected in (
    ("one tie", [(0, half_an_hour)], [REMAINDER]),
    ("a second tie", [(0, half_an_hour), (tied_anew, after_it)], [REMAINDER, REMAINDER + tied_anew]),
):
    write("beats.fit", *parts)
    beats = [beat for _, beats in parts for beat in beats]
    right, found = late(of_the_sdk("beats.fit"), beats), late(of_fitdecode("beats.fit"), beats)
    print(f"{name}: {len(beats)} beats, garmin-fit-sdk is late by {min(right):.2f} to {max(right):.2f} s, ", end="")
    print(f"fitdecode by {found[0]:.2f} s at the first and {found[-1]:.2f} s at the last")
    assert max(map(abs, right)) < 1e-3
    each = [ticks / TICKS for (_, part), ticks in zip(parts, expected, strict=True) for _ in part]
    assert max(abs(one - other) for one, other in zip(found, each, strict=True)) < 1e-3, "the behaviour has changed"
PY
env/bin/python demonstrate.py
