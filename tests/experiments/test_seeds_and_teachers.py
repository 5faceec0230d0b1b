# SPDX-License-Identifier: Apache-2.0
"""Lines of the tables of the demo's seeds and of the teachers' cost."""

import json
import subprocess
from pathlib import Path

import pytest

from experiments import demo_seeds, run_cost, teacher_cost
from experiments.checkouts import commit, cpu_seconds
from memkd_edge.errors import MemkdEdgeError


def test_a_seed_has_base_the_best_taught_and_what_was_kept_beside_its_teacher() -> None:
    def method(name: str, held_out: float, **test: float) -> dict[str, object]:
        return {"method": name, "validation_f1_macro_mean": held_out, **test}

    metrics = {
        "methods": [
            method("base", 0.8, test_accuracy_mean=0.89),
            method("memkd", 0.7, test_accuracy_mean=0.92),
            method("memkd-belief", 0.82, test_accuracy_mean=0.9),
            method("memkd-belief", 0.9),  # another weight
        ],
        "student": {"method": "memkd-belief", "stream": {"accuracy": 0.911}},
        "teacher": {"stream": {"accuracy": 0.912}},
    }
    line = "| 3 | base 0.800 | memkd-belief 0.820 | base 0.890 | memkd-belief 0.900 | **memkd-belief** | 0.911 | 0.912 |"
    assert demo_seeds.row(3, metrics) == line


def test_teachers_stand_beside_each_other_and_what_was_measured_is_kept(tmp_path: Path) -> None:
    def figures(seconds: float, score: float) -> dict[str, object]:
        return {"seconds": seconds, "validation": {"auc_prc": score, "accuracy": score - 0.1}, "test": {"accuracy": score - 0.2}}

    line = "| GunPoint | 1 | 100 s | 47 s | 0.47 | 0.950, 0.960 | 0.850, 0.860 | 0.750, 0.760 |"
    assert teacher_cost.line("GunPoint", 1, figures(100, 0.95), figures(47, 0.96)) == line
    (tmp_path / "old-GunPoint-1").mkdir()
    (tmp_path / "old-GunPoint-1" / "metrics.json").write_text(json.dumps({"teacher": figures(100, 0.95)}))
    (tmp_path / "old-GunPoint-1.seconds").write_text("100")
    assert teacher_cost.measured(Path("old"), "GunPoint", 1, tmp_path) == figures(100, 0.95)


def test_runs_stand_beside_each_other_and_what_was_measured_is_kept(tmp_path: Path) -> None:
    (tmp_path / "old-Coffee-3").mkdir()
    methods = [
        {"kept": False, "validation_auc_prc_mean": 0.1, "test_auc_prc_mean": 0.2},
        {"kept": True, "validation_auc_prc_mean": 0.7, "test_auc_prc_mean": 0.8},
    ]
    metrics = {"teacher": {"validation": {"auc_prc": 0.9}, "test": {"auc_prc": 0.95}}, "methods": methods}
    (tmp_path / "old-Coffee-3" / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "old-Coffee-3.seconds").write_text("120.0")
    before = run_cost.measured(Path("old"), "Coffee", 3, "", tmp_path)
    assert before == {"seconds": 120.0, "teacher": [0.9, 0.95], "students": [0.7, 0.8]}
    now = {"seconds": 60.0, "teacher": [0.91, 0.96], "students": [0.71, 0.81]}
    row = {"set": "Coffee", "seed": 3, "timed": True, "before": before, "now": now}
    line = "| Coffee | 3 | 120 s | 60 s | 0.50 | 0.900, 0.910 | 0.950, 0.960 | 0.700, 0.710 | 0.800, 0.810 |"
    assert run_cost.line(row) == line
    assert run_cost.line({**row, "timed": False}) == line.replace("120 s | 60 s | 0.50", "- | - | -")


def test_what_seeds_change_together_has_an_interval() -> None:
    def row(seed: int, seconds: float, change: float, timed: bool = True) -> run_cost.Row:
        before = {"seconds": 100.0, "teacher": [0.9, 0.9], "students": [0.8, 0.8]}
        now = {"seconds": seconds, "teacher": [0.9, 0.9 + change], "students": [0.8 - change, 0.8]}
        return {"set": "ECG5000", "seed": seed, "timed": timed, "before": before, "now": now}

    rows = [row(1, 40.0, 0.03), row(0, 60.0, 0.01)]
    # Changes of .01 and .03: mean .02, standard error .01, and 12.706 of them to each side (Student's t, one degree of freedom).
    changed, fell = "+0.020 [-0.107, +0.147]", "-0.020 [-0.147, +0.107]"
    level = "+0.000 [+0.000, +0.000]"
    assert run_cost.changes(rows) == f"| ECG5000 | 2 together | 200 s | 100 s | 0.50 | {level} | {changed} | {fell} | {level} |"
    beside_work = run_cost.changes([rows[0], row(0, 600.0, 0.01, timed=False)])
    assert beside_work == f"| ECG5000 | 2 together | 100 s | 40 s | 0.40 | {level} | {changed} | {fell} | {level} |"
    lines = run_cost.table(rows, "1234567").splitlines()
    assert [one.split(" | ")[1] for one in lines[-3:]] == ["0", "1", "2 together"]
    assert "commit 1234567" in "".join(lines)


def test_a_checkout_is_called_by_its_short_hash(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "first"]):
        subprocess.run([*git, *words], check=True)
    whole = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert len(commit(tmp_path)) >= 4
    assert whole.startswith(commit(tmp_path))


def test_a_command_of_a_checkout_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    tree = Path(__file__).resolve().parents[2]
    with pytest.raises(MemkdEdgeError, match=r"ended with 2: .*no data set named 'nowhere'"):
        cpu_seconds(tree, ["distill", "--dataset", "nowhere"], tmp_path)
    assert cpu_seconds(tree, ["--version"], tmp_path) > 0
