# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's converter as a second opinion on the graph we write. Run by a Python that has TensorFlow, see test_second_opinion.

    python second_opinion.py OURS.npz CONVERTED.tflite

Builds the step of a float LSTM from the weights in OURS.npz as a tf.function, converts it with tf.lite.TFLiteConverter to
float32, writes the file, streams x [N, T, C] through it in tf.lite, and prints as JSON: the operators of the converted graph,
and the logits after the last step [N, K].
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def main(source: str, target: str) -> None:
    with np.load(source, allow_pickle=False) as archive:
        w = {name: archive[name] for name in archive.files}
    hidden, channels = w["rnn.weight_hh_l0"].shape[1], w["rnn.weight_ih_l0"].shape[1]
    weight = np.concatenate([w["rnn.weight_ih_l0"], w["rnn.weight_hh_l0"]], axis=1)
    bias = w["rnn.bias_ih_l0"] + w["rnn.bias_hh_l0"]

    def step(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> dict[str, tf.Tensor]:
        gates = tf.matmul(tf.concat([x, h], 1), weight, transpose_b=True) + bias
        i, f, g, o = tf.split(gates, 4, axis=1)
        c_out = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h_out = tf.sigmoid(o) * tf.tanh(c_out)
        return {"logits": tf.matmul(h_out, w["head.weight"], transpose_b=True) + w["head.bias"], "h_out": h_out, "c_out": c_out}

    shapes = {"x": channels, "h": hidden, "c": hidden}
    module = tf.Module()
    module.step = tf.function(step)
    concrete = module.step.get_concrete_function(
        **{name: tf.TensorSpec([1, width], tf.float32, name) for name, width in shapes.items()}
    )
    data = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()
    Path(target).write_bytes(data)
    interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    logits = []
    for series in w["x"]:
        h = c = np.zeros((1, hidden), np.float32)
        for sample in series:
            result = runner(x=sample[None], h=h, c=c)
            h, c = result["h_out"], result["c_out"]
        logits.append(result["logits"][0].tolist())
    operators = [details["op_name"] for details in interpreter._get_ops_details() if details["op_name"] != "DELEGATE"]
    print(json.dumps({"operators": operators, "logits": logits}))


if __name__ == "__main__":
    main(*sys.argv[1:])
