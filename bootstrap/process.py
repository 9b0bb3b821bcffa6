"""How a process of the command line begins and ends: output, signals, exit code, and the one line of an error."""

import os
import signal
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from threading import Event

import typer

from bootstrap import terminal
from conf import logs
from conf.errors import UsageError, VergerError, first_line

_INTERRUPTED = 130


def run(app: typer.Typer) -> None:
    """Run a command line and exit with its code."""
    debug = "--debug" in sys.argv
    _prepare_output()
    logs.configure()
    try:
        code = app(standalone_mode=False) or 0
        if code == _INTERRUPTED:
            # Typer's own word for Ctrl-C.
            raise KeyboardInterrupt
        sys.exit(code)
    except VergerError as error:
        _fail(str(error), error.exit_code, debug)
    except typer.TyperException as error:
        if error.format_message().startswith("Usage:"):
            # No command was given: the message is the help.
            print(error.format_message())
            sys.exit(0)
        _fail(f"{error.format_message()} (verger --help)", UsageError.exit_code, debug)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted; nothing is lost: run it again", _INTERRUPTED, debug)
    except BrokenPipeError:
        # The reader of our output has gone, as in `verger status | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {first_line(error)} (--debug shows where)", 1, debug)


def stop_on_signals() -> Event:
    """Return the event that SIGTERM and the first Ctrl-C set; a second Ctrl-C interrupts at once."""
    stop = Event()

    def handle(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


def _prepare_output() -> None:
    if sys.stdout is None or sys.stderr is None:
        # Closed by whoever started us, as daemons do.
        nowhere = Path(os.devnull).open("w")  # noqa: SIM115 (for as long as the process lives)
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for output in (sys.stdout, sys.stderr):
        # Names of files are bytes, and not every terminal knows every letter.
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="backslashreplace")


def _fail(message: str, code: int, debug: bool) -> None:
    lines = traceback.format_exc().rstrip("\n").split("\n") if debug else [f"verger: {message}"]
    for line in lines:
        terminal.plain(line, sys.stderr)
    sys.exit(code)
