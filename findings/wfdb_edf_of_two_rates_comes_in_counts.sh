#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wfdb reads an EDF file of two rates without the scale of the faster signal: an ECG in millivolts comes back as thousands.
#
# Software: wfdb 4.3.1; edfio 0.4.18 writes the file, pyEDFlib 0.1.42 reads it right (numpy 2.3.5, pandas 3.0.6, Python 3.11).
# Seen: an ECG of 256 Hz beside an accelerometer of 32 Hz: read_edf gives both at 32 Hz, the slower one right, of the faster one
#   the means of 8 converter counts each, under the unit mV: up to 7,842, where the file says 1.2. Alone, or with both signals at
#   one rate, the ECG is read right. No warning, no error. (It takes the mean of count - baseline / gain, not of the quotient.)
# Guess: that p_signal is in the units beside it, as in the records of wfdb's own format, and that each signal keeps its rate.
# For users: memkd-edge takes CSV and Parquet; go there from EDF with edfio or pyEDFlib, each signal with its own rate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check wfdb==4.3.1 edfio==0.4.18 pyEDFlib==0.1.42 numpy==2.3.5 pandas==3.0.6 \
    scipy==1.17.1
cat > demonstrate.py <<'PY'
import numpy as np
import pyedflib
from edfio import Edf, EdfSignal
from wfdb.io.convert.edf import read_edf

SECONDS, FAST, SLOW = 10, 256, 32
EVERY = FAST // SLOW
STEP = 10 / 65535  # of the converter: -5 to 5 in 16 bits
ecg = 1.2 * np.sin(2 * np.pi * 1.3 * np.arange(SECONDS * FAST) / FAST)
slower_ecg = ecg[::EVERY].copy()
movement = 1 + 0.5 * np.sin(2 * np.pi * 0.7 * np.arange(SECONDS * SLOW) / SLOW)


def signal(values, rate, unit, label):
    return EdfSignal(values, rate, label=label, physical_dimension=unit, physical_range=(-5, 5))


def read(name, *signals):
    """What pyEDFlib and wfdb read of a file of these signals."""
    Edf(list(signals)).write(name)
    with pyedflib.EdfReader(name) as file:
        plain = [file.readSignal(number) for number in range(len(signals))]
    return plain, read_edf(name)


for name, signals in (
    ("alone.edf", [(ecg, FAST)]),
    ("one_rate.edf", [(slower_ecg, SLOW), (movement, SLOW)]),
):
    plain, record = read(name, *(signal(*one, unit, unit) for one, unit in zip(signals, ("mV", "g"), strict=False)))
    for number, (values, rate) in enumerate(signals):
        assert record.fs == rate
        assert np.abs(plain[number] - values).max() < STEP
        assert np.abs(record.p_signal[:, number] - values).max() < 2 * STEP
    print(f"{name}: the largest of the ECG is {record.p_signal[:, 0].max():.3f} {record.units[0]} at {record.fs} Hz")

plain, record = read("two_rates.edf", signal(ecg, FAST, "mV", "ECG"), signal(movement, SLOW, "g", "ACC"))
found = record.p_signal
for reader, lengths, largest in (
    ("pyEDFlib", [len(one) for one in plain], [one.max() for one in plain]),
    ("wfdb", [len(found)] * 2, found.max(0)),
):
    print(f"two_rates.edf: {reader}: {lengths} samples of ECG and ACC, the largest {largest[0]:,.3f} mV and {largest[1]:.3f} g")
assert np.abs(plain[0] - ecg).max() < STEP and np.abs(plain[1] - movement).max() < STEP
assert np.abs(found[:, 1] - movement).max() < 3 * STEP
assert record.units == ["mV", "g"]
assert record.fs == SLOW and found.shape == (SECONDS * SLOW, 2), "the behaviour has changed"
in_counts = (ecg / STEP).reshape(-1, EVERY).mean(1)
assert np.abs(found[:, 0] - in_counts).max() < 2, "the behaviour has changed"
PY
env/bin/python demonstrate.py
