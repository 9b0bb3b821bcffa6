"""Checkpoints of the queries: does one still belong to the tables, and out of the way with one that does not.

Delta's sink remembers for each query the last micro-batch that it committed, and skips those up to it when they come
again. That makes a micro-batch exactly once only while the checkpoint is intact: one that lost its newest files plans
a micro-batch anew, with other arrivals under an old number, which the sink then skips in silence. So a checkpoint is
held against both tables before each start; one that does not match is set aside and the query starts from what the
tables say (`streaming.adoption`).
"""

import json
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from conf.errors import StorageError, first_line
from conf.files import remove_tree
from conf.lake import LakePaths, below
from conf.logs import fields, logger
from conf.schemas import ARRIVALS, FEATURES
from conf.tables import count_rows, open_table
from conf.uris import Place

_NONE = -1
_SUMMED = 512
_STAMP = "%Y%m%dT%H%M%S%f"


class BrokenCheckpoint(Exception):
    """A file of a checkpoint is missing or cannot be read; the message says which."""


@dataclass(frozen=True)
class Position:
    """Where a query stands by its checkpoint.

    Attributes
    ----------
    query : str
        The query's id, by which the sink knows it.
    planned, committed : int
        Number of the last micro-batch that was planned, and of the last that was committed; -1 for none.
    table : str
        Id of the arrivals table that it reads; empty where nothing was planned.
    version : int
        The first version of arrivals that it has not read to its end.
    needed : int
        The oldest version that Spark reads when the query starts again: it plans the last micro-batch once more, even
        where that is committed.
    in_snapshot : bool
        Whether it is still reading the snapshot that it started from, of that version.
    """

    query: str
    planned: int
    committed: int
    table: str = ""
    version: int = _NONE
    needed: int = _NONE
    in_snapshot: bool = False


@dataclass(frozen=True)
class Tables:
    """What the tables say, for a position to be held against.

    Attributes
    ----------
    sunk : int
        Number of the query's last micro-batch that `features` committed; -1 for none.
    outcomes : int
        The featurizer's rows of `features`.
    table : str
        Id of the arrivals table.
    latest : int
        Its latest version.
    oldest : int
        The oldest of its versions that can be read as a change.
    """

    sunk: int
    outcomes: int
    table: str
    latest: int
    oldest: int


