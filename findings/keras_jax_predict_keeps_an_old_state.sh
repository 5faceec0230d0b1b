#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# On JAX, predict() of a stateful Keras LSTM starts every call at the state of its first one, and no reset_state() changes that.
#
# Software: keras 3.15.1, jax and jaxlib 0.10.2, its backends "jax" and "numpy" (numpy 2.3.5, scipy 1.17.1, Python 3.11).
# Seen: nine samples in three calls of three, stateful=True. With backend "numpy" predict() ends at the answer of the stateless
#   layer on all nine; with "jax" at its answer to the last three alone, LSTM and GRU alike, and so in one predict() of three
#   batches. If the layer had a state when predict() was called first, as after model(x), every later predict() starts there, also
#   after reset_state(). model(x) keeps its state and resets it with both backends. No warning, no error. (The states are
#   not among the model's variables, so the compiled function takes them for constants.)
# Guess: that stateful=True and reset_state() mean one thing with every backend, or that a backend without them refuses.
# For users: on JAX stream with model(x), or carry the state as input and output of the model, as memkd-edge's files do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.3.5 scipy==1.17.1
cat > demonstrate.py <<'PY'
import sys

import keras
import numpy as np

BACKEND, STEPS, PART, CHANNELS, UNITS = sys.argv[1], 9, 3, 3, 4
assert keras.backend.backend() == BACKEND
rng = np.random.default_rng(0)
x = rng.normal(size=(1, STEPS, CHANNELS)).astype(np.float32)
parts = np.split(x, STEPS // PART, axis=1)


def away(answer, other):
    return float(np.abs(np.asarray(answer)[-1] - np.asarray(other)[-1]).max())


def called(model, part):
    return keras.ops.convert_to_numpy(model(part))


def stateful(layer, weights):
    part, recurrent = keras.Input(batch_shape=(1, PART, CHANNELS)), layer(UNITS, stateful=True)
    model = keras.Model(part, recurrent(part))
    recurrent.cell.set_weights(weights)
    return model, recurrent


for layer in (keras.layers.LSTM, keras.layers.GRU):
    who = f"{BACKEND}, {layer.__name__}"
    series = keras.Input((None, CHANNELS))
    whole = keras.Model(series, layer(UNITS)(series))
    weights = [0.6 * rng.normal(size=weight.shape).astype(np.float32) for weight in whole.get_weights()]
    whole.set_weights(weights)

    of_all, of_last = called(whole, x), called(whole, parts[-1])
    assert away(of_all, of_last) > 0.01

    (by_call, recurrent), (by_predict, _), (at_once, _) = (stateful(layer, weights) for _ in range(3))
    for _ in range(2):
        recurrent.reset_state()
        for one in parts:
            answer = called(by_call, one)
        assert away(answer, of_all) < 1e-6
    for one in parts:
        answer = by_predict.predict(one, verbose=0)
    batches = at_once.predict(np.concatenate(parts), batch_size=1, verbose=0)
    for name, found in (("three calls of predict()", answer), ("one predict() of three batches", batches)):
        print(f"{who}, {name}: {away(found, of_all):.1g} away from the answer to all nine samples, ", end="")
        print(f"{away(found, of_last):.1g} from that to the last three")
        if BACKEND == "numpy":
            assert away(found, of_all) < 1e-6
        else:
            assert away(found, of_last) < 1e-6, "the behaviour has changed"

    model, recurrent = stateful(layer, weights)
    for one in parts[:-1]:
        called(model, one)
    model.predict(parts[-1], verbose=0)
    recurrent.reset_state()
    answer = model.predict(parts[-1], verbose=0)
    print(f"{who}, predict() of the last three after reset_state(): {away(answer, of_all):.1g} away from all nine's, ", end="")
    print(f"{away(answer, of_last):.1g} from the last three's")
    if BACKEND == "numpy":
        assert away(answer, of_last) < 1e-6
    else:
        assert away(answer, of_all) < 1e-6, "the behaviour has changed"
PY
for backend in numpy jax; do
    KERAS_HOME="$folder" KERAS_BACKEND=$backend env/bin/python demonstrate.py $backend
done
