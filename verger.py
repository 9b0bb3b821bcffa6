"""Read a lake from Python, without a JVM.

>>> import verger
>>> lake = verger.open("lake")
>>> lake.features().num_rows
5400
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from batch import census, models, own_labels
from batch.census import Arrived, Census, Outcomes
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
from conf.schemas import ARRIVALS, COMPONENTS, FEATURES, MODELS, NEWEST_WINS, Table
from conf.settings import Settings
from conf.tables import dataset_of, open_table
from streaming.checkpoints import set_aside_checkpoints
from streaming.commands import tombstones
from streaming.commands.rejected import rejected
from streaming.commands.requests import known_reasons
from streaming.commands.selection import select
from streaming.recent import recent
from streaming.wellbeing import Course, Facts, unwell

__all__ = ["Lake", "LakeError", "Model", "UsageError", "VergerError", "open"]

_KEYS = ("uri", *NEWEST_WINS)
_USUAL = Settings()


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

    def status(self, settings: Settings = _USUAL) -> dict[str, Any]:
        """Return what `verger status --json` prints, every name of which stands in `docs/status.md`.

        Read from the tables' logs, the driver's last report and files of mixed rejections: never a scan.

        Parameters
        ----------
        settings
            Its `unwell_after` and `unwell_rejected` decide whether the lake is well.
        """
        now = datetime.now(UTC)
        held = {leg: lease.holder(self.paths.lease(leg)) for leg in ("stream", "refit")}
        report = self._report("stream")
        said = _said(report)
        # Arrivals first: what comes meanwhile must not look like a backlog.
        arrived = census.arrived(self.paths.table(ARRIVALS))
        counted = census.census(self.paths.table(FEATURES))
        courses = self._courses(arrived.total, counted, said)
        facts = Facts(
            now=now,
            streamed=held["stream"] is not None,
            since=_moment((held["stream"] or {}).get("since")),
            reported_at=_moment((report or {}).get("at")),
            arrived_at=arrived.last_at,
            courses=tuple(each for each in courses if each.featurizer in said or (not said and each is courses[-1])),
        )
        reasons = unwell(facts, settings.unwell_after, settings.unwell_rejected)
        return {
            "lake": str(self.paths.root),
            "at": now.isoformat(timespec="seconds"),
            "well": not reasons,
            "unwell": list(reasons),
            **held,
            "arrivals": arrived.total,
            "featurizers": [self._featurizer_status(each, counted, facts) for each in courses],
            "tables": self._sizes(arrived, counted),
            "takedowns": self._takedowns(),
            "checkpoints_set_aside": len(set_aside_checkpoints(self.paths)),
            "last_report": report,
        }

    def _courses(self, arrived: int, counted: Census, said: Mapping[str, dict[str, Any]]) -> list[Course]:
        """Return the featurizers that have outcomes, then those that are to have: the driver named them."""
        known = {each.featurizer: each for each in counted.featurizers}
        coming = [name for name in said if name not in known and (self.paths.backbones / f"{name}.json").exists()]
        return [
            Course(
                featurizer=each.featurizer,
                backlog=max(0, arrived - each.total),
                outcomes=each.total,
                rejected=each.rejected,
                last_outcome_at=each.last_at,
                state=str(said.get(each.featurizer, {}).get("state", "")),
                recent=recent(said.get(each.featurizer)),
            )
            for each in (*known.values(), *(Outcomes(name, 0, {}, None) for name in coming))
        ]

    def _featurizer_status(self, course: Course, counted: Census, facts: Facts) -> dict[str, Any]:
        reasons = {each.featurizer: dict(each.rejections) for each in counted.featurizers}
        return {
            "featurizer": course.featurizer,
            "state": (course.state or None) if facts.streamed else None,
            "outcomes": course.outcomes,
            "with_features": course.outcomes - course.rejected,
            "rejected": course.rejected,
            "rejections": reasons.get(course.featurizer, {}),
            "backlog": course.backlog,
            "last_outcome_at": course.last_outcome_at and course.last_outcome_at.isoformat(timespec="seconds"),
            "pictures_per_second": course.recent.rate and round(course.recent.rate, 1),
            "freshness_p50": course.recent.freshness_p50,
            "freshness_p95": course.recent.freshness_p95,
            "model": self._model_status(course, facts.now),
        }

    def _model_status(self, course: Course, now: datetime) -> dict[str, Any] | None:
        shown = published(self.paths, course.featurizer)
        if shown is None:
            return None
        made = models.summary(self.paths, shown.model, ["created_at", "n", "k"]) or dict.fromkeys(
            ("created_at", "n", "k")
        )
        before = census.outcomes_at(self.paths.table(FEATURES), shown.features_version, course.featurizer)
        return {
            "model": shown.model,
            "features_version": shown.features_version,
            "created_at": made["created_at"] and made["created_at"].isoformat(timespec="seconds"),
            "age_seconds": made["created_at"] and round((now - made["created_at"]).total_seconds()),
            "published_at": shown.at.isoformat(timespec="seconds"),
            "n": made["n"],
            "k": made["k"],
            "outcomes_since": None if before is None else max(0, course.outcomes - before),
        }

    def _sizes(self, arrived: Arrived, counted: Census) -> dict[str, dict[str, int]]:
        others = {
            each.name: census.size(self.paths.table(each)) for each in (MODELS, COMPONENTS) if self.paths.has(each)
        }
        sizes = {ARRIVALS.name: arrived.size, FEATURES.name: counted.size, **others}
        return {name: {"files": each.files, "bytes": each.bytes} for name, each in sizes.items()}

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
        return dataset_of(open_table(self.paths.table(table)))

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


def _said(report: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return what a report says of each featurizer."""
    found = (report or {}).get("featurizers")
    return {name: each for name, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (TypeError, ValueError):
        return None
