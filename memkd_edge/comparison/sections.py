# SPDX-License-Identifier: Apache-2.0
"""Puts the findings of a comparison into words and tables."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median

from memkd_edge.comparison.findings import (
    FEWEST_SETS,
    REFERENCES,
    RETAINED,
    Findings,
    MethodRanking,
    Setting,
    Size,
    Spread,
)
from memkd_edge.comparison.statistics import ALPHA, DRAW_DECIMALS, sets_needed
from memkd_edge.config import CompareConfig
from memkd_edge.distillation.selection import teacher_warning
from memkd_edge.pages.document import Code, Document, Picture, Section, Strong, Table

FILES = (".npz", ".csv")  # data sets that are named by their file
NONE = "-"  # in a cell without a value
COST_COLUMNS = {"flash_bytes": "flash", "ram_bytes": "RAM", "instructions": "instructions", "parameters": "parameters"}


def document(found: Findings, config: CompareConfig, config_toml: str) -> Document:
    """Return the report.

    Args:
        found: the numbers.
        config: what was asked for, its suite spelt out.
        config_toml: the same as text.
    """
    sections = [
        _methods(found),
        _significance(found),
        _per_set(found, "AUC-PRC"),
        _per_set(found, "accuracy"),
        _size(found),
        *([_sweep(found)] if len(found.settings) > 1 else []),
        _teachers(found),
        _choice(found, config.distillation.protocol),
        _origin(found, config_toml),
    ]
    return Document(
        title=f"{count(len(found.methods), 'method')} on {count(len(found.sets), 'data set')}",
        notice=_notice(found, config),
        lead=" ".join(summary(found)),
        sections=tuple(sections),
    )


def _notice(found: Findings, config: CompareConfig) -> str:
    """Say what to know before the figures: that the test series selected, and which data sets are missing."""
    said = []
    if config.distillation.protocol == "paper":
        said.append("Methods were selected on the test series (--protocol paper), so all test figures are too good.")
    there = {run.dataset for run in found.runs}
    asked = config.datasets
    missing = [name for name in asked if (Path(name).stem if Path(name).suffix in FILES else name.partition("@")[0]) not in there]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        said.append(
            f"{len(missing)} of {count(len(asked), 'data set')} {are} missing ({', '.join(missing)}): the comparison has not "
            f"ended, or no student of the size asked for is possible there. All below is about the {len(there)} that are there."
        )
    return " ".join(said)


def summary(found: Findings) -> list[str]:
    """Return the result in a few plain sentences: who leads, by how much, and whether that can be chance."""
    if not found.complete:
        return [f"No data set has results of all {len(found.methods)} methods, so they cannot be ranked yet."]
    leader, *others = found.ranking
    on = f"{count(len(found.complete), 'data set')}"
    sentences = []
    if others:
        tie = f" (level with {others[0].method})" if others[0].rank == leader.rank else ""
        sentences.append(
            f"{leader.method} leads{tie}: mean rank {leader.rank:.2f} of {len(found.methods)} over {on}, mean test AUC-PRC "
            f"{leader.auc_prc:.3f}, {_distance(leader, others[0])}, the next"
            + "".join(f", and {_distance(leader, one)}" for one in others[1:] if one.method == "base")
            + "."
        )
        highest = max(found.ranking, key=lambda one: one.auc_prc or 0)
        if (highest.auc_prc or 0) > (leader.auc_prc or 0):
            sentences.append(f"The highest mean AUC-PRC is that of {highest.method}, {highest.auc_prc:.3f}.")
        sentences.append(_verdict(found, leader, others[0]))
    else:
        sentences.append(f"{leader.method}, the only method: mean test AUC-PRC {leader.auc_prc:.3f} over {on}.")
    kept = round((leader.retained or 0) * len(found.complete))
    reached = [result.compression for result in found.sets if result.dataset in found.complete]
    sentences.append(
        f"{'Its' if others else 'The'} students keep {_percent(leader.retention)} of the teachers' AUC-PRC on average, at least "
        f"{_percent(RETAINED, 0)} on {kept} of {on}, and are {_times(min(reached), max(reached))} smaller than the teachers."
    )
    return sentences


def _distance(leader: MethodRanking, other: MethodRanking) -> str:
    difference = (leader.auc_prc or 0) - (other.auc_prc or 0)
    return f"{abs(difference):.3f} {'below' if difference < 0 else 'above'} {other.method}"


def _verdict(found: Findings, leader: MethodRanking, second: MethodRanking) -> str:
    """Say whether the leader's differences from the second and from the others can be chance."""
    if not found.tested:
        return f"Whether that is more than chance is open: {_untested(found)}"
    p = {
        pair.second if pair.first == leader.method else pair.first: pair.p
        for pair in found.pairs
        if leader.method in (pair.first, pair.second) and pair.p is not None
    }
    beaten = [one.method for one in found.ranking if one.method in p and p[one.method] <= ALPHA]
    significant = second.method in beaten
    test = f"p {_p(p[second.method], '= ')}, Wilcoxon signed-rank, Holm-corrected over {count(len(found.pairs), 'pair')}"
    sentence = f"The lead over {second.method} is {'' if significant else 'not '}significant ({test})"
    rest = [name for name in beaten if name != second.method]
    if rest:
        sentence += f"; {'so is' if significant else 'significant is'} that over {_list(rest)}"
    return f"{sentence}."


