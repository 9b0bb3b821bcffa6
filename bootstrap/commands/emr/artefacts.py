"""`verger emr`: what is deployed."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bootstrap.commands.group import group
from bootstrap.emr import template
from bootstrap.options import takes
from conf.errors import UsageError
from conf.files import written_whole
from conf.settings import Resolved

app = group("Running on Amazon EMR.")


@app.command("template")
@takes()
def print_template(
    resolved: Resolved,
    name: Annotated[str, typer.Argument(help="Which one.", metavar="|".join(template.NAMES))],
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", help="A default of the template to change; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A file to write, instead of printing.", metavar="FILE")] = None,
) -> None:
    """Print a CloudFormation template, for one's own means to deploy it."""
    text = template.printed(name, dict(map(_pair, parameters or [])))
    if out is None:
        sys.stdout.write(text)
        return
    with written_whole(out, "out") as file:
        file.write(text.encode())


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        raise UsageError(f"--parameter {given}: give it as NAME=VALUE")
    return name, value
