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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memkd_edge import toolchain
from memkd_edge.config import DataConfig
from memkd_edge.contents import (
    Metrics,
    RecordingMetrics,
    read_metrics,
    read_recording_metrics,
    read_series,
    read_streams,
    read_student,
)
from memkd_edge.contract import contract
from memkd_edge.data.bundled_recordings import BUNDLED_RECORDINGS
from memkd_edge.data.loading import load_data
from memkd_edge.errors import MemkdEdgeError
from memkd_edge.export_names import export_name
from memkd_edge.formats.embedded_metadata import tflite_metadata
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.metadata import Metadata
from memkd_edge.packages.selftest import self_test
from memkd_edge.pages.run_page import PAGE, write_run_page
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.ready_models import FIGURES, ReadyModel, ready_models
from memkd_edge.runs import CONFIGURATION, CURVES, METADATA, METRICS, STUDENT, Run, write_atomic
from memkd_edge.scores import classification_metrics, per_class_table
from memkd_edge.verification.along_streams import float_scores, integer_scores
from memkd_edge.verification.pipeline import quantized
from memkd_edge.verification.reference_runner import integer_logits
from memkd_edge.verification.runtime_check import same
from memkd_edge.vocabulary import Arithmetic, Reset

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
RUNS = Path("runs") / "ready"
DEVICES = ("rpi4", "nrf52840", "rp2040", "stm32h7")
M4 = "nrf52840"
PAGE_BYTES = 430_000  # of recordings in a shipped page, before base64
ALONG = (
    ("accuracy per sample", "accuracy", "{:.3f}"),
    ("macro F1", "f1_macro", "{:.3f}"),
    ("settled accuracy: from .25 s after a change to .25 s before the next", "settled_accuracy", "{:.3f}"),
    ("delay after a change, median", "delay_median_s", "{:.2f} s"),
    ("delay after a change, 90 % within", "delay_p90_s", "{:.2f} s"),
    ("segments missed", "missed", "{:.3f}"),
    ("false switches a minute", "false_switches_per_minute", "{:.1f}"),
    ("always the most frequent class: accuracy", "majority", "{:.3f}"),
)


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
    write_run_page(run, recordings=card.dataset in BUNDLED_RECORDINGS, budget=PAGE_BYTES)
    ship(card, run, MODELS / card.name)
    return run


def ship(card: Card, run: Run, folder: Path) -> None:
    """Write what is shipped of a run: no series that are not ours to give, no teacher, nothing of the machine but its kind."""
    kept = (CONFIGURATION, METADATA, METRICS, CURVES, STUDENT, PAGE)
    shipped = {name: run.read_bytes(name) for name in kept if (run.path / name).is_file()}
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


