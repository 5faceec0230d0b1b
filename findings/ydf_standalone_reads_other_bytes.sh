#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# YDF's standalone C++ takes a yes-or-no feature from another one's bytes, and never answers class 1 where trees do not vote.
#
# Software: ydf 0.16.1 (numpy 2.3.5, Python 3.11, g++).
# Seen: of a boolean as third feature behind two numbers the default algorithm, ROUTING, reads the third byte of the features,
#   which is one of the first number's: a fifth of 2,000 answers differ from predict()'s, of IF_ELSE's none. A random forest with
#   winner_take_all=False answers class 0 whatever it is given, with both: it compares a mean of probabilities with 1. Thresholds
#   have six digits: of 24-bit counts about 8,000,000 a sixth of the answers differ, with both. On two plain numbers, and on the
#   votes of an odd number of trees, all are predict()'s. No warning from ydf, none from g++ -Wall -Wextra.
# Guess: that code generated from a model gives the model's answers for the kinds of features and forests that it accepts.
# For users: algorithm="IF_ELSE", winner_take_all left as it is, counts less their mean; compare a few answers with predict()'s.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ydf==0.16.1 numpy==2.3.5
cat > main.cc <<'CC'
#include <cstdio>

#include "model.h"

// One sample a line in, its class out.
int main() {
    float energy, pitch;
    int worn;
    while (scanf("%f %f %d", &energy, &pitch, &worn) == 3) {
        model::Instance sample;
        sample.energy = energy;
        sample.pitch = pitch;
#ifdef WORN
        sample.worn = worn != 0;
#endif
        printf("%d\n", static_cast<int>(model::Predict(sample)));
    }
}
CC
cat > demonstrate.py <<'PY'
import subprocess

import numpy as np
import ydf

COUNT, COUNTS = 2000, 8_000_000
rng = np.random.default_rng(0)
energy, pitch = rng.normal(size=(2, COUNT)).astype(np.float32)
worn = rng.random(COUNT) < 0.5
both = {"energy": energy, "pitch": pitch}
counts = {"energy": np.round(COUNTS + 5 * energy), "pitch": pitch}
forest, boosted = ydf.RandomForestLearner, ydf.GradientBoostedTreesLearner


def differing(algorithm, learner, features, target, **options):
    """Share of the answers in which the C++ differs from predict(), and the share of its answers that are class 1."""
    learner = learner(label="y", num_trees=21, max_depth=5, **options)
    model = learner.train({**features, "y": target.astype(np.int32)}, verbose=0)
    with open("model.h", "w") as file:
        file.write(model.to_standalone_cc(name="model", algorithm=algorithm))
    command = ["g++", "-std=c++20", "-O1", "-Wall", "-Wextra", "main.cc", "-o", "main"]
    said = subprocess.run(command + ["-DWORN"] * ("worn" in features), check=True, capture_output=True, text=True)
    assert said.stderr == "", said.stderr
    rows = zip(*(features.get(name, np.zeros(COUNT)) for name in ("energy", "pitch", "worn")), strict=True)
    text = "".join(f"{one:.9g} {two:.9g} {three:.0f}\n" for one, two, three in rows)
    found = subprocess.run("./main", input=text, check=True, capture_output=True, text=True).stdout.split()
    found = np.array(found, int)
    right = model.predict(features) > 0.5
    return float((found != right).mean()), float(found.mean())


cases = {
    "boosted, two numbers": (boosted, both, energy + pitch > 0, {}),
    "boosted, two numbers and a boolean": (boosted, {**both, "worn": worn}, energy + worn > 0.5, {}),
    "forest that votes, two numbers": (forest, both, energy + pitch > 0, {}),
    "forest of means, two numbers": (forest, both, energy + pitch > 0, {"winner_take_all": False}),
    "boosted, counts of 24 bits": (boosted, counts, energy + pitch > 0, {}),
}
for name, (learner, features, target, options) in cases.items():
    for algorithm in ("ROUTING", "IF_ELSE"):
        share, ones = differing(algorithm, learner, features, target, **options)
        print(f"{name}, {algorithm}: {share:.1%} of the answers differ from predict()'s, {ones:.1%} are class 1")
        if name.endswith("boolean") and algorithm == "ROUTING":
            assert share > 0.1, "the behaviour has changed"
        elif "means" in name:
            assert ones == 0 and share > 0.3, "the behaviour has changed"
        elif "counts" in name:
            assert share > 0.05, "the behaviour has changed"
        else:
            assert share < 0.001
PY
env/bin/python demonstrate.py
