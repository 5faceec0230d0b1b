"""The command line: parse, call, print. Results go to stdout, logs and progress to stderr; heavy imports stay inside commands."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import memkd_edge
from memkd_edge.errors import MemkdEdgeError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

INTERRUPTED = 130  # what a shell reports for Ctrl-C

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RunOption = Annotated[str, typer.Option("--run", help="Run directory; the newest complete run when left out.")]
RunRoot = Annotated[Path, typer.Option("--run-root", help="Folder that holds the runs.", envvar="MEMKD_EDGE_RUN_ROOT")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with a table for each stage.")]
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
        typer.echo(memkd_edge.__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def distill(
    dataset: Annotated[
        str | None, typer.Option(help="UCR/UEA name, or path to your .npz or .csv. Default: BasicMotions.")
    ] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder with UCR/UEA sets (.ts, .tsv, 2015 text, .npz).")] = None,
    groups: Annotated[
        str | None, typer.Option(help="Column or array that names the subject; splits keep subjects apart.")
    ] = None,
    validation: Annotated[float | None, typer.Option(help="Fraction of the training series held out for selection.")] = None,
    resample: Annotated[str | None, typer.Option(help="none, linear:LENGTH or decimate:FACTOR.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Trained teacher (.safetensors); trained here when left out.")] = None,
    teacher_kind: Annotated[str | None, typer.Option(help="lstm or gru. Default: lstm.")] = None,
    teacher_bidirectional: Annotated[
        bool | None, typer.Option("--teacher-bidirectional", help="Let the teacher see the future; students never do.")
    ] = None,
    teacher_hidden: Annotated[int | None, typer.Option(help="Units of each teacher layer. Default: 100.")] = None,
    teacher_layers: Annotated[int | None, typer.Option(help="Teacher layers. Default: 3.")] = None,
    teacher_seeds: Annotated[int | None, typer.Option(help="Teachers trained; the best on validation teaches.")] = None,
    teacher_epochs: Annotated[int | None, typer.Option(help="Epochs of the teacher, at most.")] = None,
    teacher_learning_rate: Annotated[float | None, typer.Option(help="Learning rate of the teacher.")] = None,
    student: Annotated[str | None, typer.Option(help="lstm, gru or cnn. Default: lstm.")] = None,
    compression: Annotated[float | None, typer.Option(help="Teacher / student parameters to reach. Default: 500.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Student units, instead of --compression.")] = None,
    method: Annotated[str | None, typer.Option(help="auto, or methods joined by commas: base, kd, memkd, memkd+kd, ...")] = None,
    seeds: Annotated[int | None, typer.Option(help="Students for each method and weight. Default: 8.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the students.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate of the students.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Series in a batch; 0 chooses.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="honest, or paper: select on the test series, as the paper's authors did.")
    ] = None,
    refit: Annotated[
        bool | None, typer.Option("--refit", help="Train the kept student again on training and validation series together.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of splits, initialisation and batches. Default: 0.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. Default: auto.")] = None,
    memory_limit: Annotated[int | None, typer.Option(help="MiB for cached teacher outputs, and again for the students.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; 0 leaves it to torch.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run directory.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this interrupted run.")] = None,
    config: ConfigFile = None,
    run_root: RunRoot = Path("runs"),
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a teacher and distil it into a student ~500x smaller."""
    flags = {
        key: value for key, value in locals().items() if key not in ("name", "resume", "config", "run_root", "force", "as_json")
    }
    from memkd_edge.config import DistillConfig, resolve
    from memkd_edge.distill.pipeline import distill as run_distill
    from memkd_edge.progress import reporter
    from memkd_edge.runs import Run
    from memkd_edge.tables import print_distillation

    resolved = resolve(DistillConfig, "distill", toml=config, flags=flags)
    interrupted = Run.open(resume, complete=False) if resume is not None else None
    with reporter() as progress:
        try:
            run = run_distill(resolved, run_root=run_root, name=name, resume=interrupted, force=force, progress=progress)
        except KeyboardInterrupt:
            if progress.run is not None:
                typer.echo(f"interrupted; `memkd-edge distill --resume {progress.run}` continues", err=True)
            raise typer.Exit(INTERRUPTED) from None
    metrics = run.read_json("metrics.json")
    if as_json:
        _print_json({"run": str(run.path), **metrics})
    else:
        print_distillation(run, metrics)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, sort_keys=True))


def main() -> None:
    """Run the command line; a user's error ends with one message and its exit code, never with a traceback."""
    try:
        app()
    except MemkdEdgeError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
