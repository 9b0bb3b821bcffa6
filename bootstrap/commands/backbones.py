"""`verger backbone`: the pretrained networks."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap import comparison, live, terminal
from bootstrap.commands.asking import OUTSIDE, ask
from bootstrap.commands.group import AS_JSON, MEANT, group
from bootstrap.options import takes
from conf.lake import future_lake
from conf.settings import Resolved
from streaming.backbones.architectures import ARCHITECTURES
from streaming.backbones.featurizer import ensure_all, requests_of
from streaming.commands import requests

app = group("The pretrained networks.")
BACKBONE = ("backbone", "weights", "pooling", "fit", "runtime")


@app.command("list")
@takes("lake")
def backbone_list(resolved: Resolved) -> None:
    """List the networks that Verger knows and, with --lake, those compiled there."""
    terminal.backbones(ARCHITECTURES.values(), future_lake(resolved.settings.lake) if resolved.settings.lake else None)


@app.command("compile")
@takes("lake", *BACKBONE)
def backbone_compile(
    resolved: Resolved,
    out: Annotated[
        Path | None, typer.Option(help="A folder to compile into, instead of a lake.", metavar="FOLDER")
    ] = None,
) -> None:
    """Compile backbones into a lake or a folder and check them against Keras, so that streaming needs no TensorFlow."""
    settings = resolved.settings
    wishes = requests_of(settings)
    # The tables are the stream's: who compiles need not be who may make them.
    folder = out or future_lake(settings.lake).backbones
    with live.live() as show:
        made = ensure_all(wishes, folder, show.say, settings.runtime)
    for each in made:
        terminal.compiled(each)


@app.command("compare")
@takes(
    "landing", "lake", "landing_access", "weights", "pooling", "fit", "label", "settle", "pixel_limit", "byte_limit",
    "skip_extensions", "decode_seconds", "cores",
)  # fmt: skip
def backbone_compare(
    resolved: Resolved,
    backbones: Annotated[
        list[str],
        typer.Argument(help="As --backbone takes them, with @SIZE, ,pooling=… and so on.", metavar="BACKBONE"),
    ],
    sample: Annotated[
        int, typer.Option(help="Pictures of the landing, spread over its labels.", metavar="N")
    ] = comparison.SAMPLE,
    price: Annotated[float, typer.Option(help="What a core costs an hour, in USD.", metavar="USD")] = comparison.PRICE,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Compare backbones on a sample of a landing: speed, size, how well they tell labels apart, cost. Starts no JVM."""
    with live.live() as show:
        found = comparison.compare(resolved.settings, backbones, sample, price, show.say)
    comparison.show(found, price, as_json)


@app.command("drop")
@takes("lake", *OUTSIDE)
def backbone_drop(
    resolved: Resolved,
    featurizer: Annotated[str, typer.Argument(help=f"{MEANT}.", metavar="FEATURIZER")],
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Remove a featurizer from a lake: its rows, its checkpoint and its compiled backbone."""
    ask(requests.drop(featurizer), "removing the featurizer", resolved, as_json)
