#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# soxr adds noise to integer sensor readings: a sensor that lies still comes back restless, even when the rate does not change.
#
# Software: soxr 1.1.0 (libsoxr 0.1.3; numpy 2.3.5, Python 3.11).
# Seen: int16 counts are dithered, as audio is: of a constant, away from the ends, a quarter of the samples come back one count up
#   or down, at 100 -> 50 Hz and at 100 -> 100 Hz; as float32 or int32 they come back as they were. A channel's noise depends on
#   its neighbours: alone and as the second of three channels, two fifths of its samples differ. Runs repeat each other.
# Guess: that a resampler is linear but for rounding, channel by channel, and does nothing when there is nothing to do.
# For users: turn counts into float32 before soxr; memkd-edge resamples in floats by itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check soxr==1.1.0 numpy==2.3.5
cat > demonstrate.py <<'PY'
import numpy as np
import soxr

ENDS = 500  # the filter sees silence beyond the ends
still = np.full((6000, 3), (12, -40, 4096), np.int16)  # counts of an accelerometer on a table


def resampled(counts, kind, rate):
    return soxr.resample(counts.astype(kind), 100, rate)[ENDS:-ENDS]


for rate in (50, 100):
    for kind in (np.int16, np.int32, np.float32):
        found = resampled(still, kind, rate)
        off = np.rint(found) - still[: len(found)]
        share = float((off != 0).mean())
        print(f"100 -> {rate} Hz, {np.dtype(kind)}: {share:.1%} of the samples are off, by {np.abs(off).max():.0f} at most")
        if kind is np.int16:
            assert 0.1 < share < 0.5 and np.abs(off).max() == 1, "the behaviour has changed"
            assert np.array_equal(found, resampled(still, kind, rate))
        else:
            assert share == 0
together, alone = resampled(still, np.int16, 50)[:, 1], resampled(still[:, 1], np.int16, 50)
share = float((together != alone).mean())
print(f"the second of three channels and the same channel alone: {share:.1%} of the samples differ")
assert share > 0.1, "the behaviour has changed"
PY
env/bin/python demonstrate.py
