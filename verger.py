"""Read a lake from Python, without a JVM.

>>> import verger
>>> lake = verger.open("lake")
>>> lake.features().num_rows
5400
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from batch import models, own_labels
from batch.model import Model
from batch.own_labels import OwnLabels
from batch.publication import published
from batch.similar import similar
from batch.view import View, view
from conf import access, lease
from conf.access import Access
from conf.errors import LakeError, UsageError, VergerError
from conf.featurizers import chosen, featurized
from conf.lake import LakePaths, newest, open_lake
from conf.tables import ARRIVALS, FEATURES, NEWEST_WINS, TABLES, Table, count_rows, open_table
from streaming.checkpoints import set_aside_checkpoints
from streaming.commands import tombstones
from streaming.commands.rejected import rejected
from streaming.commands.requests import known_reasons
from streaming.commands.selection import select

__all__ = ["Lake", "LakeError", "Model", "UsageError", "VergerError", "open"]

_KEYS = ("uri", *NEWEST_WINS)


def open(lake: str, *, s3_endpoint: str = "", s3_region: str = "") -> "Lake":
    """Open the lake at a folder, or at `s3://BUCKET/PREFIX`.

    Parameters
    ----------
    lake
        Its root.
    s3_endpoint, s3_region
        As the settings of these names, from now on for every lake of this process; empty: as the environment says.

    Raises
    ------
    LakeError
        There is none.
    """
    if s3_endpoint or s3_region:
        access.use(Access(s3_endpoint, s3_region))
    return Lake(open_lake(lake))


@dataclass(frozen=True)
class Lake:
    """One lake, read through delta-rs; each call reads the tables as they are at that moment."""

    paths: LakePaths

    def arrivals(self) -> pa.Table:
        """Return every arrival: one row per version of a picture and attempt, with the columns of `arrivals`."""
        return self._dataset(ARRIVALS).to_table(columns=list(ARRIVALS.columns))

    def features(self, featurizer: str = "", columns: Sequence[str] = FEATURES.columns) -> pa.Table:
        """Return the newest outcome of each picture that has features.

        Parameters
        ----------
        featurizer
            Id or prefix; empty: the only one, or the one that was streamed last.
        columns
            Columns of `features` to return; `features` itself is a list of float32 per row.
        """
        unknown = sorted(set(columns) - set(FEATURES.columns))
        if unknown:
            raise UsageError(f"features has no column {unknown[0]}; it has {', '.join(FEATURES.columns)}")
        mine = ds.field("featurizer") == self.featurizer(featurizer)
        wanted = list(dict.fromkeys((*columns, *_KEYS, "rejection")))
        rows = newest(self._dataset(FEATURES).to_table(columns=wanted, filter=mine))
        return rows.filter(pc.is_null(rows["rejection"])).select(list(columns))

    def rejections(self, featurizer: str = "", reason: str = "", prefix: str = "") -> pa.Table:
        """Return the newest outcome of each picture that was rejected, with its reason (`rejection`) and `detail`.

        Parameters
        ----------
        featurizer
            As for `features`.
        reason
            Only rejections for this reason; empty: for any.
        prefix
            Only pictures whose path or URI begins so; one that ends with a slash means the folder.
        """
        columns = [name for name in FEATURES.columns if name != "features"]
        reasons = known_reasons([reason] if reason else [])
        return rejected(self.paths, self.featurizer(featurizer), columns, reasons, select(prefix=prefix).prefix)

    def components(self, featurizer: str = "") -> pa.Table:
        """Return what the last refit published: the columns of `components`, a row for each picture.

        Raises
        ------
        LakeError
            Nothing has been refitted yet.
        """
        return self._view(featurizer).settled()

    def view(self, featurizer: str = "", labels: str = "") -> pa.Table:
        """Return what the last refit published, and what has come since, placed on the same axes.

        Parameters
        ----------
        featurizer
            As for `features`.
        labels
            A CSV or Parquet file with the columns `uri` and `label`, whose labels are given instead of those of the
            lake; null for a picture that it has none for.

        Returns
        -------
        pyarrow.Table
            The columns of `components`, and `source`: `batch`, or `provisional` for what has come since.

        Raises
        ------
        LakeError
            Nothing has been refitted yet.
        UsageError, StorageError
            `labels` is no such file, or cannot be read.
        """
        own = _own(labels)
        return _labelled(self._view(featurizer).table(), own)

    def similar(
        self,
        picture: str,
        k: int = 12,
        featurizer: str = "",
        by: Literal["components", "features"] = "components",
        labels: str = "",
    ) -> pa.Table:
        """Return the `k` pictures that are most like one, nearest first, with their `distance`.

        Parameters
        ----------
        picture
            A path or URI.
        by
            `components`: Euclidean, on the axes of the published model; `features`: one minus the cosine.
        labels
            As for `view`.
        """
        own = _own(labels)
        forgotten = tombstones.load(self.paths.tombstones).holds
        return _labelled(similar(self.paths, self.featurizer(featurizer), picture, k, by, forgotten), own)

    def models(self, featurizer: str = "") -> pa.Table:
        """Return a row for each refit, oldest first; `published` marks the one that the components are of."""
        mine = self.featurizer(featurizer)
        found = models.summaries(self.paths, mine)
        shown = published(self.paths, mine)
        current = pc.equal(found["model"], shown.model if shown else "")
        return found.append_column("published", current)

    def model(self, model: str = "", featurizer: str = "") -> Model:
        """Return a model by its id or the beginning of it; by default the published one."""
        mine = self.featurizer(featurizer)
        if model:
            return models.load(self.paths, models.meant(self.paths, mine, model))
        return self._view(featurizer).model

    def featurizers(self) -> list[str]:
        """Return the ids of the featurizers in the lake, the one that was streamed last at the end."""
        return featurized(self.paths)

    def featurizer(self, wish: str = "") -> str:
        """Return the one featurizer that an id, a prefix, or nothing means.

        Raises
        ------
        UsageError
            None begins with the prefix, or several do.
        LakeError
            Nothing has been streamed yet.
        """
        return chosen(self.paths, wish)

    def status(self) -> dict[str, Any]:
        """Return what `verger status --json` prints: counts, backlog, rejections, who streams, sizes, takedowns."""
        arrived = count_rows(self.paths.table(ARRIVALS))
        return {
            "lake": str(self.paths.root),
            "stream": lease.holder(self.paths.lease("stream")),
            "refit": lease.holder(self.paths.lease("refit")),
            "last_report": self._report("stream"),
            "arrivals": arrived,
            "featurizers": [self._featurizer_status(each, arrived) for each in self.featurizers()],
            "tables": {table.name: self._size(table) for table in TABLES if self.paths.has(table)},
            "takedowns": self._takedowns(),
            "checkpoints_set_aside": len(set_aside_checkpoints(self.paths)),
        }

    def _featurizer_status(self, featurizer: str, arrived: int) -> dict[str, Any]:
        mine = ds.field("featurizer") == featurizer
        rows = newest(self._dataset(FEATURES).to_table(columns=[*_KEYS, "rejection", "featurized_at"], filter=mine))
        outcomes = count_rows(self.paths.table(FEATURES), featurizer=featurizer)
        reasons = pc.value_counts(rows["rejection"].drop_null()).to_pylist()
        last = pc.max(rows["featurized_at"]).as_py()
        return {
            "featurizer": featurizer,
            "outcomes": outcomes,
            "backlog": max(0, arrived - outcomes),
            "pictures": rows.num_rows,
            "with_features": rows["rejection"].null_count,
            "rejections": {each["values"]: each["counts"] for each in reasons},
            "last_outcome_at": last and last.isoformat(),
            "model": self._model_status(featurizer),
        }

    def _model_status(self, featurizer: str) -> dict[str, Any] | None:
        shown = published(self.paths, featurizer)
        if shown is None:
            return None
        return {
            "model": shown.model,
            "features_version": shown.features_version,
            "published_at": shown.at.isoformat(timespec="seconds"),
        }

    def _view(self, featurizer: str) -> View:
        return view(self.paths, self.featurizer(featurizer))

    def _takedowns(self) -> dict[str, Any]:
        stones = [each for each in tombstones.load(self.paths.tombstones).stones if each.forgotten]
        last = max((each.physical_after for each in stones if each.physical_after), default=None)
        return {
            "executed": sum(each.executed_at is not None for each in stones),
            "physical_after": last and last.isoformat(timespec="seconds"),
        }

    def _dataset(self, table: Table) -> ds.Dataset:
        return open_table(self.paths.table(table)).to_pyarrow_dataset()

    def _size(self, table: Table) -> dict[str, int]:
        actions = pa.table(open_table(self.paths.table(table)).get_add_actions())
        return {"files": actions.num_rows, "bytes": pc.sum(actions["size_bytes"]).as_py() or 0}

    def _report(self, leg: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self.paths.report(leg).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def _own(labels: str) -> OwnLabels | None:
    return own_labels.load(labels) if labels else None


def _labelled(rows: pa.Table, own: OwnLabels | None) -> pa.Table:
    return own_labels.relabelled(rows, own) if own else rows
