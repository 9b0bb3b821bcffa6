"""Lakes with a past: arrivals by the million, each with its outcome, written through delta-rs.

The pictures themselves are gone, as those are that arrived long ago and were moved away since. The outcomes are
rejections, or vectors of one number, so that a lake of a million takes megabytes and not gigabytes.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from conf.lake import LakePaths
from conf.rejections import Reason
from conf.schemas import ARRIVALS, FEATURES, Table
from conf.tables import open_table

_OUTCOMES_PER_COMMIT = 10_000
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
_BETWEEN = timedelta(milliseconds=20)
_GONE = (Reason.GONE.value,)


def fill(
    lake: LakePaths,
    featurizer: str,
    count: int,
    arrivals_per_commit: int,
    seed: int = 0,
    outcomes_per_commit: int = _OUTCOMES_PER_COMMIT,
    reasons: Sequence[str | None] = _GONE,
) -> None:
    """Give an empty lake `count` arrivals and as many outcomes of one featurizer.

    Parameters
    ----------
    lake
        Its tables must exist.
    featurizer
        Whose outcomes.
    count
        Arrivals.
    arrivals_per_commit
        What one poll found: each commit is a version of the log and a file.
    seed
        Equal seeds write equal rows.
    outcomes_per_commit
        What one micro-batch made.
    reasons
        Why the pictures are rejected, in turns; None for one that is not.
    """
    _append(lake, ARRIVALS, (_arrivals(rows) for rows in _pictures(count, arrivals_per_commit, seed)))
    _append(
        lake, FEATURES, (_outcomes(rows, featurizer, reasons) for rows in _pictures(count, outcomes_per_commit, seed))
    )


def _append(lake: LakePaths, table: Table, chunks: Iterator[pa.Table]) -> None:
    opened = open_table(lake.table(table))
    for chunk in chunks:
        write_deltalake(opened, chunk.select(table.columns), mode="append")


def _pictures(count: int, at_once: int, seed: int) -> Iterator[pa.Table]:
    """Yield what identifies the pictures, the same ones for every table, some at a time."""
    names = np.random.default_rng(seed).bytes(8 * count).hex()
    for first in range(0, count, at_once):
        numbers = range(first, min(first + at_once, count))
        landed = [_LONG_AGO + number * _BETWEEN for number in numbers]
        yield pa.table(
            {
                "uri": [f"file:///past/{names[16 * number : 16 * (number + 1)]}.jpg" for number in numbers],
                "e_tag": [f"{5000 + number % 3000}-{1767225600 * 10**9 + number}" for number in numbers],
                "landed_at": pa.array(landed, ARRIVALS.schema.field("landed_at").type),
                "discovered_at": pa.array(landed, ARRIVALS.schema.field("discovered_at").type),
                "attempt": pa.array([1] * len(numbers), pa.int32()),
            }
        )


def _arrivals(pictures: pa.Table) -> pa.Table:
    rows = pictures.num_rows
    return _with(pictures, ARRIVALS, size=pa.array([6000] * rows), route=pa.array(["listing"] * rows))


def _outcomes(pictures: pa.Table, featurizer: str, reasons: Sequence[str | None]) -> pa.Table:
    rows = pictures.num_rows
    why = [reasons[number % len(reasons)] for number in range(rows)]
    return _with(
        pictures,
        FEATURES,
        featurizer=pa.array([featurizer] * rows),
        features=pa.array([[0.0] if each is None else None for each in why], FEATURES.schema.field("features").type),
        rejection=pa.array(why, pa.string()),
        featurized_at=pictures["landed_at"],
    )


def _with(pictures: pa.Table, table: Table, **columns: pa.Array) -> pa.Table:
    """Return the rows in a table's columns; those that are not given are null."""
    known = {name: pictures[name] for name in pictures.column_names} | columns
    return pa.table(
        [known.get(each.name, pa.nulls(pictures.num_rows, each.type)) for each in table.schema], table.schema
    )
