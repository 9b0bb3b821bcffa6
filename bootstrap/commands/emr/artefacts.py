"""`verger emr`: what is deployed: templates, and the package that jobs run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bootstrap import live
from bootstrap.commands.group import AS_JSON, group
from bootstrap.emr import template
from bootstrap.emr.packing import contents, package
from bootstrap.emr.packing import upload as uploading
from bootstrap.options import takes
from conf.errors import UsageError
from conf.files import written_whole
from conf.settings import Resolved

app = group("Run on Amazon EMR.")


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


@app.command("package")
@takes("s3_endpoint", "s3_region")
def make_package(
    resolved: Resolved,
    arch: Annotated[
        str, typer.Option(help="Of the workers' processors.", metavar="|".join(package.ARCHITECTURES))
    ] = "x86_64",
    out: Annotated[Path, typer.Option(help="The folder to make it in.", metavar="FOLDER")] = Path("dist"),
    upload: Annotated[
        str, typer.Option(help="Where on S3 to put it as well: the output Packages of the base stack.", metavar="URI")
    ] = "",
    python: Annotated[
        str, typer.Option(help="Where the platform has its Python 3.11.", metavar="PATH")
    ] = package.PYTHON,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Pack Verger and what it imports, from the lock file, into an environment that a cluster runs."""
    if upload:
        uploading.check(upload)
    with live.live() as show:
        made, folder = package.make(arch, out, python, say=show.say)
        uri = uploading.upload(folder, upload, show.say) if upload else ""
    contents.show(made, folder, uri, as_json)


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        raise UsageError(f"--parameter {given}: give it as NAME=VALUE")
    return name, value