def position(folder: Place) -> Position | None:
    """Read a checkpoint.

    Returns
    -------
    Position or None
        None where nothing was ever planned there.

    Raises
    ------
    BrokenCheckpoint
        A file is missing, cut or not what Spark writes.
    """
    offsets, commits = _numbers(folder / "offsets"), _numbers(folder / "commits")
    if not offsets and not commits:
        return None
    planned, committed = max(offsets, default=_NONE), max(commits, default=_NONE)
    if not planned - 1 <= committed <= planned:
        raise BrokenCheckpoint(f"micro-batch {planned} is planned and {committed} is the last that is committed")
    if committed >= 0:
        _entry(folder / "commits" / str(committed))
    # The first value is the micro-batch's metadata; then each source has one.
    offset = _entry(folder / "offsets" / str(planned))[1:]
    before = _entry(folder / "offsets" / str(planned - 1))[1:] if planned > 0 else offset
    query = _parsed(folder / "metadata", _text(folder / "metadata"))
    try:
        (source,), (start,) = offset, before
        return Position(
            query=query["id"],
            planned=planned,
            committed=committed,
            table=source["reservoirId"],
            version=int(source["reservoirVersion"]),
            # Of a first one Spark opens the snapshot before its end.
            needed=int(start["reservoirVersion"]) - (planned == 0 and not start["isStartingVersion"]),
            in_snapshot=bool(source["isStartingVersion"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenCheckpoint(
            f"offsets/{planned} or metadata is not what Spark writes ({first_line(error)})"
        ) from error


def tables(lake: LakePaths, featurizer: str, query: str) -> Tables:
    """Ask the tables what they know of a query."""
    arrivals, features = open_table(lake.table(ARRIVALS)), open_table(lake.table(FEATURES))
    versions = [int(path.stem) for path in (lake.root / ARRIVALS.name).glob("_delta_log/[0-9]*.json")]
    sunk = features.transaction_version(query)
    return Tables(
        sunk=_NONE if sunk is None else sunk,
        outcomes=count_rows(lake.table(FEATURES), featurizer=featurizer),
        table=str(arrivals.metadata().id),
        latest=arrivals.version(),
        oldest=min(versions, default=0),
    )


def mismatch(found: Position | None, said: Tables) -> str:
    """Return why a checkpoint does not belong to the tables, in words; empty where it does."""
    if found is None:
        return f"there is none, and {said.outcomes:,} outcomes" if said.outcomes else ""
    if found.table != said.table:
        return "it reads another lake's arrivals"
    if said.sunk not in {found.committed, found.planned}:
        known = f"micro-batch {said.sunk}" if said.sunk >= 0 else "none of its micro-batches"
        return f"it ends with micro-batch {found.committed}, and the features table knows {known}"
    # Spark plans a first micro-batch again from the whole snapshot at its end, not from where it began.
    if found.committed == said.sunk == _NONE and said.outcomes:
        return f"its first micro-batch was not committed, and there are {said.outcomes:,} outcomes"
    # At the end of what it has read a position names the version that comes next.
    if found.version > said.latest + 1:
        return f"it has read arrivals up to version {found.version}, which has {said.latest}"
    if found.needed < said.oldest:
        return f"the log of arrivals begins with version {said.oldest}, and it needs {found.needed}"
    return ""


def needed(lake: LakePaths) -> int | None:
    """Return the oldest version of arrivals that any checkpoint of the lake still needs, None where none does.

    Raises
    ------
    StorageError
        A checkpoint cannot be read now.
    """
    versions = []
    for folder in below(lake.checkpoints):
        try:
            found = position(folder)
        except BrokenCheckpoint as broken:
            if isinstance(broken.__cause__, OSError) and not isinstance(broken.__cause__, FileNotFoundError):
                raise StorageError(f"{folder} cannot be read: {broken}") from broken
            # It is set aside when its query next starts, and needs nothing.
            continue
        versions += [found.needed] if found else []
    return min(versions, default=None)


def fault(lake: LakePaths, featurizer: str) -> str:
    """Hold a featurizer's checkpoint against the tables; return what is wrong, empty where nothing is."""
    folder = lake.checkpoint(featurizer)
    try:
        found = position(folder)
    except BrokenCheckpoint as broken:
        return str(broken)
    if found is None and any(below(folder / name) for name in ("offsets", "commits")):
        return "it was cut while its first micro-batch was planned, and Spark wants it empty"
    return mismatch(found, tables(lake, featurizer, found.query if found else ""))


def set_aside(lake: LakePaths, featurizer: str, why: str) -> Place | None:
    """Move a featurizer's checkpoint into the lake's quarantine, where there is one, and log why.

    Returns
    -------
    Path or ObjectPath or None
        Where it lies now.
    """
    checkpoint = lake.checkpoint(featurizer)
    if not checkpoint.exists():
        return None
    aside = lake.quarantine / f"{featurizer}-{datetime.now(UTC):{_STAMP}}"
    lake.quarantine.mkdir(parents=True, exist_ok=True)
    checkpoint.rename(aside)  # type: ignore[arg-type]  # both lie in the same place
    logger().warning("checkpoint set aside", extra=fields(featurizer=featurizer, why=why, quarantine=str(aside)))
    return aside


def clean_quarantine(lake: LakePaths, now: datetime, days: float) -> int:
    """Delete checkpoints that were set aside more than `days` ago; return how many."""
    old = [aside for aside, since in set_aside_checkpoints(lake).items() if now - since > timedelta(days=days)]
    for aside in old:
        remove_tree(aside, ignore_errors=True)
    return len(old)


def set_aside_checkpoints(lake: LakePaths) -> dict[Place, datetime]:
    """Return the checkpoints in the lake's quarantine and when they came there."""
    found = {}
    for aside in lake.quarantine.glob("*-*") if lake.quarantine.is_dir() else ():
        with suppress(ValueError):
            found[aside] = datetime.strptime(aside.name.rpartition("-")[2], _STAMP).replace(tzinfo=UTC)
    return found


def _numbers(folder: Place) -> set[int]:
    """Return the numbers of the micro-batches that a log of the checkpoint names."""
    return {int(each.name) for each in folder.glob("[0-9]*") if each.name.isdecimal()}


def _entry(path: Place) -> list[Any]:
    """Return the JSON values of one entry of a log, below its `v1`."""
    head, *lines = _text(path).splitlines() or [""]
    if head != "v1" or not lines:
        raise BrokenCheckpoint(f"{path.parent.name}/{path.name} is cut")
    return [_parsed(path, line) for line in lines]


def _parsed(path: Place, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BrokenCheckpoint(f"{path.parent.name}/{path.name} is cut") from error


def _text(path: Place) -> str:
    """Read a file against the checksums that Hadoop keeps beside it: Spark would fail where they differ."""
    name = f"{path.parent.name}/{path.name}"
    try:
        data = path.read_bytes()
        sums = path.with_name(f".{path.name}.crc")
        if sums.exists() and sums.read_bytes() != _checksums(data):
            raise BrokenCheckpoint(f"{name} is not what its checksum says")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenCheckpoint(f"{name} cannot be read: {first_line(error)}") from error


def _checksums(data: bytes) -> bytes:
    """Return the `.crc` file of Hadoop's `ChecksumFileSystem`: a header, then the CRC-32 of each 512 bytes."""
    sums = [zlib.crc32(data[start : start + _SUMMED]) for start in range(0, len(data), _SUMMED)]
    return struct.pack(f">4si{len(sums)}I", b"crc\0", _SUMMED, *sums)
