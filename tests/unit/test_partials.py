import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.algebra.labels import LabelMeans
from batch.algebra.moments import Moments
from batch.algebra.vectors import lists
from batch.tasks.partials import PARTIAL, batch_rows, combined, partial, read_partial, task_bytes

KEPT = frozenset(["apple", None])
FEATURES = pa.list_(pa.float32())
# Arrays point to the pool that their memory is from, and must not outlive it.
POOLS: list[pa.MemoryPool] = []
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["apple", "pear", None]),
        st.lists(st.integers(-9, 9) | st.just(np.inf), min_size=3, max_size=3)
        | st.sampled_from([None, [1.0], [1.0, None, 2.0]]),
    ),
    max_size=40,
)


def table(rows: list[tuple[str | None, Any]]) -> pa.Table:
    labels, features = zip(*rows, strict=True) if rows else ((), ())
    return pa.table({"label": pa.array(labels, pa.string()), "features": pa.array(features, FEATURES)})


def summed(rows: pa.Table, chunk: int = 7, full: bool = True) -> list[pa.RecordBatch]:
    return list(partial(iter(rows.to_batches(max_chunksize=chunk)), 3, full, KEPT))


def usable(row: list[float | None] | None) -> bool:
    return row is not None and len(row) == 3 and all(each is not None and np.isfinite(each) for each in row)


def assert_says(batches: list[pa.RecordBatch], rows: list[tuple[str | None, Any]], full: bool = True) -> None:
    """Whether partial results say what is computed from all rows at once."""
    moments, labels, unusable = read_partial(batches)
    good = [row for row in rows if usable(row[1])]
    vectors = np.array([row[1] for row in good], np.float32).reshape(-1, 3)
    whole = Moments.of(vectors, full)
    assert (moments.n, moments.full) == (whole.n, full)
    np.testing.assert_allclose(moments.mean, whole.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moments.scatter, whole.scatter, rtol=1e-9, atol=1e-9)
    expected = LabelMeans.of(pa.array([row[0] for row in good], pa.string()), vectors, KEPT)
    assert (labels.names, labels.counts.tolist(), labels.other) == (
        expected.names,
        expected.counts.tolist(),
        expected.other,
    )
    np.testing.assert_allclose(labels.means, expected.means, rtol=1e-9, atol=1e-9)
    assert unusable == sum(row[1] is not None and not usable(row[1]) for row in rows)


@pytest.mark.parametrize("full", [True, False], ids=["whole", "diagonal"])
@given(rows=ROWS, chunk=st.integers(1, 40))
def test_rows_are_summed_up_in_one_row(full: bool, rows: list[Any], chunk: int) -> None:
    """Usable vectors by label; what is not usable is counted, and rejections are passed over."""
    [batch] = summed(table(rows), chunk, full)
    assert batch.schema == PARTIAL
    assert batch.num_rows == 1
    assert_says([batch], rows, full)


@given(parts=st.lists(ROWS, min_size=1, max_size=5), block=st.integers(1, 9))
def test_partial_results_are_combined_in_levels(parts: list[list[Any]], block: int) -> None:
    """Some now, the rest with the result: as from all rows at once, whatever blocks they were squared in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batch.algebra.moments._BLOCK_ROWS", block)
        rows = pa.Table.from_batches([batch for part in parts for batch in summed(table(part))])
    first = list(combined(iter(rows[:2].to_batches())))
    second = list(combined(iter([*first, *rows[2:].to_batches()])))
    assert [batch.num_rows for batch in second] == [1]
    assert_says(second, [row for part in parts for row in part])
    assert_says(list(rows.to_batches()), [row for part in parts for row in part])


def test_nothing_gives_a_row_and_combines_to_none() -> None:
    """A task without rows says so; one without partial results has nothing to say."""
    [batch] = partial(iter([]), 3, True, KEPT)
    moments, labels, unusable = read_partial(pa.Table.from_batches([batch]))
    assert (moments.n, moments.width, labels.n, unusable) == (0, 3, 0, 0)
    assert list(combined(iter([]))) == []
    with pytest.raises(ValueError, match="no partial result"):
        read_partial([])


def test_a_damaged_partial_result_is_noticed() -> None:
    """A bit that flipped on its way does not go into the sum."""
    [batch] = summed(table([("apple", [1.0, 2.0, 3.0])]))
    row = batch.to_pylist()[0]
    row["moments"] = row["moments"][:-1] + bytes([row["moments"][-1] ^ 1])
    with pytest.raises(ValueError, match="damaged"):
        read_partial(pa.Table.from_pylist([row], PARTIAL))


def test_a_batch_is_bounded() -> None:
    """16 MB of vectors, 10,000 rows at most and one at least."""
    assert [batch_rows(width) for width in (10, 1280, 100_352, 10**9)] == [10_000, 3276, 41, 1]


@pytest.mark.parametrize(
    ("width", "full", "labels"), [(1500, True, 40), (1500, True, 1000), (30_000, False, 200)], ids=str
)
def test_a_task_takes_no_more_memory_than_is_stated(width: int, full: bool, labels: int) -> None:
    """Of Python's and of Arrow's memory, while it sums up, merges, and packs."""
    names = [f"label {number}" for number in range(labels)]
    rows = 3 * batch_rows(width)

    def batches() -> Iterator[pa.RecordBatch]:
        rng = np.random.default_rng(0)
        for _ in range(3):
            vectors = rng.random((rows // 3, width), np.float32)
            vectors[5, 5] = np.nan
            features, drawn = lists(vectors), pa.array(rng.choice(names, len(vectors)))
            del vectors
            yield pa.RecordBatch.from_arrays([drawn, features], ["label", "features"])

    stated = task_bytes(width, full, labels)
    [part], summing = measured(lambda: list(partial(batches(), width, full, frozenset(names))))
    assert read_partial([part])[0].n == rows - 3
    sent = part.serialize()
    parts = (pa.ipc.read_record_batch(pa.py_buffer(sent.to_pybytes()), PARTIAL) for _ in range(3))
    _, merging = measured(lambda: list(combined(parts)))
    assert max(summing, merging) <= stated
    assert max(summing, merging) > stated / 3


def measured(work: Callable[[], Any]) -> tuple[Any, int]:
    """Return what some work returns, and the most memory that it took in between."""
    usual, own = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    POOLS.append(own)
    pa.set_memory_pool(own)
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1] + own.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)
