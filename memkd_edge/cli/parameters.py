# SPDX-License-Identifier: Apache-2.0
"""Makes a command's parameters from its configuration class, and prints help under the options' groups."""

import functools
import gc
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from memkd_edge.options import Setting, settings

INTERRUPTED = 130  # what a shell reports for Ctrl-C
LONGEST_CHOICES = 60  # characters beside an option; more stand in its help
OWN = "Run"  # group of the options that are no settings: where, how it is printed


def takes(config: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator: the command gets every setting of `config` as an option, and those given in its argument `given`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        known = settings(config)

        @functools.wraps(command)
        def called(**values: Any) -> None:
            # An option that may be repeated is an empty list when it was not given.
            given = {name: value for name in known if (value := values.pop(name)) not in (None, [])}
            command(given=given, **values)

        own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "given"]
        made = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(one))
            for name, one in known.items()
        ]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        first = [one for one in parameters if one.annotation is typer.Context]
        parameters = [*first, *made, *(one for one in parameters if one not in first)]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorate


def _annotation(setting: Setting) -> Any:
    """Return what typer reads: the type on the command line, names, help and group."""
    told = setting.option
    kind: Any = setting.type
    if get_origin(setting.type) is tuple:
        kind = list[str] if told.repeats else str
    choices = "|".join(told.choices)
    many = len(choices) > LONGEST_CHOICES
    return Annotated[
        kind | None,
        typer.Option(
            *setting.flags,  # named, a truth value has no --no-NAME
            help=" ".join(filter(None, [told.help, f"One of {', '.join(told.choices)}." if many else "", _default(setting)])),
            metavar="<str>" if many or (told.repeats and not choices) else choices or None,
            rich_help_panel=told.group,
        ),
    ]


def _default(setting: Setting) -> str:
    """Return the default in words; of 0, none and empty ones the help says what they mean."""
    if not setting.default:
        return ""
    value = setting.default if isinstance(setting.default, tuple) else (setting.default,)
    return f"[default: {', '.join(f'{one:g}' if isinstance(one, float) else str(one) for one in value)}]"


class _Grouped:
    """Prints options under the headings of their groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        parameters = self.get_params(ctx)  # type: ignore[attr-defined]
        has_groups = any(getattr(one, "rich_help_panel", None) for one in parameters)
        for one in parameters:
            record = one.get_help_record(ctx)
            if record is not None:
                is_argument = one.param_type_name == "argument"
                group = (
                    "Arguments" if is_argument else getattr(one, "rich_help_panel", None) or (OWN if has_groups else "Options")
                )
                groups.setdefault(group, []).append(record)
        groups[OWN] = groups.pop(OWN, [])  # last
        for group, records in groups.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl(records)


class Command(_Grouped, TyperCommand):
    """A command whose help is grouped, and that says so when Ctrl-C ends it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo(f"{ctx.info_name} was interrupted; no file is half written", err=True)
            raise typer.Exit(INTERRUPTED) from None


class ShortCommand(Command):
    """A command that is over before its garbage matters: searching all that torch loads for some takes an eighth of its time."""

    def invoke(self, ctx: Any) -> Any:
        gc.disable()
        try:
            return super().invoke(ctx)
        finally:
            gc.freeze()
            gc.unfreeze()  # all is of the oldest generation now; as the youngest it would be searched at once
            gc.enable()


class Group(_Grouped, TyperGroup):
    """A command that has options of its own besides subcommands."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)
