# SPDX-License-Identifier: Apache-2.0
"""Measures an exported file on this machine, side by side with what it could take: `make bench-host` writes models/host.md.

    python -m experiments.bench_host                       # steps alone
    python -m experiments.bench_host --against CHECKOUT    # and the CPU time of export and verify, beside an older checkout's

Times are of the CPU, on one thread. What is compared runs by turns, in short rounds, and the fastest round of each counts: on a
shared machine ratios hold where times do not.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from itertools import cycle
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

from experiments.reference_students import SPECS, reference_student
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import LstmClassifier
from memkd_edge.quantization import batch
from memkd_edge.runs import write_atomic
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.vocabulary import Arithmetic, Decision, Reset
from memkd_edge.writers.tflite import write_tflite

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "models" / "host.md"
WINDOWS, LENGTH = 1000, 100
LONG, SHORT = 1_000_000, 20_000
ROUNDS, CALLS = 300, 100
SAMPLES = 997  # that are pushed by turns
COMMANDS = (("export", "--run", "model:gunpoint", "--format", "c", "--force"), ("verify", "model:gunpoint"))


def model_file(folder: Path, student: str, reset: Reset) -> Path:
    """Write a reference student as int8 .tflite."""
    spec, path = SPECS[student], folder / f"{student}_{reset}.tflite"
    metadata = Metadata(
        name="student",
        labels=tuple(f"class {k}" for k in range(spec.num_classes)),
        channels=tuple(f"channel {k}" for k in range(spec.input_size)),
        units=("",) * spec.input_size,
        sample_rate_hz=50.0,
        mean=(0.1,) * spec.input_size,
        std=(1.3,) * spec.input_size,
        window_length=LENGTH,
        reset=reset,
        decides=Decision.EVERY_SAMPLE if reset == Reset.NEVER else Decision.WINDOW_END,
    )
    path.write_bytes(write_tflite(reference_student(student), metadata, interface=Arithmetic.INT8))
    return path


def bare(path: Path) -> Callable[[], None]:
    """Return a step as a program of its own takes it through the interpreter's own functions.

    It sets the next sample, that lies there as integers, and h and c as the last step left them, invokes, and gets the logits,
    h and c: what `push` does too, beside checking, normalising and quantising the sample, the softmax and the decision.
    """
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    (x, h_in, c_in), (logits, h_out, c_out) = ([one["index"] for one in tensors] for tensors in (inputs, outputs))
    h, c = (np.zeros(one["shape"], one["dtype"]) for one in inputs[1:])
    samples = np.random.default_rng(0).integers(-100, 100, (SAMPLES, *inputs[0]["shape"])).astype(inputs[0]["dtype"])
    sample = cycle(list(samples)).__next__
    put, invoke, get = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor

    def step() -> None:
        nonlocal h, c
        put(x, sample())
        put(h_in, h)
        put(c_in, c)
        invoke()
        get(logits)
        h = get(h_out)
        c = get(c_out)

    return step


def pushing(path: Path) -> Callable[[], None]:
    """Return a push of the next of some samples."""
    classifier = StreamingClassifier(path)
    sample, push = cycle(list(signal(SAMPLES, len(classifier.metadata.channels)))).__next__, classifier.push

    def step() -> None:
        push(sample())

    return step


def signal(steps: int, channels: int) -> np.ndarray:
    """Return float32 samples [steps, C]."""
    return np.random.default_rng(0).standard_normal((steps, channels)).astype(np.float32)


def fastest(works: dict[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, float]:
    """Return the seconds of one call of each in its fastest round; the rounds of all take turns."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            for _ in range(calls):
                work()
            best[name] = min(best[name], (time.process_time() - start) / calls)
    return best


def in_numpy(work: Callable[[], object]) -> None:
    """Do `work` as where numba is missing."""
    with mock.patch.object(batch, "_compiled", return_value=None):
        work()


