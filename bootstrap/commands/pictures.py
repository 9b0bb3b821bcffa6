"""What is asked about single pictures: why they have no features, another attempt, and taking them down."""

from typing import Annotated

import typer

import verger
from bootstrap import live, terminal
from bootstrap.commands.asking import OUTSIDE, ask
from bootstrap.commands.group import AS_JSON, PREFIX, REASON, group
from bootstrap.options import takes
from conf.settings import Resolved
from streaming.commands import requests
from streaming.commands.selection import select

app = group()
rejects = group("Pictures without features.")
app.add_typer(rejects, name="rejects")


@rejects.command("list")
@takes("lake", "featurizer")
def rejects_list(
    resolved: Resolved,
    reason: Annotated[str, REASON] = "",
    prefix: Annotated[str, PREFIX] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """List the pictures that have no features, and why."""
    with live.live() as show:
        show.say("reading what was rejected")
        found = verger.open(resolved.settings.lake).rejections(resolved.settings.featurizer, reason, prefix)
    terminal.rejected(found, as_json)


@rejects.command("retry")
@takes("lake", "featurizer", *OUTSIDE)
def rejects_retry(
    resolved: Resolved,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="Only this reason, more than once for several; none: what can help.", metavar="REASON"),
    ] = None,
    prefix: Annotated[str, PREFIX] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Try rejected pictures once more: a new attempt, whose outcome wins."""
    request = requests.retry(reason or (), select(prefix=prefix), resolved.settings.featurizer)
    ask(request, "letting rejected pictures arrive once more", resolved, as_json)


@app.command()
@takes("lake", *OUTSIDE)
def forget(
    resolved: Resolved,
    pictures: Annotated[list[str] | None, typer.Argument(help="Paths or URIs of pictures.", metavar="PICTURE")] = None,
    prefix: Annotated[str, PREFIX] = "",
    recall: Annotated[bool, typer.Option("--recall", help="Let forgotten pictures arrive again.")] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Take pictures down: their rows go, everywhere in the lake, and they do not arrive again unless recalled."""
    selection = select(pictures or (), prefix)
    if recall:
        ask(requests.recall(selection), "recalling pictures", resolved, as_json)
    else:
        ask(requests.forget(selection), "taking pictures down", resolved, as_json)
