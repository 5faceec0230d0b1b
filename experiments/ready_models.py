# SPDX-License-Identifier: Apache-2.0
"""Makes the ready-made students: `make models` writes models/<name>/ and models/figures.json.

For each entry of models/cards.toml: distil, export, bench by the commands that its model card repeats, then keep what is shipped.
Finished runs under runs/ready are taken as they are and interrupted ones continued; delete that folder to train anew. On the same
machine everything is the same again, but for the time in env.json.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memkd_edge import toolchain
from memkd_edge.contents import read_metrics, read_series, read_student
from memkd_edge.contract import contract
from memkd_edge.data.registry import load_dataset
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.export_names import export_name
from memkd_edge.formats.embedded_metadata import tflite_metadata
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.metadata import Metadata
from memkd_edge.packages.selftest import self_test
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.ready_models import FIGURES, ReadyModel, ready_models
from memkd_edge.runs import Run, write_atomic
from memkd_edge.scores import classification_metrics, per_class_table
from memkd_edge.verification.pipeline import quantized
from memkd_edge.verification.reference_runner import integer_logits

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
RUNS = Path("runs") / "ready"
DEVICES = ("rpi4", "nrf52840", "rp2040", "stm32h7")
M4 = "nrf52840"


@dataclass(frozen=True)
class Card:
    """An entry of models/cards.toml. terms, cite, source and limits are written out."""

    dataset: str
    options: str
    what: str
    data: str
    terms: str
    cite: tuple[str, ...]
    source: str
    use: str
    misuse: str
    limits: tuple[str, ...]

    @property
    def name(self) -> str:
        """The model's name: folder, file stem, and what follows `model:`."""
        return export_name(self.dataset)


def cards() -> list[Card]:
    """Read models/cards.toml."""
    table = tomllib.loads((MODELS / "cards.toml").read_text())

    def written_out(key: str, value: Any) -> Any:
        shared = table.get(key, {})
        return tuple(shared.get(one, one) for one in value) if isinstance(value, list) else shared.get(value, value)

    return [Card(**{key: written_out(key, value) for key, value in entry.items()}) for entry in table["model"]]


def commands(card: Card) -> list[str]:
    """Return the commands that make a model, as the card repeats them."""
    run = RUNS / card.name
    devices = " ".join(f"--device {device}" for device in DEVICES)
    options = f"{card.options} " if card.options else ""
    return [
        f"memkd-edge distill --dataset {card.dataset} {options}--threads 1 --run-root {RUNS} --name {card.name}",
        f"memkd-edge export --run {run} --format tflite --quantize int8 --package c",
        f"memkd-edge export --run {run} --format tflite --quantize int16x8",
        f"memkd-edge export --run {run} --format onnx",
        f"memkd-edge bench --run {run} {devices}",
    ]


