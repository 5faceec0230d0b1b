#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# BrainFlow's power spectral density lacks what its window took away: with Hanning's, three eighths of the power are left.
#
# Software: brainflow 5.23.0, scipy 1.17.1 (numpy 2.3.5, Python 3.11).
# Seen: a sine of amplitude 10 has the power 50. The area below get_psd_welch's density is 50.0 with no window, 18.8 with
#   Hanning's, 19.9 with Hamming's, 12.8 with Blackman-Harris', and get_band_power says the same of its band; so it is with
#   get_psd, and with noise. With no window the density is scipy's to 1e-6; with the others scipy.signal.welch has 50.0 still.
#   Ratios of bands are unharmed. No option divides by the window's mean square, and no word says that nothing does.
# Guess: that the area below a density is the signal's power whatever the window, as it is in scipy.
# For users: divide by the mean square of the window before a threshold or a model, or take features of ratios alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check brainflow==5.23.0 scipy==1.17.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import numpy as np
from brainflow.data_filter import DataFilter, WindowOperations
from scipy import signal

RATE, LENGTH, FREQUENCY, AMPLITUDE = 128, 256, 10, 10
WINDOWS = {
    WindowOperations.NO_WINDOW: "boxcar",
    WindowOperations.HANNING: "hann",
    WindowOperations.HAMMING: "hamming",
    WindowOperations.BLACKMAN_HARRIS: "blackmanharris",
}
t = np.arange(64 * RATE) / RATE
sine = AMPLITUDE * np.sin(2 * np.pi * FREQUENCY * t)
noise = np.random.default_rng(0).normal(size=len(t))

for window, name in WINDOWS.items():
    left = float(np.mean(signal.get_window(name, LENGTH) ** 2))
    density, frequencies = DataFilter.get_psd_welch(sine.copy(), LENGTH, LENGTH // 2, RATE, window.value)
    power = float(np.trapezoid(density, frequencies))
    band = DataFilter.get_band_power((density, frequencies), FREQUENCY - 4.0, FREQUENCY + 4.0)
    of_scipy = signal.welch(sine, RATE, window=name, nperseg=LENGTH, noverlap=LENGTH // 2, detrend=False)
    right = float(np.trapezoid(of_scipy[1], of_scipy[0]))
    at_once = DataFilter.get_psd(noise.copy(), RATE, window.value)
    share = float(np.trapezoid(at_once[0], at_once[1]) / np.mean(noise**2))
    print(
        f"{window.name}: of power {AMPLITUDE**2 / 2:.1f} get_psd_welch has {power:.1f}, its band {band:.1f}, scipy {right:.1f};",
        end=" ",
    )
    print(f"of noise, get_psd has {share:.3f} of the power; the window's mean square is {left:.3f}")
    assert abs(right / (AMPLITUDE**2 / 2) - 1) < 0.01
    if name == "boxcar":
        assert np.allclose(density, of_scipy[1], atol=1e-6) and abs(share - 1) < 0.02
    else:
        assert abs(power / right / left - 1) < 0.02 and abs(band - power) < 0.1, "the behaviour has changed"
        assert abs(share / left - 1) < 0.1, "the behaviour has changed"
PY
env/bin/python demonstrate.py
