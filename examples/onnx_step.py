# SPDX-License-Identifier: Apache-2.0
"""The ONNX step in onnxruntime alone: the caller holds the state and hands it back.

python onnx_step.py ../models/gunpoint/export/gunpoint_step.onnx
"""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["memkd_edge"])
mean, std = np.array(about["mean"], np.float32), np.array(about["std"], np.float32)
state = {one.name: np.zeros((1, one.shape[1]), np.float32) for one in session.get_inputs() if one.name != "x"}

generator = np.random.default_rng(0)
for _ in range(200):
    sample = mean + std * generator.standard_normal(len(mean)).astype(np.float32)  # yours: physical units, one sample
    logits, *new = session.run(None, {"x": ((sample - mean) / std)[None], **state})
    state = dict(zip(state, new, strict=True))
print(about["labels"][int(logits.argmax())], logits[0])
