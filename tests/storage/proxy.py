"""A proxy in front of an HTTP server that makes some requests slow and some fail; a process of its own.

Also a program: `python -m tests.storage.proxy --to http://127.0.0.1:5000 --share 0.05 --latency 0.04` prints the
address at which it answers.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.storage.carrier import CONTROL, carry, encode_faults
from tests.storage.children import child, end_with_parent
from tests.storage.faults import KINDS, Faults

__all__ = ["KINDS", "FaultProxy", "Faults", "proxying"]


class FaultProxy:
    """A running proxy.

    Parameters
    ----------
    endpoint
        `http://127.0.0.1:PORT`, where it answers.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def set(self, faults: Faults) -> None:
        """Do this from the next request on; the sequence of `faults.seed` starts anew, counts go on."""
        self._control(encode_faults(faults))

    def counts(self) -> dict[str, int]:
        """Return how many `requests` have come, and how many suffered each kind of what did strike them."""
        return dict(self._control(b""))

    def _control(self, wanted: bytes) -> Any:
        with contextlib.closing(HTTPConnection(urlsplit(self.endpoint).netloc)) as connection:
            connection.request("PUT", CONTROL, wanted)
            return json.loads(connection.getresponse().read())


@contextmanager
def proxying(to: str, faults: Faults | None = None) -> Iterator[FaultProxy]:
    """Run a proxy in front of an endpoint for the length of a `with` block; without faults it only passes on."""
    with child("tests.storage.proxy", "--to", to, "--tethered") as endpoint:
        proxy = FaultProxy(endpoint)
        proxy.set(faults or Faults())
        yield proxy


def _arguments() -> argparse.Namespace:
    usual = Faults()
    parser = argparse.ArgumentParser(prog="python -m tests.storage.proxy", description=__doc__)
    parser.add_argument("--to", required=True, help="the server's address, as http://HOST:PORT")
    parser.add_argument("--share", type=float, default=usual.share, help="of the requests that suffer, 0 to 1")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {','.join(KINDS)}")
    parser.add_argument("--latency", type=float, default=usual.latency, help="in seconds")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--only", default=usual.only, help="a regular expression over METHOD /path?query")
    parser.add_argument("--spare", default=usual.spare, help="a regular expression over METHOD /path?query")
    parser.add_argument("--tethered", action="store_true", help="end with the standard input")
    return parser.parse_args()


def main() -> None:
    """Run a proxy as its arguments say."""
    given = _arguments()
    if given.tethered:
        end_with_parent()
    names = ("share", "latency", "seed", "only", "spare")
    faults = Faults(kinds=tuple(given.kinds.split(",")), **{name: getattr(given, name) for name in names})
    to = urlsplit(given.to)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(carry((to.hostname or "", to.port or 80), faults))


if __name__ == "__main__":
    main()
