"""Some rows of one Parquet file, read straight by whoever is handed them, a bounded batch at a time.

A table of Delta reader version 1 is its data files: no deletion vectors, no column mapping. Reading them with Arrow
is much faster than through the JVM, and a part is small enough to travel to a worker.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heapify, heapreplace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from conf.errors import StorageError, first_line
from conf.saying import Say, silent
from conf.schemas import FEATURES
from conf.uris import located

BATCH_BYTES = 16 << 20
_MOST_ROWS = 65_536
# A column chunk is read as it is decoded, not whole: it may be as large as the file.
_READ_AHEAD = 1 << 20
# Rows of a share at least where a task has several, and how many it has at most.
_PIECE_ROWS, _MOST_PIECES = 25_000, 8
_ITEM_BYTES = {"FLOAT": 4, "DOUBLE": 8, "INT32": 4, "INT64": 8, "INT96": 12}


class PartGone(StorageError):
    """A data file is not there any more: VACUUM took it after the version that was being read."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of one data file.

    Attributes
    ----------
    path : str
        The file: an absolute path, or the URI of an object.
    size : int
        Its bytes.
    rows : int
        Its rows.
    positions : NDArray[int64] or None
        Places of rows in the file, ascending; None for every row.
    skipping : bool
        Whether `positions` are left out, or the only ones that count.
    """

    path: str
    size: int
    rows: int
    positions: NDArray[np.int64] | None = None
    skipping: bool = True

    @property
    def wanted(self) -> int:
        """How many rows it means."""
        if self.positions is None:
            return self.rows
        return self.rows - len(self.positions) if self.skipping else len(self.positions)

    @property
    def bytes(self) -> int:
        """Bytes of the file that its rows take, as if all took the same."""
        return self.size * self.wanted // max(self.rows, 1)


def only(path: str, positions: NDArray[np.int64]) -> Part:
    """Return the part of a file that is some of its rows, with what the file itself says of its size.

    Raises
    ------
    PartGone
        The file is not there.
    StorageError
        It cannot be read.
    """
    rows = count_rows(path)
    with told(path):
        return Part(path, located(path).stat().st_size, rows, np.sort(positions), skipping=False)


def count_rows(path: str) -> int:
    """Return how many rows a Parquet file says that it has.

    Raises
    ------
    PartGone, StorageError
        As `only`.
    """
    with told(path), _opened(path) as file:
        return int(file.metadata.num_rows)


def read_column(path: str, name: str) -> pa.ChunkedArray:
    """Read a narrow column of a whole file, in the type of `features`; nulls where the file lacks it.

    Raises
    ------
    PartGone, StorageError
        As `only`.
    """
    kind = FEATURES.schema.field(name).type
    with told(path), _opened(path) as file:
        if name not in file.schema_arrow.names:
            return pa.chunked_array([pa.nulls(file.metadata.num_rows, kind)])
        return file.read([name], use_threads=False)[name].cast(kind)


def read(part: Part, columns: Sequence[str], batch_bytes: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
    """Read the rows of a part, in the file's order.

    Parameters
    ----------
    columns
        What to read, in the types of `features` whoever wrote the file; a column that the file lacks is null in every
        row. That is so of the partition column, too, which is no part of any file.
    batch_bytes
        About what a batch may take when decoded: a vector may have 100,352 floats.

    Yields
    ------
    pyarrow.RecordBatch
        At least one row.

    Raises
    ------
    PartGone
        The file is not there.
    StorageError
        It cannot be read, or is not the one that the log named.
    """
    for _, batch in read_placed(part, columns, batch_bytes):
        yield batch


def read_all(
    parts: Iterable[Part], columns: Sequence[str], text: str = "", say: Say = silent
) -> Iterator[pa.RecordBatch]:
    """Read the rows of parts, one after the other, as `read` does; `say` hears of the step how many are read."""
    parts = list(parts)
    done, total = 0, sum(part.wanted for part in parts)
    for part in parts:
        for batch in read(part, columns):
            say(text, done, total)
            yield batch
            done += len(batch)
    say(text, done, total)


def read_placed(
    part: Part, columns: Sequence[str], batch_bytes: int = BATCH_BYTES
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Read as `read`, and give with each batch the places of its rows in the file."""
    with told(part.path), _opened(part.path) as file:
        found = file.metadata.num_rows
        if found != part.rows:
            raise StorageError(f"{part.path} has {found} rows and the log says {part.rows}: one of them is damaged")
        schema = _schema(file.schema_arrow, columns)
        for group, first in _groups(file.metadata, part):
            for places, batch in _placed(file, group, first, columns, batch_bytes):
                kept = _kept(part, places)
                if len(kept):
                    yield places[kept], _taken(_shaped(batch, schema), kept)


