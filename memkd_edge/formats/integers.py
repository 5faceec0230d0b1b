# SPDX-License-Identifier: Apache-2.0
"""Reads the integer model back out of a .tflite file that memkd-edge wrote (SPEC.md, "The .tflite file").

The file has all of it: weights and biases as constants, every scale as a tensor's. So a program can run the file's own integers
without an interpreter, and with no run at hand.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.formats.tflite_reader import TfliteFile, TfliteOperator, TfliteSubgraph, TfliteTensor
from memkd_edge.quantization.fixed_point import multiplier
from memkd_edge.quantization.integer_model import (
    CELL_SCALE,
    PRODUCT_SCALE,
    Multiplier,
    QuantizedDense,
    QuantizedGru,
    QuantizedGruLayer,
    QuantizedLstm,
    QuantizedLstmLayer,
    RawInput,
)

_ITEMS = {"INT8": np.int8, "INT16": np.int16, "INT64": np.int64}


def read_integers(file: TfliteFile) -> QuantizedLstm | QuantizedGru:
    """Return the integer model of an int8 or int16x8 file.

    Of a model of sensor counts it has no low-pass filter: that stands in front of the file.

    Raises:
        MemkdEdgeError: a file that memkd-edge did not write, or that was changed since.
    """
    graph = file.subgraphs[0]
    signature = file.signature("step")
    if signature is None or "h" not in signature.inputs:
        raise MemkdEdgeError(f"{file.path}: no signature `step` with a state h; this is not a streaming model of memkd-edge")
    try:
        return _model(graph, signature.inputs, signature.outputs)
    except (ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise MemkdEdgeError(f"{file.path}: its integers are not laid out as memkd-edge writes them ({error})") from error


def _model(graph: TfliteSubgraph, inputs: dict[str, int], outputs: dict[str, int]) -> QuantizedLstm | QuantizedGru:
    x, logits = graph.tensors[inputs["x"]], graph.tensors[outputs["logits"]]
    dense = [_dense(graph, one) for one in graph.operators if one.name == "FULLY_CONNECTED"]
    *gates, head = dense
    state_scale = graph.tensors[inputs["h"]].scales[0]
    common: dict[str, Any] = {"head": head}
    raw = next((one for one in graph.operators if one.name == "SUB" and one.inputs[0] == inputs["x"]), None)
    gain, zero_point = round(x.scales[0] / state_scale), x.zero_points[0]
    if raw is not None or x.dtype == "INT16":
        gain, zero_point = 1, 0
    if x.dtype == "INT8":
        # The zero point of x stands in the bias of the first layer.
        from_x = gates[0].weight[:, : x.shape[1]].astype(np.int64).sum(axis=1)
        gates[0] = replace(gates[0], bias=gates[0].bias + gain * zero_point * from_x)
    narrow = logits.dtype == "INT8"
    common |= {
        "input_scale": gain * state_scale,
        "input_gain": gain,
        "input_zero_point_int8": zero_point,
        "logit_scale_int8": logits.scales[0],
        "logit_zero_point_int8": logits.zero_points[0],
        "logit_rescale": multiplier(head.out_scale / logits.scales[0]) if narrow else Multiplier(1 << 30, 0),
        "raw": None if raw is None else _raw(graph, raw, state_scale),
    }
    hidden_rescale = multiplier(PRODUCT_SCALE / state_scale)
    if "c" not in inputs:
        return QuantizedGru(
            layers=tuple(QuantizedGruLayer(one, one.out_scale, state_scale, hidden_rescale) for one in gates), **common
        )
    cell_scale = graph.tensors[inputs["c"]].scales[0]
    shift = math.log2(cell_scale / CELL_SCALE)
    if shift != int(shift):
        raise ValueError(f"the cell's scale is {cell_scale:g}")
    layers = tuple(
        QuantizedLstmLayer(
            gates=one,
            gate_scale=one.out_scale,
            cell_scale=cell_scale,
            state_scale=state_scale,
            cell_shift=int(shift),
            cell_rescale=multiplier(PRODUCT_SCALE / cell_scale),
            hidden_rescale=hidden_rescale,
        )
        for one in gates
    )
    return QuantizedLstm(layers=layers, **common)


def _dense(graph: TfliteSubgraph, operator: TfliteOperator) -> QuantizedDense:
    source, weight, bias = (graph.tensors[index] for index in operator.inputs)
    in_scale, weight_scale, out_scale = source.scales[0], weight.scales[0], graph.tensors[operator.outputs[0]].scales[0]
    fraction, exponent = math.frexp(in_scale * weight_scale / out_scale)
    reduced = fraction * (1 << 15)
    if reduced != int(reduced):
        raise ValueError(f"the scale {weight_scale:g} of {weight.name or 'a weight'} gives no 15-bit multiplier")
    return QuantizedDense(
        weight=_values(weight),
        bias=_values(bias).astype(np.int64),
        in_scale=in_scale,
        weight_scale=weight_scale,
        out_scale=out_scale,
        reduced=int(reduced),
        shift=15 - exponent,
    )


def _raw(graph: TfliteSubgraph, subtract: TfliteOperator, state_scale: float) -> RawInput:
    multiply = next(one for one in graph.operators if one.name == "MUL" and one.inputs[0] == subtract.outputs[0])
    offset, gain = graph.tensors[subtract.inputs[1]], graph.tensors[multiply.inputs[1]]
    return RawInput(
        counts_per_unit=(),
        offset=_values(offset)[0],
        gain=_values(gain)[0],
        rescale=multiplier(gain.scales[0] / state_scale),
        taps=np.array([1 << 15], np.int32),
        factor=1,
    )


def _values(tensor: TfliteTensor) -> Any:
    values = np.frombuffer(tensor.data, np.dtype(_ITEMS[tensor.dtype]).newbyteorder("<"))
    return values.reshape(tensor.shape).astype(_ITEMS[tensor.dtype])
