"""What a look at a bucket costs on a lake on S3: one that finds nothing new, and one with 100 new keys.

The lakes hold a thousand to a hundred thousand arrivals and are looked at in turns. By notifications both looks must be
flat. A listing costs its pages, whatever the lake holds: it is measured on buckets of as many keys, as far as moto's
server, which all of this asks, can list them. Starting reads what has arrived, in proportion: printed, not judged.

Run with `python -m tests.bench.polls [--quick] [--rounds N]`.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from conf.access import Access
from conf.lake import LakePaths, create_lake
from conf.schemas import ARRIVALS
from streaming.arrivals import Arrivals
from streaming.discovery import sqs
from streaming.discovery.buckets import ObjectListing, pages_of
from streaming.discovery.collector import Collector
from streaming.discovery.heads import Heads
from streaming.discovery.polling import Discovery
from streaming.landing import parse_skip
from tests.bench.lakes import fill
from tests.storage.cloud import Cloud, running

FLAT = 1.5
SIZES, QUICK_SIZES = (1_000, 10_000, 100_000), (1_000, 10_000)
LISTED = (1_000, 10_000)
NEW = 100
ROWS_PER_FILE = 5_000
_FEATURIZER = "bench"
_RULE = parse_skip("txt")


@dataclass
class Looked:
    """A landing and a lake, and what looks at them cost: milliseconds by the clock and of this process's CPU."""

    cloud: Cloud
    bucket: str
    queue: str
    discovery: Discovery
    arrivals: int
    start: float
    costs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def look(self, what: str) -> None:
        """Poll once, and keep what it cost."""
        took, busy = time.perf_counter(), time.process_time()
        self.discovery.poll(ROWS_PER_FILE)
        while self.discovery.unfinished:
            self.discovery.poll(ROWS_PER_FILE)
        self.costs.setdefault(what, []).append(
            (1000 * (time.perf_counter() - took), 1000 * (time.process_time() - busy))
        )

    def land(self, number: int, *, told: bool) -> None:
        """Put new keys, and have the queue told of them."""
        keys = [f"in/label/{number}-{each}.jpg" for each in range(NEW)]
        self.cloud.put(self.bucket, {key: f"{number} {key}".encode() for key in keys})
        for start in range(0, len(keys) if told else 0, 10):
            entries = [
                {"Id": str(place), "MessageBody": _event(self.bucket, key)}
                for place, key in enumerate(keys[start : start + 10])
            ]
            self.cloud.client("sqs").send_message_batch(QueueUrl=self.queue, Entries=entries)

    def median(self, what: str) -> tuple[float, float]:
        """Return the medians of what was kept: by the clock, and of CPU."""
        wall, cpu = zip(*self.costs[what], strict=True)
        return statistics.median(wall), statistics.median(cpu)


def main() -> None:
    """Measure, print, and fail where a look by notifications is not flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with running() as cloud:
        os.environ.update(cloud.environment())
        heard = [_heard(cloud, count) for count in (QUICK_SIZES if asked.quick else SIZES)]
        _take_turns(heard, asked.rounds, told=True)
        grown = _print("by notifications", heard)
        listed = [_listed(cloud, count) for count in (LISTED[:1] if asked.quick else LISTED)]
        _take_turns(listed, max(2, asked.rounds // 2), told=False)
        _print("by listing, of as many keys", listed)
    sys.stdout.flush()
    # Threads of obstore outlive the interpreter.
    os._exit(int(grown > FLAT))


def _take_turns(lakes: list[Looked], rounds: int, *, told: bool) -> None:
    for number in range(rounds):
        for each in lakes:
            each.look("nothing new")
            each.land(number, told=told)
            each.look(f"{NEW} new")


def _heard(cloud: Cloud, count: int) -> Looked:
    """Return a lake of many arrivals whose bucket holds none of their pictures: a queue tells of new ones."""
    bucket, lake = cloud.bucket("landing"), _lake(cloud)
    fill(lake, _FEATURIZER, count, ROWS_PER_FILE)
    landing, queue = f"s3://{bucket}/in", cloud.queue()
    collector = Collector(landing, _RULE, sqs.Queue(queue, sqs.client_of(queue)), Heads(landing, Access()).look, wait=0)
    listing = ObjectListing(landing, _RULE, pages_of(landing, Access()))
    return _started(cloud, bucket, queue, count, lambda arrivals: Discovery(
        listing, arrivals, lake.tombstones, collector, reconcile=1e9
    ), lake)  # fmt: skip


def _listed(cloud: Cloud, count: int) -> Looked:
    """Return a lake whose bucket holds the pictures of all its arrivals."""
    bucket, lake = cloud.bucket("landing"), _lake(cloud)
    cloud.put(bucket, {f"in/past/{number}.jpg": b"%d" % number for number in range(count)})
    landing = f"s3://{bucket}/in"
    listing = ObjectListing(landing, _RULE, pages_of(landing, Access()))
    return _started(
        cloud, bucket, "", count, lambda arrivals: Discovery(listing, arrivals, lake.tombstones), lake
    )  # fmt: skip


def _started(
    cloud: Cloud, bucket: str, queue: str, count: int, discovery: Callable[[Arrivals], Discovery], lake: LakePaths
) -> Looked:
    start = time.perf_counter()
    arrivals = Arrivals(lake.table(ARRIVALS))
    found = discovery(arrivals)
    len(arrivals)
    found.poll(ROWS_PER_FILE)
    while found.unfinished:
        found.poll(ROWS_PER_FILE)
    return Looked(cloud, bucket, queue, found, count, time.perf_counter() - start)


def _lake(cloud: Cloud) -> LakePaths:
    return create_lake(f"s3://{cloud.bucket('lake')}/orchard")


def _event(bucket: str, key: str) -> str:
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(key)}},
    }
    return json.dumps({"Records": [record]})


def _print(title: str, lakes: list[Looked]) -> float:
    """Print a table and return how much more the largest lake's looks cost than the smallest's, of CPU."""
    print(f"\n{title}: ms by the clock (of own CPU), medians")
    whats = list(lakes[0].costs)
    print("".join(f"{text:>22}" for text in ("arrivals", "start, s", *whats)))
    for each in lakes:
        costs = ("{:.0f} ({:.0f})".format(*each.median(what)) for what in whats)
        print("".join(f"{text:>22}" for text in (f"{each.arrivals:,}", f"{each.start:.1f}", *costs)))
    grown = [lakes[-1].median(what)[1] / lakes[0].median(what)[1] for what in whats]
    print(f"{'CPU, last : first':>44}" + "".join(f"{each:>22.2f}" for each in grown))
    return max(grown)


if __name__ == "__main__":
    main()
