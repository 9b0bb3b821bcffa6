"""The entry of the `verger` command and of spark-submit: checks that Verger's own packages are the ones imported.

Where a job's driver has packages of its own, it fetches them first.
"""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

_PACKAGES = ("bootstrap", "conf", "streaming", "batch")


def main() -> None:
    """Check the packages, run the command line, and end the process with its code."""
    clash = _clash()
    if clash:
        print(f"verger: {clash}", file=sys.stderr)
        sys.exit(1)
    try:
        fetched = _add_driver_packages()
        run = _command_line(fetched)
        run()
    except SystemExit as end:
        _leave(end.code)
    except KeyboardInterrupt:
        print("verger: interrupted before it began", file=sys.stderr)
        _leave(130)


def _add_driver_packages() -> bool:
    """Fetch what a job's driver has and its workers have not, where the environment says that there is such.

    Its variable is taken away: it is no setting, and the commands would refuse it.
    """
    from bootstrap import driver_packages

    place = os.environ.pop(driver_packages.VARIABLE, "")
    if not place:
        return False
    from conf.errors import VergerError
    from conf.printable import printable
    from conf.redaction import redacted

    try:
        driver_packages.use(place, sys.argv[1:])
    except VergerError as error:
        print(f"verger: {printable(redacted(str(error)))}", file=sys.stderr)
        sys.exit(error.exit_code)
    return True


def _command_line(fetched: bool) -> Callable[[], None]:
    """Return the command line, or say in one line which package of a driver is missing where none was fetched."""
    try:
        from bootstrap.cli import main as run
    except ModuleNotFoundError as error:
        from bootstrap.emr.packing.sharing import DRIVERS_OWN

        if fetched or error.name not in DRIVERS_OWN:
            raise
        print(
            f"verger: {error.name} is not installed here; the driver of a job has it from its package's driver.tar.gz: "
            "say in VERGER_DRIVER_PACKAGES where that lies",
            file=sys.stderr,
        )
        sys.exit(1)
    return run


def _leave(code: str | int | None) -> None:
    """End the process as it is.

    Arrow's threads may still be closing files of delta-rs, through Python: an interpreter that is torn down ends such a
    thread, and that the process, with an abort in place of its exit code.
    """
    number = code if isinstance(code, int) else int(code is not None)
    for output in (sys.stdout, sys.stderr):
        try:
            output.flush()
        except BrokenPipeError:
            continue
        except (OSError, ValueError):
            number = number or 1
    os._exit(number)


def _clash() -> str | None:
    """Say which foreign package hides one of ours: their names are common ones."""
    places = {name: Path(next(iter(importlib.import_module(name).__path__))) for name in _PACKAGES}
    home = places["bootstrap"].resolve().parent
    for name, place in places.items():
        if place.resolve().parent != home:
            return f"another package named {name} hides Verger's, at {place}: give Verger an environment of its own"
    return None


if __name__ == "__main__":
    main()
