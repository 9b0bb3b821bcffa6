"""What a person sees of a package: what is in it, how large it is, and what comes next."""

import json
from dataclasses import asdict
from pathlib import Path

from bootstrap import terminal
from bootstrap.emr.packing.package import Package

_SHOWN = 12
_MEGA = 1e6


def show(package: Package, folder: Path, uri: str, as_json: bool) -> None:
    """Print a package that was made: its contents, largest first, its sizes, and where it lies."""
    if as_json:
        print(json.dumps({**asdict(package), "folder": str(folder), "uri": uri or None}, indent=2))
        return
    table = terminal.grid(None, "package", "version", "MB")
    for each in package.contents[:_SHOWN]:
        table.add_row(each.name, each.version, f"{each.bytes / _MEGA:.1f}")
    rest = package.contents[_SHOWN:]
    table.add_row(f"{len(rest)} more", "", f"{sum(each.bytes for each in rest) / _MEGA:.1f}")
    terminal.standard_output().print(table)
    terminal.plain(
        f"{package.id}: {package.unpacked / _MEGA:.0f} MB unpacked, {package.packed / _MEGA:.0f} MB packed, "
        f"for {package.architecture} and {package.python}"
    )
    terminal.plain(f"uploaded: deploy the stack with Package={uri}" if uri else f"in {folder}")
