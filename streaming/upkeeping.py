"""Upkeep of a lake whose stream lease the caller holds: what checkpoints and takedowns mean for its tables."""

from datetime import datetime

from conf import upkeep
from conf.lake import LakePaths
from conf.logs import fields, logger
from streaming import checkpoints
from streaming.commands import takedown
from streaming.commands.requests import Answer


def keep_up(lake: LakePaths, vacuum_days: float, now: datetime, *, queries_run: bool) -> Answer:
    """Delete what nobody can need any more, as far as the checkpoints allow and the takedowns demand.

    Parameters
    ----------
    lake
        Its stream lease must be held.
    vacuum_days
        Days for which files that no table names any more are kept for readers.
    now
        The time, in UTC.
    queries_run
        Whether micro-batches may be under way.

    Raises
    ------
    StorageError
        A table cannot be read or written.
    """
    needed, due = checkpoints.needed(lake), takedown.must_go_before(lake, now)
    done = upkeep.run(lake, needed, vacuum_days, due, now, queries_run=queries_run)
    checkpoints.clean_quarantine(lake, now, vacuum_days)
    logger().info("upkeep", extra=fields(**vars(done)))
    return Answer(done.sentence, vars(done))
