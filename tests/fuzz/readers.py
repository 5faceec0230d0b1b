# SPDX-License-Identifier: Apache-2.0
"""Everything that reads what others may have written: the sound inputs that damage starts from, and the reader."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from memkd_edge import ready_models
from memkd_edge.benchmark.devices.profiles import read_profile
from memkd_edge.benchmark.protocol import Parser, fnv1a
from memkd_edge.comparison.folder import read_configuration
from memkd_edge.comparison.rows import read_rows
from memkd_edge.config import CompareConfig, DataConfig, DistillConfig, to_toml
from memkd_edge.contents import read_config, read_metrics, read_series, read_streams, read_student
from memkd_edge.data.recording_loading import load_recordings
from memkd_edge.data.registry import load_dataset
from memkd_edge.distillation.checkpoint import read_checkpoint, write_checkpoint
from memkd_edge.formats.embedded_metadata import onnx_metadata, read_onnx, read_tflite_metadata
from memkd_edge.formats.inspection import inspect
from memkd_edge.formats.step_interface import onnx_step, tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import load_classifier, save_model
from memkd_edge.pages.run_facts import benched_devices, checked_files
from memkd_edge.quantization.post_training import quantize
from memkd_edge.runs import Run
from memkd_edge.signal_limits import limits
from memkd_edge.verification.golden import golden_vectors, read_golden
from memkd_edge.writers.onnx import write_onnx_step
from memkd_edge.writers.tflite import write_tflite
from tests.conftest import ROOT
from tests.data import recording_examples
from tests.example_metrics import example_metrics
from tests.writers.toy import make_run, metadata, series, student


@dataclass(frozen=True)
class Reader:
    """One reader: what it reads when all is well, and a function that puts `data` in its place and reads it."""

    sound: list[bytes]
    read: Callable[[bytes], object]


def readers(folder: Path) -> dict[str, Reader]:
    """Return all readers; they work in `folder`, which is there."""
    model = student()
    run = make_run(folder, model)
    run.write_json("metrics.json", asdict(example_metrics()))
    run.write_json("export/verify.json", json.loads(_VERIFIED))
    described = metadata()
    raw = series(1)[0]
    golden = golden_vectors(described, raw, lambda x: model(torch.from_numpy(x.astype(np.float32)))[0][0].detach().numpy())
    text = Metadata(**{**vars(described), "golden": golden}).to_json().encode()

    def file(name: str, action: Callable[[Path], object]) -> Callable[[bytes], object]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)

        def read(data: bytes) -> object:
            path.write_bytes(data)
            return action(path)

        return read

    def of_run(name: str, action: Callable[[Run], object]) -> Reader:
        sound = (run.path / name).read_bytes()
        path = run.path / name

        def read(data: bytes) -> object:
            try:
                path.write_bytes(data)
                return action(run)
            finally:
                path.write_bytes(sound)

        return Reader([sound], read)

    checkpoint = folder / "sound.safetensors"
    write_checkpoint(checkpoint, {"w": torch.zeros(3, 4)}, {"epoch": 3, "scores": [0.5, 0.25]})
    npz = folder / "sound.npz"
    np.savez(npz, X=series(16), y=np.arange(16) % 4)
    packed = folder / "packed.npz"
    np.savez_compressed(packed, X=series(16), y=np.array(["a", "b"] * 8), subject=np.arange(16) % 4)
    table = recording_examples.folder(folder / "recordings", subjects=4, recordings=1, rows=120)
    devices = sorted((ROOT / "firmware_bench" / "devices").glob("*.toml"))
    figures = (ROOT / "models" / "figures.json").read_bytes()
    compared = CompareConfig(datasets=("GunPoint",), methods=("base",), distillation=DistillConfig(seeds=2))
    found = {
        "metadata": Reader([text, described.to_json().encode()], lambda data: _use(Metadata.from_json(data))),
        "env.json": of_run("env.json", lambda run: (Run.newest(run.path.parent), run.is_complete, read_student(run))),
        "metrics.json": of_run("metrics.json", read_metrics),
        "config.toml": of_run("config.toml", read_config),
        "calibration.npz": of_run("calibration.npz", lambda run: (read_series(run), read_streams(run))),
        "student.safetensors": of_run("student.safetensors", read_student),
        "verify.json": of_run("export/verify.json", checked_files),
        "bench.json": Reader(
            [path.read_bytes() for path in sorted(ROOT.glob("models/*/bench/*.json"))[:4]],
            file(f"{run.path.name}/bench/board.json", lambda path: benched_devices(run)),
        ),
        "figures.json": Reader([figures], file("assets/figures.json", lambda path: _ready(path.parent))),
        "device": Reader([path.read_bytes() for path in devices], file("board.toml", lambda path: _sizes(path))),
        "protocol": Reader([_said("logits.0=1 -2", "logits.1=3 4")], lambda data: _listen(data, floats=False)),
        "protocol of floats": Reader([_said("logits.0=3f800000", "logits.1=7f")], lambda data: _listen(data, floats=True)),
        "safetensors": Reader([save_model(model), save_model(student("gru"))], file("m.safetensors", _safetensors)),
        "tflite": Reader([write_tflite(quantize(student(), series()), described)], file("m.tflite", _tflite)),
        "onnx": Reader([write_onnx_step(model, described)], file("m.onnx", _onnx)),
        "checkpoint": Reader([checkpoint.read_bytes()], file("c.safetensors", read_checkpoint)),
        "npz": Reader([npz.read_bytes(), packed.read_bytes()], file("d.npz", lambda path: load_dataset(str(path)))),
        "csv": Reader([_windows()], file("w.csv", lambda path: load_dataset(str(path)))),
        "ts": Reader([_TS], file("Set_TRAIN.ts", lambda path: _pair(folder, path, _TS))),
        "tsv": Reader([_TSV], file("tsv/Set_TRAIN.tsv", lambda path: _pair(folder / "tsv", path, _TSV))),
        "recordings": Reader(
            [(table / "s1_1.csv").read_bytes()], file("recordings/s1_1.csv", lambda path: load_recordings(table, DataConfig()))
        ),
        "rows.csv": Reader([(ROOT / "tests" / "fuzz" / "rows.csv").read_bytes()], file("rows.csv", read_rows)),
        "compare.toml": Reader(
            [to_toml("compare", compared).encode()],
            file("compare.toml", lambda path: read_configuration(path, "--force starts anew")),
        ),
    }
    return found


def _use(found: Metadata) -> None:
    """Compute what programs compute from metadata."""
    found.to_json()
    _ = found.hold_limit, found.warm_up_samples, found.resampling.steps_per_sample
    limits(found, resampled=True)
    read_golden(found, "metadata")


def _safetensors(path: Path) -> None:
    inspect(path).as_dict()
    load_classifier(path)


def _tflite(path: Path) -> None:
    inspect(path).as_dict()
    tflite_step(read_tflite(path))
    _use(read_tflite_metadata(path))


def _onnx(path: Path) -> None:
    inspect(path).as_dict()
    model = read_onnx(path)
    onnx_step(model, str(path))
    found = onnx_metadata(model, path)
    if found is not None:
        _use(found)


def _ready(folder: Path) -> object:
    with mock.patch.object(ready_models, "asset_dir", return_value=folder):
        return ready_models.ready_models()


def _sizes(path: Path) -> object:
    device = read_profile(path)
    return device.bytes("flash_kib"), device.bytes("ram_kib"), device.unchecked()


def _said(*logits: str) -> bytes:
    lines = ["protocol=1", "steps=2", "state_bytes=8", *logits, "overhead=5", "ticks=105"]
    return "\n".join([*lines, f"done={fnv1a(''.join(line + chr(10) for line in lines)):08x}"]).encode()


def _listen(data: bytes, *, floats: bool) -> None:
    """Hear the lines out with the checksum that fits them, from a device that means what it says, and as they are."""
    lines = data.decode(errors="replace").splitlines()
    for seal in (True, False):
        parser = Parser(floats=floats)
        for line in lines:
            parser.push(f"done={parser.checksum:08x}" if seal and line.startswith("done=") else line)


def _pair(folder: Path, path: Path, other: bytes) -> object:
    path.with_name(path.name.replace("TRAIN", "TEST")).write_bytes(other)
    return load_dataset("Set", data_root=str(folder))


def _windows() -> bytes:
    rng = random.Random(5)
    rows = [f"{n},{t},{rng.gauss(n % 2, 1):.4f},{rng.gauss(0, 1):.4f},{'ab'[n % 2]}" for n in range(8) for t in range(24)]
    return "\n".join(["series,time,acc_x,acc_y,label", *rows, ""]).encode()


_TS = b"@problemName Set\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n" + b"".join(
    b"%s:%s\n" % (b",".join(b"%d.%d" % (n, t) for t in range(12)), b"ab"[n % 2 : n % 2 + 1]) for n in range(8)
)
_TSV = b"".join(b"\t".join([b"%d" % (n % 2), *(b"%d.%d" % (n, t) for t in range(12))]) + b"\n" for n in range(8))
_VERIFIED = """{"files": [{"file": "a.tflite", "bytes": 10, "sha256": "00", "input": "normalised", "counts_per_unit": [],
"arithmetic": "int8", "results": [{"title": "LiteRT", "status": "ok", "test": {"agreement": 1.0}, "stream": null,
"mismatches": 0, "compared": 100}]}]}"""
