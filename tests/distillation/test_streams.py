# SPDX-License-Identifier: Apache-2.0
"""Training along streams against torch's own layers, one student at a time; the order of chunks; the teacher's outputs."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memkd_edge.distillation import population as population_module
from memkd_edge.distillation import streams
from memkd_edge.distillation.methods import cross_entropy, method_named
from memkd_edge.distillation.population import Population, predict_along
from memkd_edge.distillation.recipe import Recipe, TeacherRecipe
from memkd_edge.distillation.stream_teacher import StreamTeacher, answers_along
from memkd_edge.distillation.streams import Starts, StreamSeries, joined, judged_at_ends, judged_everywhere, recorded
from memkd_edge.distillation.students import Candidate, initial_parameters
from memkd_edge.distillation.teacher import TeacherTraining
from memkd_edge.errors import UsageError
from memkd_edge.nets import recurrence
from memkd_edge.nets.classifier import ModelSpec, build, save_model
from tests.distillation.alone import AloneAlong

CPU = torch.device("cpu")
CLASSES = 3
METHODS = (("base", 0.0), ("kd", 1.0), ("memkd", 1.0), ("memkd-belief", 2.0), ("fitnet", 0.5), ("memkd+kd", 3.0))
CANDIDATES = [Candidate(method, weight, seed) for method, weight in METHODS for seed in (0, 1)]
RECIPE = Recipe(epochs=3, learning_rate=0.01, batch_size=16, seed=3, carried=0.7, noise=0.1)


def stretches(lengths: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Two channels whose level is the class, which changes every 30 samples; the last stretch is unlabelled."""
    generator = np.random.default_rng(1)
    found = []
    for length in lengths:
        y = (np.arange(length) // 30 + generator.integers(CLASSES)) % CLASSES
        x = (generator.standard_normal((length, 2)) / 2 + y[:, None]).astype(np.float32)
        found.append((x, y.astype(np.int64), False))
    x, y, _ = found[-1]
    return [*found[:-1], (x, np.full_like(y, -1), True)]


def series(chunk: int = 20, delay_s: float = 0.0) -> StreamSeries:
    one = recorded(stretches((300, 170, 260)), 50.0, delay_s, torch.ones(CLASSES), CPU)
    return StreamSeries(**{**vars(one), "chunk": chunk})


def teacher_of(data: StreamSeries, memory_limit: int = 2**30) -> StreamTeacher:
    torch.manual_seed(6)
    model = build(ModelSpec(2, 10, CLASSES, 2)).eval().requires_grad_(False)
    return StreamTeacher(model, data, memory_limit=memory_limit)


@pytest.mark.parametrize(("threads", "few_changes"), [(1, 0.0), (5, 0.0), (2, math.inf)])
def test_students_of_streams_train_as_each_alone(threads: int, few_changes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FEW_CHANGES", few_changes)  # infinite: lanes exchange their states
    monkeypatch.setattr(recurrence, "CELL_LIMIT", 0.1)  # so that the penalty on cells beyond it counts in this short training
    monkeypatch.setattr(population_module, "CELL_PENALTY", 1.0)
    teacher, spec = teacher_of(series()), ModelSpec(2, 4, CLASSES)
    together = Population(spec, CANDIDATES, teacher, RECIPE, threads=threads, memory_limit=2**30)
    singles = {index: AloneAlong(spec, CANDIDATES[index], teacher, RECIPE) for index in range(1, len(CANDIDATES), 2)}
    for epoch in range(RECIPE.epochs):
        together.train_epoch(epoch)
        for single in singles.values():
            single.train_epoch(epoch)
    together.keep(torch.ones(len(CANDIDATES), dtype=torch.bool))
    for index, single in singles.items():
        for name, expected in single.weights().items():
            found = together.kept[name][index]
            torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3, msg=f"{CANDIDATES[index]} {name}")


def test_lanes_start_from_their_own_state_another_one_or_a_reset() -> None:
    hidden, cells = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[[10.0], [20.0], [30.0]]])
    kept = torch.tensor([1.0, 0.0, 1.0])
    own, exchanged = (Starts(kept, lane).after((hidden, cells)) for lane in (None, torch.tensor([2, 1, 0])))
    assert [one.flatten().tolist() for one in own] == [[1, 0, 3], [10, 0, 30]]
    assert [one.flatten().tolist() for one in exchanged] == [[3, 0, 1], [30, 0, 10]]