def dealt(parts: Sequence[Part], tasks: int) -> list[list[Part]]:
    """Deal parts to tasks so that each reads about as many bytes: the largest first, to whoever has least.

    The rule is Graham's LPT (Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969, p. 416): no
    task gets more than 4/3 of what the best deal gives.

    Returns
    -------
    list of list of Part
        `tasks` shares, or as many as there are parts where these are fewer; none is empty. The same for the same
        parts, in whatever order they come.
    """
    shares: list[list[Part]] = [[] for _ in range(min(tasks, len(parts)))]
    loads = [(0, number) for number in range(len(shares))]
    heapify(loads)
    for part in sorted(parts, key=lambda each: (-each.bytes, each.path)):
        load, number = loads[0]
        shares[number].append(part)
        # At least one byte, so that an empty share is filled before a second part of nothing goes to a full one.
        heapreplace(loads, (load + max(part.bytes, 1), number))
    return shares


def pieces(parts: Sequence[Part], tasks: int) -> int:
    """Return into how many shares parts are dealt: some for each task where they are large, to tell how far it is."""
    wanted = sum(part.wanted for part in parts)
    return tasks * min(max(wanted // (tasks * _PIECE_ROWS), 1), _MOST_PIECES)


def _opened(path: str) -> pq.ParquetFile:
    # Spark's INT96 would be taken for nanoseconds, which end in 2262.
    source = located(path)
    file = source if isinstance(source, Path) else source.open("rb")
    return pq.ParquetFile(file, buffer_size=_READ_AHEAD, pre_buffer=False, coerce_int96_timestamp_unit="us")


def _groups(metadata: pq.FileMetaData, part: Part) -> Iterator[tuple[int, int]]:
    """Yield the row groups that hold a row of the part, each with the place of its first row."""
    first = 0
    for group in range(metadata.num_row_groups):
        end = first + metadata.row_group(group).num_rows
        if _wanted_between(part, first, end):
            yield group, first
        first = end


def _wanted_between(part: Part, first: int, end: int) -> int:
    if part.positions is None:
        return end - first
    low, high = np.searchsorted(part.positions, (first, end))
    return int(end - first - (high - low) if part.skipping else high - low)


def _placed(
    file: pq.ParquetFile, group: int, first: int, columns: Sequence[str], batch_bytes: int
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    held = [name for name in columns if name in file.schema_arrow.names]
    metadata = file.metadata.row_group(group)
    # A file of none of the columns still has rows, each of nulls.
    read_columns = held or file.schema_arrow.names[:1]
    rows = min(_MOST_ROWS, max(1, int(batch_bytes / _row_bytes(metadata, read_columns))))
    for batch in file.iter_batches(rows, row_groups=[group], columns=read_columns, use_threads=False):
        yield np.arange(first, first + batch.num_rows), batch
        first += batch.num_rows


def _row_bytes(metadata: pq.RowGroupMetaData, columns: Sequence[str]) -> float:
    """Return what a row takes when decoded; encoded, a vector of zeros takes next to nothing."""
    chunks = (metadata.column(number) for number in range(metadata.num_columns))
    total = sum(
        max(chunk.total_uncompressed_size, chunk.num_values * _ITEM_BYTES.get(chunk.physical_type, 1))
        for chunk in chunks
        if chunk.path_in_schema.split(".")[0] in columns
    )
    return max(1.0, int(total) / max(int(metadata.num_rows), 1))


def _kept(part: Part, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which of some rows belong to the part, by their numbers among these."""
    if part.positions is None:
        return np.arange(len(places))
    low, high = np.searchsorted(part.positions, (places[0], places[-1] + 1))
    named = part.positions[low:high] - places[0]
    return np.delete(np.arange(len(places)), named) if part.skipping else named


def _taken(batch: pa.RecordBatch, kept: NDArray[np.int64]) -> pa.RecordBatch:
    return batch if len(kept) == batch.num_rows else batch.take(pa.array(kept))


def _schema(found: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    """Return the columns with the types of `features`; one that this does not have keeps the file's."""
    ours = {each.name: each.type for each in found} | {each.name: each.type for each in FEATURES.schema}
    return pa.schema([(name, ours.get(name, pa.null())) for name in columns])


def _shaped(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        batch.column(each.name).cast(each.type) if each.name in batch.schema.names else pa.nulls(len(batch), each.type)
        for each in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@contextmanager
def told(path: str) -> Iterator[None]:
    """Raise what goes wrong with a file as PartGone where it is missing, else as StorageError."""
    try:
        yield
    except FileNotFoundError as error:
        raise PartGone(f"{path} is gone: upkeep deleted it after this version; begin again from a newer one") from error
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path} cannot be read: {first_line(error)}") from error