def make(card: Card) -> Run:
    """Run the commands, write models/<name>/, and return the run."""
    place = ROOT / RUNS / card.name
    distill, *others = commands(card)
    if (place / "env.json").is_file():
        distill = f"memkd-edge distill --resume {RUNS / card.name}"
    # Settings of the caller's environment would not show in the commands that the card repeats.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEMKD_EDGE_")}
    for command in (distill, *others):
        print(f"$ {command}", flush=True)
        words = [*shlex.split(command)[1:], *(["--force"] if " export " in command else [])]
        program = [sys.executable, "-m", "memkd_edge"]
        subprocess.run([*program, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=environment)
    run = Run.open(place)
    ship(card, run, MODELS / card.name)
    return run


def ship(card: Card, run: Run, folder: Path) -> None:
    """Write what is shipped of a run: no series, no teacher, nothing that tells of the machine but its kind."""
    shipped = {name: run.read_bytes(name) for name in ("config.toml", "model.json", "metrics.json", "student.safetensors")}
    environment = {key: value for key, value in run.environment().items() if key not in ("host", "seconds")}
    shipped["env.json"] = (json.dumps(environment, indent=1, sort_keys=True) + "\n").encode()
    for path in sorted(file for part in ("export", "bench") for file in (run.path / part).rglob("*") if file.is_file()):
        if path.name != "verify.json":  # it holds seconds
            shipped[path.relative_to(run.path).as_posix()] = path.read_bytes()
    shipped["golden.json"] = golden(run)
    shipped["README.md"] = text(card, run, shipped).encode()
    for old in folder.rglob("*"):
        if old.is_file() and old.relative_to(folder).as_posix() not in shipped:
            old.unlink()
    for name, data in shipped.items():
        write_atomic(folder / name, data)


def golden(run: Run) -> bytes:
    """Return golden.json: for each entry a stream of noise from a reset, and the logits after each sample, bit for bit."""
    model = integer_model(run)
    vectors = asdict(self_test(model, run.metadata))
    lines = ",\n".join(f' "{name}": {json.dumps(array.tolist())}' for name, array in vectors.items())
    return f"{{\n{lines}\n}}\n".encode()


def exported(run: Run, name: str) -> Metadata:
    """Return what the int8 .tflite says of itself: the run's metadata, and how its integers do along streams."""
    return tflite_metadata(read_tflite(run.path / "export" / f"{name}_int8.tflite")) or run.metadata


def integer_model(run: Run) -> QuantizedClassifier:
    """Return the run's integer model."""
    return quantized(read_student(run), run.metadata, read_series(run).x_calibration, tuned=False)


def int8_logits(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the real logits [N, K] of the int8 entry after each test series, by the bit-exact reference, and the classes [N]."""
    kept = read_series(run)
    return integer_logits(integer_model(run), "int8", kept.x_test), kept.y_test


def figures(card: Card, run: Run) -> ReadyModel:
    """Return a model's line of models/figures.json."""
    student, metadata = read_metrics(run).student, run.metadata
    integers = classification_metrics(*int8_logits(run))
    cost = student_row(run, M4)
    files = {path.name.removeprefix(f"{card.name}_"): path for path in (run.path / "export").glob(f"{card.name}_*")}
    return ReadyModel(
        name=card.name,
        dataset=card.dataset,
        channels=len(metadata.channels),
        classes=len(metadata.labels),
        compression=round(student.compression, 1),
        accuracy=round(student.test.accuracy, 4),
        accuracy_int8=round(integers["accuracy"], 4),
        auc_prc=round(student.test.auc_prc, 4),
        auc_prc_int8=round(integers["auc_prc"], 4),
        bytes={ending: path.stat().st_size for ending, path in sorted(files.items())},
        flash_bytes=cost["flash"]["value"],
        instructions=cost["instructions"]["value"],
    )


def student_row(run: Run, device: str) -> dict[str, Any]:
    """Return the figures of the int8 C on `device`."""
    rows = run.read_json(f"bench/{device}.json")["rows"]
    return next(row["figures"] for row in rows if (row["model"], row["build"]) == ("student", "int8 C"))


def text(card: Card, run: Run, shipped: dict[str, bytes]) -> str:
    """Return the model card."""
    metrics, metadata, environment = read_metrics(run), run.metadata, run.environment()
    student, teacher = metrics.student, metrics.teacher
    logits, y = int8_logits(run)
    channels = ", ".join(metadata.channels) if len(metadata.channels) < 9 else f"{len(metadata.channels)} channels"
    rate = f", {metadata.sample_rate_hz:g} a second" if metadata.sample_rate_hz else ""
    held_out = f"{metrics.folds} folds" if metrics.folds > 1 else "one part"
    limits = [limit.format(steps=metadata.window_length) for limit in card.limits]
    classes = zip(student.per_class, per_class_table(logits, y, metadata.labels), strict=True)
    files = [name for name in sorted(shipped) if name.startswith(("export", "golden", "student"))]
    lines = [
        f"# {card.name}",
        "",
        f"{card.what} A recurrent classifier ({student.kind.upper()}, {student.hidden_size} units, "
        f"{student.parameters} parameters) that takes one sample at a time, {student.compression:.0f}x smaller than its "
        f"teacher. Made by memkd-edge {metadata.version}.",
        "",
        f"    memkd-edge export --run model:{card.name}      # also verify, inspect, bench",
        "",
        "## Use",
        "",
        f"- Meant for: {card.use}",
        f"- Not for: {card.misuse}",
        *(f"- {limit}" for limit in limits),
        *(f"- {sentence}" for sentence in contract(exported(run, card.name), resampled=True).sentences),
        "- Beyond what it was trained on (other sensors, mountings, rates, people) nothing is known of it; what is none of "
        "its classes gets the name of one of them.",
        "",
        "## Data",
        "",
        f"- {card.data} Data set: {card.dataset}, sha256 of series and labels {metadata.dataset_sha256[:16]}.",
        f"- Split: {metadata.dataset_split or 'as the data set brings it'}; {len(y)} test series. Method, loss weight, seed and "
        f"epoch were chosen on held-out training series ({held_out}); the test series were looked at once, in this run: figures "
        "of earlier runs were seen while the training recipe was settled.",
        f"- Input: {channels}; {metadata.window_length} samples a series{rate}. Classes: {', '.join(metadata.labels)}.",
        f"- Terms of the data: {card.terms}. No series are shipped, but for the first samples of one test series, which each "
        ".tflite and .onnx carries to check itself.",
        *(f"- Cite: {one}." for one in card.cite),
        f"- {card.source}",
        "",
        "## Figures",
        "",
        f"Measured on the test series. Kept: {metrics.kept_because}.",
        "",
        "| | parameters | accuracy | AUC-PRC | macro F1 |",
        "|---|---|---|---|---|",
        _scores("teacher, float", teacher.parameters, vars(teacher.test)),
        _scores("student, float", student.parameters, vars(student.test)),
        _scores("student, int8", student.parameters, classification_metrics(logits, y)),
        "",
        "| class | test series | precision | recall | F1 | AUC-PRC | int8: precision | recall | F1 | AUC-PRC |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(f"| {one['label']} | {one['support']} |{_class_scores(one)}{_class_scores(also)}" for one, also in classes),
        "",
        *([f"Note: {metrics.warning}.", ""] if metrics.warning else []),
        f"After a reset the decision of 90 % of the test series is final from sample {student.warm_up_samples} on.",
        "",
        "## Cost of one sample",
        "",
        "The generated C, int8 entry. Flash, RAM and instructions: emulated-exact. Latency and energy: estimated, with the "
        "lowest and the highest. All rows, the teacher's too, are in bench/.",
        "",
        "| device | flash | RAM | instructions | latency | energy |",
        "|---|---|---|---|---|---|",
        *(_cost(run, device) for device in DEVICES),
        "",
        "## Files",
        "",
        "| file | bytes |",
        "|---|---|",
        *(f"| {name} | {len(shipped[name]):,} |" for name in files),
        "",
        f"export/{card.name}-c is the generated C with an example and a self-test (`make check` there). golden.json: streams of "
        "noise from a reset and the logits after each sample, to check any implementation bit for bit (x_int16, logits_int16: "
        "int16x8; x_int8, logits_int8: int8; x_float: physical units, with logits_float in units of the int16 logits). Not here: "
        "the teacher (`bench` leaves its rows out) and the data set.",
        "",
        "## Made by",
        "",
        *(f"    {command}" for command in commands(card)),
        "",
        f"`make models` runs them; this was Python {environment['python']} with torch {environment['packages']['torch']}.",
    ]
    return "\n".join(lines) + "\n"


def _scores(title: str, parameters: int, scores: dict[str, float]) -> str:
    return f"| {title} | {parameters:,} | {scores['accuracy']:.3f} | {scores['auc_prc']:.3f} | {scores['f1_macro']:.3f} |"


def _class_scores(row: dict[str, Any]) -> str:
    return "".join(f" {row[name]:.3f} |" for name in ("precision", "recall", "f1", "auc_prc"))


def _cost(run: Run, device: str) -> str:
    row = student_row(run, device)
    exact = [f"{row[name]['value']:,.0f}{unit}" for name, unit in (("flash", " B"), ("ram", " B"), ("instructions", ""))]
    guess = [
        f"{row[name]['value']:.3g} [{row[name]['lo']:.3g}, {row[name]['hi']:.3g}] {row[name]['unit']}" if name in row else ""
        for name in ("latency", "energy")
    ]
    return f"| {run.read_json(f'bench/{device}.json')['title']} | {' | '.join(exact + guess)} |"


def write_figures(rows: list[ReadyModel]) -> None:
    """Write models/figures.json, a model a line, so that a diff shows what changed."""
    lines = ",\n".join("  " + json.dumps(asdict(row)) for row in rows)
    compiler = toolchain.version("arm-none-eabi-gcc")
    write_atomic(MODELS / FIGURES, f'{{"compiler": "{compiler}", "models": [\n{lines}\n]}}\n'.encode())


def main(arguments: list[str] | None = None) -> None:
    """Make the models that are named, or all; one whose data set is not at hand is skipped and stays as it is."""
    every = cards()
    parser = argparse.ArgumentParser(prog="python -m experiments.ready_models", description="Make the ready-made students.")
    parser.add_argument("names", nargs="*", help=", ".join(card.name for card in every))
    names = parser.parse_args(arguments).names
    if unknown := set(names) - {card.name for card in every}:
        parser.error(f"no model {', '.join(sorted(unknown))}")
    known = {model.name: model for model in ready_models()} if (MODELS / FIGURES).is_file() else {}
    for card in every:
        if names and card.name not in names:
            continue
        try:
            load_dataset(card.dataset)
        except MemkdEdgeError as error:
            print(f"{card.name}: skipped: {error}", file=sys.stderr)
            continue
        known[card.name] = figures(card, make(card))
        write_figures([known[one.name] for one in every if one.name in known])


if __name__ == "__main__":
    main()
