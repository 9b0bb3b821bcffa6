"""Takedowns: everything of a picture leaves the lake, and it does not arrive again unless it is recalled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from conf.deletion import delete_pictures
from conf.errors import StorageError
from conf.lake import LakePaths, below
from conf.schemas import ARRIVALS, COMPONENTS, FEATURES
from conf.tables import dataset_of, open_table
from streaming.arrivals import Arrivals
from streaming.checkpoints import set_aside
from streaming.commands import tombstones
from streaming.commands.rejected import rows_of
from streaming.commands.requests import Answer, Request, amount
from streaming.commands.selection import Selection
from streaming.commands.tombstones import Tombstone

_TIMES = ("executed_at", "physical_after")
# Every table with a row per picture; what tells of an arrival goes before the arrival.
_TABLES = (COMPONENTS, FEATURES, ARRIVALS)


def forget(
    request: Request, lake: LakePaths, arrivals: Arrivals, vacuum_days: float, clock: Callable[[], datetime]
) -> Answer:
    """Remove every row of the pictures that a request means, and keep them from arriving again.

    The tombstone comes first and is completed last, so that a takedown that was interrupted goes on where it was, and
    one that was executed changes nothing more. No query may be running: its checkpoint would bring rows back from
    files that the table no longer names. So all checkpoints are set aside, and the queries go on from the tables.

    Parameters
    ----------
    vacuum_days
        Days for which files that the tables no longer name are kept.
    clock
        Gives the time, in UTC.

    Returns
    -------
    Answer
        `pictures`, rows by table, `unknown` (uris of which there was nothing), `executed_at`, and `physical_after`:
        from when on upkeep may delete the files.

    Raises
    ------
    LakeError
        A tombstone is damaged.
    StorageError
        The lake cannot be written; executing the request again completes it.
    """
    stones = tombstones.load(lake.tombstones)
    stone = stones.find(request.id)
    if stone is None:
        stone = tombstones.tombstone(request.id, stones.next_number(), request.selection, forgotten=True)
        stone = replace(stone, removed=_counted(lake, request.selection))
        tombstones.save(lake.tombstones, stone)
    if stone.executed_at is None:
        if stone.removed["pictures"]:
            _remove(lake, request.selection)
        arrivals.reload()
        # Not before the last commit: whatever was removed until then may go when the time has come.
        executed_at = clock()
        stone = replace(stone, executed_at=executed_at, physical_after=executed_at + timedelta(days=vacuum_days))
        tombstones.save(lake.tombstones, stone)
    return _answer(stone)


def recall(request: Request, lake: LakePaths, clock: Callable[[], datetime]) -> Answer:
    """Lift a takedown: what lies in the landing arrives with the next poll, like a new picture.

    Raises
    ------
    LakeError, StorageError
        As `forget`.
    """
    stones = tombstones.load(lake.tombstones)
    stone = stones.find(request.id)
    uris, prefix = request.selection.uris, request.selection.prefix
    if stone is None:
        stone = tombstones.tombstone(request.id, stones.next_number(), request.selection, forgotten=False)
        stone = replace(stone, removed={"lifted": sum(map(stones.holds, uris))}, executed_at=clock())
        tombstones.save(lake.tombstones, stone)
    lifted = stone.removed["lifted"]
    parts = [f"{amount(lifted, 'picture')} may arrive again"] if uris else []
    parts += [f"{amount(len(uris) - lifted, 'picture')} had not been forgotten"] if len(uris) > lifted else []
    parts += ["whatever lies under the prefix may arrive again"] if prefix else []
    return Answer("; ".join(parts), {"recalled": lifted})


def must_go_before(lake: LakePaths, now: datetime) -> datetime | None:
    """Return the moment until which removed files must be deleted by now, None where no takedown is due.

    It is when the latest of those takedowns was executed whose time has passed.
    """
    due = [
        stone.executed_at
        for stone in tombstones.load(lake.tombstones).stones
        if stone.removed.get("pictures") and stone.executed_at and stone.physical_after and stone.physical_after <= now
    ]
    return max(due, default=None)


def _places(lake: LakePaths) -> dict[str, str]:
    """Return where those of the tables lie that there are."""
    return {each.name: lake.table(each) for each in _TABLES if lake.has(each)}


def _counted(lake: LakePaths, selection: Selection) -> dict[str, int]:
    """Count what there is of the selected pictures: rows by table, pictures, and uris of which there is nothing."""
    rows = {name: rows_of(dataset_of(open_table(place)), selection, ["uri"]) for name, place in _places(lake).items()}
    found = pc.unique(pa.concat_tables(list(rows.values()))["uri"])
    known = pc.sum(pc.is_in(pa.array(selection.uris, pa.string()), value_set=found)).as_py() or 0
    unknown = len(selection.uris) - known
    return {"pictures": len(found), "unknown": unknown} | {name: each.num_rows for name, each in rows.items()}


def _remove(lake: LakePaths, selection: Selection) -> None:
    try:
        for checkpoint in below(lake.checkpoints):
            set_aside(lake, checkpoint.name, "a takedown")
    except OSError as error:
        raise StorageError(f"a checkpoint cannot be set aside: {error}") from error
    # Components twice: a refit may have published meanwhile what it had read before.
    for table in (*_TABLES, COMPONENTS):
        if lake.has(table):
            delete_pictures(lake.table(table), selection.uris, selection.prefix)


def _answer(stone: Tombstone) -> Answer:
    removed, after = stone.removed, stone.physical_after
    rows = f"{amount(removed[ARRIVALS.name], 'arrival')} and {amount(removed[FEATURES.name], 'outcome')} removed"
    parts = [f"{amount(removed['pictures'], 'picture')} forgotten: {rows}"]
    if removed["pictures"]:
        parts.append(f"upkeep deletes the files that held them, from {after:%Y-%m-%d %H:%M} UTC on")
    if removed["unknown"]:
        parts.append(f"of {removed['unknown']:,} named there was nothing")
    parts.append("what is in the landing stays there and does not arrive until `verger forget --recall`")
    times = {name: moment and moment.isoformat() for name, moment in vars(stone).items() if name in _TIMES}
    return Answer("; ".join(parts), {**removed, **times})
