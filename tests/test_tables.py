# SPDX-License-Identifier: Apache-2.0
"""What is printed: no digit is cut at any width, and text that is not ours is printed as it is."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkd_edge.benchmark.devices.profiles import device_names, load_device
from memkd_edge.benchmark.doctor import Check
from memkd_edge.benchmark.report.figures import (
    BenchReport,
    BuildFigures,
    DeviceReport,
    Figure,
)
from memkd_edge.cli.bench_tables import COST, bench_parts, checks_parts, devices_parts
from memkd_edge.cli.export_tables import inspection_parts, verification_parts
from memkd_edge.cli.stream_tables import recordings_parts, stream_grids
from memkd_edge.cli.tables import Column, Grid, distillation_parts, literal, models_parts, show
from memkd_edge.contents import (
    MajorityMetrics,
    MethodMetrics,
    RecordingMethodMetrics,
    RecordingMetrics,
    RecordingStudentMetrics,
    RecordingTeacherMetrics,
    Scores,
    TeacherMetrics,
)
from memkd_edge.formats.inspection import Inspection
from memkd_edge.metadata import Metadata
from memkd_edge.ready_models import ready_models
from memkd_edge.verification.pipeline import FileReport, VerifyReport
from memkd_edge.verification.runtime_check import Accuracy, RuntimeResult
from memkd_edge.vocabulary import FigureKind, Reset
from tests.example_metrics import example_metrics

WIDE = "--wide"
WIDTHS = (80, 120, None, WIDE)  # None: a pipe
HOSTILE = ["[b]x[/b]", "[/]", "[red]", "[link=a:b]c[/link]", ":smile:", "a\x1b[31mb", "\\[b]", "[@click=x]y"]


def numbers(text):
    """The words of `text` that have a digit."""
    return {word for word in text.split() if re.search(r"\d", word)}


@pytest.fixture
def printed(monkeypatch, capsys):
    """Call with a width and what to print: what stood there, without the escapes of bold type."""

    def at(width, parts):
        if width in (None, WIDE):
            monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
        else:
            monkeypatch.setenv("TTY_COMPATIBLE", "1")
            monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        show(parts(), wide=width == WIDE)
        return plain(capsys.readouterr().out)

    def call(width, parts):
        whole = at(WIDE, parts)
        for one in (60, width):
            out = at(one, parts)
            assert one == WIDE or max(map(len, out.splitlines())) <= max(one or 0, 80)
            assert numbers(out) <= numbers(whole)
            assert "…" not in out
            assert "--wide" in out or letters(out) == letters(whole)
        return out

    return call


def letters(text):
    return sorted(re.sub(r"[\s─]", "", text))


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def figure(value, kind=FigureKind.MEASURED, unit="", lo=None, hi=None):
    return Figure(value, kind, unit, "tool", lo, hi)


def bench_report(name="nRF52840"):
    figures = {
        "accuracy": figure(1.0),
        "flash": figure(15592.0, FigureKind.EMULATED, "B"),
        "ram": figure(1368.0, FigureKind.EMULATED, "B"),
        "instructions": figure(1234567.0, FigureKind.EMULATED, "instructions"),
        "cycles": figure(98765.0, FigureKind.ESTIMATED, "cycles", 87654.0, 109876.0),
        "latency": figure(12.34, FigureKind.ESTIMATED, "us", 11.23, 13.45),
        "energy": figure(1.234, FigureKind.ESTIMATED, "uJ", 0.987, 1.543),
        "battery": figure(1010.0, FigureKind.ESTIMATED, "days", 903.0, 1120.0),
    }
    rows = (BuildFigures("student", "int8 C", figures), BuildFigures("teacher", name, figures, note=f"note of {name}"))
    return BenchReport("e8eecfadeb90", (DeviceReport("nrf52840", name, rows, (f"caveat of {name}",)),) * 2)


def metrics(name="memkd-belief"):
    row = MethodMetrics(name, 0.0625, 1, 100, False, 0.75, 0.125)
    whole = replace(row, kept=True, **{f"test_{key}_{part}": 1.0 for key in ("auc_prc", "accuracy") for part in ("mean", "std")})
    student = replace(example_metrics().student, test_never_reset=Scores(0.4375, 0.5))
    return example_metrics(
        student=student,
        teacher=TeacherMetrics(204_404, Scores(1.0, 0.98765), Scores(1.0, 0.98765)),
        methods=(row, whole),
        majority=MajorityMetrics(name, Scores(0.6, 0.525), Scores(0.5, 0.475)),
        chance=f"chance of {name}",
        kept_because=f"because of {name}",
        warning=f"warning of {name}",
    )


def a_run(name="GunPoint"):
    described = SimpleNamespace(dataset=name, dataset_terms=name, labels=(name, "b"), reset=Reset.EVENT, window_length=0)
    return SimpleNamespace(path=f"runs/{name}", metadata=described)


def stream(accuracy=0.8765):
    """The scores of a hand-made stream of 10 minutes, as metrics.json has them."""
    classes = [
        {"samples": 34567, "precision": 0.9, "recall": 0.8, "f1": 0.847},
        {"samples": 25433, "precision": 0.7, "recall": 0.6, "f1": 0.646},
    ]
    return {
        "accuracy": accuracy,
        "f1_macro": 0.7465,
        "settled_accuracy": 0.95125,
        "majority": 0.57612,
        "delay_median_s": 0.04,
        "delay_p90_s": None,
        "missed": 0.125,
        "false_switches_per_minute": 10.25,
        "switches_per_minute": 30.0,
        "events_per_minute": 12.5,
        "event_f1": 0.66667,
        "seconds": 600.0,
        "streams": 4,
        "classes": classes,
        "confusion": [[27654, 6913], [10173, 15260]],
        "accuracy_since_start": [[0.0, 0.991], [1.0, 0.982], [2.0, 0.873]],
    }


def recording_metrics(name="memkd-belief"):
    teacher = RecordingTeacherMetrics(205_305, stream(0.8951), {"f1_macro": 0.9}, noise=0.1)
    student = RecordingStudentMetrics(
        "lstm", 6, 371, 553.4, name, 2.0, 0, 100, stream(), {"f1_macro": 0.9}, agreement_with_teacher=0.9, warm_up_samples=63
    )
    row = RecordingMethodMetrics(name, 2.0, 5, 100, True, 0.75, 0.125, 0.86, 0.005, 0.87654, 0.00321)
    return RecordingMetrics("honest", 4, 0.0, teacher, student, (row,), (), f"because of {name}", f"warning of {name}")


def verification(name="gunpoint_int8.tflite"):
    accuracy = Accuracy(0.9975, 0.123, 0.0456)
    result = RuntimeResult(
        f"runtime {name}",
        "ok",
        test=accuracy,
        stream=accuracy,
        accuracy=1.0,
        state_kept=True,
        mismatches=12345,
        compared=678901,
        exact=True,
    )
    missing = RuntimeResult(f"other {name}", "not installed: pip install 'memkd-edge[tflm]'")
    file = FileReport(name, 5264, "0" * 64, "int8", "normalised", (), (result, missing), ())
    return VerifyReport(name, "float student", 0.98, 40, 100, 4000, (file,))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_digit_of_a_bench_report_is_cut(width, printed):
    out = printed(width, lambda: bench_parts(bench_report()))
    for text in ("=15,592 B", "=1,368 B", "=1,234,567", "[903, 1,120]"):
        assert out.count(text) >= 4, text
    if width == WIDE:
        for text in ("1.000", "[87,700, 110,000]", "~12.3 us", "[11.2, 13.4]"):
            assert out.count(text) >= 4, text
        for title in COST.values():
            assert title.split()[0] in out or title in ("peak memory", "p90", "p99")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_digit_of_a_distillation_is_cut_and_what_is_not_known_is_a_dash(width, printed):
    out = printed(width, lambda: distillation_parts(a_run(), metrics()))
    for text in (
        "204,404",
        *(["562x"] if width in (120, WIDE) else []),
        "1.000",
        "0.988",
        "0.750 ± 0.125",
        "1.000 ± 1.000",
        "0.0625",
        "0.600",
        "0.525",
        "0.475",
    ):
        assert text in out, text
    assert out.split().count("-") == 2


def test_a_run_of_a_version_without_a_majority_baseline_is_printed_without_it(printed):
    assert example_metrics().majority is None
    assert "majority" not in printed(120, lambda: distillation_parts(a_run(), example_metrics()))


def test_the_stream_stands_before_the_windows_and_says_what_the_model_is_for(printed):
    out = printed(120, lambda: distillation_parts(a_run(), metrics()))
    row = next(line.split() for line in out.splitlines() if line.split()[:1] == ["student"])
    assert row == ["student", "364", "562x", "0.438", "0.500", "0.600"]
    assert next(line.split() for line in out.splitlines() if line.split()[:1] == ["teacher"])[3:] == ["1.000", "0.988"]
    assert "for events: reset it where a series begins" in " ".join(out.split())
    assert "stream" not in printed(80, lambda: distillation_parts(a_run(), example_metrics()))


def test_a_path_is_not_broken_however_long_it_is(capsys):
    path = "/tmp/" + "well-known-" * 12 + "run/report.html"
    show([f"Page: {path}", f"Written into {path} at last"])
    assert capsys.readouterr().out.splitlines() == ["Page:", path, "Written into", path, "at last"]


def test_what_is_held_and_the_integers_stand_beside_them_in_80_columns(printed):
    metrics = recording_metrics()
    held = {"held": stream(0.8613), "decision_margin": 1.5, "integers": {"int8": stream(0.8525), "int16x8": stream(0.8575)}}
    out = printed(80, lambda: recordings_parts(a_run("SPSW"), replace(metrics, student=replace(metrics.student, **held))))
    words = " ".join(out.split())
    assert "accuracy per sample 0.895 0.876 0.861 0.853 0.858" in words
    assert "parameters 205,305 371 371 371 371" in words
    assert "--wide" not in out[: out.index("Classes")]


def test_a_class_that_is_seldom_decided_right_is_noted_beside_the_teacher(printed):
    out = printed(80, lambda: recordings_parts(a_run("SPSW"), replace(recording_metrics(), seldom="of class 'b' little")))
    assert "Note: of class 'b' little" in out
    assert "Note: warning of memkd-belief" in out


@pytest.mark.parametrize("width", WIDTHS)
def test_recordings_have_teacher_and_student_side_by_side_along_streams(width, printed):
    out = printed(width, lambda: recordings_parts(a_run("SPSW"), recording_metrics()))
    words = " ".join(out.split())
    for text in (
        "accuracy per sample 0.895 0.876",
        "macro F1 0.747 0.747",
        "delay, median 0.04 s 0.04 s",
        "delay, 90 % within - -",
        "segments missed 0.125 0.125",
        "10.2 10.2",
        "event F1, within 0.5 s 0.667 0.667",
        "frequent class: accuracy 0.576 0.576",
        "parameters 205,305 371",
        "compression 1x 553x",
        "SPSW 34,567 0.847 0.900 0.800 0.847",
        "2, 4 s 0.873 0.873",
        "b 10,173 15,260",
        *(["0.877 ± 0.003"] if width in (120, WIDE) else []),
        "600 s of 4 streams",
    ):
        assert text in words, text
    assert words.index("accuracy per sample") < words.index("Classes, per sample") < words.index("All methods")


@pytest.mark.parametrize("width", WIDTHS)
def test_four_models_stand_side_by_side(width, printed):
    judged = {name: stream(0.8 + number / 100) for number, name in enumerate(("teacher", "student", "int8", "int16x8"))}
    words = " ".join(printed(width, lambda: stream_grids("Along streams", ("a", "b"), judged)).split())
    assert "accuracy per sample 0.800 0.810 0.820 0.830" in words
    assert "Confusion of int16x8" in words


@pytest.mark.parametrize("width", WIDTHS)
def test_no_digit_of_a_verification_is_cut(width, printed):
    out = printed(width, lambda: verification_parts(verification()))
    for text in ("0.9975", "12,345 of 678,901", *(["1.0000", "0.12 (0.046)"] if width in (120, WIDE) else [])):
        assert text in out, text
    assert "pip install 'memkd-edge[tflm]'" in " ".join(out.split())


def test_a_verification_of_recordings_begins_with_the_streams(printed):
    report = replace(verification(), along={"float": stream(), "int8": stream(0.8754)})
    words = " ".join(printed(80, lambda: verification_parts(report)).split())
    assert "accuracy per sample 0.876 0.875" in words
    assert words.index("600 s of 4 streams") < words.index("gunpoint_int8.tflite")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_digit_of_the_ready_models_is_cut(width, printed):
    out = printed(width, lambda: models_parts(ready_models()))
    for model in ready_models():
        for text in (
            f"{model.accuracy:.3f}, {model.accuracy_int8:.3f}",
            f"={model.instructions:,.0f}",
            f"={model.flash_bytes:,.0f} B",
        ):
            assert text in out
        assert (f"{model.bytes['int8.tflite']:,} B" in out) == (width in (120, WIDE))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_digit_of_the_devices_is_cut(width, printed):
    out = printed(width, lambda: devices_parts([load_device(name) for name in device_names()]))
    for text in ("1,952 KiB", "2,816 KiB", "512 MiB", "1000 MHz"):
        assert text in out


@pytest.mark.parametrize("width", WIDTHS)
def test_the_doctors_install_commands_are_whole(width, printed):
    checks = [Check("tflite-micro", "verification", "", "pip install 'memkd-edge[tflm]'", needed=False)]
    assert "pip install 'memkd-edge[tflm]'" in " ".join(printed(width, lambda: checks_parts(checks)).split())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    width=st.integers(20, 200),
    cells=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False).map(repr), min_size=5, max_size=5), min_size=1, max_size=3
    ),
    names=st.lists(st.text("abc def", min_size=1, max_size=60), min_size=3, max_size=3),
)
def test_figures_stand_whole_in_a_table_of_any_width(width, cells, names, monkeypatch, capsys):
    grid = Grid("Title", "name", "v", *(Column(name, detail=number) for number, name in enumerate("wxyz", 1)))
    for name, row in zip(names, cells, strict=False):
        grid.add_row(name, *row)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    for wide in (False, True):
        show([grid], wide=wide)
        out = plain(capsys.readouterr().out)
        shown = next(line.split() for line in out.splitlines() if line.endswith(" v  ") or " v " in line)[1:]
        assert shown == list("vwxyz")[: len(shown)]
        assert len(shown) == 5 or not wide
        for row in cells:
            assert all(cell in out.split() for cell in row[: len(shown)])
        missing = list("vwxyz")[len(shown) :]
        assert ("More columns with --wide: " + "; ".join(missing) in " ".join(out.split())) == bool(missing)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_look_like_markup_are_printed_as_they_are(width, name, printed):
    shown = literal(name)
    described = Metadata(name, (name, "b"), (name,), ("",), 50.0, (0.0,), (1.0,))
    inspection = Inspection(name, name, 1, "0", name, (), (), {name: 1}, described, (name,), {name: name})
    cases = {
        "distillation": (lambda: distillation_parts(a_run(name), metrics(name)), 7),
        "recordings": (lambda: recordings_parts(a_run(name), recording_metrics(name)), 6),
        "bench": (lambda: bench_parts(bench_report(name)), 6),
        "verification": (lambda: verification_parts(verification(name)), 3),
        "inspection": (lambda: inspection_parts(inspection), 7),
        "doctor": (lambda: checks_parts([Check(name, name, name, name, needed=False)]), 3),
    }
    for case, (parts, times) in cases.items():
        out = printed(width, parts)
        assert out.count(shown) >= times, (case, out)
        assert "\x1b" not in out


def test_units_that_are_not_known_are_a_dash_and_every_table_names_its_columns(printed):
    described = Metadata("a", ("x", "y"), ("p", "q", "r"), ("", "", ""), None, (0.0,) * 3, (1.0,) * 3)
    found = Inspection("a.onnx", "ONNX", 1, "0", "no", (), (), {}, described)
    lines = printed(80, lambda: inspection_parts(found)).splitlines()
    assert any(line.split() == ["units", "-"] for line in lines)
    assert any(line.split() == ["sample_rate_hz", "-"] for line in lines)
    for number, line in enumerate(lines):
        if set(line.strip()) == {"─"}:
            assert lines[number - 1].strip()
