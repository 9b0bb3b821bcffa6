"""One featurizer's way from arrivals to features: what its keeper starts, compares and completes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from conf import compaction
from conf.lake import LakePaths
from conf.schemas import ARRIVALS, FEATURES
from conf.tables import count_rows
from streaming import adoption, checkpoints, query
from streaming.adoption import Gap
from streaming.progress import MicroBatch
from streaming.worker import Work

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.query import StreamingQuery


@dataclass(frozen=True)
class Pipeline:
    """Everything that one featurizer's query is made of.

    Attributes
    ----------
    spark : SparkSession
    lake : LakePaths
    featurizer : str
        Its id, which names the query, its checkpoint and its pool of the fair scheduler, too.
    work : Work
        What the workers do.
    admission : Admission
        How much a micro-batch takes.
    partitions : int
        Tasks of a micro-batch.
    rows_per_commit : int
        Pictures per commit where a gap is filled.
    trigger : dict
        As `DataStreamWriter.trigger` takes it.
    """

    spark: "SparkSession"
    lake: LakePaths
    featurizer: str
    work: Work
    admission: query.Admission
    partitions: int
    rows_per_commit: int
    trigger: dict[str, str | bool]

    def enter_pool(self) -> None:
        """Let the jobs of the calling thread share the cores fairly with those of the other featurizers."""
        self.spark.sparkContext.setLocalProperty("spark.scheduler.pool", self.featurizer)

    def fault(self) -> str:
        """Return why the checkpoint does not belong to the tables; empty where it does."""
        return checkpoints.fault(self.lake, self.featurizer)

    def gap(self) -> Gap:
        """Return the arrivals that have no outcome, whatever the query has read so far."""
        return adoption.gap(self.lake, self.featurizer)

    def lacking(self) -> int:
        """Return how many more arrivals there are than outcomes; asked of the tables' logs alone."""
        outcomes = count_rows(self.lake.table(FEATURES), featurizer=self.featurizer)
        return count_rows(self.lake.table(ARRIVALS)) - outcomes

    def gap_behind(self) -> Gap | None:
        """Return the arrivals without an outcome among those that the query has dealt with, None in a micro-batch."""
        found = checkpoints.position(self.lake.checkpoint(self.featurizer))
        if found is None or found.in_snapshot or found.planned != found.committed or found.version < 1:
            return None
        return adoption.gap(self.lake, self.featurizer, found.version - 1)

    def fill(self, rows: pa.Table, took: Callable[[MicroBatch], None], stop: Callable[[], bool]) -> bool:
        """Give each of `rows` its outcome; see `streaming.adoption.fill`."""

        def append(chunk: pa.Table, application: str, transaction: int) -> None:
            arrivals = self.spark.createDataFrame(chunk)
            features = query.featurized(arrivals, self.work, self.partitions)
            took(query.append(features, self.lake.table(FEATURES), application, transaction))

        return adoption.fill(self.lake, self.featurizer, rows, self.rows_per_commit, append, stop)

    @property
    def compacts_at_rest(self) -> bool:
        """Whether features are compacted only while no query writes them.

        On S3 Spark looks whether a version is there and then puts it: it would overwrite one that delta-rs has put in
        between.
        """
        return self.lake.remote

    def compact(self) -> int:
        """Merge the small files that micro-batches leave, beside them; see `conf.compaction.compact`."""
        return compaction.compact(self.lake.table(FEATURES), featurizer=self.featurizer)

    def set_aside(self, why: str) -> None:
        """Move the checkpoint out of the way."""
        checkpoints.set_aside(self.lake, self.featurizer, why)

    def version_after(self, version: int) -> int:
        """Return the version of arrivals from which a query goes on after `version`."""
        return adoption.version_after(self.lake, version)

    def start(self, since: int | None) -> "StreamingQuery":
        """Start the query, from its checkpoint or else from a version of arrivals or its present snapshot."""
        arrivals = query.read_arrivals(self.spark, self.lake.table(ARRIVALS), self.admission, since)
        return query.start(
            query.featurized(arrivals, self.work, self.partitions),
            self.lake.table(FEATURES),
            self.lake.checkpoint(self.featurizer),
            name=self.featurizer,
            trigger=self.trigger,
        )
