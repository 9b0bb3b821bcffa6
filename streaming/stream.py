"""The streaming leg: discovery fills `arrivals`, one query for each featurizer turns them into `features`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Event
from typing import TYPE_CHECKING

from deltalake.exceptions import DeltaError
from pyspark.errors import PySparkException

from conf import access, lease
from conf.access import Access
from conf.errors import DeniedError, LakeError, LandingError, LeaseUnsure, StorageError, first_line
from conf.lake import LakePaths, create_lake, keep_apart
from conf.logs import fields, logger
from conf.retrying import Backoff
from conf.schemas import ARRIVALS, FEATURES
from conf.session import check_java, on_cluster, on_demand, parse_spark_conf, session
from conf.settings import Settings
from conf.tables import add_constraints
from conf.uris import FILE_SCHEME
from streaming import books, sizing, upkeeping
from streaming.arrivals import Arrivals
from streaming.audit import Audit
from streaming.backbones import memory
from streaming.backbones.featurizer import Featurizer, ensure_all, requests_of
from streaming.books import Books, Report
from streaming.chores import Chores
from streaming.clock import Clock, left
from streaming.commands.execution import LEG
from streaming.crew import Crew
from streaming.discovery.polling import Discovery
from streaming.discovery.zone import Zone, zone
from streaming.keeper import Keeper
from streaming.landing import labeller
from streaming.pacing import Pace
from streaming.pipeline import Pipeline
from streaming.totals import ReportFile, Totals, duration, former
from streaming.worker import Work

if TYPE_CHECKING:
    from pyspark import Accumulator
    from pyspark.sql import SparkSession

_TICK = 0.2
# Seconds, in a folder and on S3, where each look and each report is paid for.
_REQUESTS_EVERY = (1.0, 5.0)
_REPORT_EVERY = (2.0, 15.0)
_TRIGGER = (1.0, 3.0)
_PATIENCE = 8
# Of a query of a run that ends once all is drained.
_TRIES_ONCE = (3, 6)
_UNSURE = 5.0
_BOOKS_EVERY = 30.0

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
        Makes the Spark session, as `conf.session.session` does; asked for one at once on YARN, elsewhere only
        where something has landed.

    Returns
    -------
    Totals
        Where the run ended.

    Raises
    ------
    VergerError
        Nothing is lost; the next run goes on from the checkpoints, or from the tables.
    """
    access.use(Access(settings.s3_endpoint, settings.s3_region))
    landing = zone(settings)
    keep_apart(settings.landing, settings.lake)
    labeller(settings.label, landing.uri)
    extra = {"spark.sql.execution.pyspark.udf.idleTimeoutSeconds": str(settings.idle_timeout)}
    extra |= parse_spark_conf(settings.spark_conf)
    wishes = requests_of(settings)
    check_java()
    lake = create_lake(settings.lake)
    with _held(settings, lake, stop, say) as held:
        featurizers = ensure_all(wishes, lake.backbones, say, settings.runtime)
        if not on_cluster():
            _check_memory(settings, featurizers)
        leg = _Leg(settings, landing, lake, held, featurizers, stop, report, say)

        def start() -> AbstractContextManager[SparkSession]:
            say("starting Spark")
            slots = sizing.slots(_cores(settings), len(featurizers))
            return sessions("verger stream", cores=slots, extra=extra, lake=str(lake.root))

        with leg.books.kept(held.check), on_demand(start) as spark:
            leg.chores.take_requests()
            leg.patiently(leg.discover)
            drained = settings.once and leg.settle_and_drained()
            if not drained and not stop.is_set():
                leg.stream(spark())
        return leg.totals


def _cores(settings: Settings) -> int:
    return settings.cores or os.cpu_count() or 1


