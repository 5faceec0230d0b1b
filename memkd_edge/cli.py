"""The command line: parse, call, print. Results go to stdout, logs and progress to stderr; heavy imports stay inside commands."""

from pathlib import Path
from typing import Annotated

import typer

import memkd_edge

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RunOption = Annotated[str, typer.Option("--run", help="Run directory; the newest complete run when left out.")]
RunRoot = Annotated[Path, typer.Option("--run-root", help="Folder that holds the runs.", envvar="MEMKD_EDGE_RUN_ROOT")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Distil a large LSTM into a streaming int8 model, export it, and measure it on the device."""
    if version:
        typer.echo(memkd_edge.__version__)


def main() -> None:
    """Run the command line; a user's error ends with its message and its exit code."""
    app()
