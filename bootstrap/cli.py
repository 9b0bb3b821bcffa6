"""The `verger` command: commands become calls, errors become one line and an exit code."""

import inspect
import json
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

import verger
from bootstrap import terminal
from bootstrap.options import takes
from conf import logs
from conf.errors import UsageError, VergerError, first_line
from conf.lake import create_lake
from conf.settings import NAMES, Resolved
from streaming.backbones import ARCHITECTURES
from streaming.featurizer import ensure, request_of

app = typer.Typer(
    help="Pictures landing in a folder become an explorable feature space, continuously.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
backbone_app = typer.Typer(help="The pretrained networks.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(backbone_app, name="backbone")

BACKBONE = ("backbone", "weights", "pooling", "fit")
STREAM = (
    "landing", "lake", "once", *BACKBONE, "label", "settle", "poll", "trigger", "batch_pictures", "pixel_limit",
    "byte_limit", "skip_extensions", "cores", "spark_conf",
)  # fmt: skip
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
        terminal.demonstration(shown)


@app.command()
@takes(*NAMES)
def config(resolved: Resolved) -> None:
    """Print each setting's value in force and where it came from."""
    terminal.configuration(resolved)


@backbone_app.command("list")
@takes("lake")
def backbone_list(resolved: Resolved) -> None:
    """List the networks that Verger knows and, with --lake, those compiled there."""
    terminal.backbones(
        ARCHITECTURES.values(), verger.open(resolved.settings.lake).paths if resolved.settings.lake else None
    )


@backbone_app.command("compile")
@takes("lake", *BACKBONE)
def backbone_compile(resolved: Resolved) -> None:
    """Compile a backbone into a lake and check it against Keras, so that streaming needs no TensorFlow there."""
    request = request_of(resolved.settings)
    with terminal.live() as show:
        made = ensure(request, create_lake(resolved.settings.lake).backbones, show.say)
    terminal.compiled(made)


COMMANDS = {
    name: inspect.getdoc(command) or ""
    for name, command in {
        "demo": demo,
        "stream": stream,
        "status": status,
        "config": config,
        "backbone list": backbone_list,
        "backbone compile": backbone_compile,
    }.items()
}


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
    if debug:
        raise
    print(f"verger: {message}", file=sys.stderr)
    sys.exit(code)
