import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.algebra.vectors import lists, vectors

KINDS = {
    "list": pa.list_(pa.float32()),
    "large list": pa.large_list(pa.float32()),
    "fixed size": pa.list_(pa.float32(), 3),
}
NUMBERS = st.floats(width=32) | st.none()
TRIPLES = st.none() | st.lists(NUMBERS, min_size=3, max_size=3)
ROWS = st.lists(TRIPLES | st.lists(NUMBERS, max_size=5), max_size=12)


def usable(row: list[float | None] | None) -> bool:
    return row is not None and len(row) == 3 and all(each is not None and math.isfinite(each) for each in row)


def assert_found(column: pa.Array | pa.ChunkedArray) -> None:
    found, which = vectors(column, 3)
    rows: list[Any] = column.to_pylist()
    assert which.tolist() == [usable(row) for row in rows]
    assert found.dtype == np.float32
    assert found.shape == (which.sum(), 3)
    np.testing.assert_array_equal(found, np.array([row for row in rows if usable(row)], np.float32).reshape(-1, 3))


@given(rows=ROWS, kind=st.sampled_from(["list", "large list"]), skipped=st.integers(0, 4), taken=st.integers(0, 12))
def test_usable_vectors_are_found_in_any_slice(rows: list[Any], kind: str, skipped: int, taken: int) -> None:
    """Not null, of the width, without nulls, finite; wherever the slice begins and ends."""
    assert_found(pa.array(rows, KINDS[kind]).slice(skipped, taken))


@given(rows=st.lists(TRIPLES, max_size=12), skipped=st.integers(0, 4), taken=st.integers(0, 12))
def test_lists_of_fixed_size_are_read_alike(rows: list[Any], skipped: int, taken: int) -> None:
    """Their rows lie at fixed places, null ones too."""
    assert_found(pa.array(rows, KINDS["fixed size"]).slice(skipped, taken))


@given(rows=st.lists(ROWS, max_size=4))
def test_chunks_are_put_together(rows: list[list[Any]]) -> None:
    """One array of all, for no chunks, too."""
    assert_found(pa.chunked_array([pa.array(chunk, KINDS["list"]) for chunk in rows], KINDS["list"]))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_usable_rows_are_not_copied(kind: pa.DataType) -> None:
    """The array is the column's own memory, from the slice's first row on."""
    column = pa.array([[9, 9, 9], [1, 2, 3], [4, 5, 6]], kind)
    found, _ = vectors(column.slice(1), 3)
    assert found.ctypes.data == column.values.buffers()[1].address + 12
    assert found.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_rejections_in_between_cost_no_copy() -> None:
    """A null row takes no room among the numbers."""
    column = pa.array([[1, 2, 3], None, [4, 5, 6]], KINDS["list"])
    found, which = vectors(column, 3)
    assert found.ctypes.data == column.values.buffers()[1].address
    assert which.tolist() == [True, False, True]


def test_numbers_under_a_null_row_are_passed_over() -> None:
    """Arrow lets a null row cover numbers, which mean nothing."""
    column = pa.ListArray.from_arrays(
        [0, 2, 4, 6], pa.array(range(6), pa.float32()), mask=pa.array([False, True, False])
    )
    found, which = vectors(column, 2)
    assert found.tolist() == [[0, 1], [4, 5]]
    assert which.tolist() == [True, False, True]


def test_a_column_of_another_width_has_no_usable_vectors() -> None:
    """Lists of a fixed size that is not the width are none of them usable."""
    found, which = vectors(pa.array([[1, 2, 3]], KINDS["fixed size"]), 2)
    assert found.shape == (0, 2)
    assert which.tolist() == [False]


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (2, 0)])
def test_lists_are_the_way_back(shape: tuple[int, int]) -> None:
    """A column of list<float> in the array's memory, from which the same array is read."""
    values = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    column = lists(values)
    assert column.type == pa.list_(pa.float32())
    assert column.to_pylist() == values.tolist()
    assert not values.size or vectors(column, shape[1])[0].ctypes.data == values.ctypes.data


def test_lists_of_another_dtype_or_order_are_copied() -> None:
    """What is in the column does not depend on how it lay in memory."""
    values = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert lists(values.astype(np.float32, order="F")).to_pylist() == values.tolist()


def test_more_numbers_than_a_column_addresses_are_refused() -> None:
    """Its offsets are of 32 bits."""
    huge = np.broadcast_to(np.float32(1), (1 << 16, 1 << 15))
    with pytest.raises(ValueError, match="not in range"):
        lists(huge)
