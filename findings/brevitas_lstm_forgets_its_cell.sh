#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Brevitas' QuantLSTM, streamed as torch's LSTM is, loses the cell state at every step: it takes the pair (h, c) for h alone.
#
# Software: brevitas 0.13.4, torch 2.13.0 (numpy 2.3.5, Python 3.11).
# Seen: it loads the weights of torch's LSTM and returns y, (h, c); over a whole series, quantisers off, it is torch's to 1e-6.
#   Streamed with `y, state = layer(x_t, state)` it is up to .57 away in 20 steps, and within 1e-6 of torch's with c set to 0
#   before each step; the int8 layer, too, differs from itself over the whole series. forward() takes h and c as two arguments:
#   layer(x_t, *state) is right. Of the mistake only an axis of 1 more in y and in the state can be seen, which a linear layer
#   takes as it comes. No warning, no error.
# Guess: that a layer which loads torch's weights and returns torch's pair takes it back as torch does, or refuses it.
# For users: layer(x_t, *state), and compare a stream with the whole series; memkd-edge's files have h and c as two arguments.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 brevitas==0.13.4 numpy==2.3.5
cat > demonstrate.py <<'PY'
import warnings

import torch
from brevitas.nn import QuantLSTM
from torch import nn

warnings.simplefilter("ignore")  # brevitas', on torch's named tensors
torch.set_num_threads(1)
torch.manual_seed(0)
STEPS, SERIES, CHANNELS, UNITS = 20, 3, 4, 5
QUANTISERS = ("weight", "io", "gate_acc", "sigmoid", "tanh", "cell_state", "bias")
x = torch.randn(STEPS, SERIES, CHANNELS)


def streamed(step):
    """step(x_t, state) -> y, state; state is None at first."""
    state, outputs = None, []
    for one in x:
        y, state = step(one[None], state)
        outputs.append(y.reshape(SERIES, UNITS))
    return torch.stack(outputs)


def as_torch(layer):
    return lambda one, state: layer(one) if state is None else layer(one, state)


def in_two(layer):
    return lambda one, state: layer(one) if state is None else layer(one, *state)


def without_cell(layer):
    return lambda one, state: layer(one) if state is None else layer(one, (state[0], torch.zeros_like(state[1])))


def away(one, other):
    return float((one - other).abs().max())


reference = nn.LSTM(CHANNELS, UNITS)
for parameter in reference.parameters():
    nn.init.normal_(parameter, std=0.7)
plain = QuantLSTM(CHANNELS, UNITS, **{f"{name}_quant": None for name in QUANTISERS})
plain.load_state_dict(reference.state_dict())
int8 = QuantLSTM(CHANNELS, UNITS)
for _ in range(300):  # its scales are learnt from what it sees
    int8(x)
int8.eval()

with torch.no_grad():
    right = reference(x)[0]
    assert away(streamed(as_torch(reference)), right) < 1e-5 and away(plain(x)[0], right) < 1e-5
    found, forgetful = streamed(as_torch(plain)), streamed(without_cell(reference))
    print(f"quantisers off, layer(x_t, state): up to {away(found, right):.2g} away from torch, ", end="")
    print(f"{away(found, forgetful):.1g} from torch without the cell state")
    print(f"quantisers off, layer(x_t, *state): {away(streamed(in_two(plain)), right):.1g} away from torch")
    whole, found, two = int8(x)[0], streamed(as_torch(int8)), streamed(in_two(int8))
    print(f"int8, layer(x_t, state): up to {away(found, whole):.2g} away from itself over the whole series; ", end="")
    print(f"layer(x_t, *state): {away(two, whole):.1g}")
    y, (h, c) = plain(x[:1], reference(x[:1])[1])
    print(f"shapes of y, h and c of one step: {tuple(y.shape)}, {tuple(h.shape)}, {tuple(c.shape)}")
    assert away(streamed(in_two(plain)), right) < 1e-5 and away(two, whole) < 0.05
    assert away(streamed(as_torch(plain)), forgetful) < 1e-5 and away(forgetful, right) > 0.3, "the behaviour has changed"
    assert away(found, whole) > 0.1, "the behaviour has changed"
PY
env/bin/python demonstrate.py
