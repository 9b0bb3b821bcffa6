"""One product of the correlation matrix with a block of vectors, made by workers that never hold the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.algebra.vectors import vectors
from batch.rows.parts import Part, read

SUMS = pa.schema([pa.field("sums", pa.binary())])
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Factor:
    """What a task multiplies by.

    Attributes
    ----------
    mean : ndarray (d,) of float64
        Of each column of features.
    block : ndarray (d, l) of float64
        Columns to multiply, each row divided by the scale of its column of features.
    """

    mean: Doubles
    block: Doubles


def multiply(parts: Sequence[Part], factor: Factor) -> Iterator[pa.RecordBatch]:
    """Return the sum over rows x of (x - mean) times its inner product with the block: a (d, l) matrix of float64.

    Two products of a batch with narrow matrices: the batch itself is not centred, which would copy it.

    Yields
    ------
    pyarrow.RecordBatch
        One of one row, of the schema `SUMS`.
    """
    width, columns = factor.block.shape
    sums = np.zeros((width, columns))
    total = np.zeros(columns)
    offset = factor.mean @ factor.block
    for part in parts:
        for batch in read(part, ("features",)):
            rows = vectors(batch.column("features"), width)[0].astype(np.float64)
            inner = rows @ factor.block
            inner -= offset
            sums += rows.T @ inner
            total += inner.sum(axis=0)
    sums -= np.outer(factor.mean, total)
    yield _row(sums)


def summed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Add the sums of several tasks, one at a time."""
    total: Doubles | None = None
    for batch in batches:
        for sums in batch.column("sums"):
            found = np.frombuffer(sums.as_buffer(), "<f8")
            if total is None:
                total = found.copy()
            else:
                total += found
    if total is not None:
        yield _row(total)


def read_sums(said: pa.Table, width: int) -> Doubles:
    """Return the (d, l) matrix that `summed` made."""
    found: Doubles = np.frombuffer(said["sums"][0].as_buffer(), "<f8").reshape(width, -1).astype(np.float64)
    return found


def task_bytes(width: int, columns: int, batch_bytes: int) -> int:
    """Return the most bytes that a task holds: block, sums, a sum that comes in, and a batch of both precisions."""
    return 3 * 8 * width * columns + 3 * batch_bytes


def _row(sums: Doubles) -> pa.RecordBatch:
    # The array's own memory: its bytes are megabytes.
    data = pa.py_buffer(np.ascontiguousarray(sums, "<f8"))
    ends = pa.py_buffer(np.array([0, data.size], np.int32))
    return pa.record_batch([pa.Array.from_buffers(pa.binary(), 1, [None, ends, data])], schema=SUMS)
