# SPDX-License-Identifier: Apache-2.0
"""Measures an exported file on this machine, side by side with what it could take: `make bench-host` writes models/host.md.

    python -m experiments.bench_host                       # this checkout alone
    python -m experiments.bench_host --against CHECKOUT    # and beside an older one: its push, its export and verify

Times are of the CPU, on one thread. What is compared runs by turns, in short rounds, and the fastest round of each counts: on a
shared machine ratios hold where times do not.
"""

import argparse
import os
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

from experiments.checkouts import commit, cpu_seconds
from experiments.reference_students import SPECS, reference_student
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import LstmClassifier
from memkd_edge.quantization import batch
from memkd_edge.runs import write_atomic
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.vocabulary import Arithmetic, Decision, Reset
from memkd_edge.writers.tflite import write_tflite

# Pushes samples in whatever checkout stands on its path; says the seconds of one in the fastest round.
PUSH = """
import sys, time
import numpy as np
from memkd_edge.streaming import StreamingClassifier
classifier, best = StreamingClassifier(sys.argv[1]), float("inf")
samples = list(np.load(sys.argv[2]))
for _ in range(30):
    start = time.process_time()
    for sample in samples:
        classifier.push(sample)
    best = min(best, (time.process_time() - start) / len(samples))
print(best)
"""
# Says by how many MB more the process grew at most than for 100,000 samples, beside the samples and what came of them.
MEMORY = """
import re, sys
import numpy as np
from memkd_edge.streaming import StreamingClassifier
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
classifier = StreamingClassifier(sys.argv[1])
samples = np.ones((int(sys.argv[2]), len(classifier.metadata.channels)), np.float32)
classifier.stream(samples[:100_000])
before = peak()
streamed = classifier.stream(samples)
print((peak() - before - streamed.scores.nbytes - streamed.decisions.nbytes) / 1e6)
"""
ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "models" / "host.md"
WINDOWS, LENGTH = 1000, 100
LONG, SHORT = 1_000_000, 20_000
ENDLESS = 10_000_000
ROUNDS, CALLS = 300, 100
TURNS = 3
SAMPLES = 997  # that are pushed by turns
OF_WINDOWS = f"classify, {WINDOWS:,} windows of {LENGTH}"
COMMANDS = (("export", "--run", "model:gunpoint", "--format", "c", "--force"), ("verify", "model:gunpoint"))


