"""What the collector costs: its own CPU time per event, against a cloud in a process of its own.

All of it is counted, on every thread of this process: receiving, understanding, looking at the objects, deleting. What
must hold is a thousand events a second of its own time. Wall time is the test server's, and not judged.

Run with `python -m tests.bench.collector [--quick]`.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from conf import access
from streaming.discovery.collector import Collector
from streaming.discovery.heads import Heads
from streaming.discovery.sqs import Queue, client_of
from streaming.landing import parse_skip
from tests.storage.cloud import Cloud, running

LEAST_PER_SECOND = 1_000
EVENTS, ROUNDS, QUICK_ROUNDS = 1_000, 5, 2


@contextmanager
def reached(cloud: Cloud) -> Iterator[None]:
    """Let this process find a cloud, and nothing of a person's, for the length of a `with` block."""
    before = dict(os.environ)
    os.environ.update(cloud.environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def collector_of(bucket: str, queue: str) -> Collector:
    """Return the collector as the stream has it."""
    landing = f"s3://{bucket}/landing"
    look = Heads(landing, access.Access()).look
    return Collector(landing, parse_skip("txt"), Queue(queue, client_of(queue)), look)


def cpu_of_round(cloud: Cloud, bucket: str, collector: Collector, number: int) -> float:
    """Return the seconds of CPU that this process spends on one event, from the queue until it is deleted there."""
    cloud.put(bucket, {f"landing/tree {number}/apple-{each}.jpg": b"apple" for each in range(EVENTS)})
    found, began = 0, time.process_time()
    while found < EVENTS:
        found += sum(1 for _ in collector.receive())
        collector.done()
    return (time.process_time() - began) / EVENTS


def main() -> int:
    """Measure, print, and return 1 where it costs too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = QUICK_ROUNDS if parser.parse_args().quick else ROUNDS
    with running() as cloud, reached(cloud):
        bucket = cloud.bucket()
        collector = collector_of(bucket, cloud.queue_of(bucket))
        # The first one loads libraries and opens connections.
        cpu = [cpu_of_round(cloud, bucket, collector, number) for number in range(rounds + 1)][1:]
    median = statistics.median(cpu)
    print(f"collector: {median * 1e3:.2f} ms of CPU an event ({min(cpu) * 1e3:.2f} to {max(cpu) * 1e3:.2f})")
    print(f"collector: {1 / median:.0f} events a second of its own time (at least {LEAST_PER_SECOND})")
    return int(1 / median < LEAST_PER_SECOND)


if __name__ == "__main__":
    # Threads of the object store's library may outlive the interpreter.
    code = main()
    sys.stdout.flush()
    os._exit(code)