def _untested(found: Findings) -> str:
    return f"with {count(len(found.complete), 'data set')} no test can tell two methods apart; at least {FEWEST_SETS} are needed."


def _methods(found: Findings) -> Section:
    setting = f"Students: {_setting(found.setting)} smaller than the teacher was asked for."
    if len(found.settings) > 1:
        setting = (
            f"Methods are compared at {_setting(found.setting)}, the kind and size with the most rows (of equal ones the size "
            f"nearest to distill's default) of {len(found.settings)}; all of them are under Sizes and kinds."
        )
    left_out = [result.dataset for result in found.sets if result.dataset not in found.complete]
    if left_out:
        setting += f" Left out of ranks and means, because methods are missing there: {', '.join(left_out)}."
    references = [name for name in REFERENCES if name in found.methods]
    columns = (
        "method",
        "mean rank",
        "mean AUC-PRC",
        "mean accuracy",
        "agreement with teacher",
        "retention",
        f"sets ≥ {_percent(RETAINED, 0)}",
        *(f"against {name}: won/drawn/lost" for name in references),
        *(f"gain over {name} [95 %]" for name in references),
    )
    best = {name: _best(found.ranking, name) for name in ("rank", "auc_prc", "accuracy", "agreement", "retention", "retained")}
    rows = []
    for one in found.ranking:
        cells = [one.method, _number(one.rank, 2), *(_number(value) for value in (one.auc_prc, one.accuracy, one.agreement))]
        cells += [_percent(one.retention), _percent(one.retained, 0)]
        for index, (name, value) in enumerate(best.items(), 1):
            if value is not None and getattr(one, name) == value:
                cells[index] = Strong(cells[index])
        cells += [_outcomes(one.against.get(name)) for name in references]
        rows.append((*cells, *(str(one.gain.get(name, NONE)) for name in references)))
    teachers = [result for result in found.sets if result.dataset in found.complete]
    if teachers:
        scores = (fmean(one.teacher_test_auc_prc for one in teachers), fmean(one.teacher_test_accuracy for one in teachers))
        empty = [""] * (len(columns) - 4)
        rows.append(("teacher", "", *(_number(score) for score in scores), *empty))
        baseline = (_mean(one.majority_test_auc_prc for one in teachers), _mean(one.majority_test_accuracy for one in teachers))
        rows.append(("majority", "", *(_number(score) for score in baseline), *empty))
    note = (
        f"Test figures; means over {count(len(found.complete), 'data set')} of the mean over the seeds. Rank 1 is the highest "
        "AUC-PRC on a data set; equal ones share the mean of their ranks. Retention is AUC-PRC student / teacher. A draw is "
        f"AUC-PRC equal to {DRAW_DECIMALS} decimals. Gain: mean difference in AUC-PRC with its 95 % interval (Student's t over "
        "the data sets). Majority: always the most frequent class of the training series."
    )
    return Section("Methods", (setting, Table(columns, tuple(rows), note)))


