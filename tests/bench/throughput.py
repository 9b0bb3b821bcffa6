"""Throughput of a warm micro-batch against the raw loop, side by side in one run.

The raw loop is what any engineer would write without Spark: one plain process per core, decode and LiteRT, nothing
fetched from a table and nothing written. Run with `python -m tests.bench.throughput [--pictures N] [--rounds N]`.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.lake import LakePaths, create_lake
from conf.schemas import ARRIVALS, FEATURES
from conf.session import session
from conf.storage import FolderStorage
from conf.tables import add_constraints
from conf.uris import uri_of
from streaming import query
from streaming.arrivals import Arrivals
from streaming.backbones.featurizer import Featurizer, ensure
from streaming.backbones.request import parse_backbone
from streaming.backbones.runtime import Runtime
from streaming.decode import decode
from streaming.discovery.folders import FolderListing
from streaming.landing import parse_skip
from streaming.progress import micro_batch
from streaming.worker import Work
from tests.bench.wave import wave
from tests.places import local

CORES = min(2, os.cpu_count() or 1)
PIXEL_LIMIT = 80_000_000


@dataclass(frozen=True)
class Round:
    """One raw loop and one micro-batch over the same pictures, in seconds."""

    raw: float
    batch: float
    phases: dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="verger-bench-") as folder:
        pictures = wave(Path(folder) / "wave", asked.pictures)
        lake = create_lake(str(Path(folder) / "lake"))
        featurizer = ensure(parse_backbone(asked.backbone), lake.backbones, print)
        rounds = _measured(Path(folder), lake, featurizer, pictures, asked.rounds)
    _print(rounds, asked.pictures, featurizer.id)


def _measured(folder: Path, lake: LakePaths, featurizer: Featurizer, pictures: list[Path], rounds: int) -> list[Round]:
    landing = folder / "landing"
    landing.mkdir()
    arrivals = Arrivals(lake.table(ARRIVALS))
    with session("verger bench", cores=CORES) as spark:
        add_constraints(spark, FEATURES, lake.table(FEATURES))
        work = Work(
            backbone=featurizer.manifest.backbone,
            model=str(featurizer.model),
            width=featurizer.width,
            storage=FolderStorage(str(landing)),
            landing=uri_of(landing),
            label="none",
            pixel_limit=PIXEL_LIMIT,
            byte_limit=1 << 28,
        )
        stream = query.read_arrivals(spark, lake.table(ARRIVALS), query.Admission(max_bytes=1 << 30))
        running = query.start(
            query.featurized(stream, work, CORES),
            lake.table(FEATURES),
            lake.checkpoint(featurizer.id),
            name="bench",
            trigger={"processingTime": "0 seconds"},
        )
        land = _landing_of(landing, arrivals)
        _batch(running, lambda: land(pictures[:200], "warm-up"))
        measured = []
        for number in range(rounds):
            raw = _raw(featurizer, pictures)
            batch, phases = _batch(running, lambda number=number: land(pictures, f"round-{number}"))  # type: ignore[misc]
            measured.append(Round(raw, batch, phases))
        running.stop()
    return measured


def _landing_of(landing: Path, arrivals: Arrivals) -> Callable[[Sequence[Path], str], None]:
    listing = FolderListing(landing, parse_skip(""), settle=0)

    def land(pictures: Sequence[Path], name: str) -> None:
        (landing / name).mkdir()
        for path in pictures:
            shutil.copyfile(path, landing / name / path.name)
        assert sum(arrivals.append(listing.poll(), route="listing", rows_per_file=len(pictures))) == len(pictures)

    return land


def _batch(running: Any, land: Callable[[], None]) -> tuple[float, dict[str, float]]:
    """Land a wave and return the seconds of the one micro-batch that takes it, whole and by phase."""
    land()
    running.processAllAvailable()
    reports = [json.loads(each.json) for each in running.recentProgress]
    last = [each for each in reports if micro_batch(each) is not None][-1]
    return last["durationMs"]["triggerExecution"] / 1000, {
        name: milliseconds / 1000 for name, milliseconds in last["durationMs"].items() if name != "triggerExecution"
    }


def _raw(featurizer: Featurizer, pictures: list[Path]) -> float:
    """Return the seconds in which one plain process per core decodes and infers the wave, start-up left out."""
    context = multiprocessing.get_context("spawn")
    start, ready = context.Event(), context.Semaphore(0)
    shares = [pictures[core::CORES] for core in range(CORES)]
    workers = [context.Process(target=_loop, args=(featurizer, share, ready, start)) for share in shares]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    began = time.perf_counter()
    start.set()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


def _loop(featurizer: Featurizer, share: list[Path], ready: Any, start: Any) -> None:
    preparation = featurizer.manifest.backbone.preparation
    runtime = Runtime(local(featurizer.model), featurizer.manifest.backbone, featurizer.width)
    for path in share[:20]:
        runtime(decode(path.read_bytes(), preparation, PIXEL_LIMIT).pixels)
    ready.release()
    start.wait()
    for path in share:
        runtime(decode(path.read_bytes(), preparation, PIXEL_LIMIT).pixels)


def _print(rounds: list[Round], pictures: int, featurizer: str) -> None:
    print(f"\n{pictures} pictures, {CORES} cores, {featurizer}\n")
    print("round   raw loop          micro-batch       ratio")
    for number, each in enumerate(rounds):
        print(
            f"{number:5}   {each.raw:6.1f} s {pictures / each.raw:5.0f}/s   "
            f"{each.batch:6.1f} s {pictures / each.batch:5.0f}/s   {each.raw / each.batch:5.2f}"
        )
    print(f"\nmedian ratio {statistics.median(each.raw / each.batch for each in rounds):.2f} (aim: at least 0.80)")
    print("\nphases of the last micro-batch, seconds")
    for name, seconds in sorted(rounds[-1].phases.items(), key=lambda item: -item[1]):
        print(f"  {name:15} {seconds:6.2f}")
    print(f"  {'over the raw loop':15} {rounds[-1].batch - rounds[-1].raw:4.2f}")


if __name__ == "__main__":
    main()
