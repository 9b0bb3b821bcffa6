"""The lake's tables on disk or in a bucket: made, opened, and what their log says of their files.

delta-rs does it in milliseconds and without a JVM.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError

from conf import access
from conf.errors import LakeError, first_line
from conf.retrying import persistently
from conf.schemas import SCHEMA_VERSION, VERSION_PROPERTY, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def ensure(table: Table, place: str) -> DeltaTable:
    """Open the table at `place`, creating it or adding the columns that an older version lacked.

    Raises
    ------
    LakeError
        The table was written by a newer Verger, or a column has another type.
    """
    try:
        found = open_table(place)
    except TableNotFoundError:
        with _translated(place):
            return DeltaTable.create(
                place,
                table.schema,
                partition_by=list(table.partition_by) or None,
                configuration={**table.properties, **_checks(table), VERSION_PROPERTY: str(SCHEMA_VERSION)},
                storage_options=access.delta_options(place),
                raise_if_key_not_exists=False,
            )
    _refuse_newer(table, found, place)
    _add_missing(table, found, place)
    return found


def _checks(table: Table) -> dict[str, str]:
    """Return the CHECK constraints as properties, which is how Delta keeps them: a new table has no row to check."""
    return {f"delta.constraints.{name}": expression for name, expression in table.constraints.items()}


def open_table(place: str, version: int | None = None) -> DeltaTable:
    """Open the table at `place`, at a version or the latest.

    Raises
    ------
    LakeError
        What is there cannot be read as a table.
    deltalake.exceptions.TableNotFoundError
        Nothing is there.
    """
    options = access.delta_options(place)
    with _translated(place):
        if options is None:
            return DeltaTable(place, version=version)
        # delta-rs asks again where a request failed, not where the body of an answer was cut.
        return persistently(lambda: DeltaTable(place, version=version, storage_options=options), "lake open", _passing)


def _passing(error: BaseException) -> bool:
    return isinstance(error, OSError | DeltaError) and not isinstance(error, TableNotFoundError)


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Turn what delta-rs raises into one line; its messages go on with traces of its own."""
    try:
        yield
    except TableNotFoundError:
        raise
    except (DeltaError, OSError) as error:
        raise LakeError(f"the table at {place} cannot be opened: {first_line(error)}") from error


def add_constraints(spark: SparkSession, table: Table, place: str) -> None:
    """Add the CHECK constraints that the table at `place`, of an older Verger, does not have yet."""
    present = open_table(place).metadata().configuration
    for name, expression in table.constraints.items():
        if f"delta.constraints.{name}" not in present:
            quoted = place.replace("`", "``")
            spark.sql(f"ALTER TABLE delta.`{quoted}` ADD CONSTRAINT {name} CHECK ({expression})")


def _refuse_newer(table: Table, found: DeltaTable, place: str) -> None:
    version = found.metadata().configuration.get(VERSION_PROPERTY, "0")
    if not version.isdecimal() or int(version) > SCHEMA_VERSION:
        raise LakeError(f"{place} has schema version {version}, this Verger knows {SCHEMA_VERSION}: upgrade Verger")


def _add_missing(table: Table, found: DeltaTable, place: str) -> None:
    present = {each.name: each for each in pa.schema(found.schema().to_arrow())}
    missing = [each for each in table.schema if each.name not in present]
    for each in table.schema:
        if each.name in present and not _same_type(each.type, present[each.name].type):
            raise LakeError(f"{place}: column {each.name} is {present[each.name].type}, not {each.type}: not Verger's")
    required = [each.name for each in missing if not each.nullable]
    if required:
        raise LakeError(f"{place}: column {required[0]} is missing: not Verger's")
    if missing:
        found.alter.add_columns(list(Schema.from_arrow(pa.schema(missing)).fields))


def _same_type(ours: pa.DataType, theirs: pa.DataType) -> bool:
    if pa.types.is_list(ours):
        return bool(pa.types.is_list(theirs) or pa.types.is_large_list(theirs)) and ours.value_type == theirs.value_type
    return bool(ours == theirs)


def dataset_of(table: DeltaTable) -> ds.Dataset:
    """Return a table's rows for Arrow to read.

    Spark writes times as INT96, which Arrow would take for nanoseconds: these end in 2262, and a file's time need not.
    """
    return table.to_pyarrow_dataset(parquet_read_options=ds.ParquetReadOptions(coerce_int96_timestamp_unit="us"))


def count_rows(place: str, **partition: str) -> int:
    """Count the rows of the table at `place`, or of one partition, from the log alone."""
    return int(pc.sum(files_of(open_table(place), **partition)["num_records"]).as_py() or 0)


def names_any(place: str, paths: Iterable[str], **partition: str) -> bool:
    """Whether the latest version of the table at `place` names one of some files of a partition.

    For whoever was refused a commit: where the answer to a put is lost, it is put again and refused, though it stands.
    """
    standing = set(files_of(open_table(place), **partition)["path"].to_pylist())
    return not standing.isdisjoint(paths)


def files_of(table: DeltaTable, **partition: str) -> pa.Table:
    """Return what the log says of a table's files, or of those of one partition: a row each, with flat columns."""
    actions = pa.table(table.get_add_actions(flatten=True))
    for name, value in partition.items():
        actions = actions.filter(pc.equal(actions[f"partition.{name}"], value)) if actions.num_rows else actions
    return actions
