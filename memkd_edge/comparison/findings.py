# SPDX-License-Identifier: Apache-2.0
"""What the rows of a comparison say, as numbers: per data set, method, pair of methods and size."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, pstdev
from typing import TypeVar

from memkd_edge.comparison.rows import StudentResult
from memkd_edge.comparison.statistics import mean_difference, mean_ranks, outcomes, pareto_front, sets_needed, wilcoxon_holm
from memkd_edge.config import DistillConfig

T = TypeVar("T")
Number = TypeVar("Number", int, float)

RETAINED = 0.97  # of the teacher's AUC-PRC: what a method is asked to keep
MEASURED_COSTS = ("flash_bytes", "ram_bytes", "instructions")
REFERENCES = ("base", "kd")  # every method is held against these
FEWEST_SETS = sets_needed(2)  # below it, no test can find anything


@dataclass(frozen=True, order=True)
class Setting:
    """A kind and size of student."""

    student: str
    compression: float  # as asked for


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over the seeds; the latter divided by their number, None of a single seed."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class MethodResult:
    """One method on one data set; single numbers are means over the seeds."""

    method: str
    weight: float
    stop_epoch: int
    seeds: int
    validation_auc_prc: float
    test_auc_prc: Spread
    test_accuracy: Spread
    agreement_with_teacher: float


@dataclass(frozen=True)
class SetResult:
    """One data set at one setting."""

    dataset: str
    setting: Setting
    train_series: int
    length: int
    classes: int
    hidden_size: int
    parameters: int
    teacher_parameters: int
    teacher_validation_auc_prc: float
    teacher_test_auc_prc: float
    teacher_test_accuracy: float
    majority_test_auc_prc: float | None  # None: of an older version's rows
    majority_test_accuracy: float | None
    methods: tuple[MethodResult, ...]
    kept: StudentResult | None

    def of(self, method: str) -> MethodResult | None:
        """The result of one method, None where it was not run."""
        return next((result for result in self.methods if result.method == method), None)

    @property
    def compression(self) -> float:
        """The compression reached: the teacher's parameters over the student's."""
        return self.teacher_parameters / self.parameters


@dataclass(frozen=True)
class Gain:
    """Mean difference in test AUC-PRC over data sets, and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class MethodRanking:
    """One method over the data sets that have every method; None where there is no such set.

    against: for each reference method (wins, draws, losses) over the data sets that have both.
    gain: over each reference method, on the complete data sets; empty with fewer than two.
    retention: mean over the data sets of AUC-PRC student / teacher; retained: share of data sets where that is at least .97.
    """

    method: str
    rank: float | None
    auc_prc: float | None
    accuracy: float | None
    agreement: float | None
    retention: float | None
    retained: float | None
    against: Mapping[str, tuple[int, int, int]]
    gain: Mapping[str, Gain]


@dataclass(frozen=True)
class Pair:
    """Two methods: wins, draws and losses of the first, and the corrected p-value where there is a test."""

    first: str
    second: str
    outcomes: tuple[int, int, int]
    p: float | None


@dataclass(frozen=True)
class Size:
    """The kept students of one setting, means over `sets` data sets.

    costs: flash_bytes, ram_bytes, instructions (per sample) where all of them were measured, and parameters.
    front: the costs on whose Pareto front against AUC-PRC the setting lies among those of its kind; front_of_all: among all.
    Fronts are in the measured costs, in parameters where there are none.
    """

    setting: Setting
    sets: int
    hidden_size: tuple[int, int]  # smallest and largest of the data sets
    compression: tuple[float, float]
    auc_prc: float
    accuracy: float
    costs: Mapping[str, float]
    front: tuple[str, ...] = ()
    front_of_all: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """Everything the report states."""

    runs: tuple[SetResult, ...]  # every data set at every setting
    settings: tuple[Setting, ...]
    setting: Setting  # the one that methods are compared at
    methods: tuple[str, ...]  # there, in the order of the rows
    complete: tuple[str, ...]  # data sets that have every method there
    ranking: tuple[MethodRanking, ...]  # best first
    pairs: tuple[Pair, ...]
    int8: bool  # whether sizes are those of int8 models
    sizes: tuple[Size, ...]  # means over the data sets that have every setting
    sizes_by_set: Mapping[str, tuple[Size, ...]]
    seconds: float
    hosts: tuple[str, ...]
    versions: tuple[str, ...]

    @property
    def sets(self) -> tuple[SetResult, ...]:
        """The data sets at the setting that methods are compared at."""
        return tuple(run for run in self.runs if run.setting == self.setting)

    @property
    def scores(self) -> list[list[float]]:
        """Mean test AUC-PRC over the seeds, [complete data sets, methods]."""
        return _scores(self.methods, [result for result in self.sets if result.dataset in self.complete])

    @property
    def tested(self) -> bool:
        """Whether there are data sets enough for a test."""
        return len(self.complete) >= FEWEST_SETS

    @property
    def diagram(self) -> bool:
        """Whether a critical-difference diagram can be drawn: a test, three methods, and some difference between them."""
        return self.tested and len(self.methods) >= 3 and any(len(set(scores)) > 1 for scores in self.scores)


