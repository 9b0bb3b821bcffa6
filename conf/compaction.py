"""Compaction: the small files of a table merged into large ones, its rows and its change feed as they were.

delta-rs has an OPTIMIZE of its own. It does not see that another one has replaced the same files since it looked, as
that commit changes no data: then the rows stand twice (delta-rs 1.6.6). So each compaction here is a transaction of one
application, which delta-rs refuses where another was committed since the snapshot that the files were taken from.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from conf import points
from conf.errors import LakeError, StorageError, first_line
from conf.tables import files_of, names_any, open_table
from conf.uris import Place, located

APPLICATION = "verger-compaction"
# Fewer are not worth a commit, and the files that it leaves behind until VACUUM.
_FEW_FILES = 100
# Larger files than a tier are left alone, so that each row is written anew three times at most, not with every round.
_TIERS = (512 << 10, 8 << 20, 128 << 20)
_ROW_GROUP_BYTES = 16 << 20


@dataclass(frozen=True)
class _File:
    """A file of a table: its path as the log spells it, its bytes and rows, and all that the log says of it."""

    path: str
    size: int
    rows: int
    facts: dict[str, Any]


def compact_rows(place: str, rows_per_file: int) -> int:
    """Merge small files of the table at `place`, none into more rows than a bound; its streams see no change.

    Parameters
    ----------
    place
        Where the table lies.
    rows_per_file
        No file that this makes holds more rows: a micro-batch takes whole files.

    Returns
    -------
    int
        Files that went into larger ones; none while there are few.

    Raises
    ------
    StorageError
        The table cannot be read or written.
    """

    def bundles(files: Sequence[_File]) -> list[list[_File]]:
        small = [each for each in files if each.rows <= rows_per_file // 2]
        return [] if len(small) < _FEW_FILES else list(_bundles(small, lambda file: file.rows, rows_per_file))

    return _compacted(place, {}, bundles)


def compact(place: str, **partition: str) -> int:
    """Merge small files of one partition of the table at `place`; its rows and its change feed stay as they are.

    Delta's own auto-compaction does so within a micro-batch, and after a restart in every micro-batch: it forgets
    which files it has seen, and takes the one that it has just made for a reason to begin again.

    Returns
    -------
    int
        Files that went into larger ones; none while there are few.

    Raises
    ------
    StorageError
        The table cannot be read or written.
    """

    def bundles(files: Sequence[_File]) -> list[list[_File]]:
        for tier in _TIERS:
            small = [each for each in files if each.size < tier // 2]
            if len(small) >= _FEW_FILES:
                return list(_bundles(small, lambda file: file.size, tier))
        return []

    return _compacted(place, partition, bundles)


def _compacted(
    place: str, partition: dict[str, str], choose: Callable[[Sequence[_File]], Iterable[list[_File]]]
) -> int:
    """Replace each bundle of several files that is chosen by one file, all in one commit."""
    try:
        table = open_table(place)
        if set(partition) != set(table.metadata().partition_columns):
            raise ValueError(f"{place} is partitioned by {table.metadata().partition_columns}: name one partition")
        bundles = [bundle for bundle in choose(_files(table, partition)) if len(bundle) > 1]
        if not bundles:
            return 0
        points.reach("compaction-begins")
        schema = pa.schema([field for field in pa.schema(table.schema().to_arrow()) if field.name not in partition])
        now = int(time.time() * 1000)
        added = [_merged(located(place), schema, partition, bundle, now) for bundle in bundles]
        points.reach("compaction-written")
        gone = [each for bundle in bundles for each in bundle]
        if not _replaced(place, table, partition, added, gone, now):
            return 0
        points.reach("compaction-committed")
        return len(gone)
    except (DeltaError, OSError, LakeError) as error:
        raise StorageError(f"{place} cannot be compacted: {first_line(error)}") from error


def _replaced(
    place: str,
    table: DeltaTable,
    partition: dict[str, str],
    added: Sequence[AddAction],
    gone: Sequence[_File],
    now: int,
) -> bool:
    """Commit the new files in place of the old ones; False where somebody else has changed the old ones meanwhile."""
    application = "-".join((APPLICATION, *partition.values()))
    turn = Transaction(application, (table.transaction_version(application) or 0) + 1)
    # No change of data: neither a stream nor a change feed tells of it.
    removed = [RemoveAction(each.path, False, now, each.size, dict(partition)) for each in gone]
    try:
        table.create_write_transaction(
            [*added, *removed],
            "append",
            table.schema(),
            list(partition),
            commit_properties=CommitProperties(app_transactions=[turn]),
        )
    except CommitFailedError:
        # Rows may have been deleted from the old files, or another compaction may have replaced them.
        if names_any(place, [each.path for each in added], **partition):
            return True
        for each in added:
            with suppress(OSError):
                (located(place) / unquote(each.path)).unlink(missing_ok=True)
        return False
    return True


def _files(table: DeltaTable, partition: dict[str, str]) -> list[_File]:
    """Return the files of a table that hold rows, or those of one partition, oldest first."""
    rows = files_of(table, **partition).sort_by("modification_time").to_pylist()
    return [_File(each["path"], each["size_bytes"], each["num_records"], each) for each in rows if each["num_records"]]


def _bundles(files: Iterable[_File], weight: Callable[[_File], int], most: int) -> Iterator[list[_File]]:
    """Bundle files, in their order, so that none weighs more than the bound."""
    bundle: list[_File] = []
    weighs = 0
    for each in files:
        if bundle and weighs + weight(each) > most:
            yield bundle
            bundle, weighs = [], 0
        bundle.append(each)
        weighs += weight(each)
    if bundle:
        yield bundle


def _merged(place: Place, schema: pa.Schema, partition: dict[str, str], bundle: Sequence[_File], now: int) -> AddAction:
    """Write the rows of some files into one, which is not committed yet."""
    folder, slash, _ = bundle[0].path.rpartition("/")
    path = f"{folder}{slash}part-00000-{uuid4()}-c000.zstd.parquet"
    with (place / unquote(path)).open("xb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for rows in _row_groups(place, schema, bundle):
                writer.write_table(rows)
        size = file.tell()
    return AddAction(path, size, dict(partition), now, False, json.dumps(_statistics(bundle)))


def _row_groups(place: Place, schema: pa.Schema, bundle: Sequence[_File]) -> Iterator[pa.Table]:
    """Yield the rows of some files, in their order, as much at a time as a row group is to hold."""
    pending: list[pa.Table] = []
    held = 0
    for each in bundle:
        with (place / unquote(each.path)).open("rb") as file:
            # Spark writes times in a form that reads as nanoseconds, which have no year 9999.
            pending.append(pq.read_table(file, coerce_int96_timestamp_unit="us").select(schema.names).cast(schema))
        held += pending[-1].nbytes
        if held >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(pending)
            pending, held = [], 0
    if pending:
        yield pa.concat_tables(pending)


def _statistics(bundle: Sequence[_File]) -> dict[str, Any]:
    """Return what the log is to say of the rows of some files, from what it says of each."""
    facts = [each.facts for each in bundle]
    columns = [name.partition(".")[2] for name in facts[0] if name.startswith("null_count.")]
    extremes = {
        kind: {column: _spelled(extreme(known)) for column in columns if (known := _known(facts, f"{name}.{column}"))}
        for kind, name, extreme in (("minValues", "min", min), ("maxValues", "max", max))
    }
    nulls = {column: sum(known) for column in columns if (known := _known(facts, f"null_count.{column}", every=True))}
    return {"numRecords": sum(each.rows for each in bundle), **extremes, "nullCount": nulls}


def _known(facts: Sequence[dict[str, Any]], name: str, *, every: bool = False) -> list[Any]:
    """Return a fact of each file that has rows with it; nothing where it is not known of one that might."""
    values = [each.get(name) for each in facts]
    column = name.partition(".")[2]
    silent = [each for each, value in zip(facts, values, strict=True) if value is None]
    if silent and (every or any(each.get(f"null_count.{column}") != each["num_records"] for each in silent)):
        return []
    return [value for value in values if value is not None]


def _spelled(value: Any) -> Any:
    """Return a value as the log has it: times in milliseconds."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
