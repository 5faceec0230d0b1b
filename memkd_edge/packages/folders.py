# SPDX-License-Identifier: Apache-2.0
"""Firmware packages: a model as a folder that a build system takes as it stands.

    files = package_files("zephyr", quantized, metadata, name="gesture")        # bytes by path within the folder

A package holds the sources, the build system's own manifest, an example that reads samples and prints decisions, a self-test with
golden vectors and a README. export/templates/packages/<kind> is the folder as templates: each file is rendered to the same place,
NAME in a path standing for the model's name.
"""

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import jinja2

from memkd_edge.assets import asset_dir
from memkd_edge.contract import contract
from memkd_edge.errors import UsageError
from memkd_edge.export_names import check_export_name
from memkd_edge.metadata import Metadata
from memkd_edge.packages.flash import flash_rows
from memkd_edge.packages.selftest import STEPS, self_test
from memkd_edge.packages.tflm import tflm_fields
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.version import __version__
from memkd_edge.vocabulary import Arithmetic
from memkd_edge.writers.c_integer import emit_c
from memkd_edge.writers.c_text import c_float, c_string, comment_text, licence

# Where each kind keeps the C sources; TFLite Micro has kernels of its own and needs none.
_SOURCES = {
    "c": "src",
    "cmake": "src",
    "arduino": "src",
    "platformio": "lib/NAME/src",
    "zephyr": "src",
    "esp-idf": "components/NAME/src",
    "tflm": None,
}
KINDS = tuple(_SOURCES)

# What the manifests name as the project's page: the paper of the method.
_URL = "https://arxiv.org/abs/2601.04264"


def package_files(
    kind: str, model: QuantizedClassifier, metadata: Metadata, *, name: str, interface: Arithmetic = Arithmetic.INT8
) -> dict[str, bytes]:
    """Return the files of a package, by path within its folder. Equal arguments give equal bytes on one machine.

    Args:
        kind: one of `KINDS`.
        model: the integer model.
        metadata: of that model.
        name: prefix of C functions and name of the library, a lower-case C identifier.
        interface: of the .tflite inside `tflm`, int8 or int16x8; the C sources have both.

    Raises:
        UsageError: an unknown kind, a name that C or a build system refuses, metadata of another model, or a model for raw
            counts in `tflm`.
    """
    if kind not in KINDS:
        raise UsageError(f"no package {kind!r}; choose {', '.join(KINDS)}")
    check_export_name(name)
    fields = _fields(kind, model, metadata, name)
    folder = _SOURCES[kind]
    if folder is None:
        fields |= tflm_fields(model, metadata, fields["contract"], fields["test"], interface)
        sources = {}
    else:
        sources = emit_c(model, metadata, name)
        header = sources[f"{name}.h"]
        fields |= {"header": f"{_path(folder, name)}/{name}.h"}
        fields |= {field: _constant(header, field.upper()) for field in ("state_bytes", "stream_bytes")}
        sources |= _self_test_sources(name, fields)
        headers = sources[f"{name}.h"] + sources[f"{name}_selftest.h"]
        fields |= {"functions": re.findall(rf"^\w+ ({name}_\w+)\(", headers, re.M)}
        fields |= {"sources": sorted(file for file in sources if file.endswith(".c")), "flash": flash_rows(sources, name)}
    files = {_path(f"{folder}/{file}", name): text for file, text in sources.items()}
    for template in sorted((_templates_dir() / kind).rglob("*.j2")):
        relative = template.relative_to(_templates_dir()).as_posix()
        files[_path(relative.removeprefix(f"{kind}/").removesuffix(".j2"), name)] = _render(relative, fields)
    encoded = {path: text.encode() for path, text in files.items()} | licence()
    return {path: encoded[path] for path in sorted(encoded)}


def self_test_sources(model: QuantizedClassifier, metadata: Metadata, name: str) -> dict[str, str]:
    """Return the boot self-test's C, text by file name, to stand beside what `emit_c` returns."""
    return _self_test_sources(name, _fields("c", model, metadata, name))


def _self_test_sources(name: str, fields: Mapping[str, Any]) -> dict[str, str]:
    return {f"{name}_selftest.{suffix}": _render(f"common/selftest.{suffix}.j2", fields) for suffix in ("c", "h")}


def _fields(kind: str, model: QuantizedClassifier, metadata: Metadata, name: str) -> dict[str, Any]:
    """What the templates know."""
    rate = metadata.sample_rate_hz
    raw = model.raw is not None
    fed = rate * metadata.resampling.steps_per_sample if rate and not raw else rate
    counts = model.raw.counts_per_unit if model.raw is not None else (1.0,) * model.input_size
    words = [metadata.channels, metadata.units, metadata.mean, metadata.std, counts]
    return {
        "name": name,
        "upper": name.upper(),
        "version": __version__,
        "url": _URL,
        "sentence": f"Streaming classifier: {_count(model.input_size, 'channel')} into {_count(model.num_classes, 'class')}, "
        "one sample at a time.",
        # What the examples feed: the sensor's counts, or physical units.
        "raw": raw,
        "tflm": kind == "tflm",
        "value": "int16_t" if raw else "float",
        "entry": "i16" if raw else "f32",
        "x_type_i8": "int16_t" if raw else "int8_t",
        "steps": STEPS,
        "test": self_test(model, metadata),
        "channels": [
            {"name": _plain(channel), "unit": _plain(unit), "mean": f"{mean:.6g}", "std": f"{std:.6g}", "counts": f"{count:g}"}
            for channel, unit, mean, std, count in zip(*words, strict=True)
        ],
        # Decimals in which a sample says a thousandth of every channel's deviation.
        "decimals": max(4, math.ceil(3 - math.log10(min(map(abs, metadata.std))))),
        "labels": [_plain(label) for label in metadata.labels],
        "label_texts": metadata.labels,
        "classes": model.num_classes,
        "rate": f"{rate:g}" if rate else "",
        "rate_hz": rate,
        # What the examples feed a second: samples of the sensor, or time steps of the model.
        "fed": f"{fed:.4g}" if fed else "",
        "period_ms": max(1, round(1000 / fed)) if fed else 0,
        "resampling": metadata.resampling,
        "contract": contract(metadata, resampled=not (raw and metadata.resampling.factor > 1)),
        "warm_up": metadata.warm_up,
        "window_length": metadata.window_length,
        "accuracy": metadata.accuracy,
        "decides": metadata.decides,
        "dataset": _plain(metadata.dataset),
        "dataset_terms": _plain(metadata.dataset_terms),
        "run_id": _plain(metadata.run_id),
    }


def _plain(text: str) -> str:
    """Return text as it may stand in a C comment and in a table of a README: on one line, without their marks."""
    return comment_text(text.replace("|", "/"))


def _constant(header: str, constant: str) -> int:
    match = re.search(rf"^#define \w+_{constant} (\d+)", header, re.M)
    assert match is not None, f"the generated header has no {constant}"
    return int(match[1])


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural if number != 1 else ''}"


def _path(path: str, name: str) -> str:
    return str(PurePosixPath(path.replace("NAME", name)))


def _templates_dir() -> Any:
    return asset_dir("export") / "templates" / "packages"


def _render(template: str, fields: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_templates_dir()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C and manifests, not HTML
    )
    environment.filters["c_float"] = c_float
    environment.filters["c_string"] = c_string
    return environment.get_template(template).render(fields).strip("\n") + "\n"
