#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# micromlgen's C++ of a logistic regression of two classes always answers the other class; an SVC's intercept gets the wrong sign.
#
# Software: micromlgen 1.1.28, scikit-learn 1.9.1 (numpy 2.3.5, Python 3.11, g++).
# Seen: LogisticRegression of two classes: every one of 500 decisions is the opposite, accuracy .98 becomes .02; scikit-learn has
#   one row of weights for class 1, the C++ takes it for the votes of class 0. SVC of two classes: the rest of the sum is right,
#   the intercept has the other sign, so decision functions from 0 to twice the intercept turn over: in one .98 becomes .82. Each
#   of the two, fitted on three classes, agrees with scikit-learn throughout. No warning, no error; g++ is content.
# Guess: that two classes are the simplest case, and that what holds for three holds for two.
# For users: run what a generator wrote against the model it came from, with as many classes as you have.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check micromlgen==1.1.28 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.3.5
cat > demonstrate.py <<'PY'
import subprocess

import numpy as np
from micromlgen import port
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

random = np.random.default_rng(0)
x = random.normal(size=(500, 4)).astype(np.float32)
score = x[:, 0] + 0.5 * x[:, 1] + 0.1 * random.normal(size=500)
MAIN = """
#include <cstdio>
int main() {
    Eloquent::ML::Port::%s model;
    float x[4];
    while (std::scanf("%%f %%f %%f %%f", x, x + 1, x + 2, x + 3) == 4) std::printf("%%d\\n", model.predict(x));
}
"""


def of_cpp(model, name):
    with open("model.cpp", "w") as file:
        file.write("#include <cmath>\n#include <cstdint>\n#include <cstring>\n" + port(model) + MAIN % name)
    subprocess.run(["g++", "-o", "model", "model.cpp"], check=True, capture_output=True)
    lines = "\n".join(" ".join(repr(float(value)) for value in row) for row in x)
    return np.array(subprocess.run(["./model"], input=lines, check=True, capture_output=True, text=True).stdout.split(), int)


for model, name in (
    (LogisticRegression(), "LogisticRegression"),
    (SVC(kernel="rbf", gamma=0.5), "SVM"),
    (SVC(kernel="poly", degree=2, gamma=0.5, coef0=1), "SVM"),
):
    for borders in ([-0.6, 0.6], [0.3]):
        y = np.digitize(score, borders)
        model.fit(x, y)
        right, found = model.predict(x), of_cpp(model, name)
        differ = found != right
        print(
            f"{model}, {len(borders) + 1} classes: accuracy {np.mean(right == y):.3f} in scikit-learn, "
            f"{np.mean(found == y):.3f} in C++, {differ.sum()} of {len(x)} decisions differ"
        )
        if len(borders) == 2:
            assert not differ.any()
        elif name == "LogisticRegression":
            assert np.array_equal(found, 1 - right), "the behaviour has changed"
        else:
            decision = model.decision_function(x)
            flipped = decision - 2 * model.intercept_[0]  # the same sum, the intercept subtracted
            clear = np.abs(flipped) > 1e-3
            print(f"    intercept {model.intercept_[0]:.3f}; decisions that differ: {decision[differ].min():.3f} to ", end="")
            print(f"{decision[differ].max():.3f}")
            assert differ.sum() > 10
            assert np.array_equal(found[clear], (flipped[clear] > 0).astype(int)), "the behaviour has changed"
PY
env/bin/python demonstrate.py
