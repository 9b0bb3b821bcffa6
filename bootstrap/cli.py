"""The `verger` command: commands become calls, errors become one line and an exit code."""

import inspect
import json
import os
import signal
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

import verger
from bootstrap import feature_space, terminal
from bootstrap.options import takes
from conf import logs
from conf.errors import UsageError, VergerError, first_line
from conf.featurizers import chosen
from conf.lake import create_lake, open_lake
from conf.session import check_java, parse_spark_conf, session
from conf.settings import NAMES, Resolved, Settings
from streaming.backbones.architectures import ARCHITECTURES
from streaming.backbones.featurizer import ensure_all, requests_of
from streaming.commands import errands, requests
from streaming.commands.requests import Answer, Request
from streaming.commands.selection import select

app = typer.Typer(
    help="Pictures landing in a folder or a bucket become an explorable feature space, continuously.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
backbone_app = typer.Typer(help="The pretrained networks.", no_args_is_help=True, rich_markup_mode=None)
rejects_app = typer.Typer(help="Pictures without features.", no_args_is_help=True, rich_markup_mode=None)
models_app = typer.Typer(help="What the refits have made.", no_args_is_help=True, rich_markup_mode=None)
export_app = typer.Typer(help="Files for other programs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models_app, name="models")
app.add_typer(export_app, name="export")
app.add_typer(rejects_app, name="rejects")
app.add_typer(backbone_app, name="backbone")

BACKBONE = ("backbone", "weights", "pooling", "fit", "runtime")
STREAM = (
    "landing", "lake", "once", "landing_access", "discover", "queue", "reconcile", *BACKBONE, "label", "settle", "poll",
    "trigger", "batch_pictures", "pixel_limit", "byte_limit", "skip_extensions",
    "decode_seconds", "idle_timeout", "upkeep", "vacuum_days", "audit", "lease", "cores", "spark_conf",
)  # fmt: skip
REFIT = (
    "lake", "featurizer", "components", "variance", "solver", "full", "vacuum_days", "lease", "cores", "spark_conf",
)  # fmt: skip
# What a command needs that does the driver's work where none runs.
OUTSIDE = ("vacuum_days", "batch_pictures")
REASON = typer.Option(help="Only this reason.")
PREFIX = typer.Option(help="Only pictures whose path or URI begins so; end it with a slash for a folder.")
OUT = typer.Option("--out", help="The file to write, as a path or file:// URI.")
MODEL = typer.Argument(help="Its id, or the beginning of it.")
AS_JSON = typer.Option("--json", help="Print JSON.")


@app.command()
@takes(*STREAM)
def stream(resolved: Resolved) -> None:
    """Turn pictures into rows of the features table as they land, until stopped."""
    from streaming import stream as leg  # here, as PySpark's import would slow every other command

    stop = _stop_on_signals()
    with terminal.live() as show:
        totals = leg.run(resolved.settings, stop, report=show.totals, say=show.say)
    terminal.summary(totals, resolved.settings.lake)


@app.command()
@takes(*REFIT)
def refit(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Refit standardisation and PCA, in proportion to what has changed, and publish every picture's components."""
    from batch import refit as leg

    # As Ctrl-C does: Spark and its temporary files go with the process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with terminal.live(quiet=as_json) as show:
        done = leg.run(resolved.settings, say=show.say)
    feature_space.refitted(done, as_json)


@app.command()
@takes("lake", "featurizer")
def view(
    resolved: Resolved,
    rows: Annotated[int, typer.Option("--rows", min=0, help="How many pictures to show; 0: all.")] = 20,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Show the feature space: what the last refit published, and what has come since. Starts no JVM."""
    feature_space.view(verger.open(resolved.settings.lake).view(resolved.settings.featurizer), rows, as_json)


@app.command()
@takes("lake", "featurizer")
def similar(
    resolved: Resolved,
    picture: Annotated[str, typer.Argument(help="Its path or URI.")],
    k: Annotated[int, typer.Option("-k", help="How many.")] = 12,
    by: Annotated[str, typer.Option(help="components (as charts show them), or features (raw, by cosine).")] = (
        "components"
    ),
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Find the pictures that are most like one. Starts no JVM."""
    if by not in ("components", "features"):
        raise UsageError(f"--by must be components or features, not {by!r}")
    lake = verger.open(resolved.settings.lake)
    feature_space.similar(lake.similar(picture, k, resolved.settings.featurizer, by), as_json)  # type: ignore[arg-type]


@models_app.command("list")
@takes("lake", "featurizer")
def models_list(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """List the models that the refits have made, oldest first."""
    feature_space.models(verger.open(resolved.settings.lake).models(resolved.settings.featurizer), as_json)


@models_app.command("show")
@takes("lake", "featurizer")
def models_show(
    resolved: Resolved,
    model: Annotated[str, typer.Argument(help="Its id, or the beginning of it; by default the published one.")] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Show a model: explained variance, drift since the one before it, run card."""
    feature_space.model(verger.open(resolved.settings.lake).model(model, resolved.settings.featurizer), as_json)


@models_app.command("use")
@takes("lake", "featurizer")
def models_use(resolved: Resolved, model: Annotated[str, MODEL], as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Publish an older model again, for every picture that counts now. Starts no JVM."""
    from batch import refit as leg

    lake = open_lake(resolved.settings.lake)
    with terminal.live(quiet=as_json) as show:
        done = leg.use(lake, chosen(lake, resolved.settings.featurizer), model, show.say)
    feature_space.refitted(done, as_json)


@export_app.command("components")
@takes("lake", "featurizer")
def export_components(
    resolved: Resolved,
    out: Annotated[str, OUT],
    form: Annotated[str, typer.Option("--format", help="csv, parquet or json (one object a line).")] = "csv",
) -> None:
    """Write the published components into one file. Starts no JVM."""
    from batch import export

    if form not in ("csv", "parquet", "json"):
        raise UsageError(f"--format must be csv, parquet or json, not {form!r}")
    lake = open_lake(resolved.settings.lake)
    rows = export.components(lake, chosen(lake, resolved.settings.featurizer), form, out)  # type: ignore[arg-type]
    terminal.plain(f"{rows:,} pictures in {out}")


@export_app.command("model")
@takes("lake", "featurizer", "cores", "spark_conf")
def export_model(
    resolved: Resolved,
    out: Annotated[str, OUT],
    model: Annotated[str, typer.Option(help="Its id, or the beginning of it; by default the published one.")] = "",
    form: Annotated[str, typer.Option("--format", help="npz (NumPy), or mllib (a pyspark.ml pipeline).")] = "npz",
) -> None:
    """Write a model for use elsewhere."""
    from batch import export

    if form not in ("npz", "mllib"):
        raise UsageError(f"--format must be npz or mllib, not {form!r}")
    lake = verger.open(resolved.settings.lake)
    found = lake.model(model, resolved.settings.featurizer)
    if form == "npz":
        export.model(lake.paths, found.featurizer, found.id, out)
    else:
        _export_pipeline(found, out, resolved.settings)
    terminal.plain(f"{found.id} in {out}")


@app.command()
@takes("lake")
def status(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Say how a lake stands: arrivals, outcomes, rejections by reason, backlog, who streams. Starts no JVM."""
    found = verger.open(resolved.settings.lake).status()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        terminal.status(found)


@app.command()
@takes("cores")
def demo(
    resolved: Resolved,
    folder: Annotated[Path, typer.Option(help="Where to put the landing and the lake.")] = Path("verger-demo"),
    pictures: Annotated[int, typer.Option(min=20, max=100_000, help="How many to draw at first.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="What the drawing varies by.")] = 0,
) -> None:
    """Draw fruit pictures and bad files, stream them, land more meanwhile, and show what became of them."""
    from bootstrap import demo as demonstration

    stop = _stop_on_signals()
    with terminal.live() as show:
        shown = demonstration.run(folder, pictures, seed, resolved.settings.cores, stop, show)
    if shown is not None:
        feature_space.demonstration(shown)


@app.command()
@takes(*NAMES)
def config(resolved: Resolved) -> None:
    """Print each setting's value in force and where it came from."""
    terminal.configuration(resolved)


@app.command()
@takes("lake")
def stop(resolved: Resolved) -> None:
    """Ask the stream that runs on a lake to end, and wait until its running micro-batches are committed."""
    _tell(errands.have_stopped(open_lake(resolved.settings.lake)), as_json=False)


@app.command()
@takes("lake", *OUTSIDE)
def upkeep(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Merge small files and delete those that nobody can need any more; `stream` does it by itself."""
    _ask(requests.upkeep(), resolved, as_json)


@rejects_app.command("list")
@takes("lake", "featurizer")
def rejects_list(
    resolved: Resolved,
    reason: Annotated[str, REASON] = "",
    prefix: Annotated[str, PREFIX] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """List the pictures that have no features, and why."""
    found = verger.open(resolved.settings.lake).rejections(resolved.settings.featurizer, reason, prefix)
    terminal.rejected(found, as_json)


@rejects_app.command("retry")
@takes("lake", "featurizer", *OUTSIDE)
def rejects_retry(
    resolved: Resolved,
    reason: Annotated[
        list[str] | None, typer.Option(help="Only this reason, more than once for several; none: what can help.")
    ] = None,
    prefix: Annotated[str, PREFIX] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Try rejected pictures once more: a new attempt, whose outcome wins."""
    request = requests.retry(reason or (), select(prefix=prefix), resolved.settings.featurizer)
    _ask(request, resolved, as_json)


@app.command()
@takes("lake", *OUTSIDE)
def forget(
    resolved: Resolved,
    pictures: Annotated[list[str] | None, typer.Argument(help="Paths or URIs of pictures.")] = None,
    prefix: Annotated[str, PREFIX] = "",
    recall: Annotated[bool, typer.Option("--recall", help="Let forgotten pictures arrive again.")] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Take pictures down: their rows go, everywhere in the lake, and they do not arrive again unless recalled."""
    selection = select(pictures or (), prefix)
    _ask(requests.recall(selection) if recall else requests.forget(selection), resolved, as_json)


@backbone_app.command("list")
@takes("lake")
def backbone_list(resolved: Resolved) -> None:
    """List the networks that Verger knows and, with --lake, those compiled there."""
    terminal.backbones(ARCHITECTURES.values(), open_lake(resolved.settings.lake) if resolved.settings.lake else None)


@backbone_app.command("compile")
@takes("lake", *BACKBONE)
def backbone_compile(
    resolved: Resolved,
    out: Annotated[Path | None, typer.Option(help="A folder to compile into, instead of a lake.")] = None,
) -> None:
    """Compile backbones into a lake or a folder and check them against Keras, so that streaming needs no TensorFlow."""
    settings = resolved.settings
    wishes = requests_of(settings)
    folder = out or create_lake(settings.lake).backbones
    with terminal.live() as show:
        made = ensure_all(wishes, folder, show.say, settings.runtime)
    for each in made:
        terminal.compiled(each)


@backbone_app.command("drop")
@takes("lake", *OUTSIDE)
def backbone_drop(
    resolved: Resolved,
    featurizer: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Remove a featurizer from a lake: its rows, its checkpoint and its compiled backbone."""
    _ask(requests.drop(featurizer), resolved, as_json)


COMMANDS = {
    name: inspect.getdoc(command) or ""
    for name, command in {
        "demo": demo,
        "stream": stream,
        "refit": refit,
        "view": view,
        "similar": similar,
        "models list": models_list,
        "models show": models_show,
        "models use": models_use,
        "export components": export_components,
        "export model": export_model,
        "stop": stop,
        "status": status,
        "rejects list": rejects_list,
        "rejects retry": rejects_retry,
        "forget": forget,
        "upkeep": upkeep,
        "backbone list": backbone_list,
        "backbone compile": backbone_compile,
        "backbone drop": backbone_drop,
        "config": config,
    }.items()
}


def _export_pipeline(model: verger.Model, out: str, settings: Settings) -> None:
    from batch import mllib

    check_java()
    with session("verger export", cores=settings.cores, extra=parse_spark_conf(settings.spark_conf)) as spark:
        mllib.save(spark, model, out)


def _ask(request: Request, resolved: Resolved, as_json: bool) -> None:
    _tell(errands.have_done(open_lake(resolved.settings.lake), request, resolved.settings), as_json)


def _tell(answer: Answer, as_json: bool) -> None:
    if answer.exit_code:
        terminal.plain(f"verger: {answer.sentence}", sys.stderr)
        raise typer.Exit(answer.exit_code)
    if as_json:
        print(json.dumps({"sentence": answer.sentence, **answer.facts}, indent=2))
    else:
        terminal.plain(answer.sentence)


def _stop_on_signals() -> Event:
    """Return the event that SIGTERM and the first Ctrl-C set; a second Ctrl-C interrupts at once."""
    stop = Event()

    def handle(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


def main() -> None:
    """Run the command line and exit with its code."""
    debug = "--debug" in sys.argv
    if sys.stdout is None or sys.stderr is None:
        # Closed by whoever started us, as daemons do.
        nowhere = Path(os.devnull).open("w")  # noqa: SIM115 (for as long as the process lives)
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for output in (sys.stdout, sys.stderr):
        # Names of files are bytes, and not every terminal knows every letter.
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="backslashreplace")
    logs.configure()
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except VergerError as error:
        _fail(str(error), error.exit_code, debug)
    except typer.TyperException as error:
        if error.format_message().startswith("Usage:"):
            # No command was given: the message is the help.
            print(error.format_message())
            sys.exit(0)
        _fail(f"{error.format_message()} (verger --help)", UsageError.exit_code, debug)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted; nothing is lost, the next run goes on where it was", 130, debug)
    except BrokenPipeError:
        # The reader of our output has gone, as in `verger status | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {first_line(error)} (--debug shows where)", 1, debug)


def _fail(message: str, code: int, debug: bool) -> None:
    lines = traceback.format_exc().rstrip("\n").split("\n") if debug else [f"verger: {message}"]
    for line in lines:
        terminal.plain(line, sys.stderr)
    sys.exit(code)
