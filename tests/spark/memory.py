"""A stream whose rows a test adds by hand: Spark's own MemoryStream, through the gateway."""

from collections.abc import Sequence
from typing import Any, cast

from pyspark.sql import DataFrame, SparkSession


class MemoryStream:
    """A streaming source in memory, of one schema."""

    def __init__(self, spark: SparkSession, schema: str) -> None:
        self._spark, self._schema = spark, schema
        self._jvm = cast(Any, spark._jvm)
        encoder = self._rows([]).encoder()
        source = self._jvm.org.apache.spark.sql.execution.streaming.runtime.MemoryStream
        self._source = source(1, spark._jsparkSession, self._jvm.scala.Option.empty(), encoder)

    def frame(self) -> DataFrame:
        """Return the stream."""
        return DataFrame(self._source.toDF(), self._spark)

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows; they make up one micro-batch when the query next looks."""
        listed = self._rows(rows).collectAsList()
        self._source.addData(self._jvm.scala.jdk.javaapi.CollectionConverters.asScala(listed).toSeq())

    def _rows(self, rows: Sequence[tuple[Any, ...]]) -> Any:
        return self._spark.createDataFrame(list(rows), self._schema)._jdf
