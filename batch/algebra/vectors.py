"""Vectors between Arrow's list columns and numpy's arrays, without a Python number in between."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def vectors(column: pa.Array | pa.ChunkedArray, width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the usable vectors of a column as one array, and which rows they are.

    Parameters
    ----------
    column
        Lists of float32, as `list`, `large_list` or `fixed_size_list`, sliced or not; r rows.
    width
        Length of a usable vector, 1 or more.

    Returns
    -------
    found : ndarray of float32, shape (m, width)
        The usable rows in their order. Where every row is usable, it is the column's own memory and read-only; several
        chunks are copied into one array.
    usable : ndarray of bool, shape (r,)
        Whether the row is not null, has this width, and holds nothing but finite numbers.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_of_chunk(chunk, width) for chunk in chunks]
    if len(parts) == 1:
        return parts[0]
    none = np.empty((0, width), np.float32), np.empty(0, np.bool_)
    found, usable = zip(none, *parts, strict=True)
    return np.concatenate(found), np.concatenate(usable)


def lists(values: NDArray[np.float32]) -> pa.ListArray:
    """Return the rows of an array as a column of lists that shares its memory.

    Parameters
    ----------
    values
        Shape (m, k). Copied only where it is of another dtype than float32, or not contiguous.

    Returns
    -------
    pyarrow.ListArray
        m rows of `list<float>`, each of k numbers.

    Raises
    ------
    ValueError
        More than 2³¹ - 1 numbers, which such a column cannot address.
    """
    count, width = values.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int64) * width, pa.int32())
    numbers = np.ascontiguousarray(values, np.float32).reshape(-1)
    return pa.ListArray.from_arrays(offsets, pa.array(numbers, pa.float32()))


def _of_chunk(column: pa.Array, width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    usable = _shaped(column, width)
    starts = _offsets(column)
    if np.diff(starts)[~usable].any():
        # Rows in between are to be skipped: what is left is copied together.
        left = column.filter(pa.array(usable))
        values = _numbers(left, _offsets(left))
    else:
        values = _numbers(column, starts)
    found = values.reshape(-1, width)
    finite = np.isfinite(found).all(axis=1)
    if not finite.all():
        usable[usable] = finite
        found = found[finite]
    return found, usable


def _shaped(column: pa.Array, width: int) -> NDArray[np.bool_]:
    """Return which rows are lists of this width."""
    there = column.is_valid().to_numpy(zero_copy_only=False)
    return np.asarray(there & (np.diff(_offsets(column)) == width))


def _offsets(column: pa.Array) -> NDArray[np.int64]:
    """Return where in `column.values` each row begins, and where the last one ends."""
    if pa.types.is_fixed_size_list(column.type):
        return np.arange(column.offset, column.offset + len(column) + 1) * int(column.type.list_size)
    return np.asarray(column.offsets.to_numpy(), np.int64)


def _numbers(column: pa.Array, offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the numbers of all rows; a null among them is not a number."""
    numbers = column.values.slice(offsets[0], offsets[-1] - offsets[0])
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float32)
