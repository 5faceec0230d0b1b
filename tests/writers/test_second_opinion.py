# SPDX-License-Identifier: Apache-2.0
"""TensorFlow as a second opinion, in its own environment: MEMKD_EDGE_TF_PYTHON names a Python that has it.

That tf.lite gives the reference's bits on our files is in test_verify; here its converter's graph stands against ours.
"""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from memkd_edge.formats.inspection import inspect
from memkd_edge.formats.step_interface import tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.verification.runtimes import RUNTIMES, Job, stream
from memkd_edge.writers.tflite import write_tflite_float
from tests.writers.toy import series, student


def test_tensorflows_own_conversion_computes_what_ours_does_with_no_fewer_operators(tmp_path, children):
    python = os.environ.get("MEMKD_EDGE_TF_PYTHON")
    if not python:
        pytest.skip("needs MEMKD_EDGE_TF_PYTHON to name a Python that has TensorFlow")
    model, x = student(), series(6, 20)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    np.savez(tmp_path / "ours.npz", x=x, **weights)
    script = Path(__file__).with_name("second_opinion.py")
    converted = tmp_path / "converted.tflite"
    done = subprocess.run([python, script, tmp_path / "ours.npz", converted], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    opinion = json.loads(done.stdout.splitlines()[-1])

    ours = tmp_path / "ours.tflite"
    ours.write_bytes(write_tflite_float(model, None, strip=True))
    step = tflite_step(read_tflite(ours))
    (result,) = stream(RUNTIMES[0], ours, step, [Job(x)], children=children)
    np.testing.assert_allclose(result.logits[:, 0], opinion["logits"], atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(opinion["logits"], model(torch.from_numpy(x))[0].numpy(), atol=1e-5)

    operators = inspect(ours).operators
    theirs = Counter(opinion["operators"])
    for name in ("CONCATENATION", "SPLIT", "LOGISTIC", "TANH", "FULLY_CONNECTED"):
        assert operators[name] == theirs[name]
    assert sum(operators.values()) <= sum(theirs.values())
    assert inspect(converted).operators == dict(theirs)  # our reader on a foreign file
    assert ours.stat().st_size < converted.stat().st_size
