# SPDX-License-Identifier: Apache-2.0
"""A comparison from names to table: continued after a kill, shared teachers, refusals, the figures on a device."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memkd_edge.benchmark.pipeline import bench
from memkd_edge.cli import main as cli
from memkd_edge.comparison.folder import teachers_file
from memkd_edge.comparison.pipeline import compare
from memkd_edge.comparison.plan import lay_out, settled
from memkd_edge.comparison.rows import read_rows
from memkd_edge.comparison.suites import SUITES, Suite
from memkd_edge.config import BenchConfig, CompareConfig, resolve, to_toml
from memkd_edge.data.registry import load_dataset
from memkd_edge.distillation.pipeline import distill
from memkd_edge.distillation.teacher import TeacherTraining
from memkd_edge.errors import MemkdEdgeError, UsageError
from memkd_edge.progress import Reporter
from memkd_edge.runs import Run
from tests.comparison.small import CONFIG, scores
from tests.finetuning.test_finetune_streams import write_recordings

KILL = """
import os, signal, sys, tomllib
from pathlib import Path
from memkd_edge.comparison.pipeline import compare
from memkd_edge.config import CompareConfig, from_table
from memkd_edge.distillation import study
from memkd_edge.progress import Reporter

study.CHECKPOINT_EVERY_S = 0.0
left = int(sys.argv[3])

class Killer(Reporter):
    def step(self, stage, *rest, **more):
        global left
        left -= stage == sys.argv[2]
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

reporter = Killer()
config = from_table(CompareConfig, tomllib.loads(sys.argv[4])["compare"])
compare(config, Path(sys.argv[1]), progress=reporter)
"""


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.runs: list[str] = []
        self.told: list[tuple[int, int, float, str]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, stage: str, done: int = 0, total: int = 0, unit: str = "", note: str = "", share: float | None = None) -> None:
        if stage == "comparison":
            assert share is not None
            self.told.append((done, total, share, note))
        elif unit == "runs" and done < total:
            self.runs.append(note)


@pytest.fixture(autouse=True)
def _no_emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare all tests but those of the device the seconds of compiling and emulating."""
    if "require_tool" not in request.fixturenames:
        monkeypatch.setenv("PATH", "/nowhere")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        compare(CONFIG, folder)
    return folder


def test_a_row_is_what_the_run_says_of_its_student(undisturbed: Path) -> None:
    rows = read_rows(undisturbed / "rows.csv")
    assert [(row.dataset, row.method, row.seed) for row in rows] == [
        (name, method, seed) for name in CONFIG.datasets for method in CONFIG.methods for seed in (0, 1)
    ]
    for name, train, length in (("ItalyPowerDemand", 67, 24), ("GunPoint", 50, 30)):
        run = Run.open(undisturbed / "runs" / name)
        own = [row for row in rows if row.dataset == name]
        metrics = run.read_json("metrics.json")
        (kept,) = (row for row in own if row.kept)
        assert kept.test_accuracy == run.metadata.accuracy == metrics["student"]["test"]["accuracy"]
        assert (kept.method, kept.seed, kept.weight) == tuple(metrics["student"][key] for key in ("method", "seed", "weight"))
        # The teacher: 8 units, one channel, two classes; 370 parameters / 6 leave two units.
        assert {(row.teacher_parameters, row.parameters, row.hidden_size) for row in own} == {(370, 46, 2)}
        assert {(row.train_series, row.length, row.classes) for row in own} == {(train, length, 2)}
        assert {row.teacher_test_auc_prc for row in own} == {metrics["teacher"]["test"]["auc_prc"]}
        assert {row.seconds for row in own} == {run.environment()["seconds"]}
        assert kept.int8_test_accuracy is not None
        assert all(row.int8_test_accuracy is None for row in own if not row.kept)
    assert (undisturbed / "report.md").is_file()