def findings(rows: Sequence[StudentResult]) -> Findings:
    """Return what `rows` (at least one) say."""
    groups: dict[tuple[str, Setting], list[StudentResult]] = {}
    for row in rows:
        groups.setdefault((row.dataset, Setting(row.student, row.compression)), []).append(row)
    runs = tuple(_set_result(setting, group) for (_, setting), group in groups.items())
    main = max(_unique(run.setting for run in runs), key=lambda setting: _prominence(setting, rows))
    sets = [run for run in runs if run.setting == main]
    methods = _unique(method.method for run in sets for method in run.methods)
    complete = [run for run in sets if len(run.methods) == len(methods)]

    int8 = any(run.kept and run.kept.int8_test_auc_prc is not None for run in runs)
    kept = [run for run in runs if run.kept and (run.kept.int8_test_auc_prc is not None or not int8)]
    sizes_by_set = {name: _sizes([run for run in kept if run.dataset == name]) for name in _unique(run.dataset for run in kept)}
    kept_settings = _unique(run.setting for run in kept)
    everywhere = [name for name, sizes in sizes_by_set.items() if len(sizes) == len(kept_settings)]
    return Findings(
        runs=runs,
        settings=_unique(run.setting for run in runs),
        setting=main,
        methods=methods,
        complete=tuple(run.dataset for run in complete),
        ranking=_ranking(methods, sets, complete),
        pairs=_pairs(methods, sets, complete),
        int8=int8,
        sizes=_sizes([run for run in kept if run.dataset in everywhere]),
        sizes_by_set=sizes_by_set,
        seconds=math.fsum(group[0].seconds for group in groups.values()),
        hosts=_unique(row.host for row in rows),
        versions=_unique(row.version for row in rows),
    )


def _prominence(setting: Setting, rows: Sequence[StudentResult]) -> tuple[float, ...]:
    """Order settings: most rows first, then the compression nearest to distill's default."""
    count = sum(Setting(row.student, row.compression) == setting for row in rows)
    return count, -abs(math.log(max(setting.compression, 1) / DistillConfig.compression))


def _set_result(setting: Setting, rows: list[StudentResult]) -> SetResult:
    first = rows[0]
    return SetResult(
        dataset=first.dataset,
        setting=setting,
        train_series=first.train_series,
        length=first.length,
        classes=first.classes,
        hidden_size=first.hidden_size,
        parameters=first.parameters,
        teacher_parameters=first.teacher_parameters,
        teacher_validation_auc_prc=first.teacher_validation_auc_prc,
        teacher_test_auc_prc=first.teacher_test_auc_prc,
        teacher_test_accuracy=first.teacher_test_accuracy,
        majority_test_auc_prc=first.majority_test_auc_prc,
        majority_test_accuracy=first.majority_test_accuracy,
        methods=tuple(
            _method_result([row for row in rows if row.method == method]) for method in _unique(row.method for row in rows)
        ),
        kept=next((row for row in rows if row.kept), None),
    )


def _method_result(rows: list[StudentResult]) -> MethodResult:
    return MethodResult(
        method=rows[0].method,
        weight=rows[0].weight,
        stop_epoch=rows[0].stop_epoch,
        seeds=len(rows),
        validation_auc_prc=fmean(row.validation_auc_prc for row in rows),
        test_auc_prc=_spread([row.test_auc_prc for row in rows]),
        test_accuracy=_spread([row.test_accuracy for row in rows]),
        agreement_with_teacher=fmean(row.agreement_with_teacher for row in rows),
    )


def _spread(values: list[float]) -> Spread:
    return Spread(fmean(values), pstdev(values) if len(values) > 1 else None)


