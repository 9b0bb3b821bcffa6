"""What changed in `features` between two versions, and what that means for the rows that count.

The change feed is read from the log itself, by the Delta protocol (PROTOCOL.md, "Change Data Files"): a commit that
names change files tells its changes by these alone; any other inserts the rows of the files that it adds and deletes
those of the files that it removes, where it says that data changed, which compaction does not. Readers of change feeds
do not say where in which file a row lies, and one that ignores missing files returns nothing where VACUUM has been:
here every file is looked at before any is read. A changed row takes the driver about a kilobyte, all told.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batch.rows.parts import Part, PartGone, count_rows, only, read
from batch.rows.winners import IDENTITY, ROWS, rows_of
from conf.errors import VergerError, first_line
from conf.lake import newest
from conf.uris import located

_LEAVING = pa.array(["delete", "update_preimage"])
# What an operation's metrics tell of its change files' rows, as delta-rs and Spark spell them but for case and
# underscores: each row that was updated stands there twice.
_TOLD = {
    "numdeletedrows": 1,
    "numupdatedrows": 2,
    "numtargetrowsinserted": 1,
    "numtargetrowsupdated": 2,
    "numtargetrowsdeleted": 1,
}


_MOST_ROWS = 2_000_000
_VERSIONED = ROWS.append(pa.field("version", pa.int64()))


class FeedGone(VergerError):
    """The feed does not tell all that changed, for the reason that the message gives: a full pass is needed."""


@dataclass(frozen=True)
class Changes:
    """What came into one featurizer's `features` and what left them after version `since`, up to version `until`.

    A row that came and left again is in neither; one that left and came again is in both, as its features may be
    others now.

    Attributes
    ----------
    inserted, deleted : pyarrow.Table
        As `batch.rows.winners.ROWS`; `file` and `position` say where the row, with its vector, lies: deleted ones in a
        change file, or in a data file that the table no longer names.
    """

    since: int
    until: int
    inserted: pa.Table
    deleted: pa.Table


@dataclass(frozen=True)
class Difference:
    """Which vectors no longer count and which do now.

    Attributes
    ----------
    removed, added : list of Part
        Where these vectors lie; only the named positions.
    n_removed, n_added : int
        How many they are.
    added_labels : frozenset of (str or None)
        The labels of those that were added.
    """

    removed: list[Part]
    added: list[Part]
    n_removed: int
    n_added: int
    added_labels: frozenset[str | None]


def read_changes(place: str, featurizer: str, since: int, until: int) -> Changes:
    """Read what changed in the rows of one featurizer in the `features` at `place`.

    Raises
    ------
    FeedGone
        The log no longer reaches back to `since`, VACUUM deleted a file that is needed, the files do not hold as many
        rows as the log says, or more than 2,000,000 rows have changed.
    StorageError
        A file cannot be read.
    """
    if since > until:
        raise FeedGone(f"features are at version {until} and were at {since} before: the table was made anew")
    commits = [_commit(place, version) for version in range(since + 1, until + 1)]
    commits = [each for each in commits if any(change.featurizer == featurizer for change in each.changes)]
    try:
        rows = {change.path: count_rows(change.path) for commit in commits for change in commit.changes}
        for commit in commits:
            _check(commit, rows)
        _bound(commits, featurizer, rows)
        inserted, deleted = _rows(commits, featurizer, rows)
    except PartGone as error:
        raise FeedGone("VACUUM has deleted files that held changes since then") from error
    return Changes(since, until, *_netted(inserted, deleted))


def touched(changes: Changes) -> pa.Array:
    """Return the distinct uris of the rows that came or left."""
    return pc.unique(pa.chunked_array([*changes.inserted["uri"].chunks, *changes.deleted["uri"].chunks], pa.string()))


def difference(changes: Changes, rows_now: pa.Table) -> Difference:
    """Compare, for each uri that was touched, the newest row before the changes with the newest one after them.

    Parameters
    ----------
    rows_now
        Every row of the touched uris at `changes.until`: `batch.rows.winners.Winners.rows`.

    Raises
    ------
    FeedGone
        A row was inserted, not deleted, and is not there.
    batch.rows.parts.PartGone
        A file was deleted since the changes were read.
    """
    deleted, inserted = changes.deleted, changes.inserted
    pool = pa.concat_tables([rows_now, deleted, inserted]).unify_dictionaries()
    now, gone, new = np.split(_identities(pool), np.cumsum([rows_now.num_rows, deleted.num_rows]))
    present, left, came = (np.bincount(each, minlength=pool.num_rows) for each in (now, gone, new))
    if (came > present).any():
        raise FeedGone("the log tells of rows that the table does not hold")
    existed = present - came + left > 0
    # Where a row left and came again, what it was before lies where it left from.
    before = np.concatenate([existed[now] & (left[now] == 0), existed[gone], np.zeros(len(new), bool)])
    after = np.arange(pool.num_rows) < rows_now.num_rows
    numbered = pool.append_column("identity", pa.array(np.concatenate([now, gone, new])))
    old, current = (newest(numbered.filter(pa.array(mask))) for mask in (before, after))
    removed, added = _without(old, current, left > 0), _without(current, old, left > 0)
    labels = frozenset(pc.unique(added["label"]).to_pylist())
    return Difference(_located(removed), _located(added), removed.num_rows, added.num_rows, labels)


@dataclass(frozen=True)
class _Change:
    """A file of changed rows; `inserted` is None where its rows say what became of them."""

    path: str
    size: int
    featurizer: str
    inserted: bool | None
    told: int | None


@dataclass(frozen=True)
class _Commit:
    """A version's files of changed rows, and how many rows these hold in all, where it says so."""

    version: int
    changes: tuple[_Change, ...]
    told: int | None


