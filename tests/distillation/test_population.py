# SPDX-License-Identifier: Apache-2.0
"""Population training against training each student alone with torch."""

import pytest
import torch

from memkd_edge.distillation import population as population_module
from memkd_edge.distillation.population import Population, predict
from memkd_edge.distillation.recipe import Recipe, batch_size, epochs
from memkd_edge.distillation.students import Candidate, forward, initial_parameters
from memkd_edge.distillation.teacher import Series, Teacher
from memkd_edge.nets import recurrence
from memkd_edge.nets.classifier import ModelSpec, build
from tests.distillation.alone import Alone

CANDIDATES = [
    Candidate(method, weight, seed)
    for method, weight in (("base", 0.0), ("kd", 1.0), ("memkd", 10.0), ("memkd", 1.0), ("memkd+kd", 3.0), ("fitnet", 0.5))
    for seed in (0, 1)
]


def series(count: int, length: int, channels: int, classes: int) -> Series:
    torch.manual_seed(5)
    labels = torch.arange(count) % classes
    return Series(torch.randn(count, length, channels) + 0.3 * labels[:, None, None], labels)


def make_teacher(data: Series, memory_limit: int = 2**30) -> Teacher:
    torch.manual_seed(6)
    model = build(ModelSpec(data.x.shape[2], 10, int(data.y.max()) + 1, 2)).eval().requires_grad_(False)
    return Teacher(model, data, memory_limit=memory_limit)


RECIPE = Recipe(epochs=5, learning_rate=0.01, batch_size=8, seed=3)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_training_together_equals_training_each_alone(threads: int, monkeypatch) -> None:
    monkeypatch.setattr(recurrence, "CELL_LIMIT", 0.1)  # so that the penalty on cells beyond it counts in this short training
    monkeypatch.setattr(population_module, "CELL_PENALTY", 1.0)
    monkeypatch.setattr(population_module, "AVERAGE_STEPS", 6)  # of 15
    data = series(21, 15, 2, 3)
    teacher = make_teacher(data)
    spec = ModelSpec(2, 5, 3)
    population = Population(spec, CANDIDATES, teacher, RECIPE, threads=threads, memory_limit=2**30)
    singles = [Alone(spec, candidate, teacher, RECIPE) for candidate in CANDIDATES]
    for epoch in range(RECIPE.epochs):
        population.train_epoch(epoch)
        for single in singles:
            single.train_epoch(epoch)
    population.keep(torch.ones(len(CANDIDATES), dtype=torch.bool))
    for index, single in enumerate(singles):
        for name, expected in single.weights().items():
            found = population.kept[name][index]
            torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3, msg=f"{CANDIDATES[index]} {name}")


@pytest.mark.parametrize(("kind", "layers"), [("gru", 1), ("cnn", 2)])
def test_gru_and_cnn_students_train_as_each_alone(kind: str, layers: int) -> None:
    data = series(21, 15, 2, 3)
    teacher = make_teacher(data)
    spec = ModelSpec(2, 4, 3, layers, kind)
    candidates = [Candidate(method, 1.0, seed) for method in ("base", "kd") for seed in (0, 1)]
    population = Population(spec, candidates, teacher, RECIPE, threads=1, memory_limit=2**30)
    singles = [Alone(spec, candidate, teacher, RECIPE) for candidate in candidates]
    for epoch in range(RECIPE.epochs):
        population.train_epoch(epoch)
        for single in singles:
            single.train_epoch(epoch)
    population.keep(torch.ones(len(candidates), dtype=torch.bool))
    for index, single in enumerate(singles):
        for name, expected in single.weights().items():
            torch.testing.assert_close(population.kept[name][index], expected, atol=2e-4, rtol=1e-3)


def test_a_small_memory_limit_cuts_the_population_into_more_shards_and_changes_no_student() -> None:
    data = series(16, 10, 1, 2)
    teacher = make_teacher(data)
    spec = ModelSpec(1, 4, 2)
    whole = Population(spec, CANDIDATES, teacher, RECIPE, threads=1, memory_limit=2**30)
    cut = Population(spec, CANDIDATES, teacher, RECIPE, threads=1, memory_limit=1)
    assert (len(whole.shards), len(cut.shards)) == (1, len(CANDIDATES))
    for population in (whole, cut):
        population.train_epoch(0)
    torch.testing.assert_close(cut.predict(data.x), whole.predict(data.x), atol=1e-5, rtol=1e-4)


