#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# pnnx converts a classifier on torch's last state into one on the first: the answer rests on one sample, whatever follows it.
#
# Software: pnnx 20261020, ncnn 1.0.20261020, torch 2.13.0 (numpy 2.3.5, Python 3.11).
# Seen: `_, (h, _) = lstm(x)` and a linear layer on h[-1], in torch's layout [T, N, C]: ncnn's answer has torch's shape and is, to
#   1e-6, torch's after the first of 20 samples: .2 and .6 away here, the other 19 may be anything. With batch_first and
#   h.squeeze(0) it is 20 rows, one for each sample, the right one last. GRUs are the same. On y[-1] and y[:, -1] all is right.
#   pnnx ends with 0 and no message. (The trace of a layer returns only what is used of it; pnnx takes what it finds first for y.)
# Guess: that h[-1] and y[-1], one value in torch, are one value after conversion, or that the converter refuses one of them.
# For users: put the classifier on y[-1] or y[:, -1] before pnnx sees it, and compare one answer with torch's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 pnnx==20261020 ncnn==1.0.20261020 numpy==2.3.5
cat > demonstrate.py <<'PY'
import subprocess
import warnings

import ncnn
import numpy as np
import torch
from torch import nn

warnings.simplefilter("ignore")  # torch's, that traces are deprecated
torch.set_num_threads(1)
STEPS, CHANNELS, HIDDEN, CLASSES = 20, 3, 8, 3
HEADS = {
    "y[-1]": lambda y, h: y[-1],
    "y[:, -1]": lambda y, h: y[:, -1],
    "h[-1]": lambda y, h: h[-1],
    "h.squeeze(0)": lambda y, h: h.squeeze(0),
}


class Classifier(nn.Module):
    """x [T, 1, C], or [1, T, C] where batch_first, to logits [1, classes]."""

    def __init__(self, layer, batch_first, head):
        super().__init__()
        self.layer, self.head = layer(CHANNELS, HIDDEN, batch_first=batch_first), HEADS[head]
        self.linear = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        y, h = self.layer(x)
        return self.linear(self.head(y, h[0] if isinstance(self.layer, nn.LSTM) else h))


def of_ncnn(model, x, series):
    """What ncnn answers after pnnx has converted the model."""
    torch.jit.trace(model, x).save("model.pt")
    shape = ",".join(str(size) for size in x.shape)
    command = ["env/bin/pnnx", "model.pt", f"inputshape=[{shape}]", "fp16=0"]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    text = (said.stdout + said.stderr).lower()
    assert not any(word in text for word in ("warn", "ignore", "support", "fail")), text
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.opt.num_threads = 1
    assert net.load_param("model.ncnn.param") == 0 and net.load_model("model.ncnn.bin") == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(series.numpy()).clone())
    status, found = extractor.extract("out0")
    assert status == 0
    return np.array(found)


torch.manual_seed(0)
series = torch.randn(STEPS, CHANNELS)
for layer in (nn.LSTM, nn.GRU):
    for batch_first, head in ((False, "y[-1]"), (True, "y[:, -1]"), (False, "h[-1]"), (True, "h.squeeze(0)")):
        model = Classifier(layer, batch_first, head).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.7)
        x = series.unsqueeze(0 if batch_first else 1)
        with torch.no_grad():
            after = [model(x[:, :steps] if batch_first else x[:steps])[0].numpy() for steps in range(1, STEPS + 1)]
            found = of_ncnn(model, x, series)
        start = found.ravel()[:CLASSES]
        print(f"{layer.__name__}, batch_first={batch_first}, on {head}: ncnn answers {found.shape}; ", end="")
        print(f"its first {CLASSES} numbers are {np.abs(start - after[-1]).max():.1g} away from torch's answer, ", end="")
        print(f"{np.abs(start - after[0]).max():.1g} from torch's after one sample")
        if head.startswith("y"):
            assert found.size == CLASSES and np.abs(start - after[-1]).max() < 1e-5
            continue
        assert np.abs(after[0] - after[-1]).max() > 0.1
        if head == "h[-1]":
            assert found.size == CLASSES and np.abs(start - after[0]).max() < 1e-5, "the behaviour has changed"
        else:
            assert found.shape == (STEPS, CLASSES) and np.abs(found - np.array(after)).max() < 1e-5, "the behaviour has changed"
PY
env/bin/python demonstrate.py
