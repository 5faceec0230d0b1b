# SPDX-License-Identifier: Apache-2.0
"""Whole recordings, sample by sample, in every program that decides: `python -m tests.packages.exact_decisions --samples 100000`.

The generated example runs as firmware of an emulated Cortex-M4 and as an aarch64 Linux program, the TFLM example on the stand-in
interpreter, its kernel the generated C; both only have their sensor and the end of their loop filled in. They say what
StreamingClassifier and the numpy reference decide, at the same samples, or this prints how many answers differ and exits 1.
"""

import argparse
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from memkd_edge.assets import asset_dir
from memkd_edge.benchmark.emulation.cores import CORES
from memkd_edge.config import DataConfig
from memkd_edge.data.bundled_recordings import load_bundled
from memkd_edge.decisions import margin_steps
from memkd_edge.formats.integers import read_integers
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.metadata import Metadata
from memkd_edge.packages.folders import package_files
from memkd_edge.quantization.integer_model import QuantizedClassifier
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.quantization.samples import quantize_array
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.vocabulary import Arithmetic, Decision, Reset
from memkd_edge.writers.tflite import write_tflite

NAME = "watch"
STAND_INS = Path(__file__).parent / "stand_ins"
MODEL = "spsw"
CONTRACTS = {
    "never": {
        "reset": Reset.NEVER,
        "decides": Decision.EVERY_SAMPLE,
        "decision_margin": 1.0,
        "refuse_below": 0.5,
        "warm_up": 20,
    },
    "window": {"reset": Reset.WINDOW, "window_length": 100, "decision_margin": 1.0, "refuse_below": None, "warm_up": 0},
}
EMULATED = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
_SENSOR = {"c": r"static uint32_t read_sensor\(float .*?\n}\n", "tflm": r"static std::uint32_t ReadSensor\(float .*?\n}\n"}


@dataclass(frozen=True)
class Stream:
    """Samples [T, C] in physical units, and how many were lost before each, int64 [T]."""

    samples: np.ndarray
    gaps: np.ndarray


