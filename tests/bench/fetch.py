"""Fetching from a bucket against reading local files: throughput of one worker, and CPU of one GET, in one run.

The worker is the generator that Spark runs in each task, without Spark. The bucket is moto's, behind a proxy that adds
the latency; both are processes of their own, which give way to the worker, as S3 costs a worker's machine nothing. The
worker's own CPU stands beside the time. Run with `python -m tests.bench.fetch [--pictures N] [--rounds N]`.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import boto3
import obstore
import pyarrow as pa
from pyarrow import fs

from conf import access
from conf.access import Access
from conf.lake import create_lake
from conf.object_storage import ObjectStorage
from conf.schemas import ARRIVALS
from conf.storage import FolderStorage, Storage, folder_e_tag
from conf.uris import object_uri, uri_of
from streaming.backbones.featurizer import Featurizer, ensure
from streaming.backbones.request import parse_backbone
from streaming.fetching import Fetcher, Wanted
from streaming.worker import INPUT, Work, featurize
from tests.bench.wave import wave
from tests.storage import cloud
from tests.storage.cloud import Cloud
from tests.storage.proxy import Faults, proxying

BYTE_LIMIT = 1 << 28
LATENCY = 0.04
_T = TypeVar("_T")
GETS = 600


@dataclass(frozen=True)
class Cost:
    """What a number of pictures took, in milliseconds each: by the clock, and of this process's CPU."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Route:
    """One way to the same pictures."""

    storage: Storage
    pictures: list[Wanted]


class EagerFolder(FolderStorage):
    """A folder whose files are fetched ahead, by threads."""

    ahead = 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="verger-bench-") as folder:
        paths = wave(Path(folder) / "wave", asked.pictures)
        featurizer = ensure(parse_backbone(asked.backbone), create_lake(f"{folder}/lake").backbones, print)
        with _routes(Path(folder) / "wave", paths) as routes:
            print(f"\n{asked.pictures} pictures, {featurizer.id}, one worker, medians of {asked.rounds} rounds")
            _print_featurized(_rounds(routes, asked.rounds, lambda route: _featurized(route, featurizer)))
            _print_fetched(_rounds(routes, asked.rounds, _fetched))
            _print_clients(_rounds(_clients(routes["bucket"]), asked.rounds, lambda call: _cost(call, GETS)))


@contextmanager
def _routes(folder: Path, paths: list[Path]) -> Iterator[dict[str, Route]]:
    files = [Wanted(uri_of(path), folder_e_tag(path.stat()), path.stat().st_size) for path in paths]
    with cloud.running() as started, proxying(started.endpoint) as near, proxying(started.endpoint) as far:
        far.set(Faults(latency=LATENCY))
        _let_children_give_way()
        os.environ.update(started.environment())
        bucket, objects = _uploaded(started, paths)
        ways = {"bucket": started.endpoint, "bucket, proxy": near.endpoint, "bucket, 40 ms": far.endpoint}
        yield {
            "files": Route(FolderStorage(str(folder)), files),
            "files, ahead": Route(EagerFolder(str(folder)), files),
            **{
                name: Route(ObjectStorage(f"s3://{bucket}", Access(endpoint=endpoint)), objects)
                for name, endpoint in ways.items()
            },
        }


def _let_children_give_way() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for process in children.read_text().split() if children.exists() else ():
        os.setpriority(os.PRIO_PROCESS, int(process), 19)


def _uploaded(started: Cloud, paths: list[Path]) -> tuple[str, list[Wanted]]:
    bucket = started.bucket()
    started.put(bucket, {path.name: path.read_bytes() for path in paths})
    pages = started.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = [each for page in pages for each in page["Contents"]]
    return bucket, [Wanted(object_uri("s3", bucket, it["Key"]), it["ETag"].strip('"'), it["Size"]) for it in found]


