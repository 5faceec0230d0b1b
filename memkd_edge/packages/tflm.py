# SPDX-License-Identifier: Apache-2.0
"""What the TFLite Micro package adds to the others: the file, the operators it needs, the arena and golden vectors."""

from typing import Any

import numpy as np

from memkd_edge.contract import Contract
from memkd_edge.decisions import margin_steps
from memkd_edge.errors import UsageError
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.metadata import Metadata
from memkd_edge.packages.arena import ON_32_BITS, arena_bytes
from memkd_edge.packages.selftest import SelfTest
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.scratch import scratch_folder
from memkd_edge.signal_limits import RAILS_SHARE, grids, limits
from memkd_edge.vocabulary import Arithmetic
from memkd_edge.writers.tflite import write_tflite


def tflm_fields(
    model: QuantizedClassifier, metadata: Metadata, use: Contract, test: SelfTest, interface: Arithmetic
) -> dict[str, Any]:
    """Return what the templates of the `tflm` package know on top of the others.

    The file is the stripped one: the C++ class holds what firmware needs of them.

    Raises:
        UsageError: a model for raw counts, whose filter would have to stand in front of the file.
    """
    if model.raw is not None:
        raise UsageError("--package tflm takes a model for normalised input; leave out --input raw, or take --package c")
    data = write_tflite(model, None, interface=interface, strip=True)
    arena, kind = arena_bytes(data, layers=len(model.layers), hidden_size=model.hidden_size)
    int8 = interface == Arithmetic.INT8
    states = len(model.layers[0].state_scales)
    state_bytes = 2 * model.hidden_size * len(model.layers) * states + (4 * model.input_size if int8 else 0)
    logit_scale = np.float32(model.logit_scale_int8 if int8 else model.head.out_scale)
    input_scale = model.input_scale if int8 else model.layers[0].state_scale
    return {
        "interface": interface.value,
        "carries": int8,  # what rounding leaves of a sample goes into the next
        "value_type": "int8_t" if int8 else "int16_t",
        "value_max": 127 if int8 else (1 << 15) - 1,
        "model_bytes": len(data),
        "model_rows": [data[start : start + 20] for start in range(0, len(data), 20)],
        "operators": operator_methods(data),
        "arena": arena,
        "arena_kind": kind,
        "arena_32_bits": [round(arena * part / 16) * 16 for part in ON_32_BITS],
        "hidden": model.hidden_size,
        "states": len(model.layers) * states,
        # The states that the probe looks at: the cells, or the hidden states of a GRU.
        "probed_states": list(range(states - 1, len(model.layers) * states, states)),
        "state_bytes": state_bytes,
        # With the latest sample and 12 or 16 bytes of counters, where numbers are aligned to 4 bytes.
        "stream_bytes": -(-(2 if use.staggered else 1) * state_bytes // 4) * 4
        + 4 * model.input_size
        + (16 if use.counts else 12),
        "input_scale": np.float32(input_scale),
        "input_zero_point": model.input_zero_point_int8 if int8 else 0,
        "logit_scale": logit_scale,
        "margin": margin_steps(use.margin, float(logit_scale)),
        "floor": margin_steps(use.refuse_below or 0.0, float(logit_scale)),
        "logit_zero_point": model.logit_zero_point_int8 if int8 else 0,
        "monitor": _monitor(metadata, "int8" if int8 else "int16", float(np.float32(input_scale)), model),
        "mean": metadata.mean,
        "std": metadata.std,
        "x": test.x_int8 if int8 else test.x_int16,
        "logits": test.logits_int8 if int8 else test.logits_int16,
    }


def _monitor(metadata: Metadata, dtype: str, scale: float, model: QuantizedClassifier) -> dict[str, Any]:
    """Return what the templates know of the input monitor."""
    usual = limits(metadata, resampled=True)
    zero_point = model.input_zero_point_int8 if dtype == "int8" else 0
    seen = grids(metadata, dtype, scale, zero_point, model.layers[0].state_scale)
    return {
        "samples": usual.samples,
        "known": usual.known,
        "usual": list(zip(usual.mean, usual.deviation, strict=True)),
        "pace": usual.pace,
        "rails_share": RAILS_SHARE,
        "multiplier": seen[0].multiplier(usual.samples),
    }


def operator_methods(model: bytes) -> list[str]:
    """Return the methods of MicroMutableOpResolver that add the kernels of a .tflite file, as AddFullyConnected."""
    with scratch_folder() as folder:
        path = folder / "model.tflite"
        path.write_bytes(model)
        names = {operator.name for subgraph in read_tflite(path).subgraphs for operator in subgraph.operators}
    return sorted("Add" + "".join(word.capitalize() for word in name.split("_")) for name in names)
