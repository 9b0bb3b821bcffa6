"""The entry of the `verger` command and of spark-submit: checks that Verger's own packages are the ones imported."""

import importlib
import sys
from pathlib import Path

_PACKAGES = ("bootstrap", "conf", "streaming", "batch")


def main() -> None:
    """Check the packages, then run the command line and exit with its code."""
    clash = _clash()
    if clash:
        print(f"verger: {clash}", file=sys.stderr)
        sys.exit(1)
    from bootstrap.cli import main as run

    run()


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
