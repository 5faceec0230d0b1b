# SPDX-License-Identifier: Apache-2.0
"""The command line: parse, call, print. Results go to stdout, logs and progress to stderr; heavy imports stay inside commands."""

import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memkd_edge.cli.parameters import INTERRUPTED, Command, Group, ShortCommand, takes
from memkd_edge.config import BenchConfig, CompareConfig, DataConfig, DistillConfig, ExportConfig, resolve
from memkd_edge.errors import MemkdEdgeError, MissingToolError, UnkeptError, UsageError
from memkd_edge.options import check, settings
from memkd_edge.serial_port import HIGHEST_BAUD, LOWEST_BAUD
from memkd_edge.version import __version__

if TYPE_CHECKING:  # they are slow to load
    from memkd_edge.benchmark.report.figures import Figure
    from memkd_edge.progress import Reporter
    from memkd_edge.quantization.integer_model import QuantizedClassifier
    from memkd_edge.runs import Run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
comparisons = typer.Typer(rich_markup_mode=None, cls=Group, subcommand_metavar="[report [FOLDER]]")
app.add_typer(comparisons, name="compare")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Wide = Annotated[bool, typer.Option("--wide", help="Print all columns of tables, whatever the width.")]
RunOption = Annotated[
    str,
    typer.Option(
        "--run",
        help="Run directory, name under --run-root, or model:NAME of `memkd-edge models`; the newest complete run when left out.",
    ),
]
RunRoot = Annotated[Path, typer.Option("--run-root", help="Folder that holds the runs.", envvar="MEMKD_EDGE_RUN_ROOT")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with a table for each stage.")]
SerialPort = Annotated[str, typer.Option("--serial", help="The board's serial device, as in /dev/ttyACM0.")]
BoardChannels = Annotated[str, typer.Option("--channels", help="Names of its columns, joined by commas, if it says none.")]
Baud = Annotated[int, typer.Option(min=LOWEST_BAUD, max=HIGHEST_BAUD, help="Bits a second.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    """Distil a large LSTM into a streaming int8 model, export it, and measure it on the device.

    Three commands, in this order, work as they stand: memkd-edge distill; memkd-edge export --format tflite --quantize int8;
    memkd-edge bench --device rpi4. Each takes the newest run unless told otherwise.
    """
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(cls=Command)
@takes(DistillConfig)
def distill(
    given: dict[str, Any],
    name: Annotated[str | None, typer.Option(help="Name of the run directory.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this interrupted run.")] = None,
    config: ConfigFile = None,
    run_root: RunRoot = Path("runs"),
    force: Force = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Train a teacher and distil it into a student ~500x smaller."""
    from memkd_edge.cli.progress import reporter
    from memkd_edge.cli.stream_tables import recordings_parts
    from memkd_edge.cli.tables import distillation_parts, show
    from memkd_edge.contents import read_config, read_metrics, read_recording_metrics
    from memkd_edge.distillation.pipeline import distill as run_distill
    from memkd_edge.runs import METRICS, Run, find_run
    from memkd_edge.vocabulary import Decision

    resolved = resolve(DistillConfig, "distill", toml=config, flags=given)
    interrupted = None
    if resume is not None:
        interrupted = Run.open(find_run(str(resume), run_root), complete=False)
        own = read_config(interrupted)
        for one in (settings(DistillConfig)[setting] for setting in given):
            if getattr(resolved, one.name) != (begun := getattr(own, one.name)):
                raise UsageError(f"{one.flags[0]}: {resume} was begun with {begun!r} and goes on with it; leave it out")
    with reporter(takes_interrupts=True) as progress:
        try:
            run = run_distill(resolved, run_root=run_root, name=name, resume=interrupted, force=force, progress=progress)
        except KeyboardInterrupt:
            if progress.run is not None:
                typer.echo(f"interrupted; `memkd-edge distill --resume {progress.run}` continues", err=True)
            raise typer.Exit(INTERRUPTED) from None
        page = _page(run, progress)
    if as_json:
        _print_json({"run": str(run.path), **run.read_json(METRICS)})
    elif run.metadata.decides == Decision.EVERY_SAMPLE:
        show([*recordings_parts(run, read_recording_metrics(run)), *page], wide=wide)
    else:
        show([*distillation_parts(run, read_metrics(run)), *page], wide=wide)


@app.command(cls=ShortCommand)
@takes(ExportConfig)
def export(
    given: dict[str, Any],
    run: RunOption = "",
    run_root: RunRoot = Path("runs"),
    config: ConfigFile = None,
    force: Force = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Write the student as a streaming model file and verify it in every runtime that is installed."""
    from memkd_edge.cli.export_tables import export_parts, npu_parts, verification_parts
    from memkd_edge.cli.progress import reporter
    from memkd_edge.cli.tables import show
    from memkd_edge.exporting.pipeline import export as run_export
    from memkd_edge.ready_models import open_run
    from memkd_edge.verification.pipeline import ParityError

    opened, resolved = open_run(run, run_root), resolve(ExportConfig, "export", toml=config, flags=given)
    try:
        with reporter() as progress:
            report = run_export(opened, resolved, force=force, progress=progress)
            npu = () if report.npu is None else npu_parts(report.npu, _beside_npu(opened))
            page = _page(opened, progress, report.integers)
    except ParityError as error:
        if as_json:
            _print_json({"run": str(opened.path), "verification": error.report.as_dict()})
        else:
            show(verification_parts(error.report), wide=wide)
        raise
    if as_json:
        _print_json(report.as_dict())
    else:
        show([*export_parts(report), *npu, *page], wide=wide)


def _beside_npu(run: "Run") -> "tuple[Figure, Figure] | str":
    """Instructions and cycles of the student's C on a Cortex-M55, or why there are none."""
    from memkd_edge.benchmark.backends.emulated import step_on_core
    from memkd_edge.benchmark.builds import Builds

    try:
        return step_on_core("m55", Builds(run, steps=16).student_int16_c())
    except MissingToolError as error:
        return str(error)


@app.command(cls=ShortCommand)
def verify(
    target: Annotated[
        str, typer.Argument(help="Run directory, model:NAME, .tflite or .onnx file; the newest run when left out.")
    ] = "",
    min_agreement: Annotated[float, typer.Option(help="Agreement with the float student below which it exits 4.")] = 0.98,
    run_root: RunRoot = Path("runs"),
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Check exported files in every runtime that is installed: agreement, exactness, state."""
    from memkd_edge.cli.export_tables import verification_parts
    from memkd_edge.cli.progress import reporter
    from memkd_edge.cli.tables import show
    from memkd_edge.ready_models import PREFIX, open_run
    from memkd_edge.runs import find_run
    from memkd_edge.verification.pipeline import ParityError
    from memkd_edge.verification.pipeline import verify as run_verify

    failure: ParityError | UnkeptError | None = None
    of_run = not target or target.startswith(PREFIX) or os.path.isdir(find_run(target, run_root))
    named = open_run(target, run_root) if of_run else Path(target)
    try:
        with reporter() as progress:
            report = run_verify(named, min_agreement=min_agreement, progress=progress)
    except (ParityError, UnkeptError) as error:
        report, failure = error.report, error
    if as_json:
        _print_json(report.as_dict())
    else:
        show(verification_parts(report), wide=wide)
    if failure is not None:
        raise failure


@app.command(cls=ShortCommand)
def inspect(
    file: Annotated[str, typer.Argument(help="A .tflite, .onnx or .safetensors file; model:NAME for its int8 .tflite.")],
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Show what a model file holds: signatures, tensors, operators, sizes, metadata."""
    from memkd_edge.cli.export_tables import inspection_parts
    from memkd_edge.cli.tables import show
    from memkd_edge.formats.inspection import inspect as run_inspect
    from memkd_edge.ready_models import model_file

    found = run_inspect(model_file(file))
    if as_json:
        _print_json(found.as_dict())
    else:
        show(inspection_parts(found), wide=wide)


@app.command(cls=Command)
@takes(BenchConfig)
def bench(
    given: dict[str, Any],
    run: RunOption = "",
    run_root: RunRoot = Path("runs"),
    config: ConfigFile = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV, one figure a line.")] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Measure what the student costs on a device, against its teacher."""
    from memkd_edge.benchmark.pipeline import bench as run_bench
    from memkd_edge.benchmark.report.budget import BudgetError
    from memkd_edge.cli.bench_tables import bench_parts, to_csv
    from memkd_edge.cli.progress import reporter
    from memkd_edge.cli.tables import show
    from memkd_edge.ready_models import open_run

    resolved = resolve(BenchConfig, "bench", toml=config, flags=given)
    failure: BudgetError | UnkeptError | None = None
    opened = open_run(run, run_root)
    with reporter() as progress:
        try:
            report = run_bench(opened, resolved, progress=progress)
        except (BudgetError, UnkeptError) as error:
            report, failure = error.report, error
        page = _page(opened, progress)
    if as_json:
        _print_json(report.to_dict())
    elif as_csv:
        typer.echo(to_csv(report), nl=False)
    else:
        show([*bench_parts(report), *page], wide=wide)
    if failure is not None:
        raise failure


@app.command(cls=ShortCommand)
def report(
    run: Annotated[
        str, typer.Argument(help="Run directory, name under --run-root, or model:NAME; the newest when left out.")
    ] = "",
    no_recordings: Annotated[
        bool, typer.Option("--no-recordings", help="Leave the recordings out; the page replays seeded noise instead.")
    ] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Also write figures as SVG and PNG, for papers.")] = False,
    run_root: RunRoot = Path("runs"),
    as_json: Json = False,
) -> None:
    """Write the page of a run: its recordings over time, its student live, its figures; one HTML file, and Markdown."""
    from memkd_edge.pages.run_page import write_run_page
    from memkd_edge.ready_models import open_run

    written = write_run_page(open_run(run, run_root), recordings=not no_recordings, figures=figures)
    if as_json:
        _print_json({"page": str(written.page), "text": str(written.text), "without_module": written.without_module})
        return
    typer.echo(f"Page: {written.page} ({written.page.stat().st_size / 1e6:.1f} MB), and as text {written.text}")
    if written.without_module:
        typer.echo(f"The student does not run in it: {written.without_module}")


@app.command(cls=Command)
@takes(DataConfig)
def data(
    given: dict[str, Any],
    path: Annotated[str, typer.Argument(help="What --dataset takes: a folder or file of recordings, or a data set.")] = "",
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Show what is understood of a data set: who did what for how long, rates, gaps, ranges, and the split."""
    from memkd_edge.cli.data_tables import data_parts
    from memkd_edge.cli.tables import literal, show
    from memkd_edge.data.data_report import examine

    notes: list[str] = []
    resolved = resolve(DataConfig, "data", flags={**given, **({"dataset": path} if path else {})})
    check(resolved)
    try:
        report = examine(resolved, notes)
    except MemkdEdgeError:
        for note in notes:
            typer.echo(literal(note), err=True)
        raise
    if as_json:
        _print_json(report.as_dict())
    else:
        show(data_parts(report), wide=wide)


@app.command(cls=Command)
@takes(DataConfig)
def classify(
    given: dict[str, Any],
    model: Annotated[str, typer.Argument(help="A .tflite or .onnx file; model:NAME for its int8 .tflite.")],
    path: Annotated[str, typer.Argument(help="Recordings or windows, as distill takes them: a folder, file or name.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write scores and decisions of all samples or windows: .csv or .parquet; time in s from a recording's first row."
        ),
    ] = None,
    force: Force = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Say what a model file decides along recordings, sample by sample, or on windows, and how good that is."""
    from memkd_edge.classification import classify as run_classify
    from memkd_edge.cli.progress import reporter
    from memkd_edge.cli.stream_tables import classification_parts, window_parts
    from memkd_edge.cli.tables import show
    from memkd_edge.ready_models import model_file
    from memkd_edge.window_classification import WindowsReport

    resolved = resolve(DataConfig, "data", flags={**given, "dataset": path})
    failure = None
    try:
        with reporter() as progress:
            report = run_classify(model_file(model), resolved, out=out, force=force, progress=progress)
    except UnkeptError as error:
        report, failure = error.report, error
    if as_json:
        _print_json(report.as_dict())
    else:
        show(window_parts(report) if isinstance(report, WindowsReport) else classification_parts(report), wide=wide)
    if failure is not None:
        raise failure


@app.command(cls=Command)
def record(
    port: SerialPort,
    out: Annotated[Path, typer.Option(help="CSV file to write, new.")],
    label: Annotated[str, typer.Option(help="What happens; another one can be typed while it records, and Enter.")] = "",
    subject: Annotated[str, typer.Option(help="Who wears the sensor.")] = "",
    seconds: Annotated[float, typer.Option(min=0, help="How long; 0: until Ctrl-C.")] = 0.0,
    channels: BoardChannels = "",
    baud: Baud = 115200,
) -> None:
    """Record a board that says its samples over a serial port, with labels, as `distill` reads it."""
    from memkd_edge.board_stream import new_file, readings
    from memkd_edge.board_stream import record as run_record
    from memkd_edge.cli.progress import typed_labels
    from memkd_edge.serial_port import open_port

    with open_port(port, baud) as connection, new_file(out) as file:
        try:
            source = readings(connection, _listed(channels))
            recorded = run_record(source, file, label=typed_labels(label), subject=subject, seconds=seconds or math.inf)
            damaged = f", {recorded.damaged} damaged lines left out" if recorded.damaged else ""
            where = out if recorded.rows else "no file"
            typer.echo(f"{recorded.rows:,} samples in {recorded.seconds:.1f} s{damaged}: {where}")
        finally:
            if out.stat().st_size == 0:
                out.unlink()


@app.command(cls=Command)
def watch(
    model: Annotated[str, typer.Argument(help="A .tflite or .onnx file; model:NAME for its int8 .tflite.")],
    port: SerialPort,
    channels: BoardChannels = "",
    baud: Baud = 115200,
) -> None:
    """Show what a model decides on the samples that a board says over a serial port, live."""
    from memkd_edge.board_stream import readings
    from memkd_edge.board_stream import watch as run_watch
    from memkd_edge.cli.live_decisions import show_decisions
    from memkd_edge.ready_models import model_file
    from memkd_edge.serial_port import open_port
    from memkd_edge.streaming import StreamingClassifier

    classifier = StreamingClassifier(model_file(model))
    with open_port(port, baud) as connection:
        try:
            show_decisions(run_watch(readings(connection, _listed(channels)), classifier), classifier.labels)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


@app.command(cls=Command)
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path("recordings"),
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    as_json: Json = False,
) -> None:
    """Write an example folder of recordings, to put your own in its place."""
    from memkd_edge.data.example_folder import write_example

    files = write_example(folder, force=force)
    if as_json:
        _print_json({"folder": str(folder), "files": [str(file) for file in files]})
    else:
        typer.echo(f"{len(files)} files in {folder}; next: memkd-edge data {folder}; memkd-edge distill --dataset {folder}")


@app.command(cls=Command)
def models(wide: Wide = False, as_json: Json = False) -> None:
    """List the ready-made students, which `--run model:NAME` takes wherever a run is asked for."""
    from dataclasses import asdict

    from memkd_edge.cli.tables import models_parts, show
    from memkd_edge.ready_models import KINDS, ready_models

    known = ready_models()
    if as_json:
        _print_json({"kinds": KINDS, "models": [asdict(model) for model in known]})
    else:
        show(models_parts(known), wide=wide)


@comparisons.callback(invoke_without_command=True)
@takes(CompareConfig)
def compare(
    context: typer.Context,
    given: dict[str, Any],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the comparison. Default: compare/SUITE, or compare/datasets.")
    ] = None,
    config: ConfigFile = None,
    force: Annotated[bool, typer.Option("--force", help="Start anew in a folder that holds another comparison.")] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Compare ways of distilling on many data sets; the same command continues one that was interrupted."""
    if context.invoked_subcommand is not None:
        return
    from memkd_edge.cli.comparison_tables import comparison_parts
    from memkd_edge.cli.progress import reporter
    from memkd_edge.cli.tables import show
    from memkd_edge.comparison.pipeline import compare as run_compare

    resolved = resolve(CompareConfig, "compare", toml=config, flags=given)
    with reporter(takes_interrupts=True) as progress:
        try:
            report = run_compare(resolved, out, force=force, progress=progress)
        except KeyboardInterrupt:
            typer.echo("interrupted; the same command continues", err=True)
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        _print_json({"folder": str(report.folder), **report.as_dict()})
    else:
        show(comparison_parts(report), wide=wide)


@comparisons.command("report", cls=Command)
def compare_report(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of a comparison; the newest under compare/ when left out.")
    ] = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Write the report of a comparison anew, finished or not."""
    from memkd_edge.cli.comparison_tables import comparison_parts
    from memkd_edge.cli.tables import show
    from memkd_edge.comparison.folder import newest
    from memkd_edge.comparison.report import write_report

    report = write_report(folder or newest())
    if as_json:
        _print_json({"folder": str(report.folder), **report.as_dict()})
    else:
        show(comparison_parts(report), wide=wide)


@app.command(cls=Command)
def devices(wide: Wide = False, as_json: Json = False) -> None:
    """List the devices that `bench` knows."""
    from dataclasses import asdict

    from memkd_edge.benchmark.devices.profiles import device_names, load_device
    from memkd_edge.cli.bench_tables import devices_parts
    from memkd_edge.cli.tables import show

    known = [load_device(name) for name in device_names()]
    if as_json:
        _print_json([asdict(device) for device in known])
    else:
        show(devices_parts(known), wide=wide)


@app.command(cls=Command)
def doctor(
    arm64_root: Annotated[
        bool, typer.Option("--arm64-root", help="Build the arm64 Python that runs .tflite files as on a Raspberry Pi.")
    ] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Say which tools are installed and how to get the missing ones; exit 3 when one is missing that `bench` needs."""
    from dataclasses import asdict

    from memkd_edge.benchmark.doctor import examine
    from memkd_edge.benchmark.emulation import arm64_root as arm64
    from memkd_edge.cli.bench_tables import checks_parts
    from memkd_edge.cli.tables import show

    if arm64_root:
        arm64.build(arm64.location())
    checks = examine()
    if as_json:
        _print_json([asdict(check) for check in checks])
    else:
        show(checks_parts(checks), wide=wide)
    if any(check.needed and not check.found for check in checks):
        raise typer.Exit(3)


def _page(run: "Run", progress: "Reporter", integers: "QuantizedClassifier | None" = None) -> list[str]:
    """Write the run's page anew and return a line that says where; where there can be none, say why: the work is done.

    integers: as `write_run_page`.
    """
    from memkd_edge.pages.run_page import write_run_page

    progress.step("page")
    try:
        return [f"Page: {write_run_page(run, integers=integers).page}"]
    except MemkdEdgeError as error:
        progress.note(f"no page: {error}")
        return []


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, sort_keys=True))


def main() -> None:
    """Run the command line; a user's error ends with one message and its exit code, never with a traceback."""
    try:
        app()
    except MemkdEdgeError as error:
        from memkd_edge.cli.tables import literal

        typer.echo(f"error: {literal(str(error))}", err=True)
        sys.exit(error.exit_code)
    except MemoryError as error:
        typer.echo(f"error: not enough memory ({error}); give smaller sizes or less data", err=True)
        sys.exit(1)
