"""What a newcomer begins with: the demo, and which settings are in force."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap import feature_space, live, terminal
from bootstrap.commands.group import group
from bootstrap.options import takes
from bootstrap.process import stop_on_signals
from conf.settings import NAMES, Resolved

app = group()


@app.command()
@takes("cores")
def demo(
    resolved: Resolved,
    folder: Annotated[Path, typer.Option(help="Where to put the landing and the lake.", metavar="FOLDER")] = Path(
        "verger-demo"
    ),
    pictures: Annotated[int, typer.Option(min=20, max=100_000, help="How many to draw at first.", metavar="N")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="What the drawing varies by.", metavar="N")] = 0,
) -> None:
    """Draw fruit pictures and bad files, stream them, land more meanwhile, and show what became of them."""
    from bootstrap import demo as demonstration

    stop = stop_on_signals()
    with live.live() as show:
        shown = demonstration.run(folder, pictures, seed, resolved.settings.cores, stop, show)
    if shown is not None:
        feature_space.demonstration(shown)


@app.command()
@takes(*NAMES)
def config(resolved: Resolved) -> None:
    """Print each setting's value in force and where it came from."""
    terminal.configuration(resolved)
