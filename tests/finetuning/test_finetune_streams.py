# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of recordings: over chunks of streams, the state carried on, judged along held-out streams."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

import memkd_edge
from memkd_edge.config import DistillConfig, ExportConfig
from memkd_edge.contents import read_config, read_series
from memkd_edge.distillation.pipeline import distill
from memkd_edge.errors import UsageError
from memkd_edge.exporting.pipeline import export
from memkd_edge.finetuning.pipeline import finetune
from memkd_edge.finetuning.straight_through import integer_along
from memkd_edge.nets.classifier import ModelSpec, load_classifier
from memkd_edge.quantization.batch import BatchRunner
from memkd_edge.quantization.post_training import quantize
from memkd_edge.runs import Run
from memkd_edge.vocabulary import Arithmetic
from tests.quantization.helpers import random_model, random_series

CONFIG = DistillConfig(
    method="memkd-belief",
    weights=1,
    seeds=1,
    epochs=2,
    hidden=3,
    teacher_hidden=5,
    teacher_layers=1,
    teacher_epochs=4,
    teacher_seeds=1,
    threads=1,
    rate=50.0,
    name_pattern="{subject}_{recording}.csv",
)


def write_recordings(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for subject in range(5):
        for number in range(2):
            random = np.random.default_rng(10 * subject + number)
            y = (np.arange(400) // 50 + number) % 2
            x = random.standard_normal((400, 2)) + 1.5 * y[:, None]
            rows = [f"{t / 50:.2f},{a:.5f},{b:.5f},{'ab'[label]}" for t, ((a, b), label) in enumerate(zip(x, y, strict=True))]
            (folder / f"s{subject}_{number}.csv").write_text("\n".join(["time,x,y,label", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = write_recordings(tmp_path_factory.mktemp("recordings"))
    return distill(replace(CONFIG, dataset=str(data)), run_root=tmp_path_factory.mktemp("runs"), name="walks")


@pytest.mark.parametrize("interface", [Arithmetic.INT8, Arithmetic.INT16X8])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_chunks_that_carry_their_state_are_the_integer_model_in_one_stream(kind: str, interface: Arithmetic) -> None:
    model = random_model(ModelSpec(3, 6, 4, 2, kind), 1, gain=2.0)
    x = random_series(2, 5, 60, 3)
    q = quantize(model, x)
    first, ended = integer_along(model, q, torch.from_numpy(x[:, :25]), interface)
    second, _ = integer_along(model, q, torch.from_numpy(x[:, 25:]), interface, ended)
    runner = BatchRunner(q, interface, 5)
    wanted = [runner.logits(x[:, :25])]
    runner.rest[:] = 0  # what rounding left of the last int8 sample is not carried from chunk to chunk
    wanted.append(runner.logits(x[:, 25:]))
    scale, zero = (q.logit_scale_int8, q.logit_zero_point_int8) if interface == Arithmetic.INT8 else (q.head.out_scale, 0)
    for found, expected in zip((first, second), wanted, strict=True):
        np.testing.assert_array_equal(found.logits.detach().numpy(), (expected.astype(np.float32) - zero) * np.float32(scale))


def test_gradients_along_a_chunk_are_close_to_the_float_models() -> None:
    model = random_model(ModelSpec(3, 6, 4), 1)
    x = torch.from_numpy(random_series(2, 5, 60, 3))
    target = torch.arange(5 * 30) % 4
    with torch.no_grad():
        _, state = model.along(x[:, :30], [])

    def gradients(logits: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), target).backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    expected = gradients(model.head(model.along(x[:, 30:], state)[0]))
    start = [one[0].numpy() for one in state]
    found = gradients(integer_along(model, quantize(model, x.numpy()), x[:, 30:], Arithmetic.INT16X8, start)[0].logits)
    for name in expected:
        assert (found[name] - expected[name]).norm() / expected[name].norm() < 0.1, name


def test_a_run_of_recordings_is_fine_tuned_along_held_out_streams(run: Run) -> None:
    scores: list[float] = []
    result = finetune(run, epochs=3, learning_rate=0.02, progress=lambda _epoch, _epochs, score: scores.append(score))
    assert result.after == max([result.before, *scores])
    assert len(set(scores)) > 1  # it does train
    assert result.after > result.before  # two epochs were few


def test_the_score_is_macro_f1_of_the_integers_never_reset(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import memkd_edge.finetuning.pipeline as module

    seen = []
    original = module._held_out_logits

    def watched(q, held_out, interface):
        logits = original(q, held_out, interface)
        seen.append((q, held_out, logits))
        return logits

    monkeypatch.setattr(module, "_held_out_logits", watched)
    result = finetune(run, epochs=1, learning_rate=1e-6)
    q, held_out, _ = seen[0]
    student = load_classifier(run.path / "student.safetensors")
    integers = quantize(student, read_series(run).x_calibration, never_reset=True)
    assert [np.array_equal(one.gates.weight, two.gates.weight) for one, two in zip(q.layers, integers.layers, strict=True)]
    decisions, truth = [], []
    for stream in range(len(held_out.x)):
        own = held_out.stream == stream
        logits = BatchRunner(integers, Arithmetic.INT8).logits(held_out.x[stream : stream + 1].numpy())[0]
        decisions.append(logits.argmax(-1)[held_out.time[own].numpy()])
        truth.append(held_out.y[own].numpy())
    expected = f1_score(np.concatenate(truth), np.concatenate(decisions), average="macro")
    assert result.before == pytest.approx(expected)


@pytest.mark.parametrize(("dataset", "reset"), [("JapaneseVowels", "event"), ("ItalyPowerDemand", "never")])
def test_series_of_unequal_length_and_joined_windows_are_fine_tuned(tmp_path: Path, dataset: str, reset: str) -> None:
    config = replace(CONFIG, dataset=dataset, reset=reset, method="kd", folds=2, name_pattern="", rate=0.0, epochs=1)
    made = distill(config, run_root=tmp_path, name="made")
    scores: list[float] = []
    result = finetune(made, epochs=2, learning_rate=0.02, progress=lambda _epoch, _epochs, score: scores.append(score))
    assert result.after == max([result.before, *scores]) > result.before


def test_export_fine_tunes_recordings(run: Run) -> None:
    report = export(run, ExportConfig(finetune=True))
    assert not report.verification.failures


def test_data_other_than_the_runs_are_no_lesson(tmp_path: Path) -> None:
    data = write_recordings(tmp_path / "recordings")
    made = distill(replace(CONFIG, dataset=str(data)), run_root=tmp_path, name="walks")
    for name in ("s5_0.csv", "s5_1.csv"):  # another person, and then others are held out
        (data / name).write_bytes((data / name.replace("s5", "s0")).read_bytes())
    with pytest.raises(UsageError, match=r"recordings holds other data than .*walks was trained on"):
        finetune(made, epochs=1)


def test_data_that_a_program_gave_are_known_by_their_own_name(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    y = np.arange(400) // 50 % 2
    x = [random.standard_normal((400, 2)) + 1.5 * y[:, None] for _ in range(6)]
    data = memkd_edge.recordings_from_arrays(x, [y] * 6, list("aabbcc"), sample_rate_hz=50.0, name="walks")
    given = {
        name: getattr(CONFIG, name)
        for name in ("method", "weights", "seeds", "epochs", "hidden", "teacher_hidden", "teacher_layers", "teacher_seeds")
    }
    made = memkd_edge.distill(data=data, run_root=tmp_path / "runs", teacher_epochs=2, threads=1, **given)
    assert read_config(made).dataset == "walks"
    with pytest.raises(
        UsageError, match=r"needs the data that .*walks-1 was trained on: no data set named 'walks'.*distil from their files"
    ):
        finetune(made, epochs=1)
