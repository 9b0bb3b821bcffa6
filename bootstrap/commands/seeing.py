"""What shows how a lake stands and what is in it, without a JVM."""

import json
from typing import Annotated

import typer

import verger
from bootstrap import feature_space, live, standing
from bootstrap.commands.group import AS_JSON, UNWELL, group
from bootstrap.options import takes
from conf.errors import UsageError
from conf.settings import Resolved

app = group()


@app.command()
@takes("lake", "featurizer", "labels")
def view(
    resolved: Resolved,
    rows: Annotated[int, typer.Option("--rows", min=0, help="How many pictures to show; 0: all.", metavar="N")] = 20,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Show the feature space: what the last refit published, and what has come since. Starts no JVM."""
    settings = resolved.settings
    with live.live() as show:
        show.say("reading the feature space")
        found = verger.open(settings.lake).view(settings.featurizer, settings.labels)
    feature_space.view(found, rows, as_json)
    feature_space.unlabelled(found, settings.labels)


@app.command()
@takes("lake", "featurizer", "labels")
def similar(
    resolved: Resolved,
    picture: Annotated[str, typer.Argument(help="Its path or URI.", metavar="PICTURE")],
    k: Annotated[int, typer.Option("-k", help="How many.", metavar="N")] = 12,
    by: Annotated[
        str,
        typer.Option(
            help="components (as charts show them), or features (raw, by cosine).", metavar="components|features"
        ),
    ] = "components",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Find the pictures that are most like one. Starts no JVM."""
    if by not in ("components", "features"):
        raise UsageError(f"--by must be components or features, not {by!r}")
    settings = resolved.settings
    with live.live() as show:
        show.say("looking for pictures like it")
        lake = verger.open(settings.lake)
        found = lake.similar(picture, k, settings.featurizer, by, settings.labels)  # type: ignore[arg-type]
    feature_space.similar(found, as_json)
    feature_space.unlabelled(found, settings.labels)


@app.command()
@takes("lake", "unwell_after", "unwell_rejected")
def status(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Say how a lake stands and whether it is well; exits with 3 and the reasons where it is not. Starts no JVM."""
    with live.live() as show:
        show.say("reading the log")
        found = verger.open(resolved.settings.lake).status(resolved.settings)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        standing.status(found)
    if not found["well"]:
        standing.unwell(found)
        raise typer.Exit(UNWELL)
