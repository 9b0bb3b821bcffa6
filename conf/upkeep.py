"""Upkeep of tables: VACUUM deletes the files that no table names any more, once nobody can need them."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deltalake.exceptions import DeltaError

from conf.errors import LakeError, StorageError, first_line
from conf.lake import LakePaths
from conf.tables import ARRIVALS, FEATURES, open_table

# A running micro-batch's files are not committed yet: nobody but their age tells them from what was left behind.
_RUNNING_HOURS = 24
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Done:
    """What an upkeep did.

    Attributes
    ----------
    files : int
        That were deleted.
    """

    files: int

    @property
    def sentence(self) -> str:
        """For a person."""
        return f"{self.files:,} files deleted that no table named any more"


def run(
    lake: LakePaths,
    oldest_needed: int | None,
    vacuum_days: float,
    must_go_before: datetime | None,
    now: datetime,
    *,
    queries_run: bool,
) -> Done:
    """Delete the files that the tables have not named for a while.

    Parameters
    ----------
    lake
        The caller holds the lease of its stream.
    oldest_needed
        The oldest version of arrivals that a checkpoint needs: what was removed since is kept. None: none does.
    vacuum_days
        Days for which files are kept for readers.
    must_go_before
        What was removed before goes in any case: a takedown is due.
    now
        The time, in UTC.
    queries_run
        Whether micro-batches may be under way: then nothing goes that is younger than a day.

    Raises
    ------
    StorageError
        A table cannot be read or written.
    """
    kept = now - timedelta(days=vacuum_days)
    needed = _committed_at(lake.table(ARRIVALS), oldest_needed)
    deleted = 0
    for table, limit in ((ARRIVALS, min(kept, needed or kept)), (FEATURES, kept)):
        hours = math.ceil((now - limit) / _HOUR)
        if must_go_before:
            hours = min(hours, math.floor((now - must_go_before) / _HOUR))
        deleted += _vacuum(lake.table(table), max(hours, _RUNNING_HOURS if queries_run else 0))
    return Done(deleted)


def _vacuum(place: str, hours: int) -> int:
    try:
        gone = open_table(place).vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
    except (DeltaError, OSError, LakeError) as error:
        raise StorageError(f"{place} cannot be vacuumed: {first_line(error)}") from error
    return len(gone)


def _committed_at(place: str, version: int | None) -> datetime | None:
    """Return when a version of a table was committed, None where that is yet to come."""
    if version is None:
        return None
    try:
        stamp = (Path(place) / "_delta_log" / f"{version:020}.json").stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(stamp, UTC)