def float_and_int8(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of the float student and of the int8 entry: along streams as it decides there, or after each series."""
    if run.metadata.reset == Reset.NEVER:
        streams = read_streams(run)
        integers = integer_scores(integer_model(run), Arithmetic.INT8, same, streams, run.metadata)
        return float_scores(read_student(run), streams, run.metadata), integers
    return vars(read_metrics(run).student.test), classification_metrics(*int8_logits(run))


def figures(card: Card, run: Run) -> ReadyModel:
    """Return a model's line of models/figures.json."""
    metadata, student = run.metadata, any_metrics(run).student
    in_float, integers = float_and_int8(run)
    cost = student_row(run, M4)
    files = {path.name.removeprefix(f"{card.name}_"): path for path in (run.path / "export").glob(f"{card.name}_*")}
    return ReadyModel(
        name=card.name,
        dataset=card.dataset,
        channels=len(metadata.channels),
        classes=len(metadata.labels),
        reset=metadata.reset,
        compression=round(student.compression, 1),
        accuracy=round(in_float["accuracy"], 4),
        accuracy_int8=round(integers["accuracy"], 4),
        f1_macro=round(in_float["f1_macro"], 4),
        f1_macro_int8=round(integers["f1_macro"], 4),
        bytes={ending: path.stat().st_size for ending, path in sorted(files.items())},
        flash_bytes=cost["flash"]["value"],
        instructions=cost["instructions"]["value"],
    )


def any_metrics(run: Run) -> Metrics | RecordingMetrics:
    """Return the run's metrics, of recordings where its streams are never reset."""
    return read_recording_metrics(run) if run.metadata.reset == Reset.NEVER else read_metrics(run)


def student_row(run: Run, device: str) -> dict[str, Any]:
    """Return the figures of the int8 C on `device`."""
    rows = run.read_json(f"bench/{device}.json")["rows"]
    return next(row["figures"] for row in rows if (row["model"], row["build"]) == ("student", "int8 C"))


def text(card: Card, run: Run, shipped: dict[str, bytes]) -> str:
    """Return the model card."""
    metrics, metadata, environment = any_metrics(run), run.metadata, run.environment()
    student, never = metrics.student, metadata.reset == Reset.NEVER
    channels = [f"{name} ({unit})" if unit else name for name, unit in zip(metadata.channels, metadata.units, strict=True)]
    named = ", ".join(channels) if len(channels) < 9 else f"{len(channels)} channels"
    length = "" if never else f"; {metadata.window_length} samples a series"
    rate = f"; {metadata.sample_rate_hz:g} samples a second" if metadata.sample_rate_hz else ""
    parts = f"{metrics.folds} folds" if metrics.folds > 1 else "one part"
    if never:
        held_out, test = "people, the decision's margin, too", f"{len(read_streams(run))} test streams"
    else:
        held_out, test = "training series", f"{len(read_series(run).y_test)} test series"
    limits = [limit.format(steps=metadata.window_length) for limit in card.limits]
    given = (
        "A part of the test recordings is in report.html, and each .tflite and .onnx carries the first samples of one to check "
        "itself."
        if card.dataset in BUNDLED_RECORDINGS
        else "No series are shipped, but for the first samples of one test series, which each .tflite and .onnx carries to check "
        "itself."
    )
    files = [name for name in sorted(shipped) if name.startswith(("export", "golden", "report", "student"))]
    lines = [
        f"# {card.name}",
        "",
        f"{card.what} A recurrent classifier ({student.kind.upper()}, {student.hidden_size} units, "
        f"{student.parameters} parameters) that takes one sample at a time, {student.compression:.0f}x smaller than its "
        f"teacher. Made by memkd-edge {metadata.version}. Its page, with the student running in it: [{PAGE}]({PAGE}).",
        "",
        f"    memkd-edge export --run model:{card.name}      # also verify, inspect, bench, report",
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
        *(_figures_of_streams(run) if never else _figures_of_events(run)),
        *([f"Note: {metrics.warning}.", ""] if metrics.warning else []),
        "## Data",
        "",
        f"- {card.data} Data set: {card.dataset}, sha256 of series and labels {metadata.dataset_sha256[:16]}.",
        f"- Split: {metadata.dataset_split or 'as the data set brings it'}; {test}. Method, loss weight, seed and epoch were "
        f"chosen on held-out {held_out} ({parts}); the test part was looked at once, in this run: figures of earlier runs were "
        "seen while the training recipe was settled.",
        f"- Input: {named}{length}{rate}. Classes: {', '.join(metadata.labels)}.",
        f"- Terms of the data: {card.terms}. {given}",
        *(f"- Cite: {one}." for one in card.cite),
        f"- {card.source}",
        "",
        "## Cost of one sample",
        "",
        "The generated C, int8 entry. Flash, RAM and instructions: emulated-exact. Latency and energy: estimated, with the "
        "lowest and the highest. All rows are in bench/.",
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
        f"`make models` runs them; the student is of {environment['time'][:10]}, by Python {environment['python']} with torch "
        f"{environment['packages']['torch']}.",
    ]
    return "\n".join(lines) + "\n"


def _figures_of_events(run: Run) -> list[str]:
    """Return the card's figures of a model that answers once a series."""
    metrics, metadata = read_metrics(run), run.metadata
    student, teacher = metrics.student, metrics.teacher
    logits, y = int8_logits(run)
    classes = zip(student.per_class, per_class_table(logits, y, metadata.labels), strict=True)
    stream = student.test_never_reset
    return [
        "## Figures, of events",
        "",
        f"Measured on {len(y)} test series, one answer each, from where the series starts. Kept: {metrics.kept_because}.",
        "",
        "| | parameters | accuracy | AUC-PRC | macro F1 |",
        "|---|---|---|---|---|",
        _scores("teacher, float", teacher.parameters, vars(teacher.test)),
        _scores("student, float", student.parameters, vars(student.test)),
        _scores("student, int8", student.parameters, classification_metrics(logits, y)),
        "",
        *(
            [
                "In a stream, which it is not for, the student is right on "
                f"{stream.accuracy:.3f} of the same series: at their ends, one after another without a reset.",
                "",
            ]
            if stream is not None
            else []
        ),
        "| class | test series | precision | recall | F1 | AUC-PRC | int8: precision | recall | F1 | AUC-PRC |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(f"| {one['label']} | {one['support']} |{_class_scores(one)}{_class_scores(also)}" for one, also in classes),
        "",
        f"After a reset the decision of 90 % of the test series is final from sample {student.warm_up_samples} on.",
        "",
    ]


def _figures_of_streams(run: Run) -> list[str]:
    """Return the card's figures of a model that decides at every sample."""
    metrics, metadata = read_recording_metrics(run), run.metadata
    in_float, integers = float_and_int8(run)
    judged = {
        "teacher": metrics.teacher.stream,
        "student, float": in_float,
        "student, int8": integers,
        "student, float, no class held": metrics.student.stream,
    }
    parameters = (metrics.teacher.parameters, *3 * (metrics.student.parameters,))
    classes = zip(metadata.labels, in_float["classes"], integers["classes"], strict=True)
    return [
        "## Figures, along streams",
        "",
        f"Measured at every sample of {in_float['seconds']:,.0f} s of recordings of {in_float['streams']} people who are not in "
        "the training part, joined to a stream each, never reset. The student's are of the class that it holds, but for the "
        f"last column; that one's and the teacher's of the highest score. Kept: {metrics.kept_because}.",
        "",
        f"| | {' | '.join(judged)} |",
        f"|---{'|---' * len(judged)}|",
        *(
            f"| {title} | {' | '.join('-' if one[key] is None else form.format(one[key]) for one in judged.values())} |"
            for title, key, form in ALONG
        ),
        f"| parameters | {' | '.join(f'{count:,}' for count in parameters)} |",
        "",
        "| class | test samples | precision | recall | F1 | int8: precision | recall | F1 |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {label} | {one['samples']:,} |{_class_scores(one, _PER_SAMPLE)}{_class_scores(also, _PER_SAMPLE)}"
            for label, one, also in classes
        ),
        "",
    ]


def _scores(title: str, parameters: int, scores: dict[str, float]) -> str:
    return f"| {title} | {parameters:,} | {scores['accuracy']:.3f} | {scores['auc_prc']:.3f} | {scores['f1_macro']:.3f} |"


_PER_SAMPLE = ("precision", "recall", "f1")


def _class_scores(row: dict[str, Any], names: Sequence[str] = (*_PER_SAMPLE, "auc_prc")) -> str:
    return "".join(f" {row[name]:.3f} |" for name in names)


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
            load_data(DataConfig(dataset=card.dataset), note=lambda text: None)
        except MemkdEdgeError as error:
            print(f"{card.name}: skipped: {error}", file=sys.stderr)
            continue
        known[card.name] = figures(card, make(card))
        write_figures([known[one.name] for one in every if one.name in known])


if __name__ == "__main__":
    main()
