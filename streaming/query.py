"""The Structured Streaming query: arrivals in, features out. Tests feed the same builder from memory streams."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import Observation
from pyspark.sql import functions as F

from conf.rejections import Reason
from conf.schemas import FEATURES
from conf.uris import Place, located
from streaming.progress import METRICS, MicroBatch, measured
from streaming.worker import INPUT, Work, featurize

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

_SPARK_TYPES = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.list_(pa.float32()): "array<float>",
    pa.timestamp("us", tz="UTC"): "timestamp",
}
FEATURES_DDL = ", ".join(f"{field.name} {_SPARK_TYPES[field.type]}" for field in FEATURES.schema)


@dataclass(frozen=True)
class Admission:
    """How much one micro-batch takes: whole files, until `max_bytes` are reached.

    Attributes
    ----------
    max_bytes : int
        Just under the size of a full arrivals file, so that a batch takes one of those, or many small ones.
    max_files : int
        A large number: one file a batch would make a trickle as slow as a commit.
    """

    max_bytes: int
    max_files: int = 1000


def read_arrivals(spark: "SparkSession", place: str, admission: Admission, since: int | None = None) -> "DataFrame":
    """Return the arrivals table as a stream of its appends.

    Parameters
    ----------
    since
        The version from which a query without a checkpoint reads; None: it begins with the current snapshot.
    """
    reader = (
        spark.readStream.format("delta")
        .option("skipChangeCommits", "true")
        .option("maxBytesPerTrigger", f"{admission.max_bytes}b")
        .option("maxFilesPerTrigger", admission.max_files)
    )
    return (reader if since is None else reader.option("startingVersion", since)).load(place)


def featurized(arrivals: "DataFrame", work: Work, partitions: int) -> "DataFrame":
    """Return the rows of `features` that belong to `arrivals`, one each.

    Parameters
    ----------
    arrivals
        A streaming or static DataFrame with at least the columns `streaming.worker.INPUT`.
    work
        The worker's constants; `work.model` is a file of the driver and is sent to the workers.
    partitions
        Tasks among which the rows are dealt out evenly, whatever files they came from.
    """
    model = located(work.model)
    arrivals.sparkSession.sparkContext.addFile(model.as_uri())
    name = model.name

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return featurize(iter(batches), replace(work, model=SparkFiles.get(name)))

    return arrivals.select(*INPUT).repartition(partitions).mapInArrow(run, FEATURES_DDL)


def observed(features: "DataFrame", observation: "Observation | str" = METRICS) -> "DataFrame":
    """Attach the counts and the freshness that `streaming.progress` reads from each micro-batch."""
    age = F.unix_micros("featurized_at") / 1e6 - F.unix_micros("landed_at") / 1e6
    return features.observe(
        observation,
        F.count("*").alias("pictures"),
        F.percentile_approx(age, [0.5, 0.95]).alias("freshness"),
        *[F.count_if(F.col("rejection") == reason.value).alias(reason.value) for reason in Reason],
    )


def start(
    features: "DataFrame", place: str, checkpoint: Place, *, name: str, trigger: dict[str, str | bool]
) -> "StreamingQuery":
    """Start writing `features` to the Delta table at `place`.

    Delta's sink commits each micro-batch once: it records the query's id and the batch's number in the table's log.
    """
    writer = observed(features).writeStream.format("delta").outputMode("append").queryName(name)
    return writer.option("checkpointLocation", str(checkpoint)).trigger(**trigger).start(place)  # type: ignore[arg-type]


def append(features: "DataFrame", place: str, application: str, transaction: int) -> MicroBatch:
    """Append `features` to the Delta table at `place` in one commit, and return what it did.

    Delta passes over a commit whose transaction is not later than the application's last one.
    """
    observation, start = Observation(), time.perf_counter()
    writer = observed(features, observation).write.format("delta").mode("append")
    writer.option("txnAppId", application).option("txnVersion", transaction).save(place)
    return measured(transaction, observation.get, time.perf_counter() - start)
