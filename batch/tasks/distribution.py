"""Where the shares of a table are worked on: by Spark's workers, or in this process."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from batch.rows.parts import PartGone
from conf import access
from conf.access import Access
from conf.errors import StorageError
from conf.saying import Say

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_FAN_IN = 8
# What a worker finds out about the world, and how Python writes that below a trace.
_TOLD = {f"{each.__module__}.{each.__name__}": each for each in (PartGone, StorageError)}
_RAISED = re.compile(rf"^({'|'.join(map(re.escape, _TOLD))}): (.*)$", re.MULTILINE)
Share = TypeVar("Share")
Made = TypeVar("Made")
# A generator of record batches; a module's function or a `functools.partial` of one, as it travels to other processes.
Work = Callable[[Share], Iterator[pa.RecordBatch]]
Combine = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
# Told how many shares are done and how many there are, now and then, perhaps by another thread.
Told = Callable[[float, float], None]
_LOOK_EVERY = 0.5


def nobody(done: float, total: float) -> None:
    """Take no notice."""


def in_pictures(say: Say, step: str, n: int) -> Told:
    """Say a step, and return what tells how far it is: in pictures, of which there are `n`, as if shares were equal."""
    say(step)
    return lambda done, total: say(step, n * done / total, n)


class Distribution(Protocol):
    """Has work done on shares, each by one task."""

    @property
    def tasks(self) -> int:
        """How many run side by side."""

    def rows(self, work: Work[Share], shares: Sequence[Share], schema: pa.Schema, told: Told = nobody) -> pa.Table:
        """Return the rows of all tasks, in any order; `told` hears how many are done."""

    def combined(
        self, work: Work[Share], combine: Combine, shares: Sequence[Share], schema: pa.Schema, told: Told = nobody
    ) -> pa.Table:
        """Return the one row into which `combine` makes the rows of all tasks, of which there is at least one.

        They are combined in levels, by tasks: nobody ever holds more than two of them, and this process only the last.
        """


@dataclass(frozen=True)
class Here:
    """Threads of this process; Arrow and the linear algebra run outside of Python's lock."""

    tasks: int = os.cpu_count() or 1

    def rows(self, work: Work[Share], shares: Sequence[Share], schema: pa.Schema, told: Told = nobody) -> pa.Table:
        """Return the rows of all tasks."""
        with ThreadPoolExecutor(self.tasks) as threads:
            parts = list(_counted(threads.map(lambda share: list(work(share)), shares), len(shares), told))
        return pa.Table.from_batches([batch for part in parts for batch in part], schema)

    def combined(
        self, work: Work[Share], combine: Combine, shares: Sequence[Share], schema: pa.Schema, told: Told = nobody
    ) -> pa.Table:
        """Return the one row that the rows of all tasks make."""
        if len(shares) == 1:
            return pa.Table.from_batches(work(shares[0]), schema)
        with ThreadPoolExecutor(self.tasks) as threads:
            made = _counted(threads.map(lambda share: list(work(share)), shares), len(shares), told)
            return pa.Table.from_batches(combine(batch for part in made for batch in part), schema)


@dataclass(frozen=True)
class OnSpark:
    """Spark's workers: each task reads its files itself, and only what it makes of them passes through the JVM.

    Attributes
    ----------
    spark : SparkSession
    way : Access
        How the workers reach the lake.
    """

    spark: SparkSession
    way: Access = field(default_factory=Access)

    @property
    def tasks(self) -> int:
        """How many run side by side."""
        return self.spark.sparkContext.defaultParallelism

    def rows(self, work: Work[Share], shares: Sequence[Share], schema: pa.Schema, told: Told = nobody) -> pa.Table:
        """Return the rows of all tasks."""
        frame = self._dealt(work, shares, schema)
        with _as_raised(), self._followed(len(shares), told):
            return frame.toArrow()

    def combined(
        self, work: Work[Share], combine: Combine, shares: Sequence[Share], schema: pa.Schema, told: Told = nobody
    ) -> pa.Table:
        """Return the one row that the rows of all tasks make."""
        from pyspark.sql import functions as F

        frame, partitions = self._dealt(work, shares, schema), len(shares)
        while partitions > 1:
            partitions = math.ceil(partitions / _FAN_IN)
            slots = frame.withColumn("slot", F.spark_partition_id() % partitions)
            frame = slots.repartitionById(partitions, "slot").drop("slot")
            frame = frame.mapInArrow(_combining(combine), _spark_type(schema))
        with _as_raised(), self._followed(len(shares), told):
            return frame.toArrow()

    @contextmanager
    def _followed(self, count: int, told: Told) -> Iterator[None]:
        """Tell how many of a job's `count` first tasks are done, while it runs."""
        if told is nobody:
            yield
            return
        ended = Event()
        watching = Thread(target=self._watch, args=(count, told, ended), daemon=True)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()
        told(count, count)

    def _watch(self, count: int, told: Told, ended: Event) -> None:
        tracker, most = self.spark.sparkContext.statusTracker(), 0
        while not ended.wait(_LOOK_EVERY):
            # A session that is being stopped answers nothing.
            with suppress(Exception):
                jobs = [tracker.getJobInfo(job) for job in tracker.getActiveJobsIds()]
                stages = [tracker.getStageInfo(stage) for job in jobs if job for stage in job.stageIds]
                most = max([most, *(each.numCompletedTasks for each in stages if each and each.numTasks == count)])
            if most:
                told(most, count)

    def _dealt(self, work: Work[Share], shares: Sequence[Share], schema: pa.Schema) -> DataFrame:
        way = self.way

        def run(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            access.use(way)
            for batch in numbers:
                for number in batch.column("id").to_pylist():
                    yield from work(shares[number])

        # A partition for each share: the one row in it is the share's number.
        return self.spark.range(0, len(shares), 1, len(shares)).mapInArrow(run, _spark_type(schema))  # type: ignore[arg-type]


def _counted(results: Iterator[Made], total: int, told: Told) -> Iterator[Made]:
    for done, each in enumerate(results, 1):
        told(done, total)
        yield each


@contextmanager
def _as_raised() -> Iterator[None]:
    """Raise what a worker raised as what it was: Spark tells of it in the last line of a text."""
    from pyspark.errors.exceptions.captured import PythonException

    try:
        yield
    except PythonException as error:
        # Its text as such: `str` asks the JVM.
        told = _RAISED.findall(error._desc or "")
        if not told:
            raise
        name, text = told[-1]
        raise _TOLD[name](text) from error


def _combining(combine: Combine) -> Any:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches, None)
        if first is not None:
            yield from combine(_led(first, batches))

    return run


def _led(first: pa.RecordBatch, others: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from others


def _spark_type(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)
