"""`verger emr cost`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bootstrap.commands.group import AS_JSON, group
from bootstrap.emr import account
from bootstrap.emr.billing import cost_table, prices
from bootstrap.emr.billing.cost import bills
from bootstrap.emr.billing.usage import COMPONENTS, WIDTH, load_of
from bootstrap.options import takes
from conf.settings import Resolved

app = group("Run Verger on Amazon EMR.")


@app.command("cost")
@takes("trigger", "reconcile", "upkeep", "vacuum_days")
def emr_cost(
    resolved: Resolved,
    images: Annotated[float, typer.Option(help="Pictures in store.", metavar="N", show_default=False)],
    per_day: Annotated[float, typer.Option(help="New pictures a day.", metavar="M", show_default=False)],
    rate: Annotated[
        float,
        typer.Option(
            help="Pictures a second that one vCPU makes, as `verger backbone compare` measures for a core.",
            metavar="IMG_S",
            show_default=False,
        ),
    ],
    arm_rate: Annotated[float, typer.Option(help="The same on arm64; 0: as --rate.", metavar="IMG_S")] = 0.0,
    picture_bytes: Annotated[
        float,
        typer.Option("--bytes", help="Of a picture whose storage is to be counted; 0: it is not.", metavar="BYTES"),
    ] = 0.0,
    width: Annotated[int, typer.Option(help="Features of a picture.", metavar="D")] = WIDTH,
    components: Annotated[int, typer.Option(help="Components that a refit keeps.", metavar="K")] = COMPONENTS,
    region: Annotated[
        str, typer.Option(help="Whose prices; empty: AWS_REGION, AWS_DEFAULT_REGION, else Verger's.", metavar="REGION")
    ] = "",
    file: Annotated[
        Path | None,
        typer.Option("--prices", help="A file of prices: a copy of Verger's own, edited.", metavar="FILE"),
    ] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Estimate what Verger costs a month on EMR: as a stream, drained daily, and as a full batch. Asks no network."""
    book = prices.read(account.region(region), file)
    load = load_of(resolved.settings, images, per_day, rate, picture_bytes=picture_bytes, width=width, k=components)
    loads = {"x86_64": load, "arm64": replace(load, rate=arm_rate or rate)}
    cost_table.show(bills(loads, book), loads, book, as_json)
