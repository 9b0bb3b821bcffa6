"""Upkeep of a lake whose stream lease the caller holds: what checkpoints, models and takedowns mean for its tables."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError, TableNotFoundError

from conf import compaction, lease, upkeep
from conf.errors import LakeError, StorageError, first_line
from conf.featurizers import featurized
from conf.lake import LakePaths
from conf.logs import fields, logger
from conf.schemas import ARRIVALS, COMPONENTS, FEATURES, MODELS
from conf.tables import dataset_of, open_table
from streaming import checkpoints
from streaming.commands import takedown
from streaming.commands.requests import Answer

# A running micro-batch reads files that have been merged since it was planned.
_RUNNING = timedelta(hours=24)
# A featurizer that was not refitted for so long may have been abandoned; its next refit reads the whole table.
_REFITTED = timedelta(days=30)


@dataclass(frozen=True)
class Done:
    """What one round of upkeep did.

    Attributes
    ----------
    merged : int
        Small files that went into larger ones.
    deleted : int
        Files that no table named any more; after a takedown, files of the log that named what is gone, too.
    log_entries : int
        Entries of the tables' logs that were deleted.
    """

    merged: int
    deleted: int
    log_entries: int

    @property
    def sentence(self) -> str:
        """For a person."""
        return (
            f"{self.merged:,} small files merged; {self.deleted:,} files deleted that no table named any "
            f"more; {self.log_entries:,} old entries of the log deleted"
        )


def prepare(lake: LakePaths, vacuum_days: float) -> None:
    """Set what the tables must remember for VACUUM; while no query runs, as it changes their metadata.

    Raises
    ------
    StorageError
        A table cannot be read or written.
    """
    for table in (ARRIVALS, FEATURES):
        upkeep.configure(lake.table(table), {**table.properties, **upkeep.remembering(vacuum_days)})


def needs_pause(lake: LakePaths, now: datetime) -> bool:
    """Whether a due takedown is so young that what it removed can only go while no query runs."""
    due = takedown.must_go_before(lake, now)
    return due is not None and due > now - _RUNNING


def keep_up(lake: LakePaths, vacuum_days: float, rows_per_file: int, now: datetime, *, queries_run: bool) -> Answer:
    """Merge small files, and delete what nobody can need any more as far as the checkpoints and models allow.

    What a due takedown removed goes whatever needs it: the takedown has set the checkpoints aside, and a refit that
    misses changes reads the whole table.

    Parameters
    ----------
    lake
        Its stream lease must be held.
    vacuum_days
        Days for which files that no table names any more are kept for readers.
    rows_per_file
        The most arrivals in a file.
    now
        The time, in UTC.
    queries_run
        Whether micro-batches may be under way: then nothing goes that was named within a day, nor what was never named
        and may be theirs.

    Raises
    ------
    StorageError
        A table cannot be read or written.
    """
    arrivals, features = lake.table(ARRIVALS), lake.table(FEATURES)
    needed = checkpoints.needed(lake)
    due = takedown.must_go_before(lake, now)
    merged = compaction.compact_rows(arrivals, rows_per_file)
    merged += sum(compaction.compact(features, featurizer=each) for each in featurized(lake))
    deleted = trimmed = 0
    for place, version in ((arrivals, needed), (features, _modelled(lake, now))):
        trimmed += upkeep.trim_log(place, version)
        before = now - timedelta(days=vacuum_days)
        latest = now - _RUNNING if queries_run else now
        kept = not upkeep.all_since(place, version, before)
        unnamed = None if kept else min(before, latest)
        deleted += upkeep.clean(place, unnamed, due and min(due, latest), now, orphans=not queries_run)
    deleted += _clean_components(lake, now - timedelta(days=vacuum_days), due, now)
    checkpoints.clean_quarantine(lake, now, vacuum_days)
    done = Done(merged, deleted, trimmed)
    logger().info("upkeep", extra=fields(**vars(done)))
    return Answer(done.sentence, vars(done))


def _clean_components(lake: LakePaths, before: datetime, due: datetime | None, now: datetime) -> int:
    """Do the same for the components, unless a refit is writing them: it does so itself, and the next round, too."""
    held = lake.lease("refit")
    if not lake.has(COMPONENTS) or lease.holder(held):
        return 0
    with lease.hold(held):
        return upkeep.clean(lake.table(COMPONENTS), before, due, now)


def _modelled(lake: LakePaths, now: datetime) -> int | None:
    """Return the oldest version of features since which a refit goes on, None without models of late."""
    place = lake.table(MODELS)
    try:
        models = dataset_of(open_table(place)).to_table(columns=["featurizer", "features_version", "created_at"])
    except TableNotFoundError:
        return None
    except (DeltaError, OSError, LakeError) as error:
        raise StorageError(f"{place} cannot be read: {first_line(error)}") from error
    of_late = models.filter(pc.greater(models["created_at"], pa.scalar(now - _REFITTED)))
    newest = of_late.group_by("featurizer").aggregate([("features_version", "max")])
    oldest: int | None = pc.min(newest["features_version_max"]).as_py()
    return oldest
