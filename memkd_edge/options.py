# SPDX-License-Identifier: Apache-2.0
"""Options as dataclass fields: name, help, choices, bounds and default of each stand in its field, once.

A stage's configuration is a frozen dataclass whose fields are made by `option`, or by `part` where it holds another stage's
configuration. The command line, the TOML file, the environment and the checks see one flat list of settings (`settings`).
"""

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any, TypeVar

from memkd_edge.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """What an option is to its user.

    group: heading of the command line's help. choices: values taken besides the default. minimum: least value; above: a
    bound that is not taken itself; share: between 0 and 1, without either; fraction: with both. flags: where they are not
    --the-fields-name. was: the field's name in older files. repeats: a tuple that is given value by value, as in
    --device A --device B, and not joined by commas.
    """

    help: str
    group: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    above: float | None = None
    share: bool = False
    fraction: bool = False
    flags: tuple[str, ...] = ()
    was: str = ""
    repeats: bool = False


@dataclass(frozen=True)
class Setting:
    """One setting of a stage. holder: the field of the held configuration it stands in, "" for one of the stage's own."""

    name: str
    type: Any
    default: Any
    option: Option
    holder: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """Its names on the command line."""
        return self.option.flags or (f"--{self.name.replace('_', '-')}",)


def option(default: T, *, help: str, **more: Any) -> T:
    """Return the dataclass field of an option; `more` are fields of `Option`."""
    found: T = field(default=default, metadata={"option": Option(help, **more)})
    return found


def part(default: T, *, without: tuple[str, ...] = (), help: Mapping[str, str] | None = None) -> T:
    """Return the dataclass field of a held configuration, whose settings become the holder's.

    Args:
        default: the held configuration; its values are the defaults.
        without: settings that the holder does not offer.
        help: for those that mean something else there.
    """
    found: T = field(default=default, metadata={"without": without, "help": help or {}})
    return found


def settings(cls: type[Any]) -> Mapping[str, Setting]:
    """Return all settings of configuration `cls` by name, its own and those of the configurations it holds."""
    hints = typing.get_type_hints(cls)
    found: dict[str, Setting] = {}
    for one in fields(cls):
        if "option" in one.metadata:
            found[one.name] = Setting(one.name, hints[one.name], one.default, one.metadata["option"])
            continue
        for name, inner in settings(hints[one.name]).items():
            if name not in one.metadata["without"]:
                told = replace(inner.option, help=one.metadata["help"].get(name, inner.option.help))
                found[name] = replace(inner, default=getattr(one.default, name), option=told, holder=one.name)
    return types.MappingProxyType(found)


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """Return a configuration with `values` by name, and the default for all others."""
    own: dict[str, Any] = {}
    held: dict[str, dict[str, Any]] = {}
    known = settings(cls)
    for name, value in values.items():
        holder = known[name].holder
        (held.setdefault(holder, {}) if holder else own)[name] = value
    defaults = cls()
    return cls(**own, **{holder: replace(getattr(defaults, holder), **changes) for holder, changes in held.items()})


def values_of(config: Any) -> dict[str, Any]:
    """Return the value of every setting by name."""
    return {
        name: getattr(getattr(config, one.holder) if one.holder else config, name) for name, one in settings(type(config)).items()
    }


def check(config: Any) -> None:
    """Check every setting against its type, its choices and bounds.

    Raises:
        UsageError: one is impossible; the message names the option.
    """
    known = settings(type(config))
    for name, value in values_of(config).items():
        flag, told = known[name].flags[0], known[name].option
        if not _is_of(value, known[name].type):
            raise UsageError(f"{flag}: {value!r:.60} is not of type {getattr(known[name].type, '__name__', known[name].type)}")
        if told.choices and value != known[name].default and value not in told.choices:
            raise UsageError(f"{flag} {value}: choose {in_words(told.choices)}")
        shown = f"{value:g}" if isinstance(value, float) else value
        if told.share and not 0 < value < 1:
            raise UsageError(f"{flag} is a share between 0 and 1, not {shown}")
        if told.fraction and not 0 <= value <= 1:
            raise UsageError(f"{flag} is a share from 0 to 1, such as {known[name].default:g}, not {shown}")
        if told.minimum is not None and not told.minimum <= value < math.inf:
            raise UsageError(f"{flag} must be at least {told.minimum:g}, not {shown}")
        if told.above is not None and not told.above < value < math.inf:
            raise UsageError(f"{flag} must be above {told.above:g}, not {shown}")


def _is_of(value: Any, hint: Any) -> bool:
    """Tell whether a value is of a setting's type; a text is no tuple of its letters."""
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list | tuple) and all(_is_of(part, typing.get_args(hint)[0]) for part in value)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    return isinstance(value, hint)


def refuse(config: Any, names: tuple[str, ...], reason: str) -> None:
    """Refuse settings that would mean nothing, so that none is taken for obeyed.

    Raises:
        UsageError: one of `names` is not at its default.
    """
    known = settings(type(config))
    for name in names:
        if getattr(config, name) != known[name].default:
            raise UsageError(f"{known[name].flags[0]} {reason}")


def first_of(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` names as a list, and how many more there are: "a, b, c, d, e and 2 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def in_words(names: tuple[str, ...]) -> str:
    """Return names as an English list: "a, b or c"."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