def steps_of(student: str, folder: Path) -> list[str]:
    """Return the table's lines of one student."""
    spec = SPECS[student]
    never, window = model_file(folder, student, Reset.NEVER), model_file(folder, student, Reset.WINDOW)
    single = fastest({"bare": bare(never), "never": pushing(never), "window": pushing(window)}, ROUNDS, CALLS)
    classifier = StreamingClassifier(never)
    long = signal(LONG, spec.input_size)
    windows = long[: WINDOWS * LENGTH].reshape(WINDOWS, LENGTH, -1)
    model, x = LstmClassifier(spec).eval(), torch.from_numpy(windows)

    def in_torch() -> None:
        with torch.inference_mode():
            model(x)

    classify = partial(classifier.classify, windows)
    many = fastest({"classify": classify, "numpy": partial(in_numpy, classify), "torch": in_torch}, 15, 1)
    stream = fastest({"stream": partial(classifier.stream, long[:SHORT])}, ROUNDS, 1)["stream"] / SHORT
    whole = fastest({"stream": partial(classifier.stream, long)}, 2, 1)["stream"]
    push, samples = single["never"], WINDOWS * LENGTH
    rows = [
        ("push, a state never reset / a bare set, invoke, get", push / single["bare"], f"{1e6 * push:.2f} us a sample"),
        ("push, windows (two steps a sample) / two bare ones", single["window"] / single["bare"] / 2, ""),
        ("a loop of push / stream", push / stream, f"{whole:.2f} s for 10^6 samples"),
        (f"a loop of push / classify, {WINDOWS:,} windows of {LENGTH}", push * samples / many["classify"], ""),
        ("the same in plain numpy, without numba", push * samples / many["numpy"], ""),
        ("torch, float, the same windows in one batch / classify", many["torch"] / many["classify"], ""),
    ]
    name = f"{spec.hidden_size} units, {spec.input_size} channel{'s' if spec.input_size > 1 else ''}, {spec.num_classes} classes"
    return [f"| {name} | {what} | {ratio:.3g} | {took} |" for what, ratio, took in rows]


def cpu_seconds(tree: Path, words: tuple[str, ...], runs: Path) -> float:
    """Return user and system time of a command of the checkout at `tree`, its children's with it."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "MEMKD_EDGE_RUN_ROOT": str(runs), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "memkd_edge", *words]
    subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(against: Path, folder: Path) -> list[str]:
    """Return the table's lines of `COMMANDS`; a first run of each checkout makes caches and does not count."""
    trees = {"here": ROOT, "there": against.resolve()}
    for name, tree in trees.items():
        cpu_seconds(tree, COMMANDS[0], folder / name)
    lines = []
    for words in COMMANDS:
        took = {name: cpu_seconds(tree, words, folder / name) for name, tree in trees.items()}
        what = f"`memkd-edge {' '.join(words)}` / the same at {commit(against)}, CPU time"
        lines.append(f"| gunpoint | {what} | {took['here'] / took['there']:.2f} | {took['here']:.1f} s |")
    return lines


def commit(tree: Path) -> str:
    """Return the short hash of a checkout."""
    return subprocess.run(
        ["git", "-C", tree, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def report(lines: list[str]) -> str:
    """Return the text of models/host.md."""
    head = [
        "# On the host",
        "",
        f"Written by `make bench-host` ({date.today():%B %Y}). All figures are **measured**: int8 .tflite in LiteRT, CPU time of",
        "one thread, on a shared x86-64 machine. What is compared ran by turns: the ratios hold where times do not.",
        "",
        "| model | what | ratio | took |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="checkout of an older commit, for the CPU time of commands")
    against = parser.parse_args().against
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [line for student in SPECS for line in steps_of(student, folder)]
        write_atomic(TABLE, report(lines).encode())
        if against:
            lines += commands(against, folder)
            write_atomic(TABLE, report(lines).encode())
    print(TABLE)


if __name__ == "__main__":
    main()
