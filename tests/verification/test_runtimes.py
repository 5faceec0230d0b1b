# SPDX-License-Identifier: Apache-2.0
"""The child processes of native runtimes: each takes file after file, and a file that ends one harms no other.

TensorFlow's Python is stood in for by one that runs LiteRT and does harm on files that are named for it.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from memkd_edge.errors import MemkdEdgeError
from memkd_edge.formats.step_interface import tflite_step
from memkd_edge.formats.tflite_reader import read_tflite
from memkd_edge.quantization.post_training import quantize
from memkd_edge.toolchain import Companion
from memkd_edge.verification import pipeline, runtimes
from memkd_edge.verification.pipeline import ParityError, verify
from memkd_edge.verification.runtime_check import one_stream
from memkd_edge.verification.runtimes import RUNTIMES, Children, Job, stream
from memkd_edge.writers.tflite import write_tflite
from tests.writers.toy import make_run, series, student

TENSORFLOW = next(runtime for runtime in RUNTIMES if runtime.name == "tf.lite")
HARMFUL = """#!{python}
import importlib.util, os, signal, sys, time
spec = importlib.util.spec_from_file_location("runtime_child", sys.argv[2])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
honest, hurt = child.run, False
with open({starts!r}, "a") as file:
    print(os.getpid(), file=file)
def run(runtime, model, request, response):
    global hurt
    name = os.path.basename(model)
    if "prints" in name:
        os.write(1, b"done\\n")
    if hurt or "crashes" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hangs" in name:
        time.sleep(600)
    if "is_refused" in name:
        raise ValueError("no such operator")
    hurt = "hurts" in name
    honest("litert-builtin", model, request, response)
child.run = run
sys.exit(child.main())
"""


@pytest.fixture
def starts(tmp_path, monkeypatch) -> Path:
    """Put the harmful Python in TensorFlow's place; return the file in which it keeps the ids of its processes."""
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(HARMFUL.format(python=sys.executable, starts=str(started)))
    python.chmod(0o755)
    monkeypatch.setenv(TENSORFLOW.python_variable, str(python))
    return started


@pytest.fixture
def answer(tmp_path):
    """Return a function that runs a file of the given name in children, and that holds the answer to the reference's."""
    data = write_tflite(quantize(student(), series()), None)

    def run(name: str, children: Children) -> None:
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(data)
        step = tflite_step(read_tflite(path))
        jobs = [Job(step.x.quantize(series(3, 9)), every=True)]
        (found,) = stream(TENSORFLOW, path, step, jobs, children=children)
        (expected,) = stream(RUNTIMES[0], path, step, jobs, children=children)
        np.testing.assert_array_equal(found.logits, expected.logits)

    return run


def test_a_child_takes_file_after_file_and_ends_with_the_children(starts, answer):
    with Children() as children:
        for name in ("one", "another", "prints"):
            answer(name, children)
    (process,) = starts.read_text().split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crashes", r"TensorFlow.* crashed on .*crashes\.tflite \(SIGSEGV\)"),
        ("prints_and_crashes", r"crashed on .*prints_and_crashes\.tflite"),
        ("is_refused", r"TensorFlow.* refuses .*is_refused\.tflite: ValueError: no such operator"),
    ],
)
def test_a_file_that_ends_its_child_is_named_and_the_others_are_answered(starts, answer, name, message):
    with Children() as children:
        answer("before", children)
        with pytest.raises(MemkdEdgeError, match=message):
            answer(name, children)
        answer("after", children)
    # It ended one that had run another file, and one that had not; then the third began.
    assert len(starts.read_text().split()) == 3


def test_a_file_that_never_ends_is_named_and_the_others_are_answered(starts, answer, monkeypatch):
    with Children() as children:
        answer("before", children)
        with monkeypatch.context() as patch:
            patch.setattr(runtimes, "TIMEOUT_S", 0.1)
            with pytest.raises(MemkdEdgeError, match=r"TensorFlow.* did not finish .*hangs\.tflite in 0 s"):
                answer("hangs", children)
        answer("after", children)


def test_what_one_file_did_to_its_child_is_not_laid_on_the_next(starts, answer):
    with Children() as children:
        answer("hurts", children)
        answer("sound", children)
    assert len(starts.read_text().split()) == 2


def test_a_child_that_was_ended_from_outside_is_started_again(starts, answer):
    with Children() as children:
        answer("one", children)
        os.kill(int(starts.read_text()), signal.SIGKILL)
        answer("another", children)


def test_what_a_child_says_before_it_is_asked_belongs_to_the_answer(tmp_path):
    said = tmp_path / "said"
    child = Companion(["sh", "-c", f"echo no library >&2; touch {said}; exit 1"])
    while not said.exists():
        time.sleep(0.01)
    ended = child.ask("[]", timeout_s=60)
    child.stop()
    assert ended is not None
    assert (ended.exit_code, ended.errors) == (1, "no library\n")


def test_verify_says_which_of_a_runs_files_crashes_and_measures_the_others(starts, tmp_path, monkeypatch):
    monkeypatch.delenv("MEMKD_EDGE_TFLITE_RUNTIME_PYTHON", raising=False)
    monkeypatch.setattr(pipeline, "one_stream", partial(one_stream, steps=200))
    run = make_run(tmp_path / "runs", student())
    model = quantize(student(), run.read_arrays("calibration.npz")["x_calibration"])
    for name in ("a", "b_crashes", "c"):
        run.write_bytes(f"export/{name}.tflite", write_tflite(model, None))
    with pytest.raises(ParityError, match=r"b_crashes\.tflite.*crashed on") as failure:
        verify(run)
    found = {
        file.file: {result.title: result.status for result in file.results}[TENSORFLOW.title]
        for file in failure.value.report.files
    }
    assert found == {"a.tflite": "ok", "b_crashes.tflite": "failed", "c.tflite": "ok"}
    assert len(failure.value.report.failures) == 1
