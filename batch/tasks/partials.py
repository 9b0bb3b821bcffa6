"""What workers do for a refit: parts of files, or rows of features, to one partial result, and many of these to one.

Generators of record batches, for Spark's `mapInArrow` and for one process alike.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.algebra.labels import LabelMeans, LabelSums, Name
from batch.algebra.moments import Accumulator, Moments, block_rows
from batch.algebra.vectors import vectors
from batch.rows.parts import Part, read_all

PARTIAL = pa.schema([("moments", pa.binary()), ("labels", pa.binary()), ("unusable", pa.int64())])

_BATCH_BYTES = 16 << 20
# Whatever the width: buffers of the BLAS, strips, rows that are gathered, names.
_SLACK = 64 << 20


def partial(
    batches: Iterator[pa.RecordBatch], width: int, full: bool, kept: frozenset[Name]
) -> Iterator[pa.RecordBatch]:
    """Sum up rows of features.

    Parameters
    ----------
    batches
        Record batches with the columns `label`, strings, and `features`, lists of float32; of `batch_rows` rows, where
        `task_bytes` is to hold.
    width
        Length of a vector.
    full
        Whether to have the whole scatter, or its diagonal.
    kept
        The labels that have a mean of their own.

    Yields
    ------
    pyarrow.RecordBatch
        One, of one row of the schema `PARTIAL`, for no rows, too: `Moments.to_bytes` and `LabelMeans.to_bytes` of the
        usable vectors, and how many others there were. Rows without features are rejections and are passed over.
    """
    moments, labels, unusable = _summed(batches, width, full, kept)
    yield _row(moments, labels, unusable)


def partial_of_parts(parts: Iterable[Part], width: int, full: bool, kept: frozenset[Name]) -> Iterator[pa.RecordBatch]:
    """Sum up the rows of parts of files: `partial` of what is read."""
    return partial(read_all(parts, ("label", "features")), width, full, kept)


def combined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Merge partial results.

    Parameters
    ----------
    batches
        Of any number of rows of the schema `PARTIAL`, all of one width. Batches of one row hold least memory.

    Yields
    ------
    pyarrow.RecordBatch
        One, of one row of the same schema; none for no rows.

    Raises
    ------
    ValueError
        A partial result is damaged, or of another shape than the first.
    """
    result = _merged(batches)
    if result is not None:
        yield _row(*result)


def read_partial(batches: pa.Table | Iterable[pa.RecordBatch]) -> tuple[Moments, LabelMeans, int]:
    """Return what partial results say together.

    Parameters
    ----------
    batches
        One row or more of the schema `PARTIAL`, as a table or in record batches.

    Returns
    -------
    moments : Moments
        Of all usable vectors.
    labels : LabelMeans
        Of the same.
    unusable : int
        Rows with features of another width, or with a number that is not finite.

    Raises
    ------
    ValueError
        There is no row, or one is damaged.
    """
    result = _merged(iter(batches.to_batches() if isinstance(batches, pa.Table) else batches))
    if result is None:
        raise ValueError("no partial result: `partial` yields one for no rows, too")
    return result


def batch_rows(width: int) -> int:
    """Return how many vectors a record batch may hold that comes to `partial`: 16 MB of them, 10,000 at most."""
    return max(1, min(10_000, _BATCH_BYTES // (4 * width)))


def task_bytes(width: int, full: bool, labels: int) -> int:
    """Return the most memory that one task takes, in `partial` or in `combined`, beside its process.

    Parameters
    ----------
    width
        Length of a vector, d.
    full
        Whether it sums up the whole scatter, d² numbers, or its diagonal.
    labels
        How many labels have a mean of their own.
    """
    scatter = 8 * width * (width if full else 1)
    packed = 4 * width * (width + 1) if full else 8 * width
    means = 8 * width * (labels + 1)
    # The block, and the batch that it is filled from: as it came, without its unusable rows, and tested.
    block = 8 * width * block_rows(width) + 3 * 4 * width * batch_rows(width)
    summing = 2 * scatter + block + 2 * means
    # The sum and one that comes, the labels of both and of their sum; and the bytes of one that comes and of the one
    # before it, which is not let go until then.
    merging = 2 * scatter + 5 * means + 2 * packed
    # The sum, and its bytes.
    packing = scatter + packed + 2 * means
    return max(summing, merging, packing) + _SLACK


class _Block:
    """Rows that wait until there are enough of them: tall blocks are what a product of matrices is fast on."""

    def __init__(self, width: int, full: bool, kept: frozenset[Name]) -> None:
        self._moments, self._sums = Accumulator(Moments.empty(width, full)), LabelSums(width, kept)
        self._rows = np.empty((block_rows(width), width))
        self._labels: list[pa.Array] = []
        self._filled = 0

    def add(self, found: NDArray[np.float32], labels: pa.Array) -> None:
        """Add vectors and their labels."""
        start = 0
        while start < len(found):
            end = min(len(found), start + len(self._rows) - self._filled)
            filled = self._filled + end - start
            self._rows[self._filled : filled] = found[start:end]
            self._labels.append(labels[start:end])
            self._filled, start = filled, end
            if filled == len(self._rows):
                self._settle()

    def results(self) -> tuple[Moments, LabelMeans]:
        """Return what all rows that came sum up to."""
        self._settle()
        return self._moments.moments(), self._sums.means()

    def _settle(self) -> None:
        rows = self._rows[: self._filled]
        self._sums.add(pa.chunked_array(self._labels, pa.string()), rows)
        self._moments.absorb(rows)
        self._labels, self._filled = [], 0


def _summed(
    batches: Iterator[pa.RecordBatch], width: int, full: bool, kept: frozenset[Name]
) -> tuple[Moments, LabelMeans, int]:
    block, unusable = _Block(width, full, kept), 0
    for batch in batches:
        column = batch.column("features")
        found, usable = vectors(column, width)
        unusable += len(column) - column.null_count - len(found)
        block.add(found, batch.column("label").cast(pa.string()).filter(pa.array(usable)))
    return (*block.results(), unusable)


def _merged(batches: Iterator[pa.RecordBatch]) -> tuple[Moments, LabelMeans, int] | None:
    rows = (batch.slice(row, 1) for batch in batches for row in range(len(batch)))
    first = next(rows, None)
    if first is None:
        return None
    moments, labels, unusable = Accumulator(_moments(first)), _labels(first), _unusable(first)
    for row in rows:
        moments.merge(_moments(row))
        labels = labels.merged(_labels(row))
        unusable += _unusable(row)
    return moments.moments(), labels, unusable


def _moments(row: pa.RecordBatch) -> Moments:
    return Moments.from_bytes(memoryview(row.column("moments")[0].as_buffer()))


def _labels(row: pa.RecordBatch) -> LabelMeans:
    return LabelMeans.from_bytes(memoryview(row.column("labels")[0].as_buffer()))


def _unusable(row: pa.RecordBatch) -> int:
    return int(row.column("unusable")[0].as_py())


def _row(moments: Moments, labels: LabelMeans, unusable: int) -> pa.RecordBatch:
    columns = [_binary(moments.to_bytes()), _binary(labels.to_bytes()), pa.array([unusable], pa.int64())]
    return pa.RecordBatch.from_arrays(columns, schema=PARTIAL)


def _binary(data: bytes) -> pa.Array:
    """Return a column of one row that shares the memory of its bytes."""
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32))
    return pa.Array.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(data)])
