"""What asks something of the driver that owns a lake, and does it itself where none runs."""

import json
import sys
from typing import Annotated

import typer

from bootstrap import live, terminal
from bootstrap.commands.group import AS_JSON, group
from bootstrap.options import takes
from conf.lake import open_lake
from conf.settings import Resolved
from streaming.commands import errands, requests
from streaming.commands.requests import Answer, Request

app = group()
# What a command needs that does the driver's work where none runs.
OUTSIDE = ("vacuum_days", "batch_pictures")


@app.command()
@takes("lake")
def stop(resolved: Resolved) -> None:
    """Ask the stream that runs on a lake to end, and wait until its running micro-batches are committed."""
    with live.live() as show:
        show.say("waiting for the stream to end")
        answer = errands.have_stopped(open_lake(resolved.settings.lake))
    tell(answer, as_json=False)


@app.command()
@takes("lake", *OUTSIDE)
def upkeep(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Merge small files and delete those that nobody can need any more; `stream` does it by itself."""
    ask(requests.upkeep(), "merging small files, and deleting those that nobody needs", resolved, as_json)


def ask(request: Request, step: str, resolved: Resolved, as_json: bool) -> None:
    """Have a request executed, `step` shown meanwhile, and print the answer."""
    with live.live() as show:
        show.say(step)
        answer = errands.have_done(open_lake(resolved.settings.lake), request, resolved.settings)
    tell(answer, as_json)


def tell(answer: Answer, as_json: bool) -> None:
    """Print an answer; one that refuses ends the command with its exit code."""
    if answer.exit_code:
        terminal.plain(f"verger: {answer.sentence}", sys.stderr)
        raise typer.Exit(answer.exit_code)
    if as_json:
        print(json.dumps({"sentence": answer.sentence, **answer.facts}, indent=2))
    else:
        terminal.plain(answer.sentence)
