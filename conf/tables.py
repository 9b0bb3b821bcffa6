"""The lake's tables as data, and their creation.

delta-rs creates them in milliseconds and without a JVM, their constraints included: those are properties, in the SQL of
Spark, which enforces them. Names and columns are the contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError

from conf import access
from conf.errors import LakeError, first_line
from conf.retrying import persistently

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA_VERSION = 1
VERSION_PROPERTY = "verger.schema"
TIMESTAMP = pa.timestamp("us", tz="UTC")
# What holds for every table.
_OWN_UPKEEP = {
    # How long the log remembers removed files, as VACUUM takes others for left behind; a day more than by default.
    "delta.deletedFileRetentionDuration": "interval 15 days",
    # Delta's own merges small arrivals into one file, which a single micro-batch takes whole, and works within the
    # micro-batches of features; see `conf.upkeep`.
    "delta.autoOptimize.autoCompact": "false",
    # A query that was stopped for long, and the next refit, need the log from where they were on.
    "delta.enableExpiredLogCleanup": "false",
}


@dataclass(frozen=True)
class Table:
    """One table: its name under the lake, columns, partitioning, constraints, properties."""

    name: str
    schema: pa.Schema
    partition_by: tuple[str, ...] = ()
    constraints: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in the table's order."""
        return tuple(self.schema.names)


def _required(name: str, kind: pa.DataType, sentence: str) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"comment": sentence})


def _optional(name: str, kind: pa.DataType, sentence: str) -> pa.Field:
    return pa.field(name, kind, metadata={"comment": sentence})


# Which version of which picture a row is about; when it was seen, and the attempt.
_PICTURE_VERSION = (
    _required("uri", pa.string(), "Where the picture lies, percent-encoded by RFC 3986; the same from every route."),
    _required(
        "e_tag",
        pa.string(),
        "The version's identity as the storage tells it; on folders size and modification time in ns.",
    ),
    _required("landed_at", TIMESTAMP, "When this version landed; on folders its modification time."),
)
_SEEN = (
    _required("discovered_at", TIMESTAMP, "When Verger saw it."),
    _required("attempt", pa.int32(), "1, and one more for each retry."),
)

ARRIVALS = Table(
    name="arrivals",
    schema=pa.schema(
        [
            *_PICTURE_VERSION,
            _required("size", pa.int64(), "Bytes."),
            _optional("version", pa.string(), "The object store's version id, where it keeps versions."),
            *_SEEN,
            _required("route", pa.string(), "How it was found: listing, notification or retry."),
        ]
    ),
    properties=_OWN_UPKEEP,
)

FEATURES = Table(
    name="features",
    schema=pa.schema(
        [
            *_PICTURE_VERSION,
            *_SEEN,
            _optional("label", pa.string(), "By the label rule; the parent folder's name by default."),
            _optional("sha256", pa.string(), "Of the file's bytes, in hex."),
            _optional("format", pa.string(), "From the bytes: jpeg, mpo, png, gif, webp, bmp or tiff."),
            _optional("width", pa.int32(), "Pixels, upright."),
            _optional("height", pa.int32(), "Pixels, upright."),
            _required("featurizer", pa.string(), "Id of the backbone that made the outcome."),
            _optional("features", pa.list_(pa.float32()), "The vector; null for a rejection."),
            _optional(
                "rejection", pa.string(), "Why there are no features, from the fixed list; null where there are."
            ),
            _optional("detail", pa.string(), "What exactly was seen."),
            _required("featurized_at", TIMESTAMP, "When the outcome was made."),
        ]
    ),
    partition_by=("featurizer",),
    constraints={"outcome": "(features IS NULL) <> (rejection IS NULL)"},
    properties={
        **_OWN_UPKEEP,
        "delta.enableChangeDataFeed": "true",
        # Scalar columns only: naming an array or the partition column throws.
        "delta.dataSkippingStatsColumns": "uri,e_tag,landed_at,discovered_at,attempt,label,rejection,featurized_at",
    },
)

_MODEL = _required("model", pa.string(), "Id of the model: when it was fitted, and a hash of what it is.")
_FEATURIZER = _required("featurizer", pa.string(), "Id of the backbone that made the features.")
_VERSION = _required("features_version", pa.int64(), "The version of features whose pictures these are.")
_OF_LABEL = pa.struct(
    [
        pa.field("label", pa.string()),
        pa.field("n", pa.int64()),
        pa.field("new", pa.int64()),
        pa.field("mean_shift", pa.float64()),
        pa.field("error_old", pa.float64()),
        pa.field("error_new", pa.float64()),
    ]
)
_DRIFT = pa.struct(
    [
        pa.field("since", pa.string()),
        pa.field("old", pa.int64()),
        pa.field("new", pa.int64()),
        pa.field("principal_angles", pa.list_(pa.float64())),
        pa.field("eigenvalue_change", pa.list_(pa.float64())),
        pa.field("mean_shift", pa.float64()),
        pa.field("mean_shift_max", pa.float64()),
        pa.field("error_old", pa.float64()),
        pa.field("error_new", pa.float64()),
        pa.field("labels", pa.list_(_OF_LABEL)),
    ]
)

MODELS = Table(
    name="models",
    schema=pa.schema(
        [
            _MODEL,
            _FEATURIZER,
            _required("created_at", TIMESTAMP, "When it was fitted."),
            _VERSION,
            _required("n", pa.int64(), "Pictures that it was fitted to."),
            _required("rejected", pa.int64(), "Pictures whose newest outcome was a rejection; they took no part."),
            _required("width", pa.int32(), "Length of the features, d."),
            _required("k", pa.int32(), "Components."),
            _required("solver", pa.string(), "covariance or randomized."),
            _required("mean", pa.list_(pa.float64()), "Of each column of features (d)."),
            _required("scale", pa.list_(pa.float64()), "Population standard deviation (d); 1 for a constant column."),
            _required(
                "explained_variance", pa.list_(pa.float64()), "Variance of each component (k), with n - 1 as divisor."
            ),
            _required("explained_variance_ratio", pa.list_(pa.float64()), "Its share of all variance (k)."),
            _required("basis", pa.binary(), "Axes in standardised features: k x d float64, row by row, little-endian."),
            _optional("moments", pa.binary(), "What the next refit continues from; null for randomized."),
            _required("labels", pa.binary(), "Number and mean features of each label."),
            _optional("drift", _DRIFT, "What changed since the model before it; null for a first one."),
            _optional("parent", pa.string(), "The model before it, whose axes it keeps where it can."),
            _required("run_card", pa.string(), "How it was made: settings, package versions, times; JSON."),
        ]
    ),
    properties={
        **_OWN_UPKEEP,
        "delta.dataSkippingStatsColumns": "model,featurizer,created_at,features_version",
    },
)

COMPONENTS = Table(
    name="components",
    schema=pa.schema(
        [
            *_PICTURE_VERSION,
            _optional("label", pa.string(), "As in features."),
            _FEATURIZER,
            _MODEL,
            _VERSION,
            _required("components", pa.list_(pa.float32()), "The picture's place on the model's axes (k)."),
        ]
    ),
    partition_by=("featurizer",),
    properties={
        **_OWN_UPKEEP,
        "delta.dataSkippingStatsColumns": "uri,landed_at,label,model,features_version",
    },
)

TABLES = (ARRIVALS, FEATURES, MODELS, COMPONENTS)

# The order in which a newer row of one uri (and featurizer) wins over an older one.
NEWEST_WINS = ("landed_at", "discovered_at", "e_tag", "attempt")


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