def _best(ranking: Sequence[MethodRanking], name: str) -> float | None:
    """Return the best value of one column, None when there is none or all are equal."""
    values: set[float] = {value for one in ranking if (value := getattr(one, name)) is not None}
    if len(values) < 2:
        return None
    return min(values) if name == "rank" else max(values)


def _significance(found: Findings) -> Section:
    title = "Is it more than chance?"
    if len(found.methods) < 2:
        return Section(title, ("One method alone cannot be compared.",))
    if not found.tested:
        return Section(title, (f"Not tested: {_untested(found)}",))
    blocks: list[str | Table | Picture | Code] = []
    needed = sets_needed(len(found.methods))
    if len(found.complete) < needed:
        blocks.append(
            f"With {count(len(found.complete), 'data set')} no pair of {len(found.methods)} methods can reach p = {ALPHA} after "
            f"the correction, however clear it is; {needed} data sets would be needed, or fewer methods."
        )
    if found.diagram:
        caption = (
            "Critical-difference diagram: mean ranks, the best on the right; a bar joins methods that are not told apart. Its "
            f"bars are aeon's, as usual in papers on time series: one-sided Wilcoxon tests at {ALPHA} / (methods - 1), and all "
            "joined if a Friedman test finds no difference. The table is stricter; the sentences of this report go by the table."
        )
        blocks.append(Picture("critical-difference", caption))
    p = {frozenset((pair.first, pair.second)): pair.p or 0.0 for pair in found.pairs}
    order = [one.method for one in found.ranking]
    rows = []
    for index, method in enumerate(order[:-1]):
        values = [p[frozenset((method, other))] for other in order[index + 1 :]]
        rows.append((method, *[""] * index, *(Strong(_p(value)) if value <= ALPHA else _p(value) for value in values)))
    note = (
        f"p-values of two-sided Wilcoxon signed-rank tests over {count(len(found.complete), 'data set')}, Holm-corrected over "
        f"{count(len(found.pairs), 'pair')}; {ALPHA} and below in bold."
    )
    blocks.append(Table(("method", *order[1:]), tuple(rows), note))
    return Section(title, tuple(blocks))


def _per_set(found: Findings, metric: str) -> Section:
    methods = [one.method for one in found.ranking]
    rows = []
    for result in found.sets:
        spreads = {one.method: one.test_auc_prc if metric == "AUC-PRC" else one.test_accuracy for one in result.methods}
        best = max(_rounded(spread) for spread in spreads.values())
        teacher = result.teacher_test_auc_prc if metric == "AUC-PRC" else result.teacher_test_accuracy
        majority = result.majority_test_auc_prc if metric == "AUC-PRC" else result.majority_test_accuracy
        cells = []
        for method in methods:
            spread = spreads.get(method)
            cells.append(Strong(_spread(spread)) if spread and len(spreads) > 1 and _rounded(spread) == best else _spread(spread))
        rows.append((result.dataset, _number(majority), _number(teacher), *cells))
    seeds = sorted({one.seeds for result in found.sets for one in result.methods})
    note = (
        f"Mean ± standard deviation (divided by n) over {_list([str(number) for number in seeds], 'or')} "
        f"{'seed' if seeds == [1] else 'seeds'}. In bold the best method, and those equal to it to {DRAW_DECIMALS} decimals."
    )
    table = Table(("data set", "majority", "teacher", *methods), tuple(rows), note)
    if metric == "accuracy":
        return Section("Test accuracy by data set", (table,))
    picture = Picture("scores", "Test AUC-PRC of every method and of the teacher, by data set.")
    return Section("Test AUC-PRC by data set", (picture, table))


