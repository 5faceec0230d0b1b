# SPDX-License-Identifier: Apache-2.0
"""`QuantizedClassifier` -> C99: <name>.h (the manual), .c (weights, steps), _stream.c (live signals), _monitor.c, the runtime.

    files = emit_c(quantized, metadata, "gesture")        # text by file name

The C computes exactly what `memkd_edge.quantization.reference` does, on every core and in every build of the runtime.
"""

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memkd_edge.errors import UsageError
from memkd_edge.export_names import check_export_name
from memkd_edge.metadata import Metadata
from memkd_edge.quantization.integer_model import (
    Multiplier,
    QuantizedClassifier,
    QuantizedDense,
    QuantizedLayer,
    QuantizedLstmLayer,
    RawInput,
)
from memkd_edge.vocabulary import Cell
from memkd_edge.writers.c_text import LAST, content_id, render, runtime_files

RUNTIME_FILES = (
    "memkd_port.h",
    "memkd_lstm.h",
    "memkd_helium.h",
    "memkd_armv6m.h",
    "memkd_lstm.c",
    "memkd_front_end.h",
    "memkd_state.h",
    "memkd_state.c",
)

# The runtime has these built in (SPEC.md).
_GATE_SCALE = 3 * 2.0**-12
_CELL_RESCALE = Multiplier(0x55555400, -19)  # at cell_shift 0
_NONE = -1  # a row of zeros


@dataclass(frozen=True)
class _Block:
    """Consecutive rows (a unit's four gates, or some classes): biases modulo 2^32, and weights four by four in a build's order.

    For scalar builds the four are two rows over two columns: a, c of one row, b, d of the next.
    """

    biases: list[int]
    weights: list[tuple[int, int, int, int]]
    half: int

    @property
    def words(self) -> list[str]:
        """The weights in C."""
        return [f"MEMKD_WEIGHTS({', '.join(map(str, four))})" for four in self.weights]

    @property
    def wide(self) -> list[int]:
        """The words that a build with 16-bit weights stores."""
        return self.biases + [
            word for a, b, c, d in self.weights for word in (a % 65536 | c % 65536 << 16, b % 65536 | d % 65536 << 16)
        ]

    @property
    def vectors(self) -> list[int]:
        """The words that a build with vectors stores."""
        return self.biases + [sum(weight % 256 << 8 * place for place, weight in enumerate(four)) for four in self.weights]

    @property
    def narrow(self) -> list[int]:
        """The words that a build with 8-bit weights stores."""
        return self.biases + [sum(weight + 128 << 8 * place for place, weight in enumerate(four)) for four in self.weights]

    @property
    def signed(self) -> list[int]:
        """The words that a build for RISC-V stores: signed bytes, and biases with half a unit."""
        biases = [(bias + self.half) % (1 << 32) for bias in self.biases]
        return biases + [sum(weight % 256 << 8 * place for place, weight in enumerate(four)) for four in self.weights]


@dataclass(frozen=True)
class _Dense:
    pairs: list[_Block]
    vectors: list[_Block]
    multiplier: int
    shift: int
    clamp: int
    half: int
    widths: tuple[int, ...]
    assembly: bool
    cell_shift: int = 0
    hidden_shift: int = 0

    @property
    def rounded(self) -> int:
        """Whether biases may hold `half`."""
        return int(self.half > 0)


