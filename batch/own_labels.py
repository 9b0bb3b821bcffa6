"""Labels from elsewhere: the user's own table of uris and labels, in place of those by the label rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from conf import access
from conf.errors import StorageError, UsageError, first_line
from conf.objects import ObjectPath
from conf.uris import folder_of, spelled

_COLUMNS = ("uri", "label")
_PARQUET = b"PAR1"
_LARGEST_PIECE = 1 << 30
# What is so is as the tables spell it: no letter, digit or `-._~/` is encoded, nothing else is not, and no segment is
# empty or a dot. The rest is spelled one by one.
_ENCODED = "%(?:[0189A-F][0-9A-F]|2[0-9A-C]|3[A-F]|40|5[B-E]|60|7[BCDF])"
_AS_THE_TABLES = rf"^(?:file://|(?:s3|gs|az)://[a-z0-9.-]+)(?:/(?:[A-Za-z0-9._~-]|{_ENCODED})+)+$"
_DOTS = r"/\.\.?(?:/|$)"
_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)


@dataclass(frozen=True)
class OwnLabels:
    """Labels of pictures by their uri.

    Attributes
    ----------
    name : str
        The file, as the user gave it.
    uris : pyarrow.Array of string
        As the tables spell them, each once.
    labels : pyarrow.Array of string
        The label of each; none is null.
    """

    name: str
    uris: pa.Array = field(repr=False)
    labels: pa.Array = field(repr=False)

    def of(self, uris: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Return the label of each uri as strings, null where the file has none for it."""
        # Of these few a table is made, and not of all that the file has.
        asked = pc.is_in(self.uris, value_set=uris)
        places = pc.index_in(uris, value_set=self.uris.filter(asked))
        found = self.labels.filter(asked).take(
            places.combine_chunks() if isinstance(places, pa.ChunkedArray) else places
        )
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def load(place: str) -> OwnLabels:
    """Read the user's table: a Parquet or CSV file with the columns `uri` and `label`; others are passed over.

    A label is a text; a number in a Parquet file becomes one, and in CSV nothing is taken for a number: `001` stays.
    A row whose label is empty says nothing. CSV is UTF-8, with or without its mark, separated by commas; quoted texts
    may hold line breaks.

    Parameters
    ----------
    place
        A path, a file:// URI, or an object of a store. Uris in it may be paths, too; relative ones are of the working
        directory.

    Raises
    ------
    UsageError
        There is no such file; it is neither CSV nor Parquet, has no rows or lacks a column; a row has no uri, or one
        that means no place; or a picture has several labels.
    StorageError
        It cannot be read.
    """
    table = _texts(place, _table(place, _bytes(place)))
    missing = table["uri"].null_count + (pc.sum(pc.equal(table["uri"], "")).as_py() or 0)
    if missing:
        raise _wrong(place, f"{missing:,} of {table.num_rows:,} rows have no uri: give each the picture's path or URI")
    table = table.filter(pc.not_equal(table["label"], ""))
    return _unique(place, _spelled(place, table["uri"].combine_chunks()), table["label"].combine_chunks())


def relabelled(rows: _Rows, labels: OwnLabels) -> _Rows:
    """Return rows with the user's labels in their column `label`, whatever stood there."""
    place = rows.schema.get_field_index("label")
    return rows.set_column(place, rows.schema.field(place), labels.of(rows["uri"]))


def each_relabelled(batches: Iterable[pa.RecordBatch], labels: OwnLabels | None) -> Iterator[pa.RecordBatch]:
    """Yield batches `relabelled`; as they are where there are no labels of the user's own."""
    return (batch if labels is None else relabelled(batch, labels) for batch in batches)


def lacking(rows: pa.Table, name: str) -> str:
    """Say how many of some `relabelled` rows the file `name` has no label for; empty where it has them all."""
    count = rows["label"].null_count
    return f"{count:,} of {rows.num_rows:,} pictures have no label in {name}" if count else ""


def _wrong(place: str, why: str) -> UsageError:
    return UsageError(f"--labels {place}: {why}")


def _bytes(place: str) -> bytes:
    scheme = access.scheme_of(place)
    if scheme:
        access.bucket_of(place)
    path = ObjectPath(f"{scheme}://{place.partition('://')[2]}") if scheme else folder_of(place, "labels")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _wrong(
            place, "there is no such file: give a CSV or Parquet file with the columns uri and label"
        ) from None
    except IsADirectoryError:
        raise _wrong(place, "is a folder: name the file in it") from None
    except OSError as error:
        raise StorageError(f"--labels {place} cannot be read: {error.strerror or first_line(error)}") from error


