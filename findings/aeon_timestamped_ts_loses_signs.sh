#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# aeon reads a time-stamped .ts file without the minus signs of its values, and leaves out samples that are whole numbers.
#
# Software: aeon 1.6.0 (numpy 2.3.5, Python 3.11).
# Seen: with `@timestamps true`, load_from_ts_file turns -1.5 into 1.5 and 2.5e-3 into 2.5; it drops -2, so that the samples after
#   it move up; with stamps such as 0.5 the stamps come back as samples. The same values without stamps are read right. No
#   warning, no error; the file that aeon ships for its tests has positive values with a decimal point only.
# Guess: that stamps are either understood or refused, and that values read the same with and without them.
# For users: strip the stamps before you load such a file; memkd-edge refuses it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check aeon==1.6.0 numpy==2.3.5
cat > demonstrate.py <<'PY'
import warnings

warnings.simplefilter("ignore")
from aeon.datasets import load_from_ts_file  # noqa: E402

CLOCK = [f"2024-01-01 00:00:0{second}" for second in range(3)]


def read(values, stamps=None):
    fields = values if stamps is None else [f"({stamp},{value})" for stamp, value in zip(stamps, values, strict=True)]
    with open("series.ts", "w") as file:
        file.write(f"@problemName series\n@timestamps {str(stamps is not None).lower()}\n@missing false\n@univariate true\n")
        file.write(f"@equalLength true\n@seriesLength {len(values)}\n@classLabel true a\n@data\n{','.join(fields)}:a\n")
    x, _ = load_from_ts_file("series.ts")
    return x.ravel().tolist()


for values, stamps, expected in (
    (["-1.5", "2.0", "-0.25"], CLOCK, [1.5, 2.0, 0.25]),
    (["1.5", "2.5e-3", "0.5"], CLOCK, [1.5, 2.5, 0.5]),
    (["1.5", "-2", "3.5"], CLOCK, [1.5, 3.5]),
    (["1.5", "2.0", "3.5"], ["0.0", "0.5", "1.0"], [0.0, 1.5, 0.5, 2.0, 1.0, 3.5]),
):
    plain, stamped = read(values), read(values, stamps)
    print("written:", ", ".join(values), "stamped from", stamps[0], "- read without stamps:", plain, "with stamps:", stamped)
    assert plain == [float(value) for value in values]
    assert stamped == expected, "the behaviour has changed"
PY
env/bin/python demonstrate.py
