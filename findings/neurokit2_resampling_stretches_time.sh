#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# neurokit2's resampling stretches a recording until last lies on last: events move by up to one sample of the slower rate.
#
# Software: neurokit2 0.3.0 (numpy 2.3.5, pandas 3.0.6, scipy 1.17.1, Python 3.11).
# Seen: 60 s at 4 Hz, brought to 64 Hz by signal_resample's default method to lie beside another signal: 3,840 values, as asked
#   for, but value k is not of the time k / 64 s. What happens comes late, the later the more: .12 s in the middle, .22 s at 57 s;
#   from 1 to 64 Hz .93 s. From 64 to 4 Hz it comes early by as much as from 4 to 64. Method "numpy" keeps all times, and so does
#   "poly". No warning. (scipy.ndimage.zoom lays first on first and last on last: 59.75 s at 4 Hz become 59.98 s at 64 Hz.)
# Guess: that with both rates given value k of the result is of the time k / rate, as with "numpy" and "poly".
# For users: method="numpy" up, "poly" down; memkd-edge goes by the times in the table.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check neurokit2==0.3.0 numpy==2.3.5 pandas==3.0.6 scipy==1.17.1
cat > demonstrate.py <<'PY'
import neurokit2
import numpy as np

SECONDS, EDGE = 60, 3


def late(rate, new, method):
    """By how much each value is late. The signal is its own time, so each value says what time it is of; without the edges."""
    times = np.arange(SECONDS * rate) / rate
    found = neurokit2.signal_resample(times, sampling_rate=rate, desired_sampling_rate=new, **method)
    assert len(found) == SECONDS * new
    return (np.arange(SECONDS * new) / new - found)[EDGE * new : -EDGE * new]


def stretched(rate, new):
    """The same if the last sample is laid on the last."""
    k = np.arange(SECONDS * new)[EDGE * new : -EDGE * new]
    return k / new - k / (SECONDS * new - 1) * (SECONDS - 1 / rate)


def hump_at(rate, new, method):
    """Where the top of a slow hump at 50 s lies."""
    times = np.arange(SECONDS * rate) / rate
    hump = np.exp(-(((times - 50) / 2) ** 2))
    found = neurokit2.signal_resample(hump, sampling_rate=rate, desired_sampling_rate=new, **method)
    return float(np.sum(np.arange(len(found)) / new * found) / np.sum(found))


for rate, new, other in ((4, 64, "numpy"), (1, 64, "numpy"), (64, 4, "numpy")):
    default, right = late(rate, new, {}), late(rate, new, {"method": other})
    print(f"{rate} -> {new} Hz: late by {default[0]:.2f} s at 3 s, {default[len(default) // 2]:.2f} s in the middle, ", end="")
    print(f"{default[-1]:.2f} s at 57 s; method {other}: {np.abs(right).max():.2f} s")
    assert np.abs(right).max() < 1e-9
    assert np.abs(default - stretched(rate, new)).max() < 0.02, "the behaviour has changed"
    assert 0.85 < abs(default[-1]) * min(rate, new) < 1, "the behaviour has changed"
for rate, new in ((4, 64), (64, 4)):
    default, poly = hump_at(rate, new, {}), hump_at(rate, new, {"method": "poly"})
    print(f"{rate} -> {new} Hz, a hump at 50 s: at {default:.2f} s, method poly at {poly:.2f} s")
    assert abs(poly - 50) < 0.01 and abs(default - 50) > 0.18, "the behaviour has changed"
PY
env/bin/python demonstrate.py
