import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conf.rejections import Reason
from streaming.progress import MicroBatch, ProgressReader, described, micro_batch


def progress(number: int = 7, pictures: int = 512, seconds: float = 2.5, **rejections: int) -> dict[str, Any]:
    """Give a progress report as Spark 4.1 writes it."""
    metrics: dict[str, Any] = {reason.value: 0 for reason in Reason} | rejections
    metrics |= {"pictures": pictures, "freshness": [1.25, 4.5] if pictures else None}
    return {
        "id": "87d8ee3c-4c7f-4b0c-8bb9-2e7a1f8f2a5e",
        "runId": "0f5a7c58-9c0f-4a6a-8a24-53f9c5d3c6a1",
        "name": "efficientnet-lite0-224-avg-3f2a91c0",
        "timestamp": "2026-03-01T08:00:00.000Z",
        "batchId": number,
        "batchDuration": int(seconds * 1000),
        "numInputRows": pictures,
        "inputRowsPerSecond": 204.8,
        "processedRowsPerSecond": 204.8,
        "durationMs": {
            "addBatch": 2000,
            "commitOffsets": 40,
            "latestOffset": 90,
            "triggerExecution": int(seconds * 1000),
        },
        "stateOperators": [],
        "sources": [{"description": "DeltaSource[file:/lake/arrivals]", "numInputRows": pictures}],
        "sink": {"description": "DeltaSink[/lake/features]", "numOutputRows": -1},
        "observedMetrics": {"verger": metrics},
    }


@dataclass
class FakeQuery:
    """A query that remembers its latest reports, as Spark does."""

    kept: int = 64
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def recentProgress(self) -> list[SimpleNamespace]:
        """The reports that are still remembered."""
        return [
            SimpleNamespace(batchId=each["batchId"], timestamp=each["timestamp"], json=json.dumps(each))
            for each in self.reports[-self.kept :]
        ]

    @property
    def lastProgress(self) -> SimpleNamespace | None:
        """The latest report."""
        return self.recentProgress[-1] if self.reports else None


def reader(query: FakeQuery) -> ProgressReader:
    """Read from the fake."""
    return ProgressReader(cast(Any, query))


def test_a_report_becomes_a_micro_batch() -> None:
    """Counts come from the observed metrics, seconds from the whole trigger; reasons that did not occur are absent."""
    batch = micro_batch(progress(truncated=3, gone=1))
    assert batch == MicroBatch(7, 512, {"truncated": 3, "gone": 1}, 2.5, 1.25, 4.5)
    assert batch.rejected == 4
    assert batch.rate == pytest.approx(204.8)


def test_every_reason_is_counted() -> None:
    """No reason of the fixed list is lost on the way from the worker to the totals."""
    batch = micro_batch(progress(**{reason.value: number for number, reason in enumerate(Reason, 1)}))
    assert batch is not None
    assert batch.rejections == {reason.value: number for number, reason in enumerate(Reason, 1)}


@pytest.mark.parametrize(
    "report",
    [progress(pictures=0), {**progress(), "observedMetrics": {}}, {"batchId": 0, "durationMs": {}}],
    ids=["no rows", "no metrics of ours", "nothing observed"],
)
def test_a_report_without_rows_is_no_micro_batch(report: dict[str, Any]) -> None:
    """Spark reports idle triggers too."""
    assert micro_batch(report) is None


def test_a_batch_without_time_has_no_rate() -> None:
    """A clock that did not move does not divide by zero."""
    batch = micro_batch(progress(seconds=0))
    assert batch is not None
    assert batch.rate == 0.0


def test_plain_values_are_rounded_and_hold_json() -> None:
    """The log and `verger status` get numbers that a person reads."""
    batch = micro_batch(progress(seconds=3, truncated=2))
    assert batch is not None
    assert json.loads(json.dumps(described(batch))) == {
        "batch": 7,
        "pictures": 512,
        "rejections": {"truncated": 2},
        "seconds": 3.0,
        "pictures_per_second": 170.7,
        "freshness_p50": 1.25,
        "freshness_p95": 4.5,
    }


def test_a_query_that_has_not_reported_yields_nothing() -> None:
    """Before the first trigger there is no report."""
    assert list(reader(FakeQuery()).fresh()) == []


def test_each_micro_batch_is_yielded_once() -> None:
    """However often the reader looks, and however long reports are remembered."""
    query = FakeQuery()
    read = reader(query)
    query.reports += [progress(0), progress(1)]
    assert [batch.number for batch in read.fresh()] == [0, 1]
    assert list(read.fresh()) == []
    query.reports.append(progress(2))
    assert [batch.number for batch in read.fresh()] == [2]
    assert list(read.fresh()) == []


def test_idle_reports_between_batches_hide_none() -> None:
    """Idle triggers carry the number of the batch to come; that batch is still yielded when it has moved rows."""
    query = FakeQuery(reports=[progress(0), progress(1, pictures=0)])
    read = reader(query)
    assert [batch.number for batch in read.fresh()] == [0]
    query.reports += [progress(1), progress(2, pictures=0), progress(2, pictures=0)]
    assert [batch.number for batch in read.fresh()] == [1]


def test_a_query_that_goes_on_from_its_checkpoint_starts_at_any_number() -> None:
    """Batch numbers are counted by the checkpoint, not by the run."""
    assert [batch.number for batch in reader(FakeQuery(reports=[progress(41)])).fresh()] == [41]
