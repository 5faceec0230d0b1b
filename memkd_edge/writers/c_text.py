# SPDX-License-Identifier: Apache-2.0
"""What the C emitters share: templates, C literals, and the header's fields."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from memkd_edge.assets import asset_dir
from memkd_edge.contract import Contract, contract
from memkd_edge.decisions import margin_steps
from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.signal_limits import FLOAT_SCALE, RAILS_SHARE, Grid, grids, limits

# The member of a stream that keeps its latest sample, by the sample's type.
LAST = {"int8_t": "i8", "int16_t": "i16", "float": "f32"}


def content_id(arrays: Sequence[NDArray[Any]]) -> int:
    """Return a CRC-32 over shapes and contents: it tells models apart, it does not protect."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), zlib.crc32(repr((array.shape, array.dtype.str)).encode(), crc))
    return crc


def render(template: str, name: str, model: Mapping[str, Any], metadata: Metadata | None, variables: Mapping[str, Any]) -> str:
    """Fill in a template of export/templates/model.

    Args:
        template: its file name.
        name: prefix of the C functions.
        model: sizes, scales and types of the header (see model.h.j2).
        metadata: of this model, or None.
        variables: whatever else the template needs.

    Raises:
        UsageError: the metadata's labels or channels are not as many as the model's.
    """
    metadata = _metadata(metadata, model)
    use = contract(metadata, resampled=not model["taps"])
    known = {
        "name": name,
        "UP": name.upper(),
        "model": model,
        "meta": {key: comment_text(value) if key in _COMMENTED else value for key, value in asdict(metadata).items()},
        "channels": [
            comment_text(f"{channel} {unit_text(unit)}") for channel, unit in zip(metadata.channels, metadata.units, strict=True)
        ],
        "contract": use,
        "margins": {suffix: _lead(suffix, name.upper(), "MARGIN", model, use.margin) for suffix, _, _ in model["pushes"]},
        "floors": {
            suffix: _lead(suffix, name.upper(), "REFUSE_BELOW", model, use.refuse_below or 0.0)
            for suffix, _, _ in model["pushes"]
        },
        "monitor": _monitor(model, metadata),
        "stream_bytes": _stream_bytes(model, use),
        "stream_id": zlib.crc32(
            repr((model["id"], use.reset.value, use.decides.value, use.window, use.not_yet, use.refuses)).encode()
        ),
        "runtime_version": _constant("MEMKD_RUNTIME_VERSION"),
        "layout_version": _constant("MEMKD_LAYOUT_VERSION"),
    }
    text = _templates().get_template(template).render(known | dict(variables))
    return text.rstrip("\n") + "\n"


def runtime_files(names: Sequence[str]) -> dict[str, str]:
    """Return files of export/runtime, text by file name."""
    return {name: (asset_dir("export") / "runtime" / name).read_text() for name in names}


def licence() -> dict[str, bytes]:
    """Return the licence of what is generated, by its file name."""
    return {"LICENSE": (asset_dir("export") / "LICENSE").read_bytes()}


def comment_text(text: str) -> str:
    """Make text harmless inside a C comment: one line, no comment marks, no trigraphs, no line continued."""
    line = " ".join(text.split()).replace("\\", "/").replace("*/", "* /").replace("/*", "/ *")
    return re.sub(r"\?(?=\?)", "? ", line)


def unit_text(unit: str) -> str:
    """Return a unit as manuals state it; some data sets do not tell."""
    return f"({unit})" if unit else "(unit unknown)"


def _constant(constant: str) -> int:
    match = re.search(rf"^#define {constant} (\d+)$", runtime_files(["memkd_state.h"])["memkd_state.h"], re.M)
    assert match is not None, f"the runtime has no {constant}"
    return int(match[1])


