"""The streaming leg: discovery fills `arrivals`, the query turns them into `features`, until told to stop."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from conf import lease
from conf.errors import LakeError, LandingError, StorageError, StreamError, UsageError
from conf.lake import LakePaths, create_lake, keep_apart
from conf.logs import fields, logger
from conf.session import check_java, parse_spark_conf, session
from conf.settings import Settings
from conf.storage import FolderStorage
from conf.tables import ARRIVALS, FEATURES, add_constraints, count_rows
from conf.uris import folder_of, uri_of
from streaming import query
from streaming.arrivals import Arrivals
from streaming.discovery import Discovery
from streaming.featurizer import Featurizer, ensure, request_of
from streaming.landing import labeller, parse_skip
from streaming.listing import FolderListing
from streaming.progress import ProgressReader, described, stamp
from streaming.totals import ReportFile, Totals, last_rate
from streaming.worker import Work

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

LEG = "stream"
# The quantum of freshness: how much work one micro-batch should be.
_BATCH_SECONDS = 10
_FEWEST_ROWS, _MOST_ROWS = 64, 100_000
# Admission takes whole files until the bound is passed: a little less than one full file admits exactly that one.
_FULL_FILE_SHARE = 0.8
_TICK = 0.2

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
        Set from a signal handler: the running micro-batch is finished, then the run ends.
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
        Nothing is lost; the next run goes on from the checkpoint.
    """
    landing = _landing(settings)
    keep_apart(landing, folder_of(settings.lake, "lake"))
    labeller(settings.label, uri_of(landing))
    extra = parse_spark_conf(settings.spark_conf)
    request = request_of(settings)
    check_java()
    lake = create_lake(settings.lake)
    with lease.hold(lake.lease(LEG)):
        featurizer = ensure(request, lake.backbones, say)
        leg = _Leg(settings, landing, lake, featurizer, stop, report)
        leg.discover()
        drained = settings.once and leg.settle_and_drained()
        if not drained and not stop.is_set():
            say("starting Spark")
            with sessions("verger stream", cores=settings.cores, extra=extra) as spark:
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


