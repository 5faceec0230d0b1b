# SPDX-License-Identifier: Apache-2.0
"""Series of unequal length: each is learnt and decided after its own last step, as torch's packed sequences do it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from memkd_edge.config import DistillConfig, ExportConfig
from memkd_edge.contents import read_series
from memkd_edge.data.dataset import Dataset, Description, RawPart, assemble
from memkd_edge.distillation.methods import METHODS
from memkd_edge.distillation.pipeline import distill
from memkd_edge.distillation.population import Population
from memkd_edge.distillation.recipe import Recipe, TeacherRecipe
from memkd_edge.distillation.streams import judged_at_ends
from memkd_edge.distillation.students import Candidate, forward, initial_parameters, single
from memkd_edge.distillation.teacher import Series, Teacher
from memkd_edge.errors import UsageError
from memkd_edge.exporting.pipeline import export
from memkd_edge.nets.classifier import Classifier, ModelSpec, build, load_classifier
from memkd_edge.padding import lengths, pad
from memkd_edge.quantization.post_training import quantize
from memkd_edge.runs import Run
from memkd_edge.streaming import StreamingClassifier
from memkd_edge.verification.reference_runner import integer_logits
from memkd_edge.vocabulary import Arithmetic

ENDS = torch.tensor([9, 4, 7, 3, 9, 5])
CLASSES = 3
METHOD_NAMES = sorted(set(METHODS) - {"tsd"})


def random_series(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Series x [6, 9, 2], garbage after their ends, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 9, 2, generator=torch.Generator().manual_seed(7))
    garbage = 3 * torch.randn(6, 9, 2, generator=generator)
    after = torch.arange(9) >= ENDS[:, None]
    return torch.where(after[..., None], garbage, x), torch.arange(6) % CLASSES


def packed_logits(model: Classifier, x: Tensor) -> Tensor:
    rnn = model.rnn
    assert isinstance(rnn, nn.LSTM | nn.GRU)
    packed = pack_padded_sequence(x, ENDS, batch_first=True, enforce_sorted=False)
    _, last = rnn(packed)
    hidden = last[0] if isinstance(last, tuple) else last
    logits: Tensor = model.head(hidden[-1])
    return logits


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_the_teachers_loss_and_gradient_are_those_of_packed_sequences(kind: str) -> None:
    torch.manual_seed(0)
    model = build(ModelSpec(2, 5, CLASSES, 2, kind))
    x, y = random_series()
    ((loss, count),) = Series(x, y, ends=ENDS).losses(model, TeacherRecipe(1, 0.01, 6, 0.0), 0, 0, [])
    expected = F.cross_entropy(packed_logits(model, x), y)
    assert count == 6
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, list(model.parameters()))
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_students_answers_and_gradients_are_those_of_packed_sequences(kind: str) -> None:
    spec = ModelSpec(2, 4, CLASSES, kind=kind)
    candidates = [Candidate("base", 0.0, seed) for seed in range(3)]
    weights = {name: one.requires_grad_() for name, one in initial_parameters(spec, candidates, 9, 0).items()}
    x, y = random_series()
    (outputs,), _ = forward(spec, weights, x, ends=ENDS)
    sum(F.cross_entropy(one, y) for one in outputs.logits).backward()
    for index in range(3):
        model = single(spec, weights, index).train()
        logits = packed_logits(model, x)
        torch.testing.assert_close(outputs.logits[index], logits, atol=1e-5, rtol=1e-4)
        F.cross_entropy(logits, y).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(weights[name].grad[index], parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_what_stands_in_the_padding_teaches_nothing(method: str) -> None:
    spec = ModelSpec(2, 4, CLASSES)
    trained = []
    for seed in (0, 1):
        torch.manual_seed(3)
        x, y = random_series(seed)
        model, other = (build(ModelSpec(2, 5, CLASSES)).eval() for _ in range(2))
        teacher = Teacher(model, Series(x, y, ends=ENDS), memory_limit=2**20, others=[other])
        recipe = Recipe(2, 0.01, 3, 0)
        population = Population(spec, [Candidate(method, 1.0, 0)], teacher, recipe, threads=1, memory_limit=2**30)
        for epoch in range(2):
            population.train_epoch(epoch)
        trained.append(population.shards[0].weights())
    torch.testing.assert_close(trained[0], trained[1], atol=1e-6, rtol=1e-5)


def test_joined_series_are_judged_at_their_own_ends() -> None:
    x, y = random_series()
    padded = pad([one[:end].numpy() for one, end in zip(x, ENDS, strict=True)])
    judged = judged_at_ends(padded, y.numpy(), 0, torch.device("cpu"))
    assert sorted(judged.y.tolist()) == sorted(y.tolist())
    for stream, time, label in zip(judged.stream.tolist(), judged.time.tolist(), judged.y.tolist(), strict=True):
        own = [one[:end] for one, end, truth in zip(x, ENDS, y.tolist(), strict=True) if truth == label]
        steps = judged.x[stream, : time + 1]
        assert any(len(steps) >= len(one) and torch.equal(steps[-len(one) :], one) for one in own)


def unequal(seed: int = 0) -> Dataset:
    """Two classes told apart by the sign of the last samples; the first of class 1 have the sign of class 0."""
    random = np.random.default_rng(seed)

    def part(count: int) -> RawPart:
        series, labels = [], []
        for number in range(count):
            steps, label = int(random.integers(6, 24)), number % 2
            one = 0.3 * random.standard_normal((steps, 2)) - 1
            if label:
                one[-4:] += 2
            series.append(one)
            labels.append("ab"[label])
        return RawPart(series, labels, [f"series {number}" for number in range(count)])

    return assemble("Unequal", part(32), part(20), Description())


CONFIG = DistillConfig(
    method="base,kd,memkd",
    weights=1,
    seeds=1,
    hidden=3,
    epochs=60,
    folds=2,
    teacher_hidden=6,
    teacher_layers=1,
    teacher_epochs=40,
    teacher_seeds=1,
    threads=1,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distill(CONFIG, run_root=tmp_path_factory.mktemp("runs"), name="unequal", data=unequal())


def alone(run: Run, decide: Callable[[np.ndarray], np.ndarray]) -> float:
    """The share of the test series that `decide`, given each alone without its padding, gets right."""
    kept = read_series(run)
    ends = lengths(kept.x_test)
    assert len(set(ends)) > 4
    decisions = [int(decide(x[None, :end]).argmax()) for x, end in zip(kept.x_test, ends, strict=True)]
    return float(np.mean(decisions == kept.y_test))


def test_the_runs_figures_are_those_of_each_series_alone(run: Run) -> None:
    metrics = run.read_json("metrics.json")
    for name in ("teacher", "student"):
        model = load_classifier(run.path / f"{name}.safetensors")

        def decide(x: np.ndarray, model: Classifier = model) -> np.ndarray:
            with torch.no_grad():
                return model(torch.from_numpy(x))[0].numpy()

        assert metrics[name]["test"]["accuracy"] == pytest.approx(alone(run, decide))
        assert metrics[name]["test"]["accuracy"] >= 0.9
    assert metrics["student"]["test_never_reset"] is not None
    kept = read_series(run)
    assert run.metadata.window_length == 0
    assert run.metadata.warm_up < lengths(kept.x_test).min()


@pytest.mark.parametrize("arithmetic", ["int8", "int16x8"])
def test_exported_files_decide_each_series_at_its_own_end(run: Run, arithmetic: str) -> None:
    report = export(run, ExportConfig(quantize=arithmetic)).verification
    model = quantize(load_classifier(run.path / "student.safetensors"), read_series(run).x_calibration)
    expected = alone(run, lambda x: integer_logits(model, Arithmetic(arithmetic), x)[0])
    (file,) = report.files
    ran = [result for result in file.results if result.status == "ok"]
    assert len(ran) >= 4
    assert [result.accuracy for result in ran] == [pytest.approx(expected)] * len(ran)


def test_a_series_pushed_sample_by_sample_is_decided_at_its_end(run: Run) -> None:
    path = run.path / "export" / "unequal_int8.tflite"
    export(run, ExportConfig(quantize="int8"))
    kept = read_series(run)
    model = quantize(load_classifier(run.path / "student.safetensors"), kept.x_calibration)
    mean, std = np.float32(run.metadata.mean), np.float32(run.metadata.std)
    classifier = StreamingClassifier(path)
    for x, end in zip(kept.x_test, lengths(kept.x_test), strict=True):
        classifier.reset()
        for sample in x[:end] * std + mean:
            classifier.push(sample)
        assert classifier.decision == integer_logits(model, Arithmetic.INT8, x[None, :end])[0].argmax()


def test_the_float_sequence_graph_does_too(run: Run) -> None:
    report = export(run, ExportConfig(format="onnx")).verification
    for file in report.files:
        for result in file.results:
            if result.status == "ok" and "int8" not in file.file:
                assert result.test.agreement == 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reset": "never"}, "--reset never is for windows of one length"),
        ({"reset": "window"}, "--reset window is for windows of one length"),
        ({"student": "cnn"}, "looks back only"),
        ({"teacher_bidirectional": True}, "looks back only"),
        ({"method": "tsd"}, "method tsd is for series of one length"),
        ({"resample": "linear:10"}, "a device does not know how long"),
    ],
)
def test_what_would_look_at_the_padding_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        distill(replace(CONFIG, **changes), run_root=tmp_path, name="no", data=unequal())
    assert not list(tmp_path.iterdir())
