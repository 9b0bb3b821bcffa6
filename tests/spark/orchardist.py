"""What the Spark suite builds from: arrivals of a folder, the work that a query is given, and what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.storage import FolderStorage, folder_e_tag
from conf.uris import uri_of
from streaming.backbones.shelf import Compiled
from streaming.worker import Work

Arrival = tuple[str, str, datetime, datetime, int, int]
SCHEMA = "uri string, e_tag string, landed_at timestamp, discovered_at timestamp, attempt int, size bigint"


def work_on(landing: Path, compiled: Compiled, model: Path, pixel_limit: int = 80_000_000, **given: Any) -> Work:
    """Return the work on pictures of `landing` with a compiled backbone; `given` are further fields of `Work`."""
    fields = {"storage": FolderStorage(str(landing)), **given}
    return Work(
        backbone=compiled.backbone,
        width=compiled.manifest.width,
        model=str(model),
        landing=uri_of(landing),
        label="parent",
        pixel_limit=pixel_limit,
        byte_limit=1 << 28,
        **fields,
    )


def arrival(path: Path) -> Arrival:
    """Return the arrival of a file, in the order of `SCHEMA`."""
    status = path.stat()
    landed = datetime.fromtimestamp(status.st_mtime, UTC)
    return uri_of(path), folder_e_tag(status), landed, datetime.now(UTC), 1, status.st_size


@contextmanager
def running(features: DataFrame, name: str) -> Iterator[StreamingQuery]:
    """Run a query into a table in memory for the length of a `with` block."""
    query = features.writeStream.format("memory").queryName(name).outputMode("append").start()
    try:
        yield query
    finally:
        query.stop()


def outcomes(spark: SparkSession, name: str) -> dict[str, Row]:
    """Return the query's rows by uri, each of which must stand once."""
    rows = spark.table(name).collect()
    by_uri = {row.uri: row for row in rows}
    assert len(by_uri) == len(rows)
    return by_uri