def _size(found: Findings) -> Section:
    measured = any(run.kept and run.kept.flash_bytes is not None for run in found.runs)
    if measured:
        caption = (
            "The student that each run kept, where its generated int8 C was measured: test scores (bit-exact integer reference) "
            "against flash (emulated-exact, Cortex-M4), coloured by its method."
        )
    else:
        caption = (
            "The student that each run kept, coloured by its method, against its parameters; a line leads to its teacher. Bytes "
            "of int8 models were not measured in this comparison."
        )
    rows = tuple(
        (
            result.dataset,
            f"{result.train_series:,}",
            f"{result.length:,}",
            str(result.classes),
            f"{result.teacher_parameters:,}",
            f"{result.parameters:,}",
            str(result.hidden_size),
            f"{result.compression:,.0f}x",
            result.kept.method if result.kept else NONE,
        )
        for result in found.sets
    )
    columns = (
        "data set",
        "training series",
        "length",
        "classes",
        "teacher's parameters",
        "student's parameters",
        "hidden size",
        "compression reached",
        "kept method",
    )
    note = f"Asked for: {_times(found.setting.compression)}. The kept method has the best validation AUC-PRC; ties go to MemKD."
    return Section("Size and compression", (Picture("size", caption), Table(columns, rows, note)))


def _sweep(found: Findings) -> Section:
    blocks: list[str | Table | Picture | Code] = []
    scores = "int8 scores by the bit-exact integer reference" if found.int8 else "float scores; int8 was not measured"
    if len(found.sizes) > 1:
        caption = (
            f"Kept students by kind and size, means over {count(found.sizes[0].sets, 'data set')}; {scores}. A line joins the "
            "Pareto front of a kind: no other of that kind is better in cost or score and as good in the other. Hollow: off it."
        )
        blocks += [Picture("sweep", caption), _sizes_table(found.sizes, found.int8)]
    else:
        blocks.append("No data set has all kinds and sizes yet, so there are no means over data sets.")
    shown = {size.setting for sizes in found.sizes_by_set.values() for size in sizes}
    unmeasured = [_setting(setting) for setting in found.settings if setting not in shown]
    if unmeasured:
        blocks.append(f"Without int8 figures, so not listed: {'; '.join(unmeasured)}.")
    if len(found.sizes_by_set) > 1:
        for name, sizes in found.sizes_by_set.items():
            blocks.append(_sizes_table(sizes, found.int8, folded=name))
    return Section("Sizes and kinds", tuple(blocks))


def _sizes_table(sizes: Sequence[Size], int8: bool, folded: str = "") -> Table:
    costs = [cost for cost in COST_COLUMNS if any(cost in size.costs for size in sizes)]
    suffix = ", int8" if int8 else ""
    best = max(size.auc_prc for size in sizes)
    rows = []
    for size in sizes:
        auc = _number(size.auc_prc)
        cells = []
        for cost in costs:
            text = f"{size.costs[cost]:,.0f}" if cost in size.costs else NONE
            text = f"• {text}" if cost in size.front else text
            cells.append(Strong(text) if cost in size.front_of_all else text)
        rows.append(
            (
                f"{size.setting.student}, {_times(size.setting.compression)}",
                _times(*size.compression),
                _span(*size.hidden_size),
                *cells,
                Strong(auc) if size.auc_prc == best else auc,
                _number(size.accuracy),
            )
        )
    note = "•: on the Pareto front of its kind, in this cost against AUC-PRC; bold: on the front of all that are listed."
    if "flash_bytes" in costs:
        note += " Flash, RAM (bytes) and instructions per sample of the generated int8 C: emulated-exact, on a Cortex-M4."
    columns = ("asked for", "reached", "hidden size", *(COST_COLUMNS[cost] for cost in costs))
    return Table((*columns, f"AUC-PRC{suffix}", f"accuracy{suffix}"), tuple(rows), note, folded)


