#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# emlearn's trees in integers part features elsewhere than scikit-learn's: a tree of a 0 or 1 always answers the same.
#
# Software: emlearn 0.23.2, scikit-learn 1.9.1 (numpy 2.3.5, Python 3.11, gcc).
# Seen: scikit-learn goes left where x <= threshold, half way between two values: x <= 0.5. With dtype int16_t, the default, both
#   methods go left where x < int(threshold): x < 0, which no 0 or 1 is. The tree that is right about both values is right about one.
#   Every threshold of 0 or more is off by one, those below 0 are not: of the features -3 to 3, each its own class, 4 are answered
#   right. Where features have thousands of values, few samples lie on the threshold, and it hardly shows.
# Guess: that of integers x <= t is written x < floor(t) + 1, which is the same for every integer.
# For users: write floor(t) + 1 into converted.forest_[0] before saving, as experiments/rivals/forest.py does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check emlearn==0.23.2 scikit-learn==1.9.1 numpy==2.3.5 setuptools pybind11
cat > demonstrate.py <<'PY'
import math
import re
import subprocess

import emlearn
import numpy as np
from sklearn.tree import DecisionTreeClassifier


def in_c(converted, x):
    """The answers of the generated C for one feature."""
    converted.save(file="tree.h", name="tree")
    values = ", ".join(str(value) for value in x[:, 0])
    with open("main.c", "w") as file:
        file.write(
            f"""#include <stdio.h>
#include "tree.h"
int main(void) {{
    const int16_t x[] = {{{values}}};
    for (int i = 0; i < {len(x)}; i++) {{
        printf("%d\\n", (int)tree_predict(x + i, 1));
    }}
}}
"""
        )
    subprocess.run(["gcc", "-std=c99", "-I", emlearn.includedir, "main.c", "-o", "main", "-lm"], check=True)
    return np.array(subprocess.run("./main", check=True, capture_output=True, text=True).stdout.split(), int)


def right(low, high, method, mended):
    x = np.arange(low, high + 1)[:, None]
    y = np.arange(len(x))
    tree = DecisionTreeClassifier(random_state=0).fit(x, y)
    assert (tree.predict(x) == y).all()
    converted = emlearn.convert(tree, method=method)
    if mended:
        for node in converted.forest_[0]:
            node[1] = math.floor(node[1]) + 1
    found = in_c(converted, x)
    splits = re.findall(r"features\[0\] < -?\d+", open("tree.h").read())
    print(f"{method}, x from {low} to {high}{', mended' if mended else ''}: scikit-learn {len(x)} of {len(x)}, C "
          f"{(found == y).sum()} of {len(x)} {splits[:1]}")
    return int((found == y).sum())


for method in ("inline", "loadable"):
    assert right(0, 1, method, mended=False) == 1, "the behaviour has changed"
    assert right(-3, 3, method, mended=False) == 4, "the behaviour has changed"
    assert right(0, 1, method, mended=True) == 2
    assert right(-3, 3, method, mended=True) == 7
PY
env/bin/python demonstrate.py
