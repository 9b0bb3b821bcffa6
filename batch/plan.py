"""What a refit has to do: go on from the last model's moments with what has changed since, or read the whole table."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from batch.model import Model
from batch.rows import changes
from batch.rows.changes import Difference, FeedGone
from batch.rows.winners import Winners, snapshot, winners
from conf.lake import LakePaths
from conf.schemas import FEATURES

# Rounding adds up, a little with each refit that builds on another.
_MOST_INCREMENTS = 50
_NO_URIS = pa.array([], pa.string())


@dataclass(frozen=True)
class Plan:
    """What a refit has to do.

    Attributes
    ----------
    version : int
        Of features: the pictures that count are those of this version.
    winners : Winners
        Which rows those are.
    last : Model or None
        The model that was made last, with its moments.
    difference : Difference or None
        What has changed since then; None where that is not known.
    why_full : str
        Why the whole table is read; empty where the moments and the difference do.
    """

    version: int
    winners: Winners
    last: Model | None
    difference: Difference | None
    why_full: str

    @property
    def unchanged(self) -> bool:
        """Whether no picture has changed since the last model."""
        if self.last is None or self.difference is None or self.difference.removed or self.difference.added:
            return False
        return _counted(self.last, self.difference) == self.winners.n


def plan(lake: LakePaths, featurizer: str, last: Model | None, solver: str, *, full: bool) -> Plan:
    """Find out what has changed since the last model, and how the next one is to be made.

    Parameters
    ----------
    last
        With its moments.
    solver
        The one that will be used: only `covariance` can go on from moments.
    full
        Whether the user wants the whole table read.

    Raises
    ------
    StorageError
        The table cannot be read, or a file vanished meanwhile.
    """
    place = lake.table(FEATURES)
    now = snapshot(place, featurizer)
    if last is None:
        return Plan(now.version, winners(now, _NO_URIS), None, None, "the first refit of this featurizer")
    try:
        since = changes.read_changes(place, featurizer, last.features_version, now.version)
        found = winners(now, changes.touched(since))
        difference = changes.difference(since, found.rows)
    except FeedGone as gone:
        why = f"what changed since the last model cannot be read: {gone}"
        return Plan(now.version, winners(now, _NO_URIS), last, None, "--full was asked for" if full else why)
    return Plan(now.version, found, last, difference, _why_full(last, found, difference, solver, full=full))


def _why_full(last: Model, found: Winners, difference: Difference, solver: str, *, full: bool) -> str:
    if full:
        return "--full was asked for"
    if solver != "covariance":
        return f"the {solver} solver reads the whole table"
    if last.moments is None:
        return f"the last model was made by the {last.solver} solver, which leaves no moments"
    if max(difference.n_removed, difference.n_added) > found.n // 2:
        return "most pictures have changed"
    if last.run_card.get("increments", 0) >= _MOST_INCREMENTS:
        return f"the last {_MOST_INCREMENTS} refits built on one another"
    counted = _counted(last, difference)
    if counted != found.n:
        return f"{counted:,} pictures by the changes since the last model, and {found.n:,} in the table"
    return ""


def _counted(last: Model, difference: Difference) -> int:
    """Return how many pictures there are by the last model and what has changed since."""
    return int(last.n + last.run_card.get("unusable", 0) - difference.n_removed + difference.n_added)