def emit_c(model: QuantizedClassifier, metadata: Metadata | None, name: str) -> dict[str, str]:
    """Return the C sources of `model`, text by file name.

    Args:
        model: the integer model.
        metadata: labels, channels, normalisation and provenance for the header; None gives numbered labels and no
            normalisation.
        name: prefix of all functions, a lower-case C identifier.

    Raises:
        UsageError: `name` is no such identifier; metadata of another model; scales other than SPEC.md's or beyond the
            runtime's range; a low-pass filter whose sums leave 32 bits.
    """
    check_export_name(name)
    layers = [_layer(layer) for layer in model.layers]
    classes = list(range(model.num_classes))
    head = _dense(model.head, _groups(classes, 2), _groups(classes, 4), (model.hidden_size,))
    raw = _raw_fields(model.raw) if model.raw else {}
    taps = len(raw["taps"]) if raw else 0
    states = model.layers[0].state_scales
    fields: dict[str, Any] = {
        "integer": True,
        "kind": model.cell.value,
        "gates": {Cell.LSTM: "i, f, o, g", Cell.GRU: "reset, update, candidate of x, candidate of h"}[model.cell],
        "channels": model.input_size,
        "classes": model.num_classes,
        "hidden": model.hidden_size,
        "layers": len(layers),
        "state_type": "int16_t",
        "state_bytes": 2 * len(states) * model.hidden_size * len(layers) + (2 * taps * model.input_size + 4 if taps else 0),
        "cell_scale": states.get("c"),
        "input_scale_i16": model.layers[0].state_scale,
        "logit_scale_i16": model.head.out_scale,
        "input_scale_i8": model.input_scale,
        "logit_scale_i8": model.logit_scale_int8,
        "logit_zero_point_i8": model.logit_zero_point_int8,
        "input_zero_point_i8": model.input_zero_point_int8,
        "input_gain": model.input_gain,
        "input_gain_f32": 1 / model.layers[0].state_scale,
        "logit_mantissa": model.logit_rescale.mantissa,
        "logit_shift": -model.logit_rescale.exponent,
        "x_type_i8": "int16_t" if model.raw else "int8_t",
        "raw": model.raw,
        "factor": model.raw.factor if model.raw else 1,
        "taps": taps,
        "id": content_id(_contents(model)),
    }
    fields["interfaces"] = [("i8", fields["x_type_i8"], "int8_t"), ("i16", "int16_t", "int16_t"), ("f32", "float", "float")]
    # What a stream is fed by, and the union member that keeps its latest sample.
    fields["pushes"] = fields["interfaces"][: 2 if model.raw else 3]
    fields["last"] = {x_type: LAST[x_type] for _, x_type, _ in fields["pushes"]}
    columns = max(sum((width + 1) // 2 for width in (layer.input_size, layer.hidden_size)) for layer in model.layers)
    variables = {
        "layers": layers,
        "head": head,
        "columns": columns,
        "raw": raw,
        "means": _means(model.raw, metadata, model),
        # What <name>_damaged() looks at, in the order of _checksum.
        "arrays": [
            *(f"gates{layer}_weights" for layer in range(len(layers))),
            "head_weights",
            *(["offsets", "gains"] if raw else []),
            *(["taps"] if taps else []),
        ],
        "checksums": {form: _checksum([*layers, head], raw, form) for form in ("wide", "narrow", "signed", "vectors")},
    }
    templates = {f"{name}.h": "model.h.j2", f"{name}.c": "model.c.j2", f"{name}_stream.c": "stream.c.j2"}
    templates[f"{name}_monitor.c"] = "monitor.c.j2"
    files = {file: render(template, name, fields, metadata, variables) for file, template in templates.items()}
    return files | runtime_files(RUNTIME_FILES)


def _layer(layer: QuantizedLayer) -> _Dense:
    built_in = layer.gate_scale == _GATE_SCALE and layer.hidden_rescale.mantissa == 1 << 30
    cell_shift = 0
    if isinstance(layer, QuantizedLstmLayer):
        cell_shift = layer.cell_shift
        expected = Multiplier(_CELL_RESCALE.mantissa, _CELL_RESCALE.exponent - cell_shift)
        built_in = built_in and -2 <= cell_shift <= 3 and layer.cell_rescale == expected
    if not built_in:
        raise UsageError("the C runtime computes with the scales of SPEC.md only; quantise the model with memkd-edge")
    units = [list(range(unit, 4 * layer.hidden_size, layer.hidden_size)) for unit in range(layer.hidden_size)]
    even = units + [[_NONE] * 4] * (layer.hidden_size % 2)
    dense = _dense(layer.gates, units, even, (layer.input_size, layer.hidden_size))
    # Of GRU layers there is no assembly; a layer's pre-activations that need clamping are too rare.
    assembly = dense.assembly and isinstance(layer, QuantizedLstmLayer) and not dense.clamp
    return replace(dense, assembly=assembly, cell_shift=cell_shift, hidden_shift=1 - layer.hidden_rescale.exponent)


def _groups(rows: list[int], size: int) -> list[list[int]]:
    """Return the rows, `size` by `size`, the last ones filled up."""
    return [(rows[at : at + size] + [_NONE] * size)[:size] for at in range(0, len(rows), size)]


def _dense(layer: QuantizedDense, pairs: list[list[int]], vectors: list[list[int]], widths: tuple[int, ...]) -> _Dense:
    """Arrange a dense layer of `widths` columns: the rows that belong together in scalar builds, and in those with vectors."""
    if layer.shift < 1:
        raise UsageError("a layer amplifies its input more than the C runtime can; normalise the data and distil again")
    half = 1 << layer.shift - 1
    if not 17 <= layer.shift <= 32 or _largest(layer) + half >= 1 << 31:
        half = 0
    weight, bias = np.pad(layer.weight.astype(int), ((0, 1), (0, 0))), np.pad(layer.bias, (0, 1))  # row _NONE
    parts = np.split(weight, np.cumsum(widths)[:-1], axis=1)
    even = np.concatenate([np.pad(part, ((0, 0), (0, part.shape[1] % 2))) for part in parts], axis=1)

    def block(rows: list[int], weights: list[tuple[int, int, int, int]]) -> _Block:
        return _Block([int(bias[row]) % (1 << 32) for row in rows], weights, half)

    return _Dense(
        [block(rows, _fours(even[rows])) for rows in pairs],
        [block(rows, _eights([part[rows] for part in parts])) for rows in vectors],
        layer.reduced,
        layer.shift,
        clamp=int(_may_overflow(layer)),
        widths=widths,
        # memkd_armv6m.h: how far its loop branches, and what an immediate operand holds.
        assembly=17 <= layer.shift <= 47 and sum(widths) <= 60 and len(layer.weight) <= 255,
        half=half,
    )


def _fours(rows: NDArray[Any]) -> list[tuple[int, int, int, int]]:
    """Return the weights of every two columns and, within, every two rows."""
    fours = []
    for column in range(0, rows.shape[1], 2):
        for row in range(0, len(rows), 2):
            a, b, c, d = rows[row : row + 2, column : column + 2].T.ravel().tolist()
            fours.append((a, b, c, d))
    return fours


def _eights(parts: list[NDArray[Any]]) -> list[tuple[int, int, int, int]]:
    """Return the weights of four rows as memkd_helium.h reads them: vectors of eight columns, then single columns."""
    fours: list[tuple[int, int, int, int]] = []
    singles: list[tuple[int, int, int, int]] = []
    for part in parts:
        rest = part.shape[1] % 8
        alone = rest if rest < 4 else 0
        wide = np.pad(part[:, : part.shape[1] - alone], ((0, 0), (0, -(rest - alone) % 8)))
        for column in range(0, wide.shape[1], 8):
            fours += [tuple(four) for four in wide[:, column : column + 8].reshape(-1, 4).tolist()]
        singles += [tuple(column) for column in part[:, part.shape[1] - alone :].T.tolist()]
    return fours + singles


def _checksum(dense: list[_Dense], raw: dict[str, Any], form: str) -> int:
    """Return what <name>_damaged() expects of a build: a CRC-32 over 32-bit words, `form` names the words of a build."""
    words = [
        word
        for layer in dense
        for block in (layer.vectors if form == "vectors" else layer.pairs)
        for word in getattr(block, form)
    ]
    words += [value % (1 << 32) for key in ("offset", "gain", "taps") for value in raw.get(key, [])]
    return zlib.crc32(np.array(words, "<u4").tobytes())


def _largest(layer: QuantizedDense) -> int:
    """Return what no sum of the layer exceeds, whatever its input."""
    return int((np.abs(layer.weight.astype(np.int64)).sum(axis=1) * (1 << 15) + np.abs(layer.bias)).max())


def _may_overflow(layer: QuantizedDense) -> bool:
    """Say whether 18 z + 2^17, which the activations compute, may leave 32 bits for some input."""
    z = (_largest(layer) * layer.reduced >> layer.shift) + 1
    return 18 * z + (1 << 17) >= 1 << 31


def _raw_fields(raw: RawInput) -> dict[str, Any]:
    if np.abs(raw.taps.astype(np.int64)).sum() >= 1 << 16:
        raise UsageError("the decimation filter's taps are too large: their magnitudes add up to 2 or more; design it anew")
    return {
        "offset": raw.offset.tolist(),
        "gain": raw.gain.tolist(),
        "shift": 1 - raw.rescale.exponent,
        "taps": raw.taps.tolist() if raw.factor > 1 else [],
    }


def _means(raw: RawInput | None, metadata: Metadata | None, model: QuantizedClassifier) -> list[float]:
    """Return what physical units are reduced by: the mean, of which a model for counts has the rest in its bias."""
    if raw is not None:
        return [float(offset) / per_unit for offset, per_unit in zip(raw.offset, raw.counts_per_unit, strict=True)]
    return [0.0] * model.input_size if metadata is None else list(metadata.mean)


def _contents(model: QuantizedClassifier) -> list[NDArray[Any]]:
    """Return everything that a saved state depends on."""
    dense = [layer.gates for layer in model.layers]
    arrays: list[NDArray[Any]] = [array for layer in dense for array in (layer.weight, layer.bias)]
    arrays.append(np.array([(layer.reduced, layer.shift) for layer in dense]))
    if model.raw:
        arrays += [model.raw.offset, model.raw.gain, model.raw.taps, np.array([model.raw.factor, model.raw.rescale.exponent])]
    return arrays