def _ranking(methods: Sequence[str], sets: Sequence[SetResult], complete: Sequence[SetResult]) -> tuple[MethodRanking, ...]:
    ranks = mean_ranks(_scores(methods, complete)) if complete else [None] * len(methods)
    scores = dict(zip(methods, zip(*_scores(methods, complete), strict=True), strict=True)) if len(complete) > 1 else {}
    ranking = []
    for method, rank in zip(methods, ranks, strict=True):
        references = [name for name in REFERENCES if name in methods and name != method]
        results = [(result, one) for result in complete if (one := result.of(method))]
        ratios = [one.test_auc_prc.mean / result.teacher_test_auc_prc for result, one in results]
        ranking.append(
            MethodRanking(
                method=method,
                rank=None if rank is None else float(rank),
                auc_prc=_mean(one.test_auc_prc.mean for _, one in results),
                accuracy=_mean(one.test_accuracy.mean for _, one in results),
                agreement=_mean(one.agreement_with_teacher for _, one in results),
                retention=_mean(ratios),
                retained=_mean(float(ratio >= RETAINED) for ratio in ratios),
                against={name: _outcomes(method, name, sets) for name in references},
                gain={name: Gain(*mean_difference(scores[method], scores[name])) for name in references if scores},
            )
        )
    # Of equal ranks the higher mean stands first.
    return tuple(sorted(ranking, key=lambda one: (one.rank or 0.0, -(one.auc_prc or 0.0))))


def _pairs(methods: Sequence[str], sets: Sequence[SetResult], complete: Sequence[SetResult]) -> tuple[Pair, ...]:
    p = wilcoxon_holm(_scores(methods, complete)) if len(complete) >= FEWEST_SETS else None
    return tuple(
        Pair(methods[a], methods[b], _outcomes(methods[a], methods[b], sets), None if p is None else float(p[a, b]))
        for a, b in combinations(range(len(methods)), 2)
    )


def _scores(methods: Sequence[str], complete: Sequence[SetResult]) -> list[list[float]]:
    """Return the seeds' mean test AUC-PRC, [sets, methods]."""
    by_name = [{one.method: one.test_auc_prc.mean for one in result.methods} for result in complete]
    return [[scores[method] for method in methods] for scores in by_name]


def _outcomes(ours: str, theirs: str, sets: Sequence[SetResult]) -> tuple[int, int, int]:
    both = [(a, b) for result in sets if (a := result.of(ours)) and (b := result.of(theirs))]
    return outcomes([a.test_auc_prc.mean for a, _ in both], [b.test_auc_prc.mean for _, b in both])


def _sizes(results: Sequence[SetResult]) -> tuple[Size, ...]:
    """Return each setting's means over its data sets, by kind and from small to large, with the fronts."""
    settings = sorted(_unique(result.setting for result in results), key=lambda one: (one.student, -one.compression))
    sizes = [_size([result for result in results if result.setting == setting]) for setting in settings]
    costs = [cost for cost in MEASURED_COSTS if all(cost in size.costs for size in sizes)] or ["parameters"]
    whole = _fronts(sizes, costs)
    of_kind: dict[Setting, tuple[str, ...]] = {}
    for kind in _unique(size.setting.student for size in sizes):
        of_kind |= _fronts([size for size in sizes if size.setting.student == kind], costs)
    return tuple(replace(size, front=of_kind[size.setting], front_of_all=whole[size.setting]) for size in sizes)


def _size(results: Sequence[SetResult]) -> Size:
    rows = [result.kept for result in results if result.kept]
    costs = {
        "flash_bytes": _mean(row.flash_bytes for row in rows),
        "ram_bytes": _mean(row.ram_bytes for row in rows),
        "instructions": _mean(row.instructions for row in rows),
        "parameters": fmean(row.parameters for row in rows),
    }
    return Size(
        setting=results[0].setting,
        sets=len(results),
        hidden_size=_range(row.hidden_size for row in rows),
        compression=_range(result.compression for result in results),
        auc_prc=fmean(score(row)[0] for row in rows),
        accuracy=fmean(score(row)[1] for row in rows),
        costs={name: cost for name, cost in costs.items() if cost is not None},
    )


def score(kept: StudentResult) -> tuple[float, float]:
    """Return test AUC-PRC and accuracy of a kept student, of its int8 model where that was measured."""
    if kept.int8_test_auc_prc is None or kept.int8_test_accuracy is None:
        return kept.test_auc_prc, kept.test_accuracy
    return kept.int8_test_auc_prc, kept.int8_test_accuracy


def _fronts(sizes: Sequence[Size], costs: Sequence[str]) -> dict[Setting, tuple[str, ...]]:
    """Return for each setting the costs on whose front against AUC-PRC it lies."""
    on = {cost: pareto_front([size.costs[cost] for size in sizes], [size.auc_prc for size in sizes]) for cost in costs}
    return {size.setting: tuple(cost for cost in costs if on[cost][index]) for index, size in enumerate(sizes)}


def _range(values: Iterable[Number]) -> tuple[Number, Number]:
    found = sorted(values)
    return found[0], found[-1]


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean, None when there are no values or one is missing."""
    found = list(values)
    known = [value for value in found if value is not None]
    return fmean(known) if known and len(known) == len(found) else None


def _unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))
