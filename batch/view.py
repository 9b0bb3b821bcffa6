"""The view: what the last refit published, and what has come since, placed on the same axes as it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from batch import models, publication
from batch.algebra.vectors import lists, vectors
from batch.model import Model
from batch.publication import Publication, current
from batch.rows import changes
from batch.rows.changes import FeedGone
from batch.rows.parts import BATCH_BYTES, Part, PartGone, read, read_all, read_placed, told
from batch.rows.winners import snapshot, winners
from conf.errors import StorageError
from conf.lake import LakePaths
from conf.schemas import COMPONENTS, FEATURES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BATCH, PROVISIONAL = "batch", "provisional"
SCHEMA = pa.schema([*COMPONENTS.schema, pa.field("source", pa.string(), nullable=False)])
_VERSION = ("uri", "e_tag", "landed_at")
_TRIES = 5
_MOST_ROWS = 65_536
# Batches, and files, that are read before they are asked for.
_AHEAD = 2
# Which versions of pictures have features, in which part, at which place.
_PLACED = pa.schema(
    [*(FEATURES.schema.field(name) for name in _VERSION), ("part", pa.int64()), ("position", pa.int64())]
)
_NO_URIS = pa.array([], pa.string())


@dataclass(frozen=True)
class View:
    """One featurizer's feature space at a moment: one version of components, and of features.

    Attributes
    ----------
    publication : Publication
        What the refit published.
    model : Model
        The one that places every row.
    features_version : int
        Up to which the provisional rows go.
    superseded : pyarrow.Array
        Uris of published rows that no longer count: overwritten, rejected or forgotten since.
    provisional : pyarrow.Table
        Rows that have come since, as `SCHEMA`.
    """

    lake: LakePaths
    publication: Publication
    model: Model
    features_version: int
    superseded: pa.Array
    provisional: pa.Table

    def settled(self) -> pa.Table:
        """Return what the refit published, superseded rows among it, with the columns of the table."""
        mine = ds.field("featurizer") == self.model.featurizer
        found = publication.open_components(self.lake, self.publication.version)
        return found.to_table(columns=list(COMPONENTS.columns), filter=mine)

    def batches(self, columns: Sequence[str] = SCHEMA.names) -> Iterator[pa.RecordBatch]:
        """Yield all rows, with some columns of `SCHEMA`: the published ones first, in the same order every time.

        Raises
        ------
        PartGone
            A file of this version is not there any more.
        StorageError
            A file cannot be read.
        """
        mine = ds.field("featurizer") == self.model.featurizer
        components = publication.open_components(self.lake, self.publication.version)
        read_columns = list(dict.fromkeys(("uri", *(each for each in columns if each != "source"))))
        rows = max(1, min(_MOST_ROWS, BATCH_BYTES // (4 * self.model.k)))
        found = components.to_batches(
            columns=read_columns, filter=mine, batch_size=rows, batch_readahead=_AHEAD, fragment_readahead=_AHEAD
        )
        with told(f"a file of {self.lake.table(COMPONENTS)}"):
            for batch in found:
                kept = batch
                if len(self.superseded) and batch.num_rows:
                    kept = batch.filter(pc.invert(pc.is_in(batch.column("uri"), value_set=self.superseded)))
                if kept.num_rows:
                    yield from _shaped(pa.Table.from_batches([kept]), BATCH, columns).to_batches()
        yield from self.provisional.select(list(columns)).to_batches()

    def table(self) -> pa.Table:
        """Return all rows, as `SCHEMA`."""
        return pa.Table.from_batches(self.batches(), SCHEMA)


def view(lake: LakePaths, featurizer: str) -> View:
    """Return the feature space of one featurizer, by its whole id, as it is now.

    Raises
    ------
    LakeError
        Nothing has been refitted yet.
    StorageError
        The lake cannot be read.
    """
    for _ in range(_TRIES):
        try:
            return _view(lake, featurizer)
        except PartGone:
            continue
    raise StorageError(f"the files of {lake.table(FEATURES)} vanish while they are read: read again later")


def frame(spark: SparkSession, lake: LakePaths, featurizer: str) -> DataFrame:
    """Return the view as a DataFrame of Spark: the published rows are read by it, when it is used.

    Raises
    ------
    LakeError, StorageError
        As `view`.
    """
    from pyspark.sql import functions as F

    seen = view(lake, featurizer)
    reader = spark.read.format("delta").option("versionAsOf", seen.publication.version)
    settled = reader.load(lake.table(COMPONENTS)).where(F.col("featurizer") == featurizer)
    if len(seen.superseded):
        gone = spark.createDataFrame(pa.table({"uri": seen.superseded}))
        settled = settled.join(F.broadcast(gone), "uri", "left_anti")
    settled = settled.select(*COMPONENTS.columns).withColumn("source", F.lit(BATCH))
    return settled.unionByName(spark.createDataFrame(seen.provisional)) if seen.provisional.num_rows else settled


def _view(lake: LakePaths, featurizer: str) -> View:
    shown = current(lake, featurizer)
    model = models.load(lake, shown.model)
    now = snapshot(lake.table(FEATURES), featurizer)
    try:
        since = changes.read_changes(lake.table(FEATURES), featurizer, shown.features_version, now.version)
        difference = changes.difference(since, winners(now, changes.touched(since)).rows)
        added = difference.added
        superseded = _uris([*difference.removed, *added])
    except FeedGone:
        added, superseded = _compared(lake, shown, winners(now, _NO_URIS).parts, featurizer)
    provisional = _placed(added, model, now.version)
    return View(lake, shown, model, now.version, superseded, provisional)


def _compared(
    lake: LakePaths, shown: Publication, parts: Sequence[Part], featurizer: str
) -> tuple[list[Part], pa.Array]:
    """Find without a change feed what differs: hold every picture that counts against every published one."""
    counting = pa.concat_tables([_PLACED.empty_table(), *(_identities(*each) for each in enumerate(parts))])
    mine = ds.field("featurizer") == featurizer
    components = publication.open_components(lake, shown.version).to_table(columns=list(_VERSION), filter=mine)
    new = counting.join(components, list(_VERSION), join_type="left anti")
    gone = components.join(counting.select(list(_VERSION)), list(_VERSION), join_type="left anti")
    places = new.group_by("part").aggregate([("position", "list")])
    added = [
        Part(part.path, part.size, part.rows, np.sort(positions.values.to_numpy()), skipping=False)
        for part, positions in (
            (parts[number.as_py()], positions)
            for number, positions in zip(places["part"], places["position_list"], strict=True)
        )
    ]
    return added, pc.unique(pa.chunked_array([*gone["uri"].chunks, *new["uri"].chunks], pa.string()))


def _identities(number: int, part: Part) -> pa.Table:
    """Return the versions of the pictures of a part that have features, and where they lie."""
    found = [
        pa.table(
            [*(batch.column(name) for name in _VERSION), pa.repeat(pa.scalar(number), batch.num_rows), places],
            schema=_PLACED,
        ).filter(pc.is_null(batch.column("rejection")))
        for places, batch in read_placed(part, (*_VERSION, "rejection"))
    ]
    return pa.concat_tables(found)


def _uris(parts: Iterable[Part]) -> pa.Array:
    found = [batch.column("uri") for batch in read_all(parts, ("uri",))]
    return pc.unique(pa.chunked_array(found, pa.string())) if found else _NO_URIS


def _placed(parts: Iterable[Part], model: Model, features_version: int) -> pa.Table:
    """Return rows of features as rows of the view; those whose features are not usable have no place in it."""
    found = []
    for part in parts:
        for batch in read(part, (*_VERSION, "label", "features")):
            values, usable = vectors(batch.column("features"), model.width)
            rows = pa.Table.from_batches([batch.filter(pa.array(usable)).drop_columns("features")])
            rows = rows.append_column("components", lists(model.projection.components(values)))
            rows = rows.append_column("featurizer", _repeated(model.featurizer, rows))
            rows = rows.append_column("model", _repeated(model.id, rows))
            found.append(rows.append_column("features_version", _repeated(features_version, rows)))
    return pa.concat_tables([SCHEMA.empty_table(), *(_shaped(rows, PROVISIONAL) for rows in found)])


def _shaped(rows: pa.Table, source: str, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    rows = rows.append_column("source", _repeated(source, rows))
    return rows.select(list(columns)).cast(pa.schema([SCHEMA.field(name) for name in columns]))


def _repeated(value: str | int, rows: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(value), rows.num_rows)