class _Leg:
    """One run of the leg: discovery and query side by side in one loop."""

    def __init__(
        self, settings: Settings, landing: Path, lake: LakePaths, featurizer: Featurizer, stop: Event, report: Report
    ) -> None:
        self._settings = settings
        self._lake = lake
        self._landing = landing
        self._featurizer = featurizer
        self._stop = stop
        self._report = report
        self._arrivals = Arrivals(lake.table(ARRIVALS))
        listing = FolderListing(landing, parse_skip(settings.skip_extensions), settings.settle)
        self._discovery = Discovery(listing, self._arrivals)
        self._outcomes = count_rows(lake.table(FEATURES), featurizer=featurizer.id)
        self._cores = settings.cores or os.cpu_count() or 1
        self._trouble = ""
        # What the last run measured; the first one goes by the backbone alone, decoding left out.
        self._rate = last_rate(lake.report(LEG), featurizer.id, at_least=_FEWEST_ROWS)
        self.totals = Totals()
        self._file = ReportFile(lake.report(LEG), {"landing": uri_of(landing), "featurizer": featurizer.id})

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
        return self._outcomes == self._discovery.arrived

    def stream(self, spark: "SparkSession") -> None:
        """Run the query, and discovery beside it, until the end."""
        self._cores = spark.sparkContext.defaultParallelism
        add_constraints(spark, FEATURES, self._lake.table(FEATURES))
        running = self._start(spark)
        logger().info("stream started", extra=fields(featurizer=self._featurizer.id, backlog=self.totals.backlog))
        progress = ProgressReader(running)
        next_poll = time.monotonic() + self._settings.poll
        while running.isActive and not self._stop.is_set():
            self._take(progress)
            if not self._settings.once and time.monotonic() >= next_poll:
                self._discover_or_wait()
                next_poll = time.monotonic() + self._settings.poll
            self._stop.wait(_TICK)
        _finish(running)
        self._take(progress)
        failure = running.exception()
        if failure is not None:
            raise StreamError(f"the query failed: {_reason(str(failure))}; the next run goes on where it was")
        logger().info("stream stopped", extra=fields(featurized=self.totals.featurized, backlog=self.totals.backlog))

    def close(self) -> None:
        """Leave the last word in the lake, for `verger status`."""
        self._file.write(self.totals, now=True)

    def _start(self, spark: "SparkSession") -> "StreamingQuery":
        settings, lake = self._settings, self._lake
        self._check_checkpoint()
        work = Work(
            backbone=self._featurizer.manifest.backbone,
            model=str(self._featurizer.model),
            storage=FolderStorage(str(self._landing)),
            landing=uri_of(self._landing),
            label=settings.label,
            pixel_limit=settings.pixel_limit,
            byte_limit=settings.byte_limit,
        )
        full_file = self._rows_per_file() * self._arrivals.bytes_per_row()
        admission = query.Admission(max_bytes=max(1, int(full_file * _FULL_FILE_SHARE)))
        every = f"{int(settings.trigger * 1000)} milliseconds"
        arrivals = query.read_arrivals(spark, lake.table(ARRIVALS), admission)
        return query.start(
            query.featurized(arrivals, work, self._cores),
            lake.table(FEATURES),
            lake.checkpoint(self._featurizer.id),
            name=self._featurizer.id,
            trigger={"availableNow": True} if settings.once else {"processingTime": every},
        )

    def _check_checkpoint(self) -> None:
        """Refuse a checkpoint and a table that do not belong together, which would double or lose pictures."""
        checkpoint = Path(self._lake.checkpoint(self._featurizer.id))
        planned, committed = (any((checkpoint / each).glob("[0-9]*")) for each in ("offsets", "commits"))
        if (self._outcomes and not planned) or (committed and not self._outcomes):
            raise LakeError(
                f"the checkpoint {checkpoint} and the {self._outcomes:,} outcomes in the features table do not belong "
                "together: restore what was lost, or stream into a new lake"
            )

    def _rows_per_file(self) -> int:
        if self._settings.batch_pictures:
            return self._settings.batch_pictures
        last = self.totals.last
        if last is not None and last.pictures >= _FEWEST_ROWS:
            self._rate = last.rate
        rate = self._rate or self._cores / self._featurizer.manifest.seconds_per_picture
        return min(max(int(rate * _BATCH_SECONDS), _FEWEST_ROWS), _MOST_ROWS)

    def _discover_or_wait(self) -> None:
        try:
            self.discover()
            self._trouble = ""
        except (LandingError, StorageError) as error:
            # The world's fault: the next poll finds the same pictures.
            if str(error) != self._trouble:
                logger().warning("discovery failed and will be repeated", extra=fields(error=str(error)))
            self._trouble = str(error)

    def _take(self, progress: ProgressReader) -> None:
        for batch in progress.fresh():
            self._outcomes += batch.pictures
            self.totals.featurized += batch.pictures - batch.rejected
            self.totals.rejections.update(batch.rejections)
            self.totals.last = batch
            self._tell()
            logger().info("micro-batch", extra=fields(**described(batch), backlog=self.totals.backlog))

    def _tell(self) -> None:
        self.totals.landed = self._discovery.arrived
        self.totals.backlog = max(0, self._discovery.arrived - self._outcomes)
        self._report(self.totals)
        self._file.write(self.totals)


def _finish(running: "StreamingQuery") -> None:
    """Let the running micro-batch commit, then stop the query; a batch that begins meanwhile is planned again later."""
    before = stamp(running)
    while running.isActive and running.status["isTriggerActive"] and stamp(running) == before:
        time.sleep(_TICK / 2)
    running.stop()


def _reason(text: str) -> str:
    """Return the one line that matters of a query's failure: a worker's own exception, else the first."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    python = [place for place, line in enumerate(lines) if line.endswith("Traceback (most recent call last):")]
    raised = [line for line in lines[python[-1] + 1 :] if not line[0].isspace()] if python else lines
    return raised[0] if raised else "no reason given"
