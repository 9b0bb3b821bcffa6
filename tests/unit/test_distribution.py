"""Work dealt out to threads of this process; the Spark suite holds Spark's workers against them."""

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from batch.rows.parts import Part, PartGone, read
from batch.tasks.distribution import Here

NUMBER = pa.schema([pa.field("number", pa.int64())])


def row(number: int) -> pa.RecordBatch:
    """Give a batch of one row."""
    return pa.record_batch([pa.array([number])], schema=NUMBER)


def counted(share: list[int]) -> Iterator[pa.RecordBatch]:
    """Say one row for each number of a share."""
    yield from map(row, share)


def added(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Add up."""
    yield row(sum(sum(batch["number"].to_pylist()) for batch in batches))


def gone(share: Part) -> Iterator[pa.RecordBatch]:
    """Read a file that is not there."""
    return read(share, ["uri"])


@pytest.mark.parametrize("tasks", [1, 3])
def test_the_rows_of_all_tasks(tasks: int) -> None:
    """Some say several, some none; no task says nothing, in the same columns."""
    found = Here(tasks).rows(counted, [[1, 2], [], [3], [4]], NUMBER)
    assert sorted(found["number"].to_pylist()) == [1, 2, 3, 4]
    empty = Here(tasks).rows(counted, [], NUMBER)
    assert (empty.num_rows, empty.schema) == (0, NUMBER)


@pytest.mark.parametrize("shares", [1, 2, 8, 9, 70])
def test_the_one_row_that_all_make(shares: int) -> None:
    """However many they are."""
    found = Here(2).combined(counted, added, [[number] for number in range(shares)], NUMBER)
    assert found["number"].to_pylist() == [sum(range(shares))]


def test_tasks_run_side_by_side() -> None:
    """Each of these waits for the other."""
    meeting = threading.Barrier(2, timeout=30)

    def met(number: int) -> Iterator[pa.RecordBatch]:
        meeting.wait()
        yield row(number)

    assert sorted(Here(2).rows(met, [1, 2], NUMBER)["number"].to_pylist()) == [1, 2]


def test_a_file_that_is_gone_is_said_as_what_it_is() -> None:
    """The caller begins again."""
    shares = [Part("/nowhere/x.parquet", 1, 1)]
    with pytest.raises(PartGone, match=r"/nowhere/x\.parquet is gone"):
        Here(2).rows(gone, shares, NUMBER)
    with pytest.raises(PartGone, match=r"/nowhere/x\.parquet is gone"):
        Here(2).combined(gone, added, shares, NUMBER)


@pytest.mark.parametrize("how", ["rows", "combined"])
def test_how_many_shares_are_done_is_told(how: str) -> None:
    """One after the other, up to all."""
    told: list[tuple[float, float]] = []
    shares = [[number] for number in range(5)]

    def hear(done: float, total: float) -> None:
        told.append((done, total))

    if how == "rows":
        Here(2).rows(counted, shares, NUMBER, hear)
    else:
        Here(2).combined(counted, added, shares, NUMBER, hear)
    assert told == [(done, 5) for done in range(1, 6)]
