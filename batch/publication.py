"""Which model a lake's components are of, and the one commit that replaces them: the publication."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from batch.tasks.projecting import Written
from conf.errors import LakeError, StorageError, first_line
from conf.lake import LakePaths
from conf.schemas import COMPONENTS
from conf.tables import dataset_of, files_of, names_any, open_table
from conf.uris import Place

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Publication:
    """What readers of the components see.

    Attributes
    ----------
    version : int
        Of the table `components`: a reader pins it.
    model : str
        The one that every row is of.
    features_version : int
        The version of `features` whose pictures they are.
    at : datetime
        When it was committed, or a takedown removed rows of it last.
    knows : datetime
        When the newest model was made that there was at its commit: one made later was never published.
    """

    version: int
    model: str
    features_version: int
    at: datetime
    knows: datetime


def folder(lake: LakePaths, featurizer: str) -> Place:
    """Return where the files of a featurizer's components lie."""
    return lake.root / COMPONENTS.name / f"featurizer={featurizer}"


def published(lake: LakePaths, featurizer: str) -> Publication | None:
    """Return what is published of a featurizer; None before its first refit, or where no picture is left."""
    if not lake.has(COMPONENTS):
        return None
    table = open_table(lake.table(COMPONENTS))
    files = files_of(table, featurizer=featurizer)
    if not files.num_rows:
        return None
    mine = ds.field("featurizer") == featurizer
    first = dataset_of(table).head(1, columns=["model", "features_version"], filter=mine)
    if not first.num_rows:
        return None
    at = datetime.fromtimestamp(_milliseconds(files) / 1000, UTC)
    model, features_version = (first[name][0].as_py() for name in ("model", "features_version"))
    knows = _EPOCH + _MICROSECOND * (table.transaction_version(_application(featurizer)) or 0)
    return Publication(table.version(), model, features_version, at, knows)


def current(lake: LakePaths, featurizer: str) -> Publication:
    """Return what is published of a featurizer.

    Raises
    ------
    LakeError
        Nothing is.
    """
    shown = published(lake, featurizer)
    if shown is None:
        mend = f"`verger refit --lake {lake.root}` makes them"
        raise LakeError(f"{lake.root} has no components of {featurizer} yet: {mend}")
    return shown


def publish(
    lake: LakePaths, featurizer: str, model: str, features_version: int, files: Sequence[Written], knows: datetime
) -> bool:
    """Replace the components of a featurizer by the rows of some files, in one commit.

    Parameters
    ----------
    files
        Written into the featurizer's `folder`, each row of them of this model and version of features.
    knows
        When the newest model of the featurizer was made. It stays in the table's log, whatever rewrites the files.

    Returns
    -------
    bool
        False where somebody else, as a takedown, changed the components meanwhile: nothing was committed.

    Raises
    ------
    StorageError
        The table cannot be written.
    """
    place = lake.table(COMPONENTS)
    now = int(time.time() * 1000)
    partition: dict[str, str | None] = {"featurizer": featurizer}
    try:
        table = open_table(place)
        gone = files_of(table, featurizer=featurizer).select(["path", "size_bytes"]).to_pylist()
        removed = [RemoveAction(each["path"], True, now, each["size_bytes"], partition) for each in gone]
        added = [
            AddAction(_path(featurizer, each), each.size, partition, now, True, _statistics(each)) for each in files
        ]
        facts = {"verger.model": model, "verger.features_version": str(features_version)}
        table.create_write_transaction(
            [*removed, *added],
            "append",
            table.schema(),
            list(COMPONENTS.partition_by),
            commit_properties=CommitProperties(
                custom_metadata=facts,
                max_commit_retries=0,
                app_transactions=[Transaction(_application(featurizer), (knows - _EPOCH) // _MICROSECOND)],
            ),
        )
    except CommitFailedError:
        return names_any(place, [_path(featurizer, each) for each in files], featurizer=featurizer)
    except (DeltaError, OSError) as error:
        raise StorageError(f"{place} cannot be written: {first_line(error)}") from error
    return True


def open_components(lake: LakePaths, version: int) -> ds.Dataset:
    """Return the components as a version of the table has them."""
    return dataset_of(open_table(lake.table(COMPONENTS), version))


def _path(featurizer: str, file: Written) -> str:
    """Return where a file lies within the table."""
    return f"featurizer={featurizer}/{file.name}"


def _application(featurizer: str) -> str:
    return f"verger-components-{featurizer}"


def _statistics(file: Written) -> str:
    return json.dumps({"numRecords": file.rows})


def _milliseconds(files: pa.Table) -> int:
    written = files["modification_time"]
    if pa.types.is_timestamp(written.type):
        written = written.cast(pa.timestamp("ms")).cast(pa.int64())
    return int(pc.max(written).as_py())