def _rounds(ways: dict[str, _T], rounds: int, measured: Callable[[_T], Cost]) -> dict[str, list[Cost]]:
    """Measure each way in turn, again and again: what else the machine does strikes all alike."""
    for way in ways.values():
        measured(way)
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in [*ways] if number % 2 else [*reversed(ways)]:
            costs[name].append(measured(ways[name]))
    return costs


def _cost(call: Callable[[], object], pictures: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    each = 1000 / pictures
    return Cost((time.perf_counter() - wall) * each, (time.process_time() - cpu) * each)


def _featurized(route: Route, featurizer: Featurizer) -> Cost:
    work = Work(
        backbone=featurizer.manifest.backbone,
        width=featurizer.width,
        model=str(featurizer.model),
        storage=route.storage,
        landing=route.pictures[0].uri.rpartition("/")[0],
        label="none",
        pixel_limit=80_000_000,
        byte_limit=BYTE_LIMIT,
    )
    batch = _arrivals(route.pictures)

    def call() -> None:
        rejected = sum(len(out) - out.column("rejection").null_count for out in featurize(iter([batch]), work))
        assert not rejected

    return _cost(call, len(route.pictures))


def _arrivals(pictures: list[Wanted]) -> pa.RecordBatch:
    now = datetime.now(UTC)
    rows = [each._asdict() | {"landed_at": now, "discovered_at": now, "attempt": 1} for each in pictures]
    return pa.RecordBatch.from_pylist(rows, pa.schema([ARRIVALS.schema.field(name) for name in INPUT]))


def _fetched(route: Route) -> Cost:
    def call() -> None:
        with Fetcher(route.storage, BYTE_LIMIT) as fetcher:
            assert all(isinstance(content, bytes) for _, content in fetcher.fetched(route.pictures))

    return _cost(call, len(route.pictures))


def _clients(route: Route) -> dict[str, Callable[[], None]]:
    bucket = route.pictures[0].uri.split("/")[2]
    keys = [route.pictures[place % len(route.pictures)].uri.rpartition("/")[2] for place in range(GETS)]
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    store = access.store("s3", bucket, Access(endpoint=endpoint))
    client = boto3.client("s3", endpoint_url=endpoint)
    files = fs.S3FileSystem(endpoint_override=endpoint, scheme="http")

    def by_arrow(key: str) -> bytes:
        with files.open_input_stream(f"{bucket}/{key}") as stream:
            return bytes(stream.read())

    def each(get: Callable[[str], bytes]) -> Callable[[], None]:
        return lambda: [get(key) for key in keys].clear()

    return {
        "obstore": each(lambda key: bytes(obstore.get(store, key).bytes())),
        "pyarrow.fs": each(by_arrow),
        "boto3": each(lambda key: client.get_object(Bucket=bucket, Key=key)["Body"].read()),
    }


def _print_featurized(costs: dict[str, list[Cost]]) -> None:
    print("\nfeaturized         wall ms   CPU ms   throughput against files (aim at 40 ms: at least 0.90)")
    for name, rounds in costs.items():
        ratio = statistics.median(local.wall / here.wall for local, here in zip(costs["files"], rounds, strict=True))
        print(f"  {name:15} {_median(rounds)}   {ratio:5.2f}")


def _print_fetched(costs: dict[str, list[Cost]]) -> None:
    print("\nfetched, no more   wall ms   CPU ms")
    for name, rounds in costs.items():
        print(f"  {name:15} {_median(rounds)}")


def _print_clients(costs: dict[str, list[Cost]]) -> None:
    print("\none GET after another, no proxy\n                   wall ms   CPU ms")
    for name, rounds in costs.items():
        print(f"  {name:15} {_median(rounds)}")


def _median(costs: list[Cost]) -> str:
    return f"{statistics.median(each.wall for each in costs):8.3f} {statistics.median(each.cpu for each in costs):8.3f}"


if __name__ == "__main__":
    main()
