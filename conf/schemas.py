"""The lake's tables as data: names, columns, partitioning, constraints, properties. Names and columns are the contract.

Constraints are properties, in the SQL of Spark, which enforces them. Workers import this, and nothing of delta-rs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

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