def _held(settings: Settings, lake: LakePaths, stop: Event, say: Say) -> AbstractContextManager[lease.Lease]:
    """Hold the lease of the leg; a run that loses it ends."""
    place = lake.lease(LEG)
    return lease.hold(place, seconds=settings.lease, say=say, on_lost=stop.set, sleep=_until(stop))


def _until(stop: Event) -> Callable[[float], None]:
    """Return a function that sleeps, unless the run is to end: then it raises."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise LakeError("stopped while it waited for the lease of the lake")

    return sleep


def _check_memory(settings: Settings, featurizers: list[Featurizer]) -> None:
    manifests = [each.manifest for each in featurizers]
    prediction = memory.check(manifests, _cores(settings), settings.pixel_limit, settings.runtime)
    logger().info("memory", extra=fields(prediction=prediction))


class _Leg:
    """One run of the leg: discovery, requests and upkeep in one loop, beside the queries that keepers hold alive."""

    def __init__(
        self,
        settings: Settings,
        landing: Zone,
        lake: LakePaths,
        held: lease.Lease,
        featurizers: list[Featurizer],
        stop: Event,
        report: Report,
        say: Say,
    ) -> None:
        self._settings = settings
        self._lake = lake
        self._landing = landing
        self._held = held
        self._remote = lake.remote or not landing.uri.startswith(FILE_SCHEME)
        self._featurizers = featurizers
        self._stop = stop
        self._say = say
        self._cores = _cores(settings)
        self._arrivals = Arrivals(lake.table(ARRIVALS))
        self._discovery = Discovery(
            landing.listing, self._arrivals, lake.tombstones, landing.notices, settings.reconcile
        )
        before = former(lake.report(LEG), sizing.TELLING_ROWS)
        self._clock = Clock(
            {
                "poll": landing.poll,
                "requests": _REQUESTS_EVERY[lake.remote],
                "upkeep": settings.upkeep,
                "books": _BOOKS_EVERY,
            },
            first={"upkeep": left(settings.upkeep, before.upkeep_at)},
        )
        self._trouble = ""
        self._pace: Pace | None = None
        self._retried: Accumulator[int] | None = None
        self.books = Books(
            lake,
            featurizers,
            self._cores,
            before,
            settings.batch_pictures,
            ReportFile(lake.report(LEG), {"landing": landing.uri}, _REPORT_EVERY[lake.remote]),
            report,
            arrived=lambda: self._discovery.arrived,
            states=lambda: self.chores.crew.states(),
        )
        self.totals = self.books.totals
        self.chores = Chores(lake, held, settings, self._arrivals, self.books, [each.id for each in featurizers], stop)

    def discover(self) -> None:
        """Look at the landing and bring the totals up to date."""
        self._held.check()
        before, rows = self._discovery.arrived, self.books.rows_per_file()
        sighting = self._discovery.poll(rows)
        self.totals.waiting, self.totals.passed_over = sighting.young, sighting.passed_over
        self.books.tell()
        if self._pace:
            self._pace.looked(before, self.totals.landed, rows)

    def settle_and_drained(self) -> bool:
        """Wait at most the settle time for the youngest files; return whether nothing is left to featurize."""
        while self._discovery.unfinished and not self._stop.is_set():
            self.patiently(self.discover)
        deadline = time.monotonic() + self._settings.settle
        while self.totals.waiting and time.monotonic() < deadline and not self._stop.is_set():
            self._stop.wait(min(_TICK, self._settings.settle))
            self.patiently(self.discover)
        return all(each.outcomes == self.totals.landed for each in self.totals.featurizers.values())

    def patiently(self, step: Callable[[], None]) -> None:
        """Repeat a step that an object store prevents for now; what a folder prevents is raised at once."""
        backoff = Backoff(first=0.5, cap=30.0)
        while True:
            try:
                step()
            except (StorageError, LeaseUnsure, DeltaError, OSError, PySparkException) as error:
                if not self._remote or isinstance(error, DeniedError) or backoff.tries >= _PATIENCE:
                    raise
                logger().warning("an object store does not answer as it should", extra=fields(error=first_line(error)))
            else:
                return
            if self._stop.wait(backoff.next()):
                return

    def stream(self, spark: SparkSession) -> None:
        """Run the queries, and everything else beside them, until the end."""
        if on_cluster():
            self._cores = spark.sparkContext.defaultParallelism
        self.patiently(lambda: add_constraints(spark, FEATURES, self._lake.table(FEATURES)))
        self.patiently(lambda: upkeeping.prepare(self._lake, self._settings.vacuum_days))
        if self._clock.due("upkeep"):
            self.chores.upkeep_or_wait()
        self._retried = spark.sparkContext.accumulator(0)
        self._announce()
        pipelines = {each.id: self._pipeline(spark, each) for each in self._featurizers}
        self._pace = Pace({name: each.admission for name, each in pipelines.items()})
        with Crew([self._keeper(*each) for each in pipelines.items()]).working() as self.chores.crew:
            while self.chores.crew.at_work and not self._stop.is_set():
                self._beat()
        self.books.take()
        self.books.tell()
        self.books.tell_of_retries(self._retried.value if self._retried else 0)
        logger().info("stream stopped", extra=fields(featurized=self.totals.featurized, backlog=self.totals.backlog))

    def _beat(self) -> None:
        try:
            self._held.check()
        except LeaseUnsure as error:
            # The store is silent. Queries may go on: their workers ask for themselves whose the lake is.
            logger().warning("the lease is late", extra=fields(error=str(error)))
            self._stop.wait(_UNSURE)
            return
        self.books.take()
        if self._clock.due("requests"):
            self.chores.take_requests()
        if not self._settings.once and self._is_to_look():
            self._discover_or_wait()
        if not self._settings.once and self._clock.due("upkeep"):
            self.chores.upkeep_or_wait()
        if self._clock.due("books"):
            self.books.tell()
            self.books.tell_of_retries(self._retried.value if self._retried else 0)
        self._stop.wait(_TICK)

    def _is_to_look(self) -> bool:
        outcomes = {name: each.outcomes for name, each in self.totals.featurizers.items()}
        allowed = self._pace is None or self._pace.allows(outcomes, self.totals.landed)
        return allowed and (self._discovery.unfinished or self._clock.due("poll"))

    def _keeper(self, featurizer: str, pipeline: Pipeline) -> Keeper:
        standing = self.totals.featurizers[featurizer]

        def audited() -> None:
            standing.audited_at = books.now()

        return Keeper(
            pipeline,
            took=lambda batch: self.books.put(featurizer, batch),
            once=self._settings.once,
            audit=Audit(pipeline, self._settings.audit, left(self._settings.audit, standing.audited_at), audited),
            check=self._held.check,
            tries_once=_TRIES_ONCE[self._remote],
        )

    def _pipeline(self, spark: SparkSession, featurizer: Featurizer) -> Pipeline:
        settings = self._settings
        work = Work(
            backbone=featurizer.manifest.backbone,
            model=str(featurizer.model),
            width=featurizer.width,
            runtime=settings.runtime,
            storage=self._landing.storage,
            landing=self._landing.uri,
            label=settings.label,
            pixel_limit=settings.pixel_limit,
            byte_limit=settings.byte_limit,
            decode_seconds=settings.decode_seconds,
            retried=self._retried,
            fence=self._held.fence,
        )
        rows = self.books.rows_of(featurizer.id)
        trigger = settings.trigger if settings.trigger >= 0 else _TRIGGER[self._lake.remote]
        every = f"{int(trigger * 1000)} milliseconds"
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
        except (LandingError, StorageError, LeaseUnsure) as error:
            # The world's fault: the next poll finds the same pictures.
            if str(error) != self._trouble:
                logger().warning("discovery failed and will be repeated", extra=fields(error=str(error)))
            self._trouble = str(error)
