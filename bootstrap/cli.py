"""The `verger` command line, put together from the commands of `bootstrap.commands`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from bootstrap import process
from bootstrap.commands import asking, backbones, exports, first_steps, legs, models, pictures, reporting, seeing
from bootstrap.commands.emr import artefacts, cost, jobs
from bootstrap.commands.group import group

# Commands of a module without a name of its own stand at the top.
_GROUPS = {
    "": (first_steps.app, legs.app, seeing.app, reporting.app, asking.app, pictures.app),
    "models": (models.app,),
    "export": (exports.app,),
    "backbone": (backbones.app,),
    "emr": (artefacts.app, jobs.app, cost.app),
}


@dataclass(frozen=True)
class Command:
    """A command as the program knows it.

    Attributes
    ----------
    name : str
        With its group's before it, as in `models list`.
    sentence : str
        What it does.
    help : str
        What `--help` prints.
    """

    name: str
    sentence: str
    help: str


def built() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        help="Pictures landing in a folder or a bucket become an explorable feature space, continuously.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    for name, parts in _GROUPS.items():
        if name:
            app.add_typer(_joined(parts), name=name)
        else:
            for part in parts:
                app.add_typer(part)
    return app


def _joined(parts: tuple[typer.Typer, ...]) -> typer.Typer:
    """Return one group of the commands of several, with the sentence of the first."""
    whole = group(parts[0].info.help or "")
    for part in parts:
        whole.add_typer(part)
    return whole


def commands(app: typer.Typer, width: int = 110) -> list[Command]:
    """Return every command of a command line, those at the top first."""
    return sorted(_below(typer.main.get_command(app), "verger", width), key=lambda each: " " in each.name)


def _below(command: Any, path: str, width: int, parent: Any = None) -> Iterator[Command]:
    context = command.make_context(path.rpartition(" ")[2], [], parent=parent, resilient_parsing=True)
    context.terminal_width = width
    inner = getattr(command, "commands", None)
    if inner is None:
        yield Command(path.partition(" ")[2], command.help.strip(), command.get_help(context))
        return
    for name, each in inner.items():
        yield from _below(each, f"{path} {name}", width, context)


def main() -> None:
    """Run the command line and exit with its code."""
    process.run(built())
