# SPDX-License-Identifier: Apache-2.0
"""The seeds are fixed numbers: a run made again gives the same student."""

from itertools import product

import pytest
import torch

from memkd_edge import seeds


def test_the_seeds_of_a_run_are_these():
    assert seeds.of_teacher(3, 2) == 3029
    assert seeds.of_teacher_epoch(3029, 50) == 3_029_009_137
    assert seeds.of_candidate(3, 7) == 300_016
    assert seeds.of_epoch(3, 50) == 3_000_000_121
    assert seeds.of_step(3, 50) == 3_000_000_122
    assert seeds.of_chunk(3, 50) == 3_000_000_077


@pytest.mark.parametrize(
    "rule", [seeds.of_teacher, seeds.of_teacher_epoch, seeds.of_candidate, seeds.of_epoch, seeds.of_step, seeds.of_chunk]
)
def test_torch_takes_the_seeds_of_any_run(rule):
    torch.Generator().manual_seed(rule(1_764_484_634_000_000_000, 50))  # the time in ns


@pytest.mark.parametrize(("rule", "numbers"), [(seeds.of_teacher, 1000), (seeds.of_candidate, 1000)])
def test_no_two_runs_share_a_generator(rule, numbers):
    assert len({rule(seed, number) for seed, number in product(range(50), range(numbers))}) == 50 * numbers


def test_no_step_shares_the_generator_of_an_epoch():
    steps = {seeds.of_step(seed, step) for seed, step in product(range(5), range(3000))}
    assert steps.isdisjoint(seeds.of_epoch(seed, epoch) for seed, epoch in product(range(5), range(3000)))