def _commit(place: str, version: int) -> _Commit:
    actions = list(_actions(place, version))
    metrics = next((action.get("operationMetrics") for name, action in actions if name == "commitInfo"), None) or {}
    kinds: Mapping[str, bool | None] = {"cdc": None}
    if not any(name == "cdc" for name, _ in actions):
        kinds = {"add": True, "remove": False}
        actions = [(name, action) for name, action in actions if action.get("dataChange", True)]
    changes = tuple(_change(place, version, action, kinds[name]) for name, action in actions if name in kinds)
    return _Commit(version, changes, _told(metrics, changes))


def _actions(place: str, version: int) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        # As bytes: a text would be split at line separators within a label, too.
        for line in located(f"{place}/_delta_log/{version:020}.json").read_bytes().splitlines():
            yield from json.loads(line).items()
    except FileNotFoundError as error:
        raise FeedGone(f"the log no longer holds version {version}") from error
    except (OSError, ValueError) as error:
        raise FeedGone(f"what the log says of version {version} cannot be read: {first_line(error)}") from error


def _change(place: str, version: int, action: Mapping[str, Any], inserted: bool | None) -> _Change:
    values = action.get("partitionValues") or {}
    if "featurizer" not in values:
        raise FeedGone(f"version {version} does not say whose rows it changed")
    told = json.loads(action.get("stats") or "{}").get("numRecords")
    return _Change(f"{place}/{unquote(action['path'])}", action.get("size") or 0, values["featurizer"], inserted, told)


def _told(metrics: Mapping[str, Any], changes: Sequence[_Change]) -> int | None:
    """Return how many rows the files of a commit hold by its metrics; these do not tell of files written anew."""
    found = {name.replace("_", "").lower(): value for name, value in metrics.items()}
    counts = [int(found[name]) * times for name, times in _TOLD.items() if found.get(name) is not None]
    return sum(counts) if counts and not any(change.inserted for change in changes) else None


def _check(commit: _Commit, rows: Mapping[str, int]) -> None:
    """Hold what the files hold against what the log says of them."""
    for change in commit.changes:
        if change.told is not None and change.told != rows[change.path]:
            raise FeedGone(f"{change.path} holds {rows[change.path]} rows and the log says {change.told}")
    held = sum(rows[change.path] for change in commit.changes)
    if commit.told is not None and commit.told != held:
        raise FeedGone(f"version {commit.version} tells of {commit.told} changed rows and its files hold {held}")