@pytest.mark.parametrize(("every", "exchanges"), [(30, False), (1000, True)])
def test_lanes_exchange_states_where_a_class_lasts_so_long_that_none_would_see_it_end(every: int, exchanges: bool) -> None:
    y = np.arange(100_000) // every % CLASSES
    data = recorded([(np.zeros((len(y), 2), np.float32), y, True)], 25.0, 0.0, torch.ones(CLASSES), CPU)  # chunks of 100 samples
    index, lanes = data.chunks(0, 0)[0], torch.arange(data.lanes)
    found = [data.disturbed(index, 0.0, 0.9, seed)[1] for seed in range(500)]
    moved = [0.0 if one.lane is None else float((one.lane != lanes).float().mean()) for one in found]
    # A tenth of the lanes, of which one of 16 takes its own state.
    assert np.mean(moved) == (pytest.approx(streams.EXCHANGED * 15 / 16, abs=0.01) if exchanges else 0)
    assert np.mean([float(one.kept.mean()) for one in found]) == pytest.approx(0.9, abs=0.01)
    assert data.exchanges(0.9) == exchanges
    assert not data.exchanges(0.0)  # all are reset
    again = data.disturbed(index, 0.0, 0.9, 7)[1]
    assert torch.equal(again.kept, found[7].kept)
    assert again.lane is None or torch.equal(again.lane, found[7].lane)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_students_of_streams_go_on_from_a_saved_state_with_the_same_bytes(kind: str) -> None:
    teacher, spec = teacher_of(series()), ModelSpec(2, 4, CLASSES, kind=kind)
    straight, broken, resumed = (Population(spec, CANDIDATES, teacher, RECIPE, threads=2, memory_limit=2**30) for _ in range(3))
    for epoch in range(3):
        straight.train_epoch(epoch)
    broken.train_epoch(0)
    resumed.load({name: tensor.clone() for name, tensor in broken.state().items()})
    for epoch in (1, 2):
        resumed.train_epoch(epoch)
    found = resumed.state()
    for name, tensor in straight.state().items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_teacher_of_streams_learns_and_resumes_with_the_same_bytes(kind: str) -> None:
    spec = ModelSpec(2, 6, CLASSES, 2, kind)
    recipe = TeacherRecipe(epochs=8, learning_rate=0.02, batch_size=16, noise=0.1, carried=0.9)
    straight, broken, resumed = (TeacherTraining(spec, recipe, 4, series()) for _ in range(3))
    losses = []
    while not straight.finished:
        straight.train_epoch()
        losses.append(straight.loss)
    assert min(losses) < losses[0]
    for _ in range(3):
        broken.train_epoch()
    resumed.load({name: tensor.clone() for name, tensor in broken.state().items()})
    while not resumed.finished:
        resumed.train_epoch()
    assert save_model(resumed.result()) == save_model(straight.result())


def test_a_lane_goes_on_where_its_last_chunk_ended_and_a_pass_meets_nearly_every_sample_once() -> None:
    data = series()
    assert (data.length, data.lanes, data.epoch_steps) == (730, 16, 24)  # 12 passes of 2 chunks a lane
    for found in (data.chunks(5, epoch)[at : at + 2] for epoch in range(2) for at in range(0, 24, 2)):
        indices = torch.cat([one.flatten() for one in found])
        assert len(indices.unique()) == len(indices) == 16 * 2 * 20
        follows = {(300 - 1, 0), (470 - 1, 300), (730 - 1, 470)}  # the end of a stretch, followed by the start of any
        starts = {start for _, start in follows}
        for lane in torch.cat(found, 1).tolist():
            for before, after in itertools.pairwise(lane):
                assert after == before + 1 or (before in {end for end, _ in follows} and after in starts)
    assert not torch.equal(data.chunks(5, 0)[0], data.chunks(5, 1)[0])
    assert torch.equal(data.chunks(5, 1)[0], data.chunks(5, 1)[0])


def test_a_long_pass_is_several_epochs() -> None:
    long = recorded(
        [(np.zeros((16 * 60 * 100, 1), np.float32), np.zeros(16 * 60 * 100, np.int64), False)], 25.0, 0.0, torch.ones(2), CPU
    )
    assert (long.chunk, long.epoch_steps) == (100, 30)
    first, second = (torch.cat([one.flatten() for one in long.chunks(0, epoch)]) for epoch in (0, 1))
    assert len(torch.cat([first, second]).unique()) == len(long.x)


def test_a_delayed_answer_is_the_class_of_an_earlier_sample_of_the_same_stretch() -> None:
    now, late = series(), series(delay_s=0.1)
    for begin, end in ((0, 300), (300, 470)):
        assert torch.equal(late.y[begin + 5 : end], now.y[begin : end - 5])
        assert (late.y[begin : begin + 5] == -1).all()
        assert not late.taught[begin : begin + 5].any()
    assert (late.y[470:] == -1).all()
    assert late.taught[470:].all()


