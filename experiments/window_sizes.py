# SPDX-License-Identifier: Apache-2.0
"""What a byte and an instruction buy on windows: `python -m experiments.window_sizes` goes on with models/window_sizes.

All kinds of students at the sizes that models/stream_sizes.md has along streams, on the sets that come with the product. Its
report scores the kept students as int8 and has the Pareto fronts. Most of these sets have settled the recipe, so this tells sizes
and kinds apart, not methods: one loss weight, and one held-out part, which chooses epoch, method and seed of what is kept.
"""

import time
from pathlib import Path

from experiments.set_by_set import go_on, options
from experiments.stream_sizes import METHODS, SIZES
from memkd_edge.config import CompareConfig, DistillConfig
from memkd_edge.vocabulary import Cell

OUT = Path(__file__).resolve().parents[1] / "models" / "window_sizes"
# From cheap to dear, so that a run that is cut short leaves the most rows.
SETS = (
    "ItalyPowerDemand",
    "GunPoint",
    "BasicMotions",
    "ArrowHead",
    "PickupGestureWiimoteZ_eq",
    "ACSF1",
    "JapaneseVowels_eq",
    "OSULeaf",
)


def asked(datasets: tuple[str, ...]) -> CompareConfig:
    """Return what is compared on `datasets`: every kind and size, two methods, three seeds."""
    return CompareConfig(
        suite="bundled",
        datasets=datasets,
        methods=tuple(METHODS.split(",")),
        students=tuple(Cell),
        sweep=f"compression={','.join(map(str, SIZES))}",
        distillation=DistillConfig(seeds=3, weights=1, folds=1, resample="linear:100"),
    )


def main() -> None:
    arguments = options(__doc__ or "", Path("compare/window_sizes"))
    for _ in go_on(SETS, asked, OUT, arguments.work, time.monotonic() + arguments.minutes * 60):
        pass


if __name__ == "__main__":
    main()
