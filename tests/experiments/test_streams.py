# SPDX-License-Identifier: Apache-2.0
"""The report of how well students decide at every sample."""

import argparse

import pytest

from experiments.streams import FIGURES, SPLITS, gains, report

SEEDS = 5


def split(base: float, belief: float) -> dict[str, object]:
    """A split of which seed n of base is right on `base`, of memkd-belief on `belief`, each plus n / 100."""
    rows = {
        method: [dict.fromkeys(FIGURES, accuracy + seed / 100) for seed in range(SEEDS)]
        for method, accuracy in (("base", base), ("memkd-belief", belief))
    }
    ends = [{"samples": 100, "first": 0.5, "last": 0.5}] * SEEDS
    teacher = {"majority": 0.3, **dict.fromkeys(FIGURES, 0.9)}
    return {"teacher": teacher, "methods": {method: {"students": own, "looped": ends} for method, own in rows.items()}}


def test_gains_are_paired_by_seed_and_their_mean_by_split() -> None:
    names = list(SPLITS)[:4]
    found = dict(zip(names, (split(0.7, 0.8), split(0.7, 0.71), split(0.6, 0.62), split(0.5, 0.53)), strict=True))
    assert gains(found[names[1]], "memkd-belief") == pytest.approx([0.01] * SEEDS)
    text = report(found, (900, 9), argparse.Namespace(seeds=SEEDS, steps=1, teacher_steps=2))
    assert "| 0.820 ± 0.014 | 0.820 ± 0.014 | 0.820 ± 0.014 | 0.82 | 0.8 | +0.100 [+0.100, +0.100] |" in text
    # Of three splits .01, .02, .03: mean .02, and 4.303 * .01 / sqrt(3) to each side.
    assert text.endswith(
        "| memkd-belief | 0.640 | 0.640 | 0.6 | +0.020 [-0.005, +0.045] |\n| teacher 3 x 100 | 0.900 | 0.900 | 0.9 | |\n"
    )
