"""What a person sees of a package: what is in it, how large it is, and what comes next."""

import json
from dataclasses import asdict
from pathlib import Path

from bootstrap import terminal
from bootstrap.emr.packing.package import ARCHIVE, DRIVER, Package

_SHOWN = 12
_MEGA = 1e6


def show(package: Package, folder: Path, uri: str, as_json: bool) -> None:
    """Print a package that was made: its contents, largest first, its sizes, and where it lies."""
    if as_json:
        print(json.dumps({**asdict(package), "folder": str(folder), "uri": uri or None}, indent=2))
        return
    table = terminal.grid(None, "package", "version", "MB", "on")
    shares = (("every machine", package.environment), ("the driver", package.driver))
    found = sorted(((each, where) for where, part in shares for each in part.contents), key=lambda pair: -pair[0].bytes)
    for each, where in found[:_SHOWN]:
        table.add_row(each.name, each.version, f"{each.bytes / _MEGA:.1f}", where)
    rest = found[_SHOWN:]
    table.add_row(f"{len(rest)} more", "", f"{sum(each.bytes for each, _ in rest) / _MEGA:.1f}", "")
    terminal.standard_output().print(table)
    terminal.plain(f"{package.id}: for {package.architecture} and {package.python}")
    for name, (where, part) in zip((ARCHIVE, DRIVER), shares, strict=True):
        terminal.plain(
            f"{name}, on {where}: {part.unpacked / _MEGA:.0f} MB unpacked, {part.packed / _MEGA:.0f} MB packed"
        )
    terminal.plain(f"uploaded: deploy the stack with Package={uri}" if uri else f"in {folder}")
