"""`verger export`: files for other programs."""

from typing import Annotated

import typer

import verger
from bootstrap import live, terminal
from bootstrap.commands.group import MEANT, OUT, group
from bootstrap.options import takes
from conf.errors import UsageError
from conf.featurizers import chosen
from conf.lake import open_lake
from conf.session import check_java, parse_spark_conf, session
from conf.settings import Resolved, Settings

app = group("Files for other programs.")


@app.command("components")
@takes("lake", "featurizer")
def export_components(
    resolved: Resolved,
    out: Annotated[str, OUT],
    form: Annotated[
        str, typer.Option("--format", help="csv, parquet or json (one object a line).", metavar="csv|parquet|json")
    ] = "csv",
) -> None:
    """Write the published components into one file. Starts no JVM."""
    from batch import export

    if form not in ("csv", "parquet", "json"):
        raise UsageError(f"--format must be csv, parquet or json, not {form!r}")
    lake = open_lake(resolved.settings.lake)
    with live.live() as show:
        rows = export.components(
            lake,
            chosen(lake, resolved.settings.featurizer),
            form,  # type: ignore[arg-type]
            out,
            show.say,
        )
    terminal.plain(f"{rows:,} pictures in {out}")


@app.command("model")
@takes("lake", "featurizer", "cores", "spark_conf")
def export_model(
    resolved: Resolved,
    out: Annotated[str, OUT],
    model: Annotated[str, typer.Option(help=f"{MEANT}; by default the published one.", metavar="MODEL")] = "",
    form: Annotated[
        str,
        typer.Option("--format", help="npz (NumPy), or mllib (a pyspark.ml pipeline).", metavar="npz|mllib"),
    ] = "npz",
) -> None:
    """Write a model for use elsewhere."""
    from batch import export

    if form not in ("npz", "mllib"):
        raise UsageError(f"--format must be npz or mllib, not {form!r}")
    with live.live() as show:
        show.say("reading the model")
        lake = verger.open(resolved.settings.lake)
        found = lake.model(model, resolved.settings.featurizer)
        if form == "npz":
            export.model(lake.paths, found.featurizer, found.id, out)
    if form == "mllib":
        _export_pipeline(found, out, resolved.settings)
    terminal.plain(f"{found.id} in {out}")


def _export_pipeline(model: verger.Model, out: str, settings: Settings) -> None:
    from batch import mllib

    check_java()
    extra = parse_spark_conf(settings.spark_conf)
    with live.live() as show:
        show.say("starting Spark")
        with session("verger export", cores=settings.cores, extra=extra) as spark:
            show.say("writing the pipeline")
            mllib.save(spark, model, out)
