"""What a lake's past costs: an idle poll and a micro-batch of 200 new pictures, at a thousand to a million arrivals.

The lakes are measured side by side in one process and one Spark session, in turns. What must be flat is everything of
Verger's own: looking up what is known, appending arrivals, admission, the micro-batch over the Delta source, appending
outcomes and the books. The listing itself costs in proportion to the files that lie in the landing, whatever the lake
holds: so the landings are of equal size, and the past arrivals' pictures are gone from them (see `tests.bench.lakes`).
Starting is in proportion to the lake by nature, as the driver reads what has arrived, and is printed, not judged.

Run with `python -m tests.bench.flat [--quick] [--rounds N] [--arrivals-per-commit N]`.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from pyspark.sql import SparkSession

from conf.lake import LakePaths, create_lake
from conf.schemas import ARRIVALS, FEATURES
from conf.session import session
from conf.settings import Settings
from conf.tables import open_table
from streaming import stream
from streaming.arrivals import Arrivals
from streaming.backbones.backbone import Fit
from streaming.backbones.featurizer import ensure
from streaming.backbones.request import parse_backbone
from streaming.backbones.shelf import Compiled, save
from streaming.discovery.folders import FolderListing
from streaming.discovery.polling import Discovery
from streaming.landing import parse_skip
from streaming.progress import micro_batch
from streaming.totals import Totals
from tests.bench.lakes import fill
from tests.bench.wave import wave

FLAT = 1.2
SIZES, QUICK_SIZES = (1_000, 100_000, 1_000_000), (1_000, 10_000)
FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")
PICTURES = 200
IDLE_POLLS = 30
# What they find is left for the legs to begin with, which takes a micro-batch each.
FULL_POLLS = 5
WARM_UP = 3
CORES = min(2, os.cpu_count() or 1)
# In the reports' durations this is the whole micro-batch; the others are its parts.
_WHOLE = "triggerExecution"


@dataclass
class Orchard:
    """A landing and a lake with a past, and what was measured on them, in seconds, by what was measured."""

    arrivals: int
    backbone: str
    landing: Path
    lake: LakePaths
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def took(self, what: str, seconds: float) -> None:
        """Keep a measurement."""
        self.seconds.setdefault(what, []).append(seconds)

    def median(self, what: str) -> float:
        """Return the median of what was kept; NaN where nothing was."""
        return statistics.median(self.seconds.get(what, [float("nan")]))


class Waves:
    """Lands wave after wave of the same pictures under new names, each wave at once.

    Parameters
    ----------
    folder
        For the pictures; on the landings' file system, so that a wave can be moved in whole.
    """

    def __init__(self, folder: Path) -> None:
        self._pictures = wave(folder / "wave", PICTURES)
        self._folder = folder
        self._landed = 0

    def land(self, orchard: Orchard) -> None:
        """Land a wave."""
        self._landed += 1
        name = f"{self._landed:05}"
        (self._folder / name).mkdir()
        for number, path in enumerate(self._pictures):
            shutil.copyfile(path, self._folder / name / f"{number:05}.jpg")
        (self._folder / name).rename(orchard.landing / name)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small lakes, to see that it runs")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--arrivals-per-commit", type=int, default=10_000)
    parser.add_argument("--backbone", default="efficientnet-lite0@64")
    asked = parser.parse_args()
    sizes, rounds = (QUICK_SIZES, 3) if asked.quick else (SIZES, asked.rounds)
    with tempfile.TemporaryDirectory(prefix="verger-flat-", ignore_cleanup_errors=True) as folder:
        orchards = _planted(Path(folder), sizes, asked.backbone, asked.arrivals_per_commit)
        waves = Waves(Path(folder))
        _poll(orchards, waves)
        _stream(orchards, waves, rounds)
        _print(orchards, asked.backbone)


def _planted(folder: Path, sizes: Sequence[int], backbone: str, arrivals_per_commit: int) -> list[Orchard]:
    """Make the lakes.

    The backbone is compiled once. Each lake declares it with another fit, which is nothing to do for square pictures:
    one session sends its workers only one model by a name.
    """
    shelf = folder / "backbones"
    made = ensure(parse_backbone(backbone), shelf, lambda text: print(text, flush=True))
    orchards = []
    for size, fit in zip(sizes, FITS, strict=False):
        landing, lake = folder / f"landing-{size}", create_lake(str(folder / f"lake-{size}"))
        landing.mkdir()
        declared = replace(made.manifest.backbone, preparation=replace(made.manifest.backbone.preparation, fit=fit))
        save(Compiled(made.model.read_bytes(), replace(made.manifest, backbone=declared)), lake.backbones)
        began = time.perf_counter()
        fill(lake, declared.featurizer, size, arrivals_per_commit)
        print(f"a lake of {size:,} arrivals written in {time.perf_counter() - began:.0f} s", flush=True)
        orchards.append(Orchard(size, f"{backbone},fit={fit}", landing, lake))
    return orchards


def _poll(orchards: Sequence[Orchard], waves: Waves) -> None:
    """Measure discovery by itself, before anything else runs: polls that find nothing, and some that find a wave."""
    discoveries = []
    for each in orchards:
        listing = FolderListing(each.landing, parse_skip(""), settle=0)
        discovery = Discovery(listing, Arrivals(each.lake.table(ARRIVALS)), each.lake.tombstones)
        waves.land(each)
        with _timed(each, "start: what has arrived is read"):
            discovery.poll(PICTURES)
        discoveries.append((each, discovery))
    for _ in range(IDLE_POLLS):
        for each, discovery in discoveries:
            with _timed(each, "idle poll"):
                discovery.poll(PICTURES)
    for _ in range(FULL_POLLS):
        for each, discovery in discoveries:
            waves.land(each)
            with _timed(each, "poll that finds 200"):
                discovery.poll(PICTURES)
    for each, discovery in discoveries:
        assert discovery.arrived == each.arrivals + PICTURES * (FULL_POLLS + 1)


@contextmanager
def _timed(orchard: Orchard, what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    orchard.took(what, time.perf_counter() - began)


def _stream(orchards: Sequence[Orchard], waves: Waves, rounds: int) -> None:
    """Run the whole leg on every lake at once, in one session, and land a wave on one after another.

    An idle query costs a look at the log once a second, as it does in production: too little to disturb the others.
    """
    extra = {"spark.sql.streaming.noDataProgressEventInterval": "500"}
    with session("verger bench", cores=CORES, extra=extra) as spark:
        legs = [Leg(each, spark) for each in orchards]
        for leg in legs:
            with _timed(leg.orchard, "start: the leg, with what is left to do"):
                leg.start()
        for _ in range(WARM_UP):
            for leg in legs:
                leg.take(waves)
        measured = [leg.already() for leg in legs]
        for _ in range(rounds):
            for leg in legs:
                with _timed(leg.orchard, "landing to outcomes"):
                    leg.take(waves)
        for leg, before in zip(legs, measured, strict=True):
            leg.keep(before)
            leg.stop()


class Leg:
    """The streaming leg on one lake, on a thread of its own.

    Parameters
    ----------
    orchard
        Where it runs.
    spark
        The session, which several share.
    """

    def __init__(self, orchard: Orchard, spark: SparkSession) -> None:
        self.orchard = orchard
        self._spark = spark
        self._settings = Settings(
            landing=str(orchard.landing),
            lake=str(orchard.lake.root),
            backbone=(orchard.backbone,),
            label="none",
            settle=0.0,
            poll=0.2,
            batch_pictures=PICTURES,
            cores=CORES,
        )
        self._halt = Event()
        self._outcomes, self._landed = 0, 0
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, and wait until nothing is left to do and its query runs."""
        self._thread.start()
        self._wait(lambda: self._idle and self._landed > self.orchard.arrivals and self._query() is not None)

    def take(self, waves: Waves) -> None:
        """Land a wave and wait for its outcomes."""
        expected = self._landed + PICTURES
        waves.land(self.orchard)
        self._wait(lambda: self._idle and self._landed == expected)

    def stop(self) -> None:
        """Let the running micro-batch commit, then end."""
        self._halt.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def already(self) -> int:
        """Return the number of the last micro-batch."""
        return max((each["batchId"] for each in self._reports()), default=-1)

    def keep(self, before: int) -> None:
        """Keep the durations of the micro-batches after that of a number, whole and by part, and of idle triggers."""
        for each in self._reports():
            batch = micro_batch(each)
            durations = {name: milliseconds / 1000 for name, milliseconds in each["durationMs"].items()}
            if batch is None and _WHOLE in durations:
                self.orchard.took("idle trigger", durations[_WHOLE])
            if batch is not None and batch.number > before:
                assert batch.pictures == PICTURES, batch
                self.orchard.took("micro-batch of 200", durations.pop(_WHOLE))
                for name, seconds in durations.items():
                    self.orchard.took(f"  {name}", seconds)

    @property
    def _idle(self) -> bool:
        return self._outcomes == self._landed

    def _reports(self) -> list[Mapping[str, Any]]:
        query = self._query()
        return [] if query is None else [json.loads(each.json) for each in query.recentProgress]

    def _query(self) -> Any:
        place = self.orchard.lake.table(FEATURES)
        return next(
            (
                each
                for each in self._spark.streams.active
                if each.lastProgress is not None and f"[{place}]" in each.lastProgress.sink.description
            ),
            None,
        )

    def _run(self) -> None:
        @contextmanager
        def shared(name: str, **_: Any) -> Iterator[SparkSession]:
            yield self._spark

        try:
            stream.run(self._settings, self._halt, report=self._told, sessions=shared)
        except BaseException as error:
            self._error = error

    def _told(self, totals: Totals) -> None:
        self._landed = totals.landed
        self._outcomes = sum(each.outcomes for each in totals.featurizers.values())

    def _wait(self, happened: Callable[[], bool], seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            if self._error is not None:
                raise self._error
            assert time.monotonic() < deadline, f"nothing happens on {self.orchard.lake.root}"
            time.sleep(0.02)


def _print(orchards: Sequence[Orchard], backbone: str) -> None:
    smallest = orchards[0]
    print(f"\n{backbone}, {CORES} cores; medians in milliseconds, and their ratio to the smallest lake's\n")
    print(f"{'arrivals':44}" + "".join(f"{each.arrivals:>19,}" for each in orchards))
    for name in (ARRIVALS.name, FEATURES.name):
        print(f"{f'versions of {name}':44}" + "".join(f"{_version(each, name):>19,}" for each in orchards))
    for what in smallest.seconds:
        cells = [
            f"{1000 * each.median(what):11,.1f} {each.median(what) / smallest.median(what):6.2f}x" for each in orchards
        ]
        print(f"{what:44}" + "".join(f"{cell:>19}" for cell in cells))
    print()
    for what in ("idle poll", "micro-batch of 200"):
        worst = max(each.median(what) / smallest.median(what) for each in orchards)
        print(f"{what}: {worst:.2f}x at most, {'flat' if worst <= FLAT else 'NOT flat'} (aim: within {FLAT}x)")


def _version(orchard: Orchard, table: str) -> int:
    return open_table(str(orchard.lake.root / table)).version()


if __name__ == "__main__":
    main()
