"""What a worker does to publish: read features once, place them on the axes, write components, measure what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from batch.algebra.vectors import lists, vectors
from batch.model import Projection
from batch.rows.parts import Part, read
from conf.errors import StorageError, first_line
from conf.schemas import COMPONENTS
from conf.uris import Place, located

_PASSED_ON = ("uri", "e_tag", "landed_at", "label")
SCHEMA = pa.schema([each for each in COMPONENTS.schema if each.name not in COMPONENTS.partition_by])
# One row for each task: JSON, as it is little and of changing shape.
SAID = pa.schema([pa.field("said", pa.string())])
_GROUP_BYTES = 32 << 20
# Of a file, and of an object, which is held in memory until it is whole.
_FILE_BYTES, _OBJECT_BYTES = 256 << 20, 64 << 20


@dataclass(frozen=True)
class Reading:
    """Rows of a data file that count, and whether they are new to the model before."""

    part: Part
    new: bool


@dataclass(frozen=True)
class Work:
    """Everything that a task must know.

    Attributes
    ----------
    projection : Projection
    model : str
    features_version : int
    folder : str
        Where the files go.
    labels : frozenset of (str or None)
        Labels whose losses are told apart.
    """

    projection: Projection
    model: str
    features_version: int
    folder: str
    labels: frozenset[str | None] = frozenset()


@dataclass(frozen=True)
class Written:
    """A file of components that no commit names yet.

    Attributes
    ----------
    name : str
        Within the featurizer's folder.
    size, rows : int
        Its bytes and rows.
    """

    name: str
    size: int
    rows: int


@dataclass
class Losses:
    """Squared lengths of standardised features, and what of them lies off the axes; old rows first, new ones second.

    The ratio of the two is the reconstruction error: the share of the variance that the components do not show.
    """

    rows: list[int] = field(default_factory=lambda: [0, 0])
    length: list[float] = field(default_factory=lambda: [0.0, 0.0])
    lost: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, new: bool, rows: int, length: float, lost: float) -> None:
        """Count some rows in."""
        self.rows[new] += rows
        self.length[new] += length
        self.lost[new] += lost

    def include(self, other: Losses) -> None:
        """Count in what another task has measured."""
        for new in (False, True):
            self.add(new, other.rows[new], other.length[new], other.lost[new])

    def error(self, new: bool) -> float | None:
        """Return the reconstruction error of old or new rows; None where there are none, or all lie at the mean."""
        return self.lost[new] / self.length[new] if self.length[new] > 0 else None


@dataclass
class Projected:
    """What came of projecting: the files, and the losses by label (those of all other labels under "other")."""

    files: list[Written] = field(default_factory=list)
    labels: dict[str | None, Losses] = field(default_factory=dict)
    others: Losses = field(default_factory=Losses)
    unusable: int = 0

    @property
    def rows(self) -> int:
        """Components that were written."""
        return sum(each.rows for each in self.files)

    @property
    def all(self) -> Losses:
        """Losses of all rows."""
        total = Losses()
        for each in (*self.labels.values(), self.others):
            total.include(each)
        return total


def project(readings: Sequence[Reading], work: Work) -> Iterator[pa.RecordBatch]:
    """Write the components of some rows of features, and say in one row which files and losses that gave.

    Yields
    ------
    pyarrow.RecordBatch
        One of one row, of the schema `SAID`, for `read_projected`.

    Raises
    ------
    PartGone
        A file of features is not there any more.
    StorageError
        A file cannot be read or written.
    """
    done = Projected()
    writer = _Writer(located(work.folder))
    try:
        for reading in readings:
            for batch in read(reading.part, (*_PASSED_ON, "features")):
                writer.add(_placed(batch, reading.new, work, done))
        done.files = writer.close()
    except OSError as error:
        writer.discard()
        raise StorageError(f"{work.folder} cannot be written: {first_line(error)}") from error
    except BaseException:
        writer.discard()
        raise
    yield pa.record_batch([pa.array([_json(done)])], schema=SAID)


def read_projected(said: pa.Table) -> Projected:
    """Return what all tasks have done, from the rows that they said."""
    total = Projected()
    for text in said["said"].to_pylist():
        one = json.loads(text)
        total.files += [Written(**each) for each in one["files"]]
        total.unusable += one["unusable"]
        total.others.include(Losses(**one["others"]))
        for label, losses in one["labels"]:
            total.labels.setdefault(label, Losses()).include(Losses(**losses))
    return total


def _placed(batch: pa.RecordBatch, new: bool, work: Work, done: Projected) -> pa.RecordBatch:
    """Return the rows of components that rows of features give, and count in what they lose."""
    values, usable = vectors(batch.column("features"), work.projection.width)
    rows = batch if usable.all() else batch.filter(pa.array(usable))
    done.unusable += int((pc.is_valid(batch.column("features")).to_numpy(zero_copy_only=False) & ~usable).sum())
    standardised = work.projection.standardised(values)
    components = work.projection.placed(standardised)
    length = np.einsum("ij,ij->i", standardised, standardised)
    kept = np.einsum("ij,ij->i", components, components, dtype=np.float64)
    _count(rows.column("label"), new, length, np.maximum(length - kept, 0), work.labels, done)
    columns = {
        **{name: rows.column(name) for name in _PASSED_ON},
        "model": pa.repeat(pa.scalar(work.model), len(rows)),
        "features_version": pa.repeat(pa.scalar(work.features_version, pa.int64()), len(rows)),
        "components": lists(components),
    }
    return pa.record_batch([columns[name].cast(SCHEMA.field(name).type) for name in SCHEMA.names], schema=SCHEMA)


def _count(
    labels: pa.Array,
    new: bool,
    length: NDArray[np.float64],
    lost: NDArray[np.float64],
    kept: frozenset[str | None],
    done: Projected,
) -> None:
    if not len(labels):
        return
    encoded = labels.dictionary_encode(null_encoding="encode")
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    names = encoded.dictionary.to_pylist()
    rows, lengths, losses = (np.bincount(codes, weights, len(names)) for weights in (None, length, lost))
    for code, name in enumerate(names):
        target = done.labels.setdefault(name, Losses()) if name in kept else done.others
        target.add(new, int(rows[code]), float(lengths[code]), float(losses[code]))


class _Writer:
    """Writes record batches into files of bounded size, in row groups of bounded size."""

    def __init__(self, folder: Place) -> None:
        self._folder = folder
        self._most = _FILE_BYTES if isinstance(folder, Path) else _OBJECT_BYTES
        self._begun: list[Place] = []
        self._files: list[Written] = []
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._open: pq.ParquetWriter | None = None
        self._file: IO[bytes] | None = None
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        if batch.num_rows:
            self._waiting.append(batch)
            self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= _GROUP_BYTES:
            self._write()

    def close(self) -> list[Written]:
        """Write what waits, and return the files."""
        self._write()
        self._end()
        return self._files

    def discard(self) -> None:
        """Delete what was written."""
        # A disk that is full does not take the end of a file either.
        # An object that is not closed is not put.
        if isinstance(self._folder, Path):
            with suppress(OSError):
                if self._open:
                    self._open.close()
            with suppress(OSError):
                if self._file:
                    self._file.close()
        for path in self._begun:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _write(self) -> None:
        if not self._waiting:
            return
        if self._open is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._begun.append(self._folder / f"part-{uuid4()}.zstd.parquet")
            self._file = self._begun[-1].open("xb")
            # Numbers that look random do not compress, and cost a dictionary's search.
            self._open = pq.ParquetWriter(
                self._file, SCHEMA, compression="zstd", use_dictionary=["label", "model", "features_version"]
            )
        table = pa.Table.from_batches(self._waiting, SCHEMA)
        self._open.write_table(table, row_group_size=table.num_rows)
        self._rows += table.num_rows
        self._waiting, self._waiting_bytes = [], 0
        if self._file is not None and self._file.tell() >= self._most:
            self._end()

    def _end(self) -> None:
        if self._open is not None and self._file is not None:
            self._open.close()
            size = self._file.tell()
            self._file.close()
            self._files.append(Written(self._begun[-1].name, size, self._rows))
            self._open, self._rows = None, 0


def _json(done: Projected) -> str:
    said: dict[str, Any] = {
        "files": [vars(each) for each in done.files],
        "unusable": done.unusable,
        "others": vars(done.others),
        "labels": [[label, vars(losses)] for label, losses in done.labels.items()],
    }
    return json.dumps(said)


def readings(parts: Iterable[Part], added: Iterable[Part]) -> list[Reading]:
    """Return what to read of a table's parts, the rows of `added` told apart as new.

    Parameters
    ----------
    parts
        Everything that counts.
    added
        Some of it: a part of a file for its new rows only.
    """
    new = {part.path: part for part in added}
    found = []
    for part in parts:
        if part.path in new:
            found += [Reading(_without(part, new[part.path]), new=False), Reading(new[part.path], new=True)]
        else:
            found.append(Reading(part, new=False))
    return [each for each in found if each.part.wanted]


def _without(part: Part, other: Part) -> Part:
    """Return all rows of a part (which skips some) but those of another part of the same file (which names some)."""
    skipped = part.positions if part.positions is not None else np.empty(0, np.int64)
    named = other.positions if other.positions is not None else np.arange(part.rows)
    return Part(part.path, part.size, part.rows, np.union1d(skipped, named), skipping=True)