def _table(place: str, content: bytes) -> pa.Table:
    """Return the two columns, of whatever type, as the file has them."""
    if not content.strip():
        raise _wrong(place, "is empty: give it the columns uri and label")
    try:
        return _parquet(place, content) if content.startswith(_PARQUET) else _csv(place, content)
    except (pa.ArrowException, OSError) as error:
        raise _wrong(
            place, f"can be read neither as CSV (in UTF-8, with commas) nor as Parquet: {first_line(error)}"
        ) from error


def _parquet(place: str, content: bytes) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(content))
    _check_columns(place, file.schema_arrow.names)
    return file.read(columns=list(_COLUMNS))


def _csv(place: str, content: bytes) -> pa.Table:
    if b"\0" in content[:4096]:
        raise pa.ArrowInvalid("it is no text")
    # Of one piece: a quoted text that holds lines may be longer than any that was chosen.
    read = csv.ReadOptions(block_size=min(len(content), _LARGEST_PIECE))
    convert = csv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, pa.string()), strings_can_be_null=False)
    table = csv.read_csv(pa.BufferReader(content), read, csv.ParseOptions(newlines_in_values=True), convert)
    _check_columns(place, table.column_names)
    return table.select(list(_COLUMNS))


def _check_columns(place: str, names: Sequence[str]) -> None:
    for name in _COLUMNS:
        if names.count(name) != 1:
            how = "no column" if name not in names else "more than one column"
            shown = ", ".join(repr(each) for each in names)
            raise _wrong(place, f"has {how} named {name}: it needs uri and label, and has {shown}")


def _texts(place: str, table: pa.Table) -> pa.Table:
    """Return both columns as strings; a null label as an empty one."""
    try:
        columns = {name: pc.cast(_numbered(table[name]), pa.string()) for name in _COLUMNS}
    except pa.ArrowException as error:
        kinds = " and ".join(f"{name} of {table[name].type}" for name in _COLUMNS)
        raise _wrong(place, f"has {kinds}, which are no texts: {first_line(error)}") from error
    if not table.num_rows:
        raise _wrong(place, "has no rows below its head: give each picture one")
    return pa.table({"uri": columns["uri"], "label": pc.fill_null(columns["label"], "")})


def _numbered(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in which what is no number is null, as pandas writes a label that is missing."""
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(column.type) else column


def _spelled(place: str, uris: pa.Array) -> pa.Array:
    """Return uris as the tables spell them."""
    good = pc.and_not(pc.match_substring_regex(uris, _AS_THE_TABLES), pc.match_substring_regex(uris, _DOTS))
    other = uris.filter(pc.invert(good))
    if not len(other):
        return uris
    known = pc.unique(other)
    respelled = pa.array([_one_spelled(place, each) for each in known.to_pylist()], pa.string())
    return pc.replace_with_mask(uris, pc.invert(good), respelled.take(pc.index_in(other, value_set=known)))


def _one_spelled(place: str, text: str) -> str:
    try:
        return spelled(text, "labels")
    except UsageError:
        raise _wrong(
            place, f"{text!r} is neither the path of a picture nor the URI of one that Verger reaches"
        ) from None


def _unique(place: str, uris: pa.Array, labels: pa.Array) -> OwnLabels:
    """Return the labels, each uri once.

    Raises
    ------
    UsageError
        One has several.
    """
    pairs = pa.table({"uri": uris, "label": labels}).group_by(list(_COLUMNS), use_threads=False).aggregate([])
    counts = pairs.group_by("uri", use_threads=False).aggregate([("label", "count"), ("label", "list")])
    several = counts.filter(pc.greater(counts["label_count"], 1))
    if several.num_rows:
        first = several.slice(0, 1).to_pylist()[0]
        shown = " and ".join(repr(each) for each in first["label_list"][:2])
        raise _wrong(
            place,
            f"{several.num_rows:,} {'picture has' if several.num_rows == 1 else 'pictures have'} more than one label, "
            f"{first['uri']} has {shown}: give each one",
        )
    return OwnLabels(place, pairs["uri"].combine_chunks(), pairs["label"].combine_chunks())
