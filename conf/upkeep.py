"""Upkeep of one table: small files merged, files and log entries deleted that nobody can need any more."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from conf.errors import LakeError, StorageError, first_line
from conf.tables import open_table

# Fewer are not worth a commit, and the files that it leaves behind until VACUUM.
_FEW_FILES = 100
_FULL_BYTES = 128 << 20
_MOST_VERSIONS = 2000
_HOUR = timedelta(hours=1)


def compact_rows(place: str, rows_per_file: int) -> int:
    """Merge small files of the table at `place`, none into more rows than a bound; its streams see no change.

    Parameters
    ----------
    place
        Where the table lies.
    rows_per_file
        No file that this makes holds more rows: a micro-batch takes whole files.

    Returns
    -------
    int
        Files that went into larger ones; none while there are few.

    Raises
    ------
    StorageError
        The table cannot be read or written.
    """
    with _translated(place, "compacted"):
        table = open_table(place)
        sizes = _sizes(table)
        target = _target(sizes, rows_per_file)
        small = sum(size <= target and rows < rows_per_file // 2 for size, rows in sizes)
        return _merged(table, target, []) if small >= _FEW_FILES else 0


def compact(place: str, **partition: str) -> int:
    """Merge small files of one partition of the table at `place`; its rows and its change feed stay as they are.

    Delta's own auto-compaction does so within a micro-batch, and after a restart in every micro-batch: it forgets
    which files it has seen, and takes the one that it has just made for a reason to begin again.

    Returns
    -------
    int
        Files that went into larger ones; none while there are few.

    Raises
    ------
    StorageError
        The table cannot be read or written.
    """
    with _translated(place, "compacted"):
        table = open_table(place)
        small = sum(size < _FULL_BYTES // 2 for size, _ in _sizes(table, **partition))
        filters = [(name, "=", value) for name, value in partition.items()]
        return _merged(table, _FULL_BYTES, filters) if small >= _FEW_FILES else 0


def vacuum(place: str, before: datetime, now: datetime) -> int:
    """Delete the files of the table at `place` that its latest version has not named since a moment.

    Parameters
    ----------
    place
        Where the table lies.
    before
        What was removed, or written and never committed, before this moment goes, and what was less than an hour later.
    now
        The time, in UTC.

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
        listed = table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
        there = sum((Path(place) / unquote(name)).exists() for name in listed)
        if there:
            table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
        return there


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
            table.create_checkpoint()
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def all_since(place: str, version: int | None, moment: datetime) -> bool:
    """Whether a version of the table at `place` was committed after a moment, or is yet to be; True for None."""
    entry = Path(place) / "_delta_log" / f"{version:020}.json" if version is not None else None
    try:
        return entry is None or _stamp(entry) > moment
    except FileNotFoundError:
        return True


def _sizes(table: DeltaTable, **partition: str) -> list[tuple[int, int]]:
    """Return bytes and rows of each file of a table, or of one partition."""
    actions = pa.table(table.get_add_actions(flatten=True))
    for name, value in partition.items():
        actions = actions.filter(pc.equal(actions[f"partition.{name}"], value)) if actions.num_rows else actions
    files = actions.select(["size_bytes", "num_records"]).to_pylist()
    return [(each["size_bytes"], each["num_records"]) for each in files if each["num_records"]]


def _merged(table: DeltaTable, target: int, filters: list[tuple[str, str, str]]) -> int:
    try:
        done = table.optimize.compact(partition_filters=filters or None, target_size=target, max_concurrent_tasks=1)
    except CommitFailedError:
        # Rows were deleted from these files meanwhile; the next round takes what is left.
        return 0
    return int(done["numFilesRemoved"])


def _target(files: Iterable[tuple[int, int]], rows_per_file: int) -> int:
    """Return the most bytes to merge into one file, so that it holds no more rows than the bound.

    delta-rs goes by the bytes of the files that it merges, and leaves larger ones than the target alone: of those up
    to the target, the densest must keep to the bound.
    """
    ordered = sorted(files)
    densest, best = math.inf, 0
    for (size, rows), (larger, _) in zip(ordered, [*ordered[1:], (sys.maxsize, 0)], strict=False):
        densest = min(densest, size / rows)
        target = int(min(larger - 1, rows_per_file * densest))
        best = max(best, target if target >= size else 0)
    return best


def _log(place: str) -> list[Path]:
    """Return the files of a table's log that belong to versions, oldest version first."""
    files = [path for path in (Path(place) / "_delta_log").iterdir() if path.name.lstrip(".")[:20].isdecimal()]
    return sorted(files, key=_version)


def _version(path: Path) -> int:
    return int(path.name.lstrip(".")[:20])


def _stamp(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


@contextmanager
def _translated(place: str, done: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError, LakeError) as error:
        raise StorageError(f"{place} cannot be {done}: {first_line(error)}") from error
