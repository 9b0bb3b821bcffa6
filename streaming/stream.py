"""The streaming leg: discovery fills `arrivals`, one query for each featurizer turns them into `features`."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

from deltalake.exceptions import DeltaError

from conf import lease
from conf.errors import DeniedError, LakeError, LandingError, StorageError, UsageError
from conf.lake import LakePaths, create_lake, keep_apart
from conf.logs import fields, logger
from conf.session import check_java, on_cluster, parse_spark_conf, session
from conf.settings import Settings
from conf.storage import FolderStorage
from conf.tables import ARRIVALS, FEATURES, add_constraints, count_rows
from conf.uris import folder_of, uri_of
from streaming import sizing, upkeeping
from streaming.arrivals import Arrivals
from streaming.backbones import memory
from streaming.backbones.featurizer import Featurizer, ensure_all, requests_of
from streaming.clock import Clock
from streaming.commands import inbox, requests
from streaming.commands.execution import LEG, execute, needs_pause
from streaming.crew import Crew
from streaming.discovery import Discovery
from streaming.keeper import Keeper
from streaming.landing import labeller, parse_skip
from streaming.listing import FolderListing
from streaming.pipeline import Pipeline
from streaming.progress import MicroBatch, described
from streaming.totals import Former, ReportFile, Standing, Totals, duration, former
from streaming.worker import Work

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_TICK = 0.2
_REQUESTS_EVERY = 1.0

Report = Callable[[Totals], None]
Say = Callable[[str], None]
Sessions = Callable[..., AbstractContextManager["SparkSession"]]


def run(
    settings: Settings,
    stop: Event,
    report: Report = lambda totals: None,
    say: Say = lambda text: None,
    sessions: Sessions = session,
) -> Totals:
    """Stream until `stop` is set, or with `settings.once` until what has landed is drained.

    Parameters
    ----------
    settings
        The settings in force; `landing` and `lake` must be given.
    stop
        Set from a signal handler: the running micro-batches are finished, then the run ends. A stop request in the lake
        sets it, too.
    report
        Called with the totals after each poll and each micro-batch.
    say
        Called with a sentence before each step that takes seconds.
    sessions
        Makes the Spark session, as `conf.session.session` does.

    Returns
    -------
    Totals
        Where the run ended.

    Raises
    ------
    VergerError
        Nothing is lost; the next run goes on from the checkpoints, or from the tables.
    """
    landing = _landing(settings)
    keep_apart(landing, folder_of(settings.lake, "lake"))
    labeller(settings.label, uri_of(landing))
    extra = {"spark.sql.execution.pyspark.udf.idleTimeoutSeconds": str(settings.idle_timeout)}
    extra |= parse_spark_conf(settings.spark_conf)
    wishes = requests_of(settings)
    check_java()
    lake = create_lake(settings.lake)
    with lease.hold(lake.lease(LEG)):
        featurizers = ensure_all(wishes, lake.backbones, say, settings.runtime)
        if not on_cluster():
            _check_memory(settings, featurizers)
        leg = _Leg(settings, landing, lake, featurizers, stop, report, say)
        leg.take_requests()
        leg.discover()
        drained = settings.once and leg.settle_and_drained()
        if not drained and not stop.is_set():
            say("starting Spark")
            slots = sizing.slots(_cores(settings), len(featurizers))
            with sessions("verger stream", cores=slots, extra=extra) as spark:
                leg.stream(spark)
        leg.close()
        return leg.totals


def _landing(settings: Settings) -> Path:
    landing = folder_of(settings.landing, "landing")
    if not landing.exists():
        raise LandingError(f"the landing {landing} does not exist: make the folder or correct --landing")
    if not landing.is_dir():
        raise UsageError(f"--landing {landing} is a file: give the folder that holds the pictures")
    return landing


def _cores(settings: Settings) -> int:
    return settings.cores or os.cpu_count() or 1


def _check_memory(settings: Settings, featurizers: list[Featurizer]) -> None:
    manifests = [each.manifest for each in featurizers]
    prediction = memory.check(manifests, _cores(settings), settings.pixel_limit, settings.runtime)
    logger().info("memory", extra=fields(prediction=prediction))


class _Leg:
    """One run of the leg: discovery, requests and upkeep in one loop, beside the queries that keepers hold alive."""

    def __init__(
        self,
        settings: Settings,
        landing: Path,
        lake: LakePaths,
        featurizers: list[Featurizer],
        stop: Event,
        report: Report,
        say: Say,
    ) -> None:
        self._settings = settings
        self._lake = lake
        self._landing = landing
        self._featurizers = featurizers
        self._stop = stop
        self._report = report
        self._say = say
        self._cores = _cores(settings)
        self._arrivals = Arrivals(lake.table(ARRIVALS))
        listing = FolderListing(landing, parse_skip(settings.skip_extensions), settings.settle)
        self._discovery = Discovery(listing, self._arrivals, lake.tombstones)
        before = former(lake.report(LEG), sizing.TELLING_ROWS)
        self._clock = Clock(
            {"poll": settings.poll, "requests": _REQUESTS_EVERY, "upkeep": settings.upkeep},
            first={"upkeep": _left(settings.upkeep, before.upkeep_at)},
        )
        self._finished: SimpleQueue[tuple[str, MicroBatch]] = SimpleQueue()
        self._trouble = ""
        self._crew = Crew([])
        self.totals = Totals(
            featurizers={each.id: self._standing(each, before) for each in featurizers}, upkeep_at=before.upkeep_at
        )
        self._count()
        self._file = ReportFile(lake.report(LEG), {"landing": uri_of(landing)})

    def discover(self) -> None:
        """Poll the landing once and bring the totals up to date."""
        sighting = self._discovery.poll(self._rows_per_file())
        self.totals.waiting, self.totals.passed_over = sighting.young, sighting.passed_over
        self._tell()

    def settle_and_drained(self) -> bool:
        """Wait at most the settle time for the youngest files; return whether nothing is left to featurize."""
        deadline = time.monotonic() + self._settings.settle
        while self.totals.waiting and time.monotonic() < deadline and not self._stop.is_set():
            self._stop.wait(min(_TICK, self._settings.settle))
            self.discover()
        return all(each.outcomes == self.totals.landed for each in self.totals.featurizers.values())

    def stream(self, spark: "SparkSession") -> None:
        """Run the queries, and everything else beside them, until the end."""
        if on_cluster():
            self._cores = spark.sparkContext.defaultParallelism
        add_constraints(spark, FEATURES, self._lake.table(FEATURES))
        upkeeping.prepare(self._lake, self._settings.vacuum_days)
        if self._clock.due("upkeep"):
            self._upkeep_or_wait()
        self._announce()
        with Crew([self._keeper(spark, each) for each in self._featurizers]).working() as self._crew:
            while self._crew.at_work and not self._stop.is_set():
                self._beat()
        self._take()
        self._tell()
        logger().info("stream stopped", extra=fields(featurized=self.totals.featurized, backlog=self.totals.backlog))

    def take_requests(self) -> None:
        """Do what commands have asked for; what the world prevents is tried again later."""
        try:
            for request in inbox.pending(self._lake.requests):
                inbox.answer(self._lake.requests, request, self._answer(request))
        except StorageError as error:
            logger().warning("requests wait", extra=fields(error=str(error)))

    def close(self) -> None:
        """Leave the last word in the lake, for `verger status`."""
        self._file.write(self.totals, now=True)

    def _beat(self) -> None:
        self._take()
        if self._clock.due("requests"):
            self.take_requests()
        if not self._settings.once and self._clock.due("poll"):
            self._discover_or_wait()
        if not self._settings.once and self._clock.due("upkeep"):
            self._upkeep_or_wait()
        self._stop.wait(_TICK)

    def _keeper(self, spark: "SparkSession", featurizer: Featurizer) -> Keeper:
        standing = self.totals.featurizers[featurizer.id]

        def audited() -> None:
            standing.audited_at = _now()

        return Keeper(
            self._pipeline(spark, featurizer),
            took=lambda batch: self._finished.put((featurizer.id, batch)),
            once=self._settings.once,
            audit_every=self._settings.audit,
            audit_in=_left(self._settings.audit, standing.audited_at),
            audited=audited,
        )

    def _pipeline(self, spark: "SparkSession", featurizer: Featurizer) -> Pipeline:
        settings = self._settings
        work = Work(
            backbone=featurizer.manifest.backbone,
            model=str(featurizer.model),
            width=featurizer.width,
            runtime=settings.runtime,
            storage=FolderStorage(str(self._landing)),
            landing=uri_of(self._landing),
            label=settings.label,
            pixel_limit=settings.pixel_limit,
            byte_limit=settings.byte_limit,
            decode_seconds=settings.decode_seconds,
        )
        rows = sizing.rows(self.totals.featurizers[featurizer.id].rate, settings.batch_pictures)
        every = f"{int(settings.trigger * 1000)} milliseconds"
        return Pipeline(
            spark=spark,
            lake=self._lake,
            featurizer=featurizer.id,
            work=work,
            admission=sizing.admission(rows, self._arrivals.bytes_per_row()),
            partitions=sizing.tasks(self._cores, len(self._featurizers), spark.sparkContext.defaultParallelism),
            rows_per_commit=rows,
            trigger={"availableNow": True} if settings.once else {"processingTime": every},
        )

    def _standing(self, featurizer: Featurizer, before: Former) -> Standing:
        # What the last run measured; the first one goes by the backbone alone, decoding left out.
        predicted = self._cores / featurizer.manifest.seconds_per_picture / len(self._featurizers)
        rate = before.rates.get(featurizer.id) or predicted
        return Standing(rate=rate, audited_at=before.audits.get(featurizer.id) or _now())

    def _count(self) -> None:
        """Take the number of outcomes from the table's log."""
        for name, standing in self.totals.featurizers.items():
            standing.outcomes = count_rows(self._lake.table(FEATURES), featurizer=name)

    def _rows_per_file(self) -> int:
        # The slowest featurizer's: a micro-batch takes whole files.
        slowest = min(each.rate for each in self.totals.featurizers.values())
        return sizing.rows(slowest, self._settings.batch_pictures)

    def _announce(self) -> None:
        totals = self.totals
        logger().info(
            "stream started",
            extra=fields(
                featurizers=list(totals.featurizers), backlog=totals.backlog, seconds_left=round(totals.seconds_left)
            ),
        )
        if totals.backlog:
            self._say(f"{totals.backlog:,} outcomes to make, about {duration(totals.seconds_left)}")

    def _discover_or_wait(self) -> None:
        try:
            self.discover()
            self._trouble = ""
        except DeniedError:
            raise
        except (LandingError, StorageError) as error:
            # The world's fault: the next poll finds the same pictures.
            if str(error) != self._trouble:
                logger().warning("discovery failed and will be repeated", extra=fields(error=str(error)))
            self._trouble = str(error)

    def _answer(self, request: requests.Request) -> requests.Answer:
        if requests.stops(request, self._lake):
            self._stop.set()
            return requests.Answer("the stream lets its running micro-batches commit, then ends")
        if not needs_pause(request):
            return self._executed(request)
        with self._crew.paused(self._take):
            answer = self._executed(request)
            self._take()
            self._count()
        return answer

    def _executed(self, request: requests.Request) -> requests.Answer:
        answer = execute(
            request,
            self._lake,
            self._arrivals,
            self._rows_per_file(),
            self._settings.vacuum_days,
            streamed=[each.id for each in self._featurizers],
            upkeep=self._upkeep,
        )
        logger().info("request", extra=fields(kind=request.kind, id=request.id, answer=answer.sentence))
        return answer

    def _upkeep(self, *, queries_run: bool = False) -> requests.Answer:
        days, now = self._settings.vacuum_days, datetime.now(UTC)
        answer = upkeeping.keep_up(self._lake, days, self._rows_per_file(), now, queries_run=queries_run)
        self.totals.upkeep_at = _now()
        return answer

    def _upkeep_or_wait(self) -> None:
        try:
            if upkeeping.needs_pause(self._lake, datetime.now(UTC)):
                with self._crew.paused(self._take):
                    self._upkeep()
            else:
                self._upkeep(queries_run=self._crew.running)
        except (StorageError, LakeError, DeltaError, OSError) as error:
            logger().warning("upkeep failed and will be repeated", extra=fields(error=str(error)))

    def _take(self) -> None:
        while not self._finished.empty():
            name, batch = self._finished.get()
            self.totals.add(name, batch, sizing.TELLING_ROWS)
            self._tell()
            logger().info(
                "micro-batch",
                extra=fields(
                    featurizer=name,
                    **described(batch),
                    backlog=self.totals.backlog,
                    seconds_left=round(self.totals.seconds_left),
                ),
            )

    def _tell(self) -> None:
        self.totals.landed = self._discovery.arrived
        for name, state in self._crew.states().items():
            self.totals.featurizers[name].state = state
        self._report(self.totals)
        self._file.write(self.totals)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _left(interval: float, since: str) -> float:
    """Return the seconds of an interval that are left of those since a moment; none where it is not known."""
    if not since:
        return 0.0
    return max(0.0, interval - (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
