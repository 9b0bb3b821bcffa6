"""Upkeep of one table: files and log entries deleted that nobody can need any more."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from deltalake.exceptions import DeltaError

from conf import points
from conf.errors import LakeError, StorageError, first_line
from conf.tables import open_table
from conf.uris import Place, located

_MOST_VERSIONS = 2000
_HOUR = timedelta(hours=1)


def vacuum(place: str, before: datetime, now: datetime, *, orphans: bool = True) -> int:
    """Delete the files of the table at `place` that its latest version has not named since a moment.

    Parameters
    ----------
    place
        Where the table lies.
    before
        What was removed, or written and never committed, before this moment goes, and what was less than an hour later.
    now
        The time, in UTC.
    orphans
        Whether files go, too, that no commit ever named. Only their age tells them from those of a commit under way,
        and a clock that is set forward makes all files old: not while anybody writes to the table.

    Returns
    -------
    int
        Files that were deleted.

    Raises
    ------
    StorageError
        The table cannot be read, or a file cannot be deleted.
    """
    hours = max(0, (now - before) // _HOUR)
    with _translated(place, "vacuumed"):
        table = open_table(place)
        # delta-rs names files that are long gone, too, as long as the log remembers them, and commits that it went.
        listed = table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=orphans)
        there = len(_present(located(place), [unquote(name) for name in listed]))
        if there:
            points.reach("vacuum-listed")
            table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=orphans)
        return there


def clean(
    place: str, before: datetime | None, forgotten: datetime | None, now: datetime, *, orphans: bool = True
) -> int:
    """Delete the files of a table that nobody needs any more, and after a takedown the log that tells of them.

    Parameters
    ----------
    before
        What its latest version has not named since then goes; None where all of that must stay.
    forgotten
        What a takedown that is due removed until then goes in any case; None where none is due.
    orphans
        See `vacuum`.

    Returns
    -------
    int
        Files that were deleted.

    Raises
    ------
    StorageError
        The table cannot be read, or a file cannot be deleted.
    """
    moments = [each for each in (before, forgotten) if each]
    deleted = vacuum(place, max(moments), now, orphans=orphans) if moments else 0
    return deleted + forget_log(place, forgotten) if forgotten else deleted


def configure(place: str, properties: Mapping[str, str]) -> None:
    """Set properties of the table at `place` that it does not have yet.

    Changes the table's metadata, which a running query that writes to it takes for a failure.

    Raises
    ------
    StorageError
        The table cannot be read or written.
    """
    with _translated(place, "configured"):
        table = open_table(place)
        present = table.metadata().configuration
        if any(present.get(name) != value for name, value in properties.items()):
            table.alter.set_table_properties(dict(properties))


def remembering(days: float) -> dict[str, str]:
    """Return the property by which a log remembers removed files for `days`; VACUUM takes others for orphans."""
    return {"delta.deletedFileRetentionDuration": f"interval {max(7, math.ceil(days) + 1)} days"}


def trim_log(place: str, needed: int | None) -> int:
    """Delete the oldest entries of the log of the table at `place`, up to a checkpoint, where there are many.

    In a folder, Spark lists the whole log several times in each micro-batch: 10,000 entries cost it a second.

    Parameters
    ----------
    place
        Where the table lies.
    needed
        The oldest version that must stay readable as a change; None for none.

    Returns
    -------
    int
        Versions whose entry was deleted.

    Raises
    ------
    StorageError
        The log cannot be read, or an entry cannot be deleted.
    """
    with _translated(place, "trimmed"):
        log = _log(place)
        entries = [_version(path) for path in log if path.suffix == ".json"]
        kept = min(each for each in (entries[-1] - _MOST_VERSIONS, needed) if each is not None)
        bases = [_version(path) for path in log if path.name.endswith(".checkpoint.parquet") and _version(path) <= kept]
        base = max(bases, default=0)
        for path in log:
            if _version(path) < base:
                path.unlink(missing_ok=True)
        return sum(version < base for version in entries)


def forget_log(place: str, before: datetime) -> int:
    """Delete what the log of the table at `place` said until a moment: its statistics name rows, deleted ones too.

    A checkpoint of the latest version takes its place. Who reads the table's changes since then finds them; who needs
    older ones, or is reading an older version now, does not.

    Parameters
    ----------
    place
        Where the table lies.
    before
        Entries, their checksums and checkpoints that were written until this moment go.

    Returns
    -------
    int
        Files that were deleted.

    Raises
    ------
    StorageError
        The log cannot be read, or a file cannot be deleted.
    """
    with _translated(place, "trimmed"):
        table = open_table(place)
        latest = table.version()
        old = [path for path in _log(place) if _version(path) < latest and _stamp(path) <= before]
        if old:
            first = _version(old[-1]) + 1
            # What stays must be readable as a snapshot, too.
            open_table(place, first).create_checkpoint()
            if first < latest:
                table.create_checkpoint()
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def all_since(place: str, version: int | None, moment: datetime) -> bool:
    """Whether a version of the table at `place` was committed after a moment, or is yet to be; True for None."""
    entry = located(place) / "_delta_log" / f"{version:020}.json" if version is not None else None
    try:
        return entry is None or _stamp(entry) > moment
    except FileNotFoundError:
        return True


def _present(place: Place, names: Sequence[str]) -> list[str]:
    if isinstance(place, Path):
        return [name for name in names if (place / name).exists()]
    # One listing costs less than a question for each.
    present = {each.uri for each in place.walk_files()} if names else set()
    return [name for name in names if (place / name).uri in present]


def _log(place: str) -> list[Place]:
    """Return the files of a table's log that belong to versions, oldest version first."""
    files = [path for path in (located(place) / "_delta_log").iterdir() if path.name.lstrip(".")[:20].isdecimal()]
    return sorted(files, key=_version)


def _version(path: Place) -> int:
    return int(path.name.lstrip(".")[:20])


def _stamp(path: Place) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


@contextmanager
def _translated(place: str, done: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError, LakeError) as error:
        raise StorageError(f"{place} cannot be {done}: {first_line(error)}") from error
