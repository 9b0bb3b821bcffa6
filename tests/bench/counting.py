"""A proxy that counts the requests to a cloud as its bill does; a process of its own.

S3 bills what writes or lists as tier 1, what reads as tier 2, and no deletion. Counted apart: the landing, the data
files of the features and of the components, all else of a lake, and the queue. A bucket is told by how its name begins.

Also a program: `python -m tests.bench.counting --to http://127.0.0.1:5000` prints the address at which it answers.
"""

import argparse
import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import parse_qs, unquote, urlsplit

from tests.storage.carrier import CONTROL, Carrier
from tests.storage.children import child, end_with_parent
from tests.storage.faults import Blow, Faults
from tests.storage.messages import PIECE

_WRITES = ("PUT", "POST", "COPY")
_DATA_FILE = re.compile(r"/(features|components)/(?!_delta_log/).*\.parquet")


class Counting(Carrier):
    """Carries every request unharmed, and counts it."""

    def fate(self, request: str) -> tuple[Blow, float]:
        """Count a request, `METHOD /path?query`."""
        name = billed(request)
        self.counts[name] = self.counts.get(name, 0) + 1
        return Blow(), 0.0


def billed(request: str) -> str:
    """Return what a bill knows a request as, such as `landing tier 2`.

    Parameters
    ----------
    request
        `METHOD /bucket/key?query`; a request to no bucket is the queue's.
    """
    method, _, target = request.partition(" ")
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    prefix = query.get("prefix", [""])[0]
    path = unquote(parts.path) + ("/" + prefix if prefix else "")
    if not path.startswith(("/landing-", "/lake-")):
        return "queue"
    place = "landing" if path.startswith("/landing-") else "lake"
    data_file = _DATA_FILE.search(path)
    if data_file:
        place = f"{data_file[1]} file"
    if method == "DELETE" or (method == "POST" and "delete" in query):
        return f"{place} free"
    listing = method == "GET" and ("list-type" in query or path.count("/") == 1)
    return f"{place} tier {1 if method in _WRITES or listing else 2}"


@contextmanager
def counting(to: str) -> Iterator[str]:
    """Run such a proxy in front of an endpoint for the length of a `with` block; yield its own endpoint."""
    with child("tests.bench.counting", "--to", to) as endpoint:
        yield endpoint


def counts(endpoint: str) -> Counter[str]:
    """Return how many requests a proxy has carried since it began, by what a bill knows them as."""
    with contextlib.closing(HTTPConnection(urlsplit(endpoint).netloc)) as connection:
        connection.request("PUT", CONTROL, b"")
        return Counter(json.loads(connection.getresponse().read()))


async def _carry(host: str, port: int) -> None:
    carrier = Counting(host, port, Faults())
    listening = await asyncio.start_server(carrier.serve, "127.0.0.1", 0, limit=PIECE, backlog=1024)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    await listening.serve_forever()


def main() -> None:
    """Run a proxy until its standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.counting", description=__doc__)
    parser.add_argument("--to", required=True, help="the server's address, as http://HOST:PORT")
    to = urlsplit(parser.parse_args().to)
    end_with_parent()
    asyncio.run(_carry(to.hostname or "", to.port or 80))


if __name__ == "__main__":
    main()
