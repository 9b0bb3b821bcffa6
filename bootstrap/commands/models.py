"""`verger models`: what the refits have made."""

from typing import Annotated

import typer

import verger
from bootstrap import feature_space, live
from bootstrap.commands.group import AS_JSON, MEANT, group
from bootstrap.options import takes
from conf.featurizers import chosen
from conf.lake import open_lake
from conf.settings import Resolved

app = group("What the refits have made.")
MODEL = typer.Argument(help=f"{MEANT}.", metavar="MODEL")


@app.command("list")
@takes("lake", "featurizer")
def models_list(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """List the models that the refits have made, oldest first."""
    with live.live() as show:
        show.say("reading the models")
        found = verger.open(resolved.settings.lake).models(resolved.settings.featurizer)
    feature_space.models(found, as_json)


@app.command("show")
@takes("lake", "featurizer")
def models_show(
    resolved: Resolved,
    model: Annotated[str, typer.Argument(help=f"{MEANT}; by default the published one.", metavar="MODEL")] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Show a model: explained variance, drift since the one before it, run card."""
    with live.live() as show:
        show.say("reading the model")
        found = verger.open(resolved.settings.lake).model(model, resolved.settings.featurizer)
    feature_space.model(found, as_json)


@app.command("use")
@takes("lake", "featurizer")
def models_use(resolved: Resolved, model: Annotated[str, MODEL], as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Publish an older model again, for every picture that counts now. Starts no JVM."""
    from batch import refit as leg

    lake = open_lake(resolved.settings.lake)
    with live.live() as show:
        done = leg.use(lake, chosen(lake, resolved.settings.featurizer), model, show.say)
    feature_space.refitted(done, as_json)
