# SPDX-License-Identifier: Apache-2.0
"""Small models and independent runtimes to compare the integer model with."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from memkd_edge.nets.classifier import Classifier, ModelSpec, build
from memkd_edge.quantization.reference import IntegerClassifier, IntegerLstm

RESOLVERS = ("XNNPACK", "builtin", "reference")
DTYPES = {"int8": np.int8, "int16x8": np.int16}


def random_model(spec: ModelSpec, seed: int, gain: float = 1.0) -> Classifier:
    """A classifier with uniform random weights in +-gain; trained students reach weights of several units."""
    generator = torch.Generator().manual_seed(seed)
    model = build(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((torch.rand(parameter.shape, generator=generator) * 2 - 1) * gain)
    return model.eval()


def random_series(seed: int, series: int, steps: int, channels: int) -> np.ndarray:
    """Normalised series like a sensor's: smooth, with noise, float32 [N, T, C]."""
    generator = np.random.default_rng(seed)
    walk = np.cumsum(generator.standard_normal((series, steps, channels)), axis=1)
    walk = walk / (np.abs(walk).max() / 3) + 0.1 * generator.standard_normal(walk.shape)
    return walk.astype(np.float32)


class MicroStep:
    """One step of a .tflite file in the TensorFlow Lite Micro wheel: inputs and outputs in the file's order."""

    def __init__(self, file: bytes) -> None:
        runtime = pytest.importorskip(
            "tflite_micro.python.tflite_micro.runtime",
            reason="the tflite-micro wheel is not installed (pip install tflite-micro)",
        )
        self._interpreter = runtime.Interpreter.from_bytes(file, arena_size=400_000)

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        for index, value in enumerate(inputs):
            self._interpreter.set_input(value, index)
        self._interpreter.invoke()
        return [self._interpreter.get_output(index).copy() for index in range(len(inputs))]


class LiteRtStep:
    """One step of a .tflite file through LiteRT's signature `step`; inputs and outputs by the contract's names."""

    def __init__(self, file: bytes, resolver: str, spec: ModelSpec) -> None:
        self.interpreter = litert_interpreter(file, resolver)
        self._step = self.interpreter.get_signature_runner("step")
        self.names = state_names(spec)

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = self._step(**dict(zip(["x", *self.names], inputs, strict=True)))
        return [outputs[name] for name in ["logits", *self.names]]


def litert_interpreter(file: bytes, resolver: str = "XNNPACK") -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kinds = {
        "XNNPACK": OpResolverType.AUTO,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }
    return Interpreter(model_content=file, experimental_op_resolver_type=kinds[resolver])


def state_names(spec: ModelSpec) -> list[str]:
    kinds = "h" if spec.kind == "gru" else "hc"
    return [f"{kind}{layer or ''}" for layer in range(spec.num_layers) for kind in kinds]


def step_widths(spec: ModelSpec) -> list[int]:
    """Widths of x and of the states, in the file's order."""
    return [spec.input_size] + [spec.hidden_size] * len(state_names(spec))


def reference_step(runner: IntegerClassifier, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """One step of the numpy reference, inputs and outputs in the file's order."""
    x, states = inputs[0], list(inputs[1:])
    if isinstance(runner, IntegerLstm):
        runner.h, runner.c = states[0::2], states[1::2]
    else:
        runner.h = states
    logits = runner.step_int8(x) if x.dtype == np.int8 else runner.step(x)
    if isinstance(runner, IntegerLstm):
        return [logits, *(state for pair in zip(runner.h, runner.c, strict=True) for state in pair)]
    return [logits, *runner.h]


def hard_states(seed: int, count: int, widths: Sequence[int], dtype: Any) -> Iterator[list[np.ndarray]]:
    """Inputs that provoke every branch: uniform, saturating, small and tie-prone values; the first width is x's, in `dtype`."""
    generator = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    for index in range(count):
        values = []
        for position, width in enumerate(widths):
            low, high = (limits.min, limits.max) if position == 0 else (-32768, 32767)
            kind = index % 4
            if kind == 0:
                value = generator.integers(low, high + 1, (1, width))
            elif kind == 1:
                value = generator.choice([low, high, 0, -1, 1], (1, width))
            elif kind == 2:
                value = generator.integers(max(low, -300), min(high, 300) + 1, (1, width))
            else:
                value = generator.integers(low // 16, high // 16 + 1, (1, width)) * 16
            values.append(value.astype(dtype if position == 0 else np.int16))
        yield values
