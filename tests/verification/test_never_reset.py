# SPDX-License-Identifier: Apache-2.0
"""Agreement of integers with the float student without a reset: the stream, the count against single steps, the gate's words."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memkd_edge.nets.classifier import ModelSpec
from memkd_edge.quantization.post_training import quantize
from memkd_edge.quantization.reference import integer_classifier
from memkd_edge.verification.never_reset import StreamAgreement, failures, float_logits, long_stream, stream_agreement
from memkd_edge.verification.runtime_check import same
from memkd_edge.vocabulary import Arithmetic, Decision
from tests.quantization.helpers import random_model, random_series

INT8, INT16X8 = Arithmetic.INT8, Arithmetic.INT16X8


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 300))
def test_a_long_stream_is_every_series_once_and_then_all_again_in_some_order(lengths, samples):
    series = [np.full((length, 1), number, np.float32) for number, length in enumerate(lengths)]
    found = long_stream(series, Decision.EVERY_SAMPLE, samples)
    once = sum(lengths)
    assert found.held_out == once
    assert samples <= len(found.x) < samples + once or len(found.x) == once
    np.testing.assert_array_equal(found.x[:once], np.concatenate(series))
    for start in range(0, len(found.x), once):
        counts = np.bincount(found.x[start : start + once, 0].astype(int), minlength=len(lengths))
        assert counts.tolist() == lengths


def test_rounds_differ_so_that_what_follows_what_does_too():
    found = long_stream([np.full((1, 1), number, np.float32) for number in range(50)], Decision.EVERY_SAMPLE, 150)
    rounds = found.x.reshape(3, 50)
    assert (rounds[0] != rounds[1]).any()
    assert (rounds[1] != rounds[2]).any()


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize(("decides", "every"), [(Decision.EVERY_SAMPLE, 1), (Decision.WINDOW_END, 20)])
def test_agreement_is_that_of_single_steps_with_torch(kind, decides, every):
    model, x = random_model(ModelSpec(2, 4, 3, kind=kind), 5), random_series(5, 6, 20, 2)
    q = quantize(model, x[:, :10], never_reset=True)
    stream = long_stream(list(x), decides, 200)
    with torch.no_grad():
        hidden = model(torch.from_numpy(stream.x)[None])[1]
        expected = model.head(hidden)[0].numpy()[every - 1 :: every]
    for arithmetic in (INT8, INT16X8):
        runner = integer_classifier(q)
        samples = runner.quantize_input(stream.x[None], arithmetic)[0]
        step = runner.step_int8 if arithmetic == INT8 else runner.step
        logits = np.array([step(sample[None])[0] for sample in samples])[every - 1 :: every]
        found = stream_agreement(q, arithmetic, same, stream, float_logits(model, stream))
        assert found.agreement == (logits.argmax(1) == expected.argmax(1)).mean()
        assert (found.samples, found.held_out, found.decisions) == (240, 120, 240 // every)
        scale, zero = (q.logit_scale_int8, q.logit_zero_point_int8) if arithmetic == INT8 else (q.head.out_scale, 0)
        assert found.logit_error == pytest.approx(np.abs((logits.astype(float) - zero) * scale - expected).mean(), abs=1e-5)


def test_limits_are_the_arithmetics_unless_less_is_asked_for():
    model, x = random_model(ModelSpec(1, 2, 2), 0), random_series(0, 2, 20, 1)
    q, stream = quantize(model, x), long_stream(list(x), Decision.EVERY_SAMPLE, 10)
    expected = float_logits(model, stream)

    def limit(arithmetic, *asked):
        return stream_agreement(q, arithmetic, same, stream, expected, *asked).limit

    assert (limit(INT8), limit(INT16X8)) == (0.99, 0.995)
    assert (limit(INT8, 0.98), limit(INT8, 0.5), limit(INT16X8, 0.999)) == (0.99, 0.5, 0.999)


def test_the_message_names_what_helps_with_its_figure():
    good = StreamAgreement(0.9993, 100_000, 100_000, 100_000, 0.1, 0.995)
    short = replace(good, agreement=0.9712, limit=0.99, held_out=40_000)
    assert not failures({INT8: replace(short, agreement=0.99), INT16X8: good}, good)
    (message,) = failures({INT8: short}, good)
    assert "0.9712" in message
    assert "below 0.99" in message
    assert "40,000 different ones, looped" in message
    assert "--samples int16, which reaches 0.9993" in message
    (message,) = failures({INT8: short}, replace(good, agreement=0.99))
    assert "take --quantize float32 (--samples int16 reaches 0.9900, below 0.995)" in message
    (message,) = failures({INT16X8: replace(good, agreement=0.99)}, good)
    assert "--samples" not in message
    assert "looped" not in message