def model_file(folder: Path, student: str, reset: Reset) -> Path:
    """Write a reference student as int8 .tflite."""
    spec, path = SPECS[student], folder / f"{student}_{reset}.tflite"
    metadata = Metadata(
        name=student,
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


def many(classifier: StreamingClassifier) -> dict[str, Callable[[], object]]:
    """Return what takes many samples at once, and the float student that torch runs."""
    channels = len(classifier.metadata.channels)
    windows = signal(WINDOWS * LENGTH, channels).reshape(WINDOWS, LENGTH, -1)
    classify = partial(classifier.classify, windows)
    model = LstmClassifier(SPECS[classifier.metadata.name]).eval()
    x = torch.from_numpy(windows)

    def in_torch() -> None:
        with torch.inference_mode():
            model(x)

    return {
        "stream": partial(classifier.stream, signal(SHORT, channels)),
        "classify": classify,
        "numpy": partial(in_numpy, classify),
        "torch": in_torch,
    }


def rates(student: str, files: dict[Reset, Path]) -> list[str]:
    """Return the table's lines of one student."""
    never, window = files[Reset.NEVER], files[Reset.WINDOW]
    single = fastest({"bare": bare(never), "never": pushing(never), "window": pushing(window)}, ROUNDS, CALLS)
    classifier = StreamingClassifier(never)
    at_once = fastest(many(classifier), 15, 1)
    whole = fastest({"stream": partial(classifier.stream, signal(LONG, SPECS[student].input_size))}, 2, 1)["stream"]
    grown = float(said(ROOT, MEMORY, never, ENDLESS))
    push, samples = single["never"], WINDOWS * LENGTH
    return [
        line(
            student, "push, a state never reset / a bare set, invoke, get", push / single["bare"], f"{1e6 * push:.2f} us a sample"
        ),
        line(student, "push, windows (two steps a sample) / two bare ones", single["window"] / single["bare"] / 2),
        line(student, "a loop of push / stream", push * SHORT / at_once["stream"], f"{whole:.2f} s for 10^6 samples"),
        line(student, f"a loop of push / {OF_WINDOWS}", push * samples / at_once["classify"]),
        line(student, "the same in plain numpy, without numba", push * samples / at_once["numpy"]),
        line(student, f"torch, float, the same windows in one batch / {OF_WINDOWS}", at_once["torch"] / at_once["classify"]),
        line(student, "stream, 10^7 samples: memory beyond 10^5's, samples and results", None, f"{grown:.0f} MB"),
    ]


def beside(student: str, file: Path, against: Path, samples: Path) -> list[str]:
    """Return the table's lines of one student beside the push of the checkout at `against`."""
    classifier, older = StreamingClassifier(file), float("inf")
    np.save(samples, signal(SAMPLES, SPECS[student].input_size))
    works = {"push": pushing(file), **many(classifier)}
    taken = dict.fromkeys(works, float("inf"))
    for _ in range(TURNS):
        older = min(older, float(said(against, PUSH, file, samples)))
        for name, work in works.items():
            now = fastest({name: work}, 50, CALLS) if name == "push" else fastest({name: work}, 10, 1)
            taken[name] = min(taken[name], now[name])
    what = f"a loop of push at {commit(against)}"
    return [
        line(student, f"{what} / one of push", older / taken["push"], f"{1e6 * older:.1f} us a sample"),
        line(student, f"{what} / stream", older * SHORT / taken["stream"]),
        line(student, f"{what} / {OF_WINDOWS}", older * WINDOWS * LENGTH / taken["classify"]),
        line(student, "the same in plain numpy, without numba", older * WINDOWS * LENGTH / taken["numpy"]),
    ]


def line(student: str, what: str, ratio: float | None, took: str = "") -> str:
    """Return one of the table's lines."""
    spec = SPECS[student]
    name = f"{spec.hidden_size} units, {spec.input_size} channel{'s' if spec.input_size > 1 else ''}, {spec.num_classes} classes"
    return f"| {name} | {what} | {'' if ratio is None else f'{ratio:.3g}'} | {took} |"


def said(tree: Path, program: str, *arguments: object) -> str:
    """Return what a program of the checkout at `tree` prints."""
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True).stdout


def commands(against: Path, folder: Path) -> list[str]:
    """Return the table's lines of `COMMANDS`; a first run of each checkout makes caches and does not count."""
    trees = {"here": ROOT, "there": against.resolve()}
    for name, tree in trees.items():
        cpu_seconds(tree, COMMANDS[0], folder / name)
    lines = []
    for words in COMMANDS:
        turns = [{name: cpu_seconds(tree, words, folder / name) for name, tree in trees.items()} for _ in range(TURNS)]
        took = {name: min(turn[name] for turn in turns) for name in trees}
        what = f"`memkd-edge {' '.join(words)}` / the same at {commit(against)}, CPU time"
        lines.append(f"| gunpoint | {what} | {took['here'] / took['there']:.2f} | {took['here']:.1f} s |")
    return lines


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
        files = {
            student: {reset: model_file(folder, student, reset) for reset in (Reset.NEVER, Reset.WINDOW)} for student in SPECS
        }
        lines = [row for student in SPECS for row in rates(student, files[student])]
        write_atomic(TABLE, report(lines).encode())
        if against:
            for student in SPECS:
                lines += beside(student, files[student][Reset.NEVER], against, folder / "samples.npy")
            lines += commands(against, folder)
            write_atomic(TABLE, report(lines).encode())
    print(TABLE)


if __name__ == "__main__":
    main()