def test_recordings_are_compared_on_windows_cut_from_them(tmp_path: Path) -> None:
    data = write_recordings(tmp_path / "walks")
    whole = replace(CONFIG, datasets=(str(data),))
    with pytest.raises(UsageError, match=r"walks holds recordings, .* cut them with --windows"):
        compare(whole, tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    cut = replace(whole, distillation=replace(CONFIG.distillation, windows="1s", name_pattern="{subject}_{recording}.csv"))
    compare(cut, tmp_path / "cut")
    rows = read_rows(tmp_path / "cut" / "rows.csv")
    assert {row.dataset for row in rows} == {"walks"}
    assert {row.length for row in rows} == {30}
    metrics = Run.open(tmp_path / "cut" / "runs" / "walks").read_json("metrics.json")
    assert {row.teacher_test_accuracy for row in rows} == {metrics["teacher"]["test"]["accuracy"]}


@pytest.mark.parametrize(
    ("report", "count"),
    [("students", 6), ("comparison", 2)],
    ids=["in the second set", "after the first rows"],
)
def test_a_killed_comparison_continues_and_ends_with_the_same_rows(
    report: str, count: int, undisturbed: Path, tmp_path: Path
) -> None:
    arguments = [str(tmp_path), report, str(count), to_toml("compare", CONFIG)]
    killed = subprocess.run([sys.executable, "-c", KILL, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    before = {path: path.read_bytes() for path in tmp_path.glob("runs/*/env.json") if b'"complete"' in path.read_bytes()}
    progress = Notes()
    compare(CONFIG, tmp_path, progress=progress)
    assert scores(read_rows(tmp_path / "rows.csv")) == scores(read_rows(undisturbed / "rows.csv"))
    assert progress.runs == [name for name in CONFIG.datasets if tmp_path / "runs" / name / "env.json" not in before]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(tmp_path.glob("teachers-*"))


def test_a_finished_comparison_is_left_alone_and_a_lost_table_is_made_anew_from_the_runs(undisturbed: Path) -> None:
    table = undisturbed / "rows.csv"
    before = table.read_bytes()
    progress = Notes()
    left_over = teachers_file(undisturbed, CONFIG.datasets[0])  # of a process that was killed at its very end
    left_over.touch()
    compare(CONFIG, undisturbed, progress=progress)
    assert table.read_bytes() == before
    assert not left_over.exists()
    table.unlink()
    compare(CONFIG, undisturbed, progress=progress)
    assert table.read_bytes() == before
    assert progress.runs == []


def test_a_run_of_a_version_without_a_majority_baseline_gives_rows_without_one(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "old")
    for folder in (tmp_path / "old" / "runs").iterdir():
        metrics = Run.open(folder).read_json("metrics.json")
        del metrics["majority"], metrics["chance"]
        Run(folder).write_json("metrics.json", metrics)
    (tmp_path / "old" / "rows.csv").unlink()
    compare(CONFIG, tmp_path / "old")
    without = [
        replace(row, majority_test_auc_prc=None, majority_test_accuracy=None) for row in read_rows(undisturbed / "rows.csv")
    ]
    assert read_rows(tmp_path / "old" / "rows.csv") == without


def test_progress_tells_sets_done_the_time_left_and_the_leader(tmp_path: Path) -> None:
    progress = Notes()
    compare(CONFIG, tmp_path, progress=progress)
    assert [(done, total) for done, total, *_ in progress.told] == [(0, 2), (1, 2), (2, 2)]
    shares = [share for _, _, share, _ in progress.told]
    assert shares[0] == 0 < shares[1] < shares[2] == 1
    assert shares[1] != 0.5  # the sets take unequally long
    means = {
        (row.dataset, row.method): np.mean(
            [
                one.test_auc_prc
                for one in read_rows(tmp_path / "rows.csv")
                if (one.dataset, one.method) == (row.dataset, row.method)
            ]
        )
        for row in read_rows(tmp_path / "rows.csv")
    }
    first = "base" if means["ItalyPowerDemand", "base"] > means["ItalyPowerDemand", "kd"] else "kd"
    assert [leader for *_, leader in progress.told][:2] == ["", f"{first} leads with a mean rank of 1.00"]


def test_other_settings_in_the_same_folder_are_refused_with_their_names(undisturbed: Path) -> None:
    other = replace(CONFIG, methods=("base",), distillation=replace(CONFIG.distillation, epochs=5, memory_limit=1000))
    with pytest.raises(UsageError, match="--force") as caught:
        compare(other, undisturbed)
    assert "methods is ('base', 'kd') there and ('base',) here; epochs is 4 there and 5 here" in str(caught.value)
    assert "memory_limit" not in str(caught.value)
    assert len(read_rows(undisturbed / "rows.csv")) == 8


def test_force_starts_anew(tmp_path: Path) -> None:
    one = replace(CONFIG, datasets=("GunPoint",), methods=("base",))
    compare(replace(one, datasets=("ItalyPowerDemand",)), tmp_path)
    compare(one, tmp_path, force=True)
    assert {row.dataset for row in read_rows(tmp_path / "rows.csv")} == {"GunPoint"}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["GunPoint"]


def test_a_folder_of_something_else_is_never_touched(tmp_path: Path) -> None:
    precious = tmp_path / "runs" / "GunPoint" / "env.json"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    for force in (False, True):
        with pytest.raises(UsageError, match="holds no comparison"):
            compare(CONFIG, tmp_path, force=force)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [precious]


def test_a_second_process_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    class Curious(Reporter):
        refusal = ""

        def step(self, stage: str, done: int = 0, total: int = 0, unit: str = "", *rest: Any, **more: Any) -> None:
            if unit != "runs":
                return
            with pytest.raises(UsageError) as caught:
                compare(one, tmp_path)
            self.refusal = str(caught.value)

    one, progress = replace(CONFIG, datasets=("GunPoint",), methods=("base",)), Curious()
    compare(one, tmp_path, progress=progress)
    assert "another process compares" in progress.refusal


def test_a_damaged_configuration_or_run_is_one_error(tmp_path: Path) -> None:
    one = replace(CONFIG, datasets=("GunPoint",), methods=("base",))
    compare(one, tmp_path)
    (tmp_path / "rows.csv").unlink()
    (tmp_path / "runs" / "GunPoint" / "metrics.json").write_text("{}")
    with pytest.raises(MemkdEdgeError, match=r"metrics\.json: no protocol"):
        compare(one, tmp_path)
    (tmp_path / "compare.toml").write_text("[compare")
    with pytest.raises(MemkdEdgeError, match=r"compare\.toml: damaged"):
        compare(one, tmp_path)


def test_sizes_and_kinds_share_teachers_and_are_the_students_of_runs_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    train_epoch = TeacherTraining.train_epoch

    def counted(self: TeacherTraining) -> None:
        trained.append(self)
        train_epoch(self)

    monkeypatch.setattr(TeacherTraining, "train_epoch", counted)
    sweep = replace(CONFIG, datasets=("GunPoint",), students=("lstm", "gru", "cnn"), sweep="compression=4,6,200")
    progress = Notes()
    compare(sweep, tmp_path, progress=progress)
    shared = len(trained)
    assert progress.runs == [f"GunPoint-{kind}-{size}" for kind in ("lstm", "gru", "cnn") for size in (4, 6)]
    assert sum("compression of 200 is out of reach" in note for note in progress.notes) == 3
    assert sum("cnn" in note and "no int8" in note for note in progress.notes) == 2
    rows = read_rows(tmp_path / "rows.csv")
    assert {(row.student, row.compression) for row in rows} == {(k, c) for k in ("lstm", "gru", "cnn") for c in (4.0, 6.0)}
    assert len({(row.teacher_validation_auc_prc, row.teacher_test_auc_prc, row.teacher_test_accuracy) for row in rows}) == 1
    assert {row.student for row in rows if row.int8_test_auc_prc is not None} == {"lstm", "gru"}

    settings = replace(sweep.distillation, compression=6.0, dataset="GunPoint", student="gru", method="base,kd")
    alone = distill(settings, run_root=tmp_path / "alone", name="run")
    assert len(trained) == 2 * shared
    for file in ("student.safetensors", "teacher.safetensors", "metrics.json"):
        assert alone.read_bytes(file) == (tmp_path / "runs" / "GunPoint-gru-6" / file).read_bytes(), file


def test_a_kept_students_figures_on_a_device_are_those_of_bench(require_tool: Any, tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc", package="gcc-arm-none-eabi")
    require_tool("qemu-system-arm", package="qemu-system-arm")
    compare(replace(CONFIG, datasets=("GunPoint",), methods=("base",)), tmp_path)
    (row,) = (row for row in read_rows(tmp_path / "rows.csv") if row.kept)
    report = bench(Run.open(tmp_path / "runs" / "GunPoint"), BenchConfig(device=("nrf52840",)))
    figures = next(one.figures for one in report.devices[0].rows if one.build == "int8 C")
    assert (row.flash_bytes, row.ram_bytes, row.instructions) == tuple(
        figures[name].value for name in ("flash", "ram", "instructions")
    )
    assert row.int8_test_accuracy == figures["accuracy"].value


def test_without_the_tools_flash_ram_and_instructions_are_empty_and_the_reason_is_told(tmp_path: Path) -> None:
    progress = Notes()
    compare(replace(CONFIG, datasets=("GunPoint",), methods=("base",)), tmp_path, progress=progress)
    (row,) = (row for row in read_rows(tmp_path / "rows.csv") if row.kept)
    assert (row.flash_bytes, row.ram_bytes, row.instructions) == (None, None, None)
    assert row.int8_test_auc_prc is not None
    assert any("arm-none-eabi-gcc" in note for note in progress.notes)


def test_a_suite_gives_units_to_sets_of_many_classes_unless_a_size_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SUITES, "small", Suite(("ItalyPowerDemand", "GunPoint"), "linear:50", {"GunPoint": 5}))

    def units(**options: Any) -> list[int]:
        config = settled(resolve(CompareConfig, "compare", flags={"suite": "small", "methods": ("base",), **options}))
        return [run.hidden for task in lay_out(config, Reporter()) for run in task.runs.values()]

    assert units() == [0, 5]
    assert units(compression=300.0) == [0, 0]
    assert units(sweep="compression=500,100") == [0, 0, 0, 0]


def test_the_paper_suite_has_the_splits_of_the_2015_archive(shared_data: Path) -> None:
    suite = settled(CompareConfig(suite="ucr12"))
    assert suite.distillation.resample == "linear:100"
    # Chen et al. 2015, The UCR Time Series Classification Archive: size of training and test set.
    sizes = {"ItalyPowerDemand": (67, 1029), "ECG200": (100, 100), "MiddlePhalanxOutlineCorrect": (291, 600)}
    sizes |= {"SwedishLeaf": (500, 625), "Strawberry": (370, 613), "Adiac": (390, 391), "Trace": (100, 100)}
    sizes |= {"Computers": (250, 250), "ShapesAll": (600, 600), "Herring": (64, 64), "Lightning2": (60, 61)}
    sizes |= {"Wafer": (1000, 6163)}  # of 6164: one test series is missing in the developers' copy
    sets = [load_dataset(name, data_root=str(shared_data / "npz")) for name in suite.datasets]
    assert {data.name: (len(data.y_train), len(data.y_test)) for data in sets} == sizes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--suite ucr12 or bundled"),
        (["--suite", "ucr13"], "no suite 'ucr13'; there are ucr12, bundled"),
        (["--suite", "ucr12", "--datasets", "Adiac,GunPoint"], "GunPoint is not of --suite ucr12, which has ItalyPowerDemand,"),
        (["--datasets", "GunPoint,GunPoint"], "names GunPoint twice"),
        (["--datasets", "GunPoint,GunPoint@swapped"], "two are named GunPoint"),
        (["--datasets", "GunPiont"], "GunPoint"),
        (["--datasets", "GunPoint", "--methods", "base,magic"], "magic"),
        (["--datasets", "GunPoint", "--methods", "base,base"], "twice"),
        (["--datasets", "GunPoint", "--students", "lstm,transformer"], "no kind 'transformer'"),
        (["--datasets", "GunPoint", "--sweep", "hidden=3"], "compression=A,B"),
        (["--datasets", "GunPoint", "--sweep", "compression=a"], "compression=A,B"),
        (["--datasets", "GunPoint", "--sweep", "compression=5,0"], "above 0"),
        (["--datasets", "GunPoint", "--compression", "-1"], "above 0"),
        (["--datasets", "GunPoint", "--compression", "1e9"], "out of reach"),
        (["--datasets", "GunPoint", "--resample", "cubic"], "linear:LENGTH"),
        (["--datasets", "GunPoint", "--folds", "99"], "--folds"),
        (["--datasets", "GunPoint", "--seeds", "0"], "--seeds"),
        (["--datasets", "GunPoint", "--executor", "slurm"], "local or ray"),
        (["--datasets", "GunPoint", "--ray-address", "host:1"], "--executor ray"),
        (["report"], "memkd-edge compare"),
        (["report", "nowhere"], "memkd-edge compare"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["memkd-edge", "compare", *options])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in error.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_a_comparison_that_the_same_command_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["compare", "--datasets", "GunPoint", "--methods", "base", "--seeds", "1", "--compression", "6", "--folds", "2"]
    options += ["--teacher-hidden", "8", "--teacher-layers", "1", "--teacher-seeds", "1", "--teacher-epochs", "30"]
    options += ["--resample", "linear:20", "--epochs", "3", "--json"]
    command = [sys.executable, "-m", "memkd_edge", *options]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    next(line for line in process.stderr if ", training loss " in line)
    process.send_signal(signal.SIGINT)
    output, message = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert "the same command continues" in message
    assert "Traceback" not in message

    monkeypatch.chdir(tmp_path)
    for arguments in (options, ["compare", "report"]):
        monkeypatch.setattr(sys, "argv", ["memkd-edge", *arguments])
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main()
        output = capsys.readouterr().out
        assert json.loads(output)["folder"] == "compare/datasets" if arguments is options else "report.html" in output