def _stream_bytes(model: Mapping[str, Any], use: Contract) -> int:
    """Return the size of a stream, where a uint32_t is aligned to 4 bytes: states, latest sample, counters, and small numbers."""
    unit = max({"int8_t": 1, "int16_t": 2, "float": 4}[x_type] for x_type in model["last"])
    states = (2 if use.staggered else 1) * int(model["state_bytes"])
    sample = -(-states // unit) * unit + int(model["channels"]) * unit
    return -(-sample // 4) * 4 + (8 if use.counts else 4) + (8 if use.staggered and use.refuses else 4)


def _monitor(model: Mapping[str, Any], metadata: Metadata) -> dict[str, Any]:
    """Return what the templates know of the input monitor: its entries, and how it sees the samples of each."""
    raw = model["raw"]
    usual = limits(metadata, resampled=not model["taps"])
    seen = replace(metadata, counts_per_unit=raw.counts_per_unit if raw else ())
    if not model["integer"]:
        of = {"i16": grids(seen, "float32", 1.0, 0, 1.0)}
        entries, gain = [("f32", "float")], 1 / FLOAT_SCALE
    else:
        scale = float(model["input_scale_i16"])
        of = {"i16": grids(seen, "int16", scale, 0, scale)}
        entries, gain = [("i16", "int16_t")], 1 / scale
        if not raw:
            of["i8"] = grids(seen, "int8", float(np.float32(model["input_scale_i8"])), model["input_zero_point_i8"], scale)
            entries += [("i8", "int8_t"), ("f32", "float")]
    return {
        "samples": usual.samples,
        "known": usual.known,
        "paced": usual.paced,
        "pace": usual.pace,
        "rails_share": RAILS_SHARE,
        "usual": list(zip(usual.mean, usual.deviation, strict=True)),
        "entries": entries,
        "seen_as": {"i8": "i8", "i16": "i16", "f32": "i16"},
        "gain": gain,
        "grids": {suffix: [_numbers(one, usual.samples) for one in of_channels] for suffix, of_channels in of.items()},
    }


def _numbers(grid: Grid, samples: int) -> list[int]:
    """Return what the C knows of a channel's samples."""
    own = [grid.multiplier(samples), grid.low, grid.high]
    return own if grid.offset is None else [grid.offset, *own]


def _lead(suffix: str, upper: str, what: str, model: Mapping[str, Any], lead: float) -> str:
    """Return a lead in the unit of an entry's logits, in C: whole steps of integer logits."""
    if not model["integer"]:
        return c_float(lead)
    if suffix == "f32":  # the logits are multiples of their scale: half a step aside no rounding counts
        aside = {"MARGIN": "+", "REFUSE_BELOW": "-"}[what]
        return f"(((float){upper}_{what}_I16 {aside} 0.5f) * {upper}_LOGIT_SCALE_I16)"
    steps = margin_steps(lead, float(np.float32(model[f"logit_scale_{suffix}"])))
    return str(steps) if steps >= 0 else f"({steps})"


def _metadata(metadata: Metadata | None, model: Mapping[str, Any]) -> Metadata:
    channels, classes = model["channels"], model["classes"]
    if metadata is None:
        names = tuple(f"channel {k}" for k in range(channels))
        labels = tuple(str(k) for k in range(classes))
        metadata = Metadata("", labels, names, ("",) * channels, None, (0.0,) * channels, (1.0,) * channels)
    counts = {len(metadata.channels), len(metadata.units), len(metadata.mean), len(metadata.std)}
    if counts != {channels} or len(metadata.labels) != classes:
        raise UsageError(
            f"the metadata describes {len(metadata.channels)} channels and {len(metadata.labels)} classes, "
            f"the model has {channels} and {classes}: they are not of the same model"
        )
    return metadata


_COMMENTED = {"run_id", "dataset", "dataset_sha256", "dataset_terms", "version"}


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(asset_dir("export") / "templates" / "model"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML
    )
    environment.filters["c_string"] = c_string
    environment.filters["c_float"] = c_float
    environment.filters["c_hex"] = _c_hex
    return environment


def c_string(text: str) -> str:
    """Return a C string literal of the UTF-8 text; anything but plain ASCII as octal escapes."""
    # A question mark is escaped because of trigraphs.
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return '"' + "".join(plain) + '"'


def c_float(value: float | None) -> str:
    """Return a C float literal that reads back as the float32 value; None gives 0."""
    text = str(np.float32(value or 0.0))
    return f"{text if '.' in text or 'e' in text else text + '.0'}f"


def _c_hex(value: int) -> str:
    return f"0x{value:08X}u"
