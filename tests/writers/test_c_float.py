# SPDX-License-Identifier: Apache-2.0
"""Generated float32 C, against torch."""

import shutil

import numpy as np
import pytest
import torch

from memkd_edge.errors import UsageError
from memkd_edge.metadata import Metadata
from memkd_edge.nets.classifier import ModelSpec, build
from memkd_edge.quantization.post_training import quantize
from memkd_edge.writers.c_float import emit_c_float
from memkd_edge.writers.c_integer import emit_c
from tests.quantization.helpers import random_model, random_series
from tests.writers.c_library import compile_library, pointer, write

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: apt-get install gcc")


@pytest.mark.parametrize("spec", [ModelSpec(1, 100, 2, 3), ModelSpec(1, 8, 2), ModelSpec(5, 3, 4, 2)], ids=str)
def test_a_stream_equals_torch(spec, tmp_path):
    model = random_model(spec, seed=1, gain=0.3)
    described = Metadata(
        "toy",
        labels=("a",) * spec.num_classes,
        channels=("x",) * spec.input_size,
        units=("",) * spec.input_size,
        sample_rate_hz=None,
        mean=(0.5,) * spec.input_size,
        std=(2.0,) * spec.input_size,
    )
    library = compile_library(tmp_path, write(tmp_path, emit_c_float(model, described, "demo")))
    x = random_series(2, 1, 60, spec.input_size)
    with torch.inference_mode():
        hidden, _ = model.rnn(torch.from_numpy(x))
        expected = model.head(hidden)[0].numpy()
    physical = x[0] * np.float32(2.0) + np.float32(0.5)
    state, logits = np.zeros(2 * spec.num_layers * spec.hidden_size, np.float32), np.zeros(spec.num_classes, np.float32)
    library.demo_init(pointer(state))
    for t in range(len(physical)):
        library.demo_step_f32(pointer(state), pointer(physical[t]), pointer(logits))
        np.testing.assert_allclose(logits, expected[t], rtol=1e-4, atol=1e-5)
    library.demo_window_f32(pointer(state), pointer(physical), len(physical), pointer(logits))
    np.testing.assert_allclose(logits, expected[-1], rtol=1e-4, atol=1e-5)
    assert library.demo_argmax_f32(pointer(logits)) == expected[-1].argmax()


def test_a_float_teacher_and_an_integer_student_live_in_one_program(tmp_path):
    spec = ModelSpec(1, 4, 2)
    student = quantize(random_model(spec, seed=1), random_series(1, 4, 20, 1))
    files = emit_c_float(random_model(spec, seed=2), None, "teacher") | emit_c(student, None, "student")
    library = compile_library(tmp_path, write(tmp_path, files))
    state, logits = np.zeros(8, np.float32), np.zeros(2, np.float32)
    library.teacher_step_f32(pointer(state), pointer(np.ones(1, np.float32)), pointer(logits))
    assert state.any()


@pytest.mark.parametrize(
    "spec", [ModelSpec(1, 4, 2, kind="gru"), ModelSpec(1, 4, 2, kind="cnn"), ModelSpec(1, 4, 2, bidirectional=True)]
)
def test_a_model_without_a_float_c_form_is_refused(spec):
    with pytest.raises(UsageError, match="unidirectional LSTM"):
        emit_c_float(build(spec), None, "demo")