def _teachers(found: Findings) -> Section:
    warnings = []
    for run in found.runs:
        warning = teacher_warning({one.method: one.validation_auc_prc for one in run.methods}, run.teacher_validation_auc_prc)
        if warning:
            warnings.append(f"{run.dataset} ({_setting(run.setting)}): {warning}.")
    if not warnings:
        text = "On no data set do students without a teacher beat, on held-out series, the teacher or all that it taught."
        return Section("Teachers", (text,))
    text = f"In {count(len(warnings), 'run')} of {len(found.runs)} the scores say more about the teacher than about the methods."
    return Section("Teachers", (text, *warnings))


def _choice(found: Findings, protocol: str) -> Section:
    if protocol == "paper":
        text = (
            "Loss weights, stopping epochs and kept students were chosen on the test series, as the authors of MemKD did "
            "(--protocol paper): the test figures above are too good."
        )
    else:
        text = (
            "Loss weights, stopping epochs and kept students were chosen on held-out training series alone: a weight and its "
            "stopping epoch by the mean over the seeds. Each method's best weight was then trained again on all training "
            "series, and the test series were looked at once, for the figures above."
        )
    rows = []
    for method in found.methods:
        results = [one for result in found.sets if (one := result.of(method))]
        weights = Counter(one.weight for one in results)
        epochs = [one.stop_epoch for one in results]
        rows.append(
            (
                method,
                ", ".join(
                    f"{weight:g} ({times})" for weight, times in sorted(weights.items(), key=lambda item: (-item[1], item[0]))
                ),
                f"{median(epochs):g}",
                _span(min(epochs), max(epochs)),
            )
        )
    columns = ("method", "chosen weights (data sets)", "stopping epoch, median", "range")
    return Section("How it was chosen", (text, Table(columns, tuple(rows))))


def _origin(found: Findings, config_toml: str) -> Section:
    text = (
        f"{count(len(found.runs), 'run')} in {_duration(found.seconds)} (measured; of a resumed run its last part), on "
        f"{_list(found.hosts)}, by memkd-edge {_list(found.versions)}. Saved as compare.toml, this makes it again:"
    )
    return Section("How it was made", (text, Code(f"# memkd-edge compare --config compare.toml\n\n{config_toml}")))


def _setting(setting: Setting) -> str:
    return f"{setting.student}, {_times(setting.compression)}"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _times(low: float, high: float | None = None) -> str:
    first, last = f"{low:,.0f}x", f"{low if high is None else high:,.0f}x"
    return first if first == last else f"{first} to {last}"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _number(value: float | None, decimals: int = 3) -> str:
    return NONE if value is None else f"{value:.{decimals}f}"


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean, None where a value is missing."""
    all_of_them = list(values)
    known = [value for value in all_of_them if value is not None]
    return fmean(known) if len(known) == len(all_of_them) else None


def _rounded(spread: Spread) -> float:
    return round(spread.mean, DRAW_DECIMALS)


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return NONE
    return _number(spread.mean) if spread.std is None else f"{spread.mean:.3f} ± {spread.std:.3f}"


def _percent(value: float | None, decimals: int = 1) -> str:
    return NONE if value is None else f"{100 * value:.{decimals}f} %"


def _p(value: float, equals: str = "") -> str:
    return "< 0.001" if value < 0.001 else f"{equals}{value:.3f}"


def _outcomes(outcomes: tuple[int, int, int] | None) -> str:
    return NONE if outcomes is None else "/".join(map(str, outcomes))


def _list(names: Iterable[str], word: str = "and") -> str:
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def count(number: int, noun: str) -> str:
    """Return "1 run", "2 runs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