def _bound(commits: Iterable[_Commit], featurizer: str, rows: Mapping[str, int]) -> None:
    mine = (change for commit in commits for change in commit.changes if change.featurizer == featurizer)
    changed = sum(rows[change.path] for change in mine)
    if changed > _MOST_ROWS:
        raise FeedGone(f"{changed:,} rows have changed, which are more than are followed one by one")


def _rows(commits: Iterable[_Commit], featurizer: str, rows: Mapping[str, int]) -> tuple[pa.Table, pa.Table]:
    """Return the rows of the featurizer that were inserted and deleted, each with its `version`."""
    tables: dict[bool, list[pa.Table]] = {True: [_VERSIONED.empty_table()], False: [_VERSIONED.empty_table()]}
    for commit in commits:
        for change in commit.changes:
            if change.featurizer == featurizer:
                part = Part(change.path, change.size, rows[change.path])
                for inserted, found in _told_apart(part, change.inserted):
                    version = pa.array(np.full(found.num_rows, commit.version))
                    tables[inserted].append(found.append_column("version", version))
    inserted, deleted = (pa.concat_tables(tables[each]).unify_dictionaries() for each in (True, False))
    return inserted, deleted


def _told_apart(part: Part, inserted: bool | None) -> Iterator[tuple[bool, pa.Table]]:
    found = rows_of(part)
    if inserted is not None:
        yield inserted, found
        return
    kinds = pa.chunked_array([batch["_change_type"] for batch in read(part, ["_change_type"])], pa.string())
    leaving = pc.is_in(kinds, value_set=_LEAVING)
    yield False, found.filter(leaving)
    yield True, found.filter(pc.invert(leaving))


def _netted(inserted: pa.Table, deleted: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Drop rows that came and left again; those that left and came again stay, in both."""
    both = pc.is_in(inserted["uri"], value_set=pc.unique(deleted["uri"]))
    events = pa.concat_tables([deleted, inserted.filter(both)]).unify_dictionaries()
    came = np.arange(events.num_rows) >= deleted.num_rows
    identities = _identities(events)
    # A version that rewrites a row deletes it first.
    order = np.lexsort((came, events["version"].to_numpy(), identities))
    passing = np.zeros(len(order), bool)
    passing[:-1] = (np.diff(identities[order]) == 0) & came[order][:-1] & ~came[order][1:]
    staying = ~passing
    staying[1:] &= ~passing[:-1]
    stays = np.empty(len(order), bool)
    stays[order] = staying
    inserted = pa.concat_tables([inserted.filter(pc.invert(both)), events.filter(pa.array(stays & came))])
    deleted = events.filter(pa.array(stays & ~came))
    return inserted.select(ROWS.names).unify_dictionaries(), deleted.select(ROWS.names)


def _identities(rows: pa.Table) -> NDArray[np.int64]:
    """Return a number for each row: the same for rows of one identity."""
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in IDENTITY])
    differs = np.zeros(rows.num_rows, bool)
    for name in IDENTITY:
        column = rows[name].take(order)
        differs[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy()
    numbers = np.empty(rows.num_rows, np.int64)
    numbers[order.to_numpy()] = np.cumsum(differs)
    return numbers


def _without(rows: pa.Table, others: pa.Table, made_anew: NDArray[np.bool_]) -> pa.Table:
    """Return the rows with features that are not among the others, or are other rows of the same identity there."""
    identities = rows["identity"].to_numpy()
    differs = ~np.isin(identities, others["identity"].to_numpy()) | made_anew[identities]
    return rows.filter(pc.and_(pa.array(differs), pc.invert(rows["rejected"])))


def _located(rows: pa.Table) -> list[Part]:
    """Return where the vectors of some rows lie."""
    files, positions = rows["file"].combine_chunks(), rows["position"].to_numpy()
    numbers = files.indices.to_numpy()
    return [only(files.dictionary[int(each)].as_py(), positions[numbers == each]) for each in np.unique(numbers)]
