#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# aeon reads class labels of a .ts file in lower case: classes that differ in case only become one, and nothing says so.
#
# Software: aeon 1.6.0 (numpy 2.3.5, Python 3.11).
# Seen: of a file with `@classLabel true Walk Run N n`, load_from_ts_file returns y with 'walk', 'run' and 'n' only; save_to_ts_file of
#   labels ['N', 'n'] writes both and reads back one class. The same labels in an .arff file keep their case. No warning.
# Guess: that a label comes back as it was written, or that a header whose labels collide is refused.
# For users: labels predicted by a model trained on aeon's y do not match those of the file; memkd-edge keeps their case.
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
from aeon.datasets import load_from_arff_file, load_from_ts_file, save_to_ts_file  # noqa: E402

labels = ["Walk", "Run", "N", "n"]
with open("named.ts", "w") as file:
    file.write("@problemName named\n@timestamps false\n@missing false\n@univariate true\n@equalLength true\n@seriesLength 3\n")
    file.write(f"@classLabel true {' '.join(labels)}\n@data\n")
    file.writelines(f"{n}.0,{n}.5,{n}.7:{label}\n" for n, label in enumerate(labels))
_, ts = load_from_ts_file("named.ts")

with open("named.arff", "w") as file:
    file.write("@relation named\n@attribute a numeric\n@attribute b numeric\n@attribute target {" + ",".join(labels) + "}\n@data\n")
    file.writelines(f"{n}.0,{n}.5,{label}\n" for n, label in enumerate(labels))
_, arff = load_from_arff_file("named.arff")

x = np.arange(12, dtype=float).reshape(2, 1, 6)
save_to_ts_file(x, path=".", y=np.array(["N", "n"]), problem_name="two", label_type="classification")
header = next(line for line in open("two.ts").read().splitlines() if line.startswith("@classLabel"))
_, two = load_from_ts_file("two.ts")
print("written:", labels, "read from .ts:", list(map(str, ts)), "from .arff:", list(map(str, arff)))
print("written by aeon:", header, "- read back:", list(map(str, two)))
assert list(arff) == labels
assert list(ts) == [label.lower() for label in labels], "the behaviour has changed"
assert set(two) == {"n"}, "the behaviour has changed"
PY
env/bin/python demonstrate.py