def recorded(samples: int, hold: int) -> Stream:
    """Return whole SPSW recordings, `samples` samples or a little more: each begins after a gap that is not held, one in three
    has a gap that is."""
    recordings, _ = load_bundled("SPSW", DataConfig(dataset="SPSW"), note=lambda text: None)
    parts, gaps = [], []
    for number, one in enumerate([*recordings.train, *recordings.test]):
        if sum(map(len, parts)) >= samples:
            break
        lost = np.zeros(len(one.x), np.int64)
        lost[0] = hold + 1
        lost[len(lost) // 2] = number % 3 * hold // 2
        parts.append(one.x)
        gaps.append(lost)
    return Stream(np.concatenate(parts), np.concatenate(gaps))


def shipped(contract: str) -> tuple[QuantizedClassifier, Metadata]:
    """Return the integers of the ready-made smartwatch model, and its metadata under a contract."""
    path = asset_dir("models") / MODEL / "export" / f"{MODEL}_int16x8.tflite"
    metadata = StreamingClassifier(path).metadata
    return read_integers(read_tflite(path)), replace(metadata, **CONTRACTS[contract])


def in_python(path: Path, stream: Stream) -> np.ndarray:
    """Return the answers of StreamingClassifier, whole recordings at a time, through the integers of the file."""
    classifier = StreamingClassifier(path)
    starts = np.flatnonzero(stream.gaps)
    answers = []
    for start, end in zip(starts, [*starts[1:], len(stream.gaps)], strict=True):
        classifier.gap(int(stream.gaps[start]))
        answers.append(classifier.stream(stream.samples[start:end]).decisions)
    return np.concatenate(answers)


def pushed(path: Path, stream: Stream) -> np.ndarray:
    """Return the answers of StreamingClassifier to single samples, through LiteRT."""
    classifier = StreamingClassifier(path)
    answers = []
    for sample, gap in zip(stream.samples, stream.gaps.tolist(), strict=True):
        if gap:
            classifier.gap(gap)
        classifier.push(sample)
        answers.append(-2 if classifier.refused else -1 if classifier.decision is None else classifier.decision)
    return np.array(answers)


def referred(model: QuantizedClassifier, metadata: Metadata, stream: Stream) -> np.ndarray:
    """Return the answers of the numpy reference and the rules written out, of a model that is never reset."""
    hold, scale = metadata.hold_limit, model.head.out_scale
    margin, floor = margin_steps(metadata.decision_margin, scale), margin_steps(metadata.refuse_below or 0.0, scale)
    x = quantize_array((stream.samples - np.float32(metadata.mean)) / np.float32(metadata.std), model.layers[0].state_scale)
    answers = np.empty(len(x), np.int64)
    for start, end in itertools.pairwise([*np.flatnonzero(stream.gaps > hold), len(x)]):
        # A sample before a gap is there once, and once more for each that is missing.
        times = 1 + np.append(stream.gaps[start + 1 : end], 0)
        logits = integer_classifier(model).run(np.repeat(x[start:end], times, axis=0)[None])[0].astype(int)
        held, said = None, []
        for number, row in enumerate(logits.tolist()):
            answer = -1
            if number >= metadata.warm_up:
                best = row.index(max(row))
                held = best if held is None or row[best] - row[held] > margin else held
                lead = row[held] - max(value for k, value in enumerate(row) if k != held)
                answer = -2 if metadata.refuse_below is not None and lead < floor else held
            said.append(answer)
        answers[start:end] = np.array(said)[np.cumsum(times) - times]
    return answers


def said(answers: np.ndarray, labels: Sequence[str]) -> list[str]:
    """Return what the examples print of answers: the sample's number, and the label or none, whenever it changes."""
    before = np.concatenate([[-1], answers[:-1]])
    changed = np.flatnonzero((answers != before) & (answers != -1))
    return [f"{at} {'none' if answers[at] == -2 else labels[answers[at]]}" for at in changed.tolist()]


def run(*command: object, cwd: Path) -> str:
    """Run a command that must succeed; return what it printed on stdout and stderr."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Write files by path."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def driver(folder: Path, stream: Stream, example: Path, kind: str) -> None:
    """Give the example a sensor that plays `stream`, and a printf that says at which sample it prints."""
    samples, gaps = stream.samples.astype("<f4"), stream.gaps.astype("<u4")
    (folder / "samples.bin").write_bytes(samples.tobytes())
    (folder / "gaps.bin").write_bytes(gaps.tobytes())
    (folder / "samples.s").write_text(
        '.section .rodata\\n.global samples, gaps\\n.balign 8\\nsamples: .incbin "samples.bin"\\n'
        '.balign 8\\ngaps: .incbin "gaps.bin"\\n.section .note.GNU-stack,"",%progbits\\n'.replace("\\n", "\n")
    )
    (folder / "driver.c").write_text(
        f"""#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include "port.h"
extern const float samples[];
extern const uint32_t gaps[];
static uint32_t next;
uint32_t play(float *x);
uint32_t play(float *x) {{
    for (int j = 0; j < {samples.shape[1]}; j++) x[j] = samples[next * {samples.shape[1]}u + (uint32_t)j];
    return gaps[next++];
}}
int say(const char *format, ...);
int say(const char *format, ...) {{
    char text[256];
    int at = next == 0 ? 0 : snprintf(text, sizeof text, "%lu ", (unsigned long)(next - 1));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + at, sizeof text - (unsigned)at, format, arguments);
    va_end(arguments);
    port_output(text);
    return 0;
}}
int example(void);
void bench_run(void) {{ (void)example(); }}
"""
    )
    text = example.read_text()
    declared = 'extern "C" ' if kind == "tflm" else ""
    width, back = ("std::uint32_t", "ReadSensor") if kind == "tflm" else ("uint32_t", "read_sensor")
    sensor = (
        f"{declared}{width} play(float *x);\n{declared}int say(const char *format, ...);\n"
        f"static {width} {back}(float *x) {{ return play(x); }}\n"
    )
    filled, count = re.subn(_SENSOR[kind], lambda _: sensor, text, count=1, flags=re.S)
    assert count == 1
    filled = filled.replace("std::printf(", "say(").replace("printf(", "say(")
    filled, count = re.subn(r"left = [^;]*;", f"left = {len(gaps)};", filled, count=1)
    assert count == 1
    filled = filled.replace("int main(void)", "int example(void);\nint example(void)")
    filled = filled.replace("int main()", 'extern "C" int example();\nint example()')
    (folder / f"filled{example.suffix}").write_text(filled)


def lines(output: str) -> list[str]:
    """Return what an example printed after its self-test."""
    first, *rest = output.splitlines()
    assert first.startswith("self-test passed"), first
    # What the input monitor and the runner say is none of the decisions.
    return [line for line in rest if re.match(r"\d+ ", line) and "check" not in line]


def on_a_cortex_m4(files: dict[str, bytes], stream: Stream, folder: Path) -> list[str]:
    """Return what the example prints as firmware."""
    spec = CORES["m4"]
    architecture, machine = spec.architecture, spec.machines[0]
    flags = ["-O2", "-ffunction-sections", *spec.flags, *architecture.compile_flags]
    build(files, stream, folder, [architecture.port, "output_semihosting.c"])
    layout = {
        "FLASH_ORIGIN": machine.flash_origin,
        "FLASH_LENGTH": machine.flash_bytes,
        "RAM_ORIGIN": machine.ram_origin,
        "RAM_LENGTH": machine.ram_bytes,
        "STACK_LENGTH": 65536,
    }
    sources = [path.name for path in folder.glob("*.c")]
    script = [f"-Wl,--defsym={symbol}={value}" for symbol, value in layout.items()]
    # nosys: the C library's own output is never called, snprintf's memory is the stack's.
    flags += [*architecture.link_flags, "-specs=nosys.specs", "-nostartfiles", "-Wl,--gc-sections", "-Wl,--defsym=end=0x20200000"]
    command = [architecture.compiler, "-w", *flags, *script, "-T", architecture.script, *sources]
    run(*command, "samples.s", "-o", "image.elf", cwd=folder)
    return lines(run(architecture.emulator, "-M", machine.name, *machine.options, "-kernel", "image.elf", *EMULATED, cwd=folder))


def on_aarch64(files: dict[str, bytes], stream: Stream, folder: Path) -> list[str]:
    """Return what the example prints as a Linux program of an emulated Cortex-A core."""
    build(files, stream, folder, ["port_linux.c"])
    sources = [path.name for path in folder.glob("*.c")]
    run("aarch64-linux-gnu-gcc", "-w", "-O2", "-static", *sources, "samples.s", "-lm", "-o", "image.elf", cwd=folder)
    return lines(run("qemu-aarch64", "image.elf", cwd=folder))


def build(files: dict[str, bytes], stream: Stream, folder: Path, runner: list[str]) -> None:
    """Put the package's sources, its example and the runner's files into one folder."""
    package = write(files, folder / "package")
    for source in (package / "src").iterdir():
        shutil.copy(source, folder)
    ours = asset_dir("firmware_bench") / "runner"
    for source in [*(ours / name for name in [*runner, "cortex_m.ld"]), *ours.glob("*.h")]:
        shutil.copy(source, folder)
    driver(folder, stream, package / "example" / "main.c", "c")


def on_tflm(files: dict[str, bytes], of_c: dict[str, bytes], stream: Stream, folder: Path) -> list[str]:
    """Return what the TFLM example prints, on the stand-in interpreter."""
    tflm, package = write(files, folder / "tflm"), write(of_c, folder / "c")
    upper = NAME.upper()
    names = {"STATE": f"{NAME}_state_t", "VALUE": "int16_t", "STEP": f"{NAME}_step_i16"}
    names |= {size: f"{upper}_{size}" for size in ("CHANNELS", "CLASSES", "LAYERS")}
    text = [f'#include "{NAME}.h"', "#define STAND_IN_ARENA_BYTES 64u"]
    text += [f"#define MODEL_{key} {value}" for key, value in names.items()]
    (folder / "stand_in_model.h").write_text("\n".join(text) + "\n")
    shutil.copy(asset_dir("firmware_bench") / "runner" / "port.h", folder)
    shutil.copy(asset_dir("firmware_bench") / "runner" / "port_linux.c", folder)
    driver(folder, stream, tflm / "example" / "main.cc", "tflm")
    includes = [f"-I{path}" for path in (tflm / "src", STAND_INS / "tflm", folder, package / "src")]
    c_sources = [*(package / "src").glob("*.c"), folder / "driver.c", folder / "port_linux.c"]
    objects = []
    for source in c_sources:
        objects.append(folder / f"{source.name}.o")
        run("gcc", "-w", "-O2", *includes, "-c", source, "-o", objects[-1], cwd=folder)
    sources = [*(tflm / "src").glob("*.cc"), "filled.cc", *objects, "samples.s"]
    run("g++", "-std=c++17", "-w", "-O2", *includes, *sources, "-o", "example", cwd=folder)
    return lines(run(folder / "example", cwd=folder))


def programs(contract: str, stream_of: Callable[[int], Stream], folder: Path) -> tuple[int, dict[str, list[str]], list[str]]:
    """Return the samples, what each program says, and what StreamingClassifier does.

    Args:
        contract: of `CONTRACTS`.
        stream_of: the stream, by how many missing samples are held.
        folder: to work in.
    """
    model, metadata = shipped(contract)
    stream = stream_of(metadata.hold_limit)
    path = folder / "model.tflite"
    path.write_bytes(write_tflite(model, metadata, interface=Arithmetic.INT16X8))
    packages = {kind: package_files(kind, model, metadata, name=NAME, interface=Arithmetic.INT16X8) for kind in ("c", "tflm")}
    for name in ("m4", "aarch64", "tflm"):
        (folder / name).mkdir()
    found = {"StreamingClassifier, pushed": said(pushed(path, stream), metadata.labels)}
    if metadata.reset == Reset.NEVER:
        found["numpy reference"] = said(referred(model, metadata, stream), metadata.labels)
    found["C on a Cortex-M4"] = on_a_cortex_m4(packages["c"], stream, folder / "m4")
    found["C on aarch64"] = on_aarch64(packages["c"], stream, folder / "aarch64")
    found["TFLM class"] = on_tflm(packages["tflm"], packages["c"], stream, folder / "tflm")
    return len(stream.gaps), found, said(in_python(path, stream), metadata.labels)


def main() -> None:
    """Run all programs under every contract."""
    parser = argparse.ArgumentParser(description="Compare the decisions of every program along whole recordings.")
    parser.add_argument("--samples", type=int, default=100_000)
    wanted_samples = parser.parse_args().samples
    wrong = 0
    for contract in CONTRACTS:
        with tempfile.TemporaryDirectory() as folder:
            samples, found, wanted = programs(contract, lambda hold: recorded(wanted_samples, hold), Path(folder))
        for name, own in found.items():
            differ = len(set(own) ^ set(wanted))
            wrong += differ
            print(f"{contract}: {name}: {samples:,} samples, {len(wanted):,} changes of the answer, {differ} differ", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
