"""The streaming leg: discovery fills `arrivals`, one query for each featurizer turns them into `features`."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

from deltalake.exceptions import DeltaError
from pyspark.errors import PySparkException

from conf import access, lease
from conf.access import Access
from conf.errors import DeniedError, LakeError, LandingError, LeaseUnsure, StorageError, first_line
from conf.lake import LakePaths, create_lake, keep_apart
from conf.logs import fields, logger
from conf.retrying import RETRIED, Backoff
from conf.session import check_java, on_cluster, parse_spark_conf, session
from conf.settings import Settings
from conf.tables import ARRIVALS, FEATURES, add_constraints, count_rows
from conf.uris import FILE_SCHEME
from streaming import sizing, upkeeping
from streaming.arrivals import Arrivals
from streaming.backbones import memory
from streaming.backbones.featurizer import Featurizer, ensure_all, requests_of
from streaming.clock import Clock
from streaming.commands import inbox, requests
from streaming.commands.execution import LEG, execute, needs_pause
from streaming.crew import Crew
from streaming.discovery.polling import Discovery
from streaming.discovery.zone import Zone, zone
from streaming.keeper import Keeper
from streaming.landing import labeller
from streaming.pipeline import Pipeline
from streaming.progress import MicroBatch, described
from streaming.totals import Former, ReportFile, Standing, Totals, duration, former
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
_RETRIES_EVERY = 30.0

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
        leg.take_requests()
        leg.patiently(leg.discover)
        drained = settings.once and leg.settle_and_drained()
        if not drained and not stop.is_set():
            say("starting Spark")
            slots = sizing.slots(_cores(settings), len(featurizers))
            with sessions("verger stream", cores=slots, extra=extra, lake=str(lake.root)) as spark:
                leg.stream(spark)
        leg.close()
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
        self._report = report
        self._say = say
        self._cores = _cores(settings)
        self._arrivals = Arrivals(lake.table(ARRIVALS))
        notices = landing.notices() if landing.notices else None
        self._discovery = Discovery(landing.listing, self._arrivals, lake.tombstones, notices, settings.reconcile)
        before = former(lake.report(LEG), sizing.TELLING_ROWS)
        self._clock = Clock(
            {
                "poll": landing.poll,
                "requests": _REQUESTS_EVERY[lake.remote],
                "upkeep": settings.upkeep,
                "retries": _RETRIES_EVERY,
            },
            first={"upkeep": _left(settings.upkeep, before.upkeep_at)},
        )
        self._finished: SimpleQueue[tuple[str, MicroBatch]] = SimpleQueue()
        self._trouble = ""
        self._retried: Accumulator[int] | None = None
        self._fetched_again = 0
        self._crew = Crew([])
        self.totals = Totals(
            featurizers={each.id: self._standing(each, before) for each in featurizers}, upkeep_at=before.upkeep_at
        )
        self._count()
        self._file = ReportFile(lake.report(LEG), {"landing": landing.uri}, _REPORT_EVERY[lake.remote])

    def discover(self) -> None:
        """Look at the landing and bring the totals up to date."""
        self._held.check()
        sighting = self._discovery.poll(self._rows_per_file())
        self.totals.waiting, self.totals.passed_over = sighting.young, sighting.passed_over
        self._tell()

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

    def stream(self, spark: "SparkSession") -> None:
        """Run the queries, and everything else beside them, until the end."""
        if on_cluster():
            self._cores = spark.sparkContext.defaultParallelism
        self.patiently(lambda: add_constraints(spark, FEATURES, self._lake.table(FEATURES)))
        self.patiently(lambda: upkeeping.prepare(self._lake, self._settings.vacuum_days))
        if self._clock.due("upkeep"):
            self._upkeep_or_wait()
        self._retried = spark.sparkContext.accumulator(0)
        self._announce()
        with Crew([self._keeper(spark, each) for each in self._featurizers]).working() as self._crew:
            while self._crew.at_work and not self._stop.is_set():
                self._beat()
        self._take()
        self._tell()
        self._tell_of_retries()
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
        try:
            self._held.check()
        except LeaseUnsure as error:
            # The store is silent. Queries may go on: their workers ask for themselves whose the lake is.
            logger().warning("the lease is late", extra=fields(error=str(error)))
            self._stop.wait(_UNSURE)
            return
        self._take()
        if self._clock.due("requests"):
            self.take_requests()
        if not self._settings.once and (self._discovery.unfinished or self._clock.due("poll")):
            self._discover_or_wait()
        if not self._settings.once and self._clock.due("upkeep"):
            self._upkeep_or_wait()
        if self._clock.due("retries"):
            self._tell_of_retries()
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
            check=self._held.check,
            tries_once=_TRIES_ONCE[self._remote],
        )

    def _pipeline(self, spark: "SparkSession", featurizer: Featurizer) -> Pipeline:
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
        rows = sizing.rows(self.totals.featurizers[featurizer.id].rate, settings.batch_pictures)
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
            if self._lake.remote or upkeeping.needs_pause(self._lake, datetime.now(UTC)):
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

    def _tell_of_retries(self) -> None:
        """Say how many calls to object stores were made again, by this process and by the workers."""
        counts = dict(RETRIED.taken())
        workers = self._retried.value if self._retried else 0
        if workers > self._fetched_again:
            counts["fetch"] = counts.get("fetch", 0) + workers - self._fetched_again
            self._fetched_again = workers
        if counts:
            logger().info("calls were made again", extra=fields(**counts))

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
