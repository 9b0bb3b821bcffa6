"""Command-line options, derived from the settings: name, type, default and sentence stand in `conf.settings` only."""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from conf import access
from conf.access import Access
from conf.settings import FIELDS, TEXTS, TYPES, flag, resolve

# What a lake on S3 needs.
_REACHING = ("s3_endpoint", "s3_region")
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_COMMON = [
    inspect.Parameter(
        "config",
        _KEYWORD,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option("--config", help="TOML file of settings, instead of ./verger.toml.", metavar="FILE"),
        ],
    ),
    inspect.Parameter(
        "debug",
        _KEYWORD,
        default=False,
        annotation=Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
    ),
]


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these settings; it receives them resolved, as its first argument.

    Parameters of the command beyond that one stay its own options.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        taken = tuple(dict.fromkeys((*names, *(_REACHING if "lake" in names else ()))))
        own = list(inspect.signature(command).parameters.values())[1:]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            config, _ = given.pop("config"), given.pop("debug")
            # A list that was not given comes as an empty one.
            flags = {name: None if (value := given.pop(name)) == [] else value for name in taken}
            resolved = resolve(flags, os.environ, config)
            access.use(Access(resolved.settings.s3_endpoint, resolved.settings.s3_region))
            command(resolved, **given)

        parameters = [*own, *map(_parameter, taken), *_COMMON]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


_METAVARS = {str: "TEXT", int: "N", float: "NUMBER", TEXTS: "TEXT"}


def _parameter(name: str) -> inspect.Parameter:
    setting, kind = FIELDS[name], TYPES[name]
    choices = setting.metadata["choices"]
    metavar = None if kind is bool else "|".join(choices) or _METAVARS[kind]
    # The value is checked by conf.settings, whatever it came from, so that every source gives the same message.
    typed = {bool: bool | None, TEXTS: list[str] | None}.get(kind, str | None)
    shown = setting.metadata["sentence"] + _default(setting.default)
    option = typer.Option(flag(name), help=shown, metavar=metavar, show_default=False)
    return inspect.Parameter(name, _KEYWORD, default=None, annotation=Annotated[typed, option])


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        value = " ".join(value)
    if isinstance(value, bool) or value == "" or len(str(value)) > 40:
        return ""
    return f" [default: {value:g}]" if isinstance(value, float) else f" [default: {value}]"
