"""What has become of pictures over time: refits, rejections, and how much was featurized when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batch import models
from batch.publication import published
from batch.report.findings import Interval, Refitted, Rejected
from batch.rows.parts import Part, read_all
from conf.lake import LakePaths, newest
from conf.rejections import Reason
from conf.saying import Say, silent
from conf.schemas import FEATURES, NEWEST_WINS

REFITS, EXAMPLES, INTERVALS = 20, 5, 96
_SUMMARY = ("model", "created_at", "n", "k", "explained_variance_ratio", "drift")
_OUTCOME = ("uri", *NEWEST_WINS, "rejection", "detail")
_TOLD = ("landed_at", "featurized_at", "attempt", "rejection")
_DAY = 86_400
# Seconds that a stretch of time may have.
_LENGTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, _DAY)
_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def refits(lake: LakePaths, featurizer: str) -> tuple[Refitted, ...]:
    """Return the last refits, the oldest first.

    Raises
    ------
    LakeError
        The table of models cannot be read.
    """
    shown = published(lake, featurizer)
    rows = models.summaries(lake, featurizer, _SUMMARY)
    last = rows.slice(max(0, rows.num_rows - REFITS)).to_pylist()
    return tuple(_refitted(row, shown.model if shown else "") for row in last)


def _refitted(row: dict[str, Any], shown: str) -> Refitted:
    return Refitted(
        model=row["model"],
        created_at=row["created_at"],
        n=row["n"],
        k=row["k"],
        shown=float(sum(row["explained_variance_ratio"])),
        drift=row["drift"],
        published=row["model"] == shown,
    )


def rejected(parts: Sequence[Part]) -> tuple[Rejected, ...]:
    """Return which pictures have a rejection as their newest outcome, by reason, the most frequent first.

    What is held is the outcomes of the pictures that were ever rejected.

    Parameters
    ----------
    parts
        All outcomes of one featurizer.

    Raises
    ------
    batch.rows.parts.PartGone, StorageError
        A file cannot be read.
    """
    once = [pa.array([], pa.string())]
    for batch in read_all(parts, ("uri", "rejection")):
        once.append(batch.column("uri").filter(pc.is_valid(batch.column("rejection"))))
    uris = pc.unique(pa.chunked_array(once, pa.string()))
    schema = pa.schema([FEATURES.schema.field(name) for name in _OUTCOME])
    found = [schema.empty_table()]
    if len(uris):
        for batch in read_all(parts, _OUTCOME):
            mine = batch.filter(pc.is_in(batch.column("uri"), value_set=uris))
            found.append(pa.Table.from_batches([mine]).cast(schema))
    rows = newest(pa.concat_tables(found))
    return _by_reason(rows.filter(pc.is_valid(rows["rejection"])).sort_by([("uri", "ascending")]))


def _by_reason(rows: pa.Table) -> tuple[Rejected, ...]:
    counts = {each["values"]: each["counts"] for each in pc.value_counts(rows["rejection"]).to_pylist()}
    order = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return tuple(_rejected(reason, counts[reason], rows) for reason in order)


def _rejected(reason: str, count: int, rows: pa.Table) -> Rejected:
    few = rows.filter(pc.equal(rows["rejection"], reason)).slice(0, EXAMPLES).to_pylist()
    return Rejected(reason, _SENTENCES.get(reason, ""), count, tuple((row["uri"], row["detail"] or "") for row in few))


_SENTENCES = {each.value: each.sentence for each in Reason}


@dataclass(frozen=True, eq=False)
class Times:
    """When outcomes were made; 13 bytes each.

    Attributes
    ----------
    made : ndarray of int64, shape (n,)
        In µs since 1970.
    freshness : ndarray of float32, shape (n,)
        Seconds from a picture's landing to its first outcome, 0 where a clock says less; NaN of later attempts.
    rejected : ndarray of bool, shape (n,)
    """

    made: NDArray[np.int64]
    freshness: NDArray[np.float32]
    rejected: NDArray[np.bool_]


def times_of(parts: Sequence[Part], say: Say = silent) -> Times:
    """Read when outcomes were made.

    Parameters
    ----------
    parts
        All outcomes of one featurizer.

    Raises
    ------
    batch.rows.parts.PartGone, StorageError
        A file cannot be read.
    """
    found = [Times(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.bool_))]
    found += map(_times, read_all(parts, _TOLD, "reading when pictures were featurized", say))
    return Times(
        np.concatenate([each.made for each in found]),
        np.concatenate([each.freshness for each in found]),
        np.concatenate([each.rejected for each in found]),
    )


def freshness(times: Times) -> tuple[float, float]:
    """Return the median and the 95th percentile of all freshness, in seconds; NaN where there is none."""
    return _quantiles(times.freshness)


def intervals(times: Times) -> tuple[Interval, ...]:
    """Return how much was featurized when, in at most 96 stretches of equal and round length.

    A stretch begins at a multiple of its length since 1970, in UTC.
    """
    return _stretches(times) if len(times.made) else ()


def _times(batch: pa.RecordBatch) -> Times:
    made, landed = (batch.column(name).cast(pa.int64()).to_numpy() for name in ("featurized_at", "landed_at"))
    seconds = np.maximum((made - landed) / _SECOND, 0).astype(np.float32)
    seconds[batch.column("attempt").to_numpy() != 1] = np.nan
    return Times(made, seconds, pc.is_valid(batch.column("rejection")).to_numpy(zero_copy_only=False))


def _stretches(times: Times) -> tuple[Interval, ...]:
    length = length_of(int(times.made.min()), int(times.made.max()))
    numbers = times.made // (length * _SECOND)
    order = np.argsort(numbers, kind="stable")
    numbers, freshness, rejected = numbers[order], times.freshness[order], times.rejected[order]
    first, last = int(numbers[0]), int(numbers[-1])
    ends = np.searchsorted(numbers, np.arange(first, last + 2))
    return tuple(
        _interval(first + place, length, freshness[start:end], rejected[start:end])
        for place, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
    )


def _interval(number: int, length: int, freshness: NDArray[np.float32], rejected: NDArray[np.bool_]) -> Interval:
    start = _EPOCH + timedelta(seconds=number * length)
    return Interval(
        start,
        start + timedelta(seconds=length),
        len(freshness),
        int(rejected.sum()),
        *_quantiles(freshness),
        rate=len(freshness) / length,
    )


def _quantiles(freshness: NDArray[np.float32]) -> tuple[float, float]:
    measured = freshness[~np.isnan(freshness)].astype(np.float64)
    if not len(measured):
        return np.nan, np.nan
    p50, p95 = np.quantile(measured, (0.5, 0.95)).tolist()
    return p50, p95


def length_of(first: int, last: int) -> int:
    """Return the least round length, in seconds, by which a time falls into 96 stretches or fewer.

    Parameters
    ----------
    first, last
        In µs since 1970.
    """
    for length in _LENGTHS:
        if _count(first, last, length) <= INTERVALS:
            return length
    days = (last - first) // (INTERVALS * _DAY * _SECOND) or 1
    while _count(first, last, days * _DAY) > INTERVALS:
        days += 1
    return days * _DAY


def _count(first: int, last: int, length: int) -> int:
    """Return how many stretches, which begin at multiples of their length, a time touches."""
    return last // (length * _SECOND) - first // (length * _SECOND) + 1