def test_joined_windows_are_answered_at_their_ends_alone() -> None:
    windows = np.arange(24, dtype=np.float32).reshape(6, 4, 1)
    data = joined(windows, np.arange(6) % 2, 0, torch.ones(2), CPU)
    for index in data.chunks(1, 7):
        x, y = data.x[index][..., 0], data.y[index]
        assert (y.view(16, 4, 4)[..., :3] == -1).all()
        assert torch.equal(x.view(16, 4, 4)[..., 0] // 4 % 2, y.view(16, 4, 4)[..., 3].float())
        assert torch.equal(x.view(16, 4, 4).diff(dim=2), torch.ones(16, 4, 3))
        assert torch.equal(data.taught[index], y >= 0)


def test_a_teachers_outputs_along_a_stream_are_those_of_one_long_pass() -> None:
    data = series(chunk=60)
    kept, half, anew = (teacher_of(data, memory_limit=limit) for limit in (2**30, 3 * len(data.x) * 10, 0))
    assert (half._hidden is not None and half._hidden.dtype, anew._hidden) == (torch.float16, None)
    whole = kept.model(torch.cat([data.x, data.x])[None])[1][0, len(data.x) :]
    index = data.chunks(RECIPE.seed, 0)[0]
    unbroken = index[
        (index.diff(dim=1) == 1).all(1)
    ]  # elsewhere what is computed anew has seen the stretch before, like students
    for teacher, lanes, tolerance in ((kept, index, 1e-4), (half, index, 1e-3), (anew, unbroken, 1e-4)):
        torch.testing.assert_close(teacher._along(lanes), whole[lanes], atol=tolerance, rtol=0)
    lesson = next(kept.lessons(RECIPE, 0))
    wanted = kept.head(whole)[index].transpose(0, 1).flatten(0, 1)
    torch.testing.assert_close(lesson.teacher.logits, wanted if lesson.at is None else wanted[lesson.at], atol=1e-4, rtol=1e-4)


def test_labels_count_by_the_weight_of_their_class_and_those_without_one_for_nothing() -> None:
    data = StreamSeries(**{**vars(series()), "class_weight": torch.tensor([1.0, 2.0, 4.0])})
    lesson = next(teacher_of(data).lessons(RECIPE, 0))
    logits = torch.randn(1, len(lesson.labels), CLASSES)
    wanted = nn.functional.cross_entropy(logits[0], lesson.labels, data.class_weight, ignore_index=-1)
    torch.testing.assert_close(cross_entropy(logits, lesson.labels, lesson.share)[0], wanted)


@pytest.mark.parametrize("steps", [7, 1000])
def test_students_and_teachers_run_through_judged_streams_without_a_reset(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population_module, "JUDGED_STEPS", steps)
    monkeypatch.setattr("memkd_edge.distillation.stream_teacher.BLOCK_STEPS", steps)
    first, second, _ = stretches((40, 25, 10))
    second[1][3:9] = -1
    streams = judged_everywhere([first[:2], second[:2]], CPU)
    spec = ModelSpec(2, 5, CLASSES)
    parameters = initial_parameters(spec, [Candidate("base", 0.0, 0), Candidate("base", 0.0, 1)], 20, 1)
    found = predict_along(spec, parameters, streams)
    assert len(streams.y) == 40 + 25 - 6
    model = build(spec)
    for student in range(2):
        model.load_state_dict({name: tensor[student] for name, tensor in parameters.items()})
        answers: list[Tensor] = [model.head(model(torch.from_numpy(x)[None])[1])[0] for x, _, _ in (first, second)]
        wanted = torch.stack([answers[stream][time] for stream, time in zip(streams.stream, streams.time, strict=True)])
        torch.testing.assert_close(found[student], wanted, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(answers_along(model, streams), wanted, atol=1e-5, rtol=1e-4)
    labels = torch.stack([torch.from_numpy((first, second)[s][1])[t] for s, t in zip(streams.stream, streams.time, strict=True)])
    assert torch.equal(streams.y, labels)


def test_judging_is_thinned_evenly() -> None:
    streams = judged_everywhere([one[:2] for one in stretches((400, 300, 9))[:2]], CPU, most=70)
    assert len(streams.y) == 70
    assert (int(streams.time.min()), int(streams.time.max())) == (0, 399)


def test_joined_windows_are_judged_each_once_at_their_ends() -> None:
    x = np.arange(19 * 4, dtype=np.float32).reshape(19, 4, 1)
    streams = judged_at_ends(x, np.arange(19) % 3, 0, CPU)
    ends = streams.x[streams.stream, streams.time, 0]
    assert sorted(ends.tolist()) == [4 * window + 3 for window in range(19)]
    assert torch.equal(streams.y, ((ends - 3) / 4 % 3).long())
    assert ((streams.time + 1) % 4 == 0).all()


def test_only_methods_that_mean_something_along_streams_say_so() -> None:
    along = {name for name in ("base", "kd", "fitnet", "memkd", "memkd-belief", "memkd+kd") if method_named(name).along_streams}
    others = ("rkd", "attention", "dkd", "dt2w", "tsd", "memkd-printed", "kd+rkd")
    assert len(along) == 6
    assert not any(method_named(name).along_streams for name in others)


def test_a_teacher_that_cannot_go_along_a_stream_is_refused() -> None:
    streams = judged_everywhere([stretches((30, 9))[0][:2]], CPU)
    for spec, word in ((ModelSpec(2, 4, 3, kind="cnn"), "cnn"), (ModelSpec(2, 4, 3, bidirectional=True), "looks ahead")):
        with pytest.raises(UsageError, match=word):
            answers_along(build(spec), streams)
    with pytest.raises(UsageError, match="`head`"):
        StreamTeacher(nn.LSTM(2, 3), series(), memory_limit=0)  # type: ignore[arg-type]
