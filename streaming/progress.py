"""What each micro-batch did: read from the query's own progress reports."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from conf.rejections import Reason

if TYPE_CHECKING:
    from pyspark.sql.streaming.query import StreamingQuery

METRICS = "verger"


@dataclass(frozen=True)
class MicroBatch:
    """One finished micro-batch.

    Attributes
    ----------
    number : int
        The batch id, counted by the checkpoint.
    pictures : int
        Outcomes written.
    rejections : mapping of str to int
        Rejected pictures by reason; reasons that did not occur are left out.
    seconds : float
        From planning to commit.
    freshness_p50, freshness_p95 : float
        Seconds from a picture's landing to its outcome, median and 95th percentile.
    """

    number: int
    pictures: int
    rejections: Mapping[str, int]
    seconds: float
    freshness_p50: float
    freshness_p95: float

    @property
    def rejected(self) -> int:
        """Rejected pictures."""
        return sum(self.rejections.values())

    @property
    def rate(self) -> float:
        """Pictures per second, planning and commit included."""
        return self.pictures / self.seconds if self.seconds else 0.0


class ProgressReader:
    """Yields each micro-batch of a query once.

    Parameters
    ----------
    query
        The running query. Its last reports are polled; a listener would need a callback server inside the driver.
    """

    def __init__(self, query: "StreamingQuery") -> None:
        self._query = query
        self._last = -1
        self._seen: tuple[int, str] | None = None

    @property
    def reported_at(self) -> float | None:
        """The time of day of the newest report that `fresh` has come upon, in seconds; None before the first one."""
        return None if self._seen is None else datetime.fromisoformat(self._seen[1]).timestamp()

    def fresh(self) -> Iterator[MicroBatch]:
        """Yield the micro-batches that finished since the last call."""
        seen, self._seen = self._seen, stamp(self._query)
        if self._seen == seen:
            return
        for progress in self._query.recentProgress:
            batch = micro_batch(json.loads(progress.json))
            if batch is not None and batch.number > self._last:
                self._last = batch.number
                yield batch


def stamp(query: "StreamingQuery") -> tuple[int, str] | None:
    """Return what tells a query's newest report from the one before.

    None before the first one, which comes when the query has looked for something to do, and done it if there was any.
    """
    newest = query.lastProgress
    return None if newest is None else (newest.batchId, newest.timestamp)


def micro_batch(progress: Mapping[str, Any]) -> MicroBatch | None:
    """Return the micro-batch that a progress report describes, or None where it moved no rows."""
    metrics = progress.get("observedMetrics", {}).get(METRICS)
    if not metrics or not metrics["pictures"]:
        return None
    return measured(progress["batchId"], metrics, progress["durationMs"]["triggerExecution"] / 1000)


def measured(number: int, metrics: Mapping[str, Any], seconds: float) -> MicroBatch:
    """Return the micro-batch of a number whose metrics `streaming.query.observed` took."""
    median, high = metrics["freshness"] or (0.0, 0.0)
    return MicroBatch(
        number=number,
        pictures=metrics["pictures"],
        rejections={reason.value: metrics[reason.value] for reason in Reason if metrics[reason.value]},
        seconds=seconds,
        freshness_p50=median,
        freshness_p95=high,
    )


def described(batch: MicroBatch) -> dict[str, Any]:
    """Return a micro-batch as plain values, for the log and for `verger status`."""
    return {
        "batch": batch.number,
        "pictures": batch.pictures,
        "rejections": dict(batch.rejections),
        "seconds": round(batch.seconds, 2),
        "pictures_per_second": round(batch.rate, 1),
        "freshness_p50": round(batch.freshness_p50, 2),
        "freshness_p95": round(batch.freshness_p95, 2),
    }
