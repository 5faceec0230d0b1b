# SPDX-License-Identifier: Apache-2.0
"""A long comparison of the numpy reference with TensorFlow Lite Micro: `python -m tests.quantization.exact --steps 1000000`.

Half of the steps are random and saturating states, half are streams that carry their state. Prints the steps and the mismatches
of each model; exits 1 if there is one.
"""

import argparse
import sys

import numpy as np

from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.sensor_front_end import IntegerFrontEnd, Sensor
from memkd_edge.writers.tflite import write_tflite
from tests.quantization.helpers import DTYPES, MicroStep, hard_states, random_model, random_series, reference_step, step_widths

SPECS = (
    ModelSpec(1, 8, 2),
    ModelSpec(6, 16, 6),
    ModelSpec(3, 5, 4, num_layers=2),
    ModelSpec(9, 8, 6, num_layers=3),
    ModelSpec(1, 8, 2, kind="gru"),
    ModelSpec(4, 9, 5, num_layers=2, kind="gru"),
)
CHUNK = 1000  # steps checked in one pass of the vectorised reference


def mismatches(q: QuantizedClassifier, spec: ModelSpec, interface: str, steps: int, seed: int) -> int:
    """Count the steps in which a logit or a state differs."""
    micro = MicroStep(write_tflite(q, None, interface=interface))
    dtype = np.int16 if q.raw is not None else DTYPES[interface]
    wrong = 0
    for start in range(0, steps, CHUNK):
        count = min(CHUNK, steps - start)
        chain = (start // CHUNK) % 2 == 1
        inputs, outputs, state = [], [], None
        for values in hard_states(seed + start, count, step_widths(spec), dtype):
            # A stream takes hard samples but its own states.
            taken = values if state is None else [values[0], *state]
            inputs.append(taken)
            outputs.append(micro(taken))
            state = outputs[-1][1:] if chain else None
        batch = [np.concatenate(column) for column in zip(*inputs, strict=True)]
        runner = integer_classifier(q, count)
        if q.raw is not None:
            batch[0] = IntegerFrontEnd(q.raw).normalise(batch[0])
        found = reference_step(runner, batch)
        if q.raw is not None and interface == "int8":
            found[0] = runner.narrow(found[0])
        expected = [np.concatenate(column) for column in zip(*outputs, strict=True)]
        differs = [(want != got).any(axis=1) for want, got in zip(expected, found, strict=True)]
        wrong += int(np.logical_or.reduce(differs).sum())
    return wrong


def main() -> None:
    """Run all models and interfaces for equal shares of the steps."""
    parser = argparse.ArgumentParser(description="Compare the numpy reference with TensorFlow Lite Micro over many steps.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    total = parser.parse_args().steps
    cases = [(spec, interface, raw) for spec in SPECS for interface in DTYPES for raw in (False, True)]
    wrong = 0
    for number, (spec, interface, raw) in enumerate(cases):
        steps = -(-total // len(cases))
        channels = spec.input_size
        sensor = Sensor((1000.0,) * channels, (0.3,) * channels, (0.7,) * channels) if raw else None
        model = random_model(spec, number, gain=1.5)
        q = quantize(model, random_series(number, 4, 40, channels), sensor=sensor)
        found = mismatches(q, spec, interface, steps, 10 * total * number)
        print(
            f"{spec.kind} {spec.num_layers}x{spec.hidden_size} {interface}{' raw' if raw else ''}: {steps} steps, {found} differ",
            flush=True,
        )
        wrong += found
    print(f"{steps * len(cases)} steps, {wrong} mismatches")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
