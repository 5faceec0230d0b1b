#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# aeon writes series without labels to a .ts file that its own reader takes for labelled ones, each with the empty label.
#
# Software: aeon 1.6.0 (numpy 2.3.5, Python 3.11).
# Seen: save_to_ts_file(X, y=None) writes `@targetlabel false`, no `@classLabel`, and ends each line with a colon; load_from_ts_file
#   then returns a pair (X, y) with y = ['', '', ...]. A classifier fitted on it sees one class named ''.
# Guess: that what a library writes without labels it reads without labels.
# For users: memkd-edge says that such a file has no labels, instead of a class named ''.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check aeon==1.6.0 numpy==2.3.5
cat > demonstrate.py <<'PY'
import warnings

import numpy as np

warnings.simplefilter("ignore")
from aeon.datasets import load_from_ts_file, save_to_ts_file  # noqa: E402

x = np.arange(24, dtype=float).reshape(4, 1, 6)
save_to_ts_file(x, path=".", y=None, problem_name="unlabelled")
header = [line for line in open("unlabelled.ts").read().splitlines() if line.startswith("@")]
back = load_from_ts_file("unlabelled.ts")
print("header:", header)
print("read back:", type(back).__name__, [getattr(part, "shape", part) for part in back], "labels:", list(back[1]))
assert "@targetlabel false" in header and not any(line.startswith("@classLabel") for line in header)
assert isinstance(back, tuple) and np.array_equal(back[0], x), "the behaviour has changed"
assert list(back[1]) == [""] * 4, "the behaviour has changed"
PY
env/bin/python demonstrate.py