def test_students_keep_the_weights_they_had_when_told_to() -> None:
    data = series(24, 10, 1, 2)
    population = Population(ModelSpec(1, 4, 2), CANDIDATES[:5], make_teacher(data), RECIPE, threads=2, memory_limit=2**30)
    stops = torch.tensor([1, 3, 2, 3, 1])
    snapshots = []
    for epoch in range(3):
        population.train_epoch(epoch)
        population.keep(stops == epoch + 1)
        snapshots.append({name: torch.cat([shard.weights()[name] for shard in population.shards]) for name in population.kept})
    for student, stop in enumerate(stops.tolist()):
        for name, tensor in population.kept.items():
            assert torch.equal(tensor[student], snapshots[stop - 1][name][student])


def test_a_population_taken_up_from_its_state_goes_on_with_the_same_bytes() -> None:
    data = series(24, 10, 1, 2)
    straight, broken, resumed = (
        Population(ModelSpec(1, 4, 2), CANDIDATES, make_teacher(data), RECIPE, threads=2, memory_limit=2**30) for _ in range(3)
    )
    for epoch in range(4):
        straight.train_epoch(epoch)
    for epoch in range(2):
        broken.train_epoch(epoch)
    resumed.load({name: tensor.clone() for name, tensor in broken.state().items()})
    for epoch in range(2, 4):
        resumed.train_epoch(epoch)
    for name, tensor in straight.state().items():
        assert torch.equal(resumed.state()[name], tensor), name


def test_some_students_train_on_as_they_would_have_among_all() -> None:
    data = series(24, 10, 1, 2)
    some = [CANDIDATES[1], *CANDIDATES[5:9], CANDIDATES[11]]
    every = Population(ModelSpec(1, 4, 2), CANDIDATES, make_teacher(data), RECIPE, threads=2, memory_limit=2**30)
    fewer = Population(ModelSpec(1, 4, 2), some, make_teacher(data), RECIPE, threads=3, memory_limit=2**30)
    every.train_epoch(0)
    fewer.load(every.state(), CANDIDATES)
    for population in (every, fewer):
        population.train_epoch(1)
    expected = every.predict(data.x)[[CANDIDATES.index(one) for one in some]]
    torch.testing.assert_close(fewer.predict(data.x), expected, atol=1e-5, rtol=1e-4)


def test_students_of_one_seed_start_from_the_same_weights_whatever_their_method() -> None:
    initial = initial_parameters(ModelSpec(2, 6, 3), CANDIDATES, 50, seed=1)
    for tensor in initial.values():
        assert torch.equal(tensor[0], tensor[2])
    assert not torch.equal(initial["head.weight"][0], initial["head.weight"][1])


def test_forget_gates_start_with_memories_of_one_to_all_steps() -> None:
    spec = ModelSpec(2, 200, 3)
    bias = initial_parameters(spec, [CANDIDATES[0]], 1000, seed=1)["rnn.bias_ih_l0"][0]
    into, forget = bias[:200], bias[200:400]
    memory = forget.exp()
    assert memory.min() >= 1
    assert memory.max() <= 999
    assert 400 < memory.mean() < 600
    assert torch.equal(into, -forget)


@pytest.mark.parametrize(("kind", "layers"), [("lstm", 1), ("gru", 1), ("cnn", 1), ("cnn", 3)])
def test_population_forward_equals_each_model(kind: str, layers: int) -> None:
    spec = ModelSpec(3, 6, 4, layers, kind)
    parameters = initial_parameters(spec, CANDIDATES[:3], 12, seed=2)
    x = torch.randn(300, 12, 3)
    (outputs,), _ = forward(spec, parameters, x)
    logits = predict(spec, parameters, x)
    for student in range(3):
        model = build(spec)
        model.load_state_dict({name: tensor[student] for name, tensor in parameters.items()})
        with torch.no_grad():
            expected, hidden = model(x)
        torch.testing.assert_close(outputs.logits[student], expected, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(outputs.hidden[student], hidden, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(logits[student], expected, atol=2e-6, rtol=1e-5)


def test_teacher_outputs_are_kept_in_single_or_half_precision_or_recomputed() -> None:
    data = series(20, 12, 1, 2)
    floats = 20 * 12 * 10
    index = torch.tensor([3, 17, 4])
    outputs = [make_teacher(data, limit).lesson(index, 0).teacher for limit in (4 * floats, 2 * floats, 2 * floats - 1)]
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    torch.testing.assert_close(outputs[1].hidden, outputs[0].hidden, atol=1e-3, rtol=1e-3)
    assert not torch.equal(outputs[1].hidden, outputs[0].hidden)
    torch.testing.assert_close(outputs[2].hidden, outputs[0].hidden, atol=1e-6, rtol=1e-5)


def test_epochs_left_open_make_about_3000_steps() -> None:
    assert epochs(0, 40, batch_size(0, 40)) == 750  # 4 batches of 10
    assert epochs(0, 23, batch_size(0, 23)) == 1000
    assert epochs(0, 7415, 64) == 50
    assert epochs(7, 40, 10) == 7
