"""Retries: versions of pictures that were rejected arrive once more, as a further attempt, and the newest wins."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from conf.featurizers import featurized, meant
from conf.lake import LakePaths, newest
from conf.rejections import Reason
from conf.schemas import ARRIVALS
from conf.tables import dataset_of, open_table
from streaming.arrivals import HASH, Arrivals, Attempt, identities
from streaming.commands.rejected import rejected, rows_of
from streaming.commands.requests import Answer, Request, amount
from streaming.commands.selection import Selection
from streaming.discovery.sighting import Found

_COLUMNS = ("uri", "e_tag", "landed_at", "discovered_at", "attempt", "rejection")


def retry(request: Request, lake: LakePaths, arrivals: Arrivals, rows_per_file: int) -> Answer:
    """Let the rejected pictures that a request means arrive again, each version once, as its next attempt.

    A picture is left alone while an arrival of it that is newer than the rejection waits for its outcome; so is one
    that arrived after the request was made. That makes a request that is executed twice change nothing more.

    Returns
    -------
    Answer
        `retried`, `waiting` (left alone), and `left_out` by reason: rejections that another attempt cannot help, where
        the request names no reasons.

    Raises
    ------
    UsageError
        The request names a featurizer that is not there.
    StorageError
        The tables cannot be read or written; executing the request again completes it.
    """
    present = featurized(lake)
    featurizers = [meant(request.featurizer, present)] if request.featurizer else present
    prefix = request.selection.prefix
    found = [rejected(lake, each, _COLUMNS, request.reasons, prefix) for each in featurizers]
    helped, left_out = _parted(found, request.reasons)
    again = _newest_arrivals(lake, helped, request.requested_at)
    retried = sum(arrivals.repeat(_attempts(again, request.requested_at), rows_per_file=rows_per_file))
    waiting = len(pc.unique(helped["uri"])) - retried
    return Answer(
        _sentence(retried, waiting, left_out), {"retried": retried, "waiting": waiting, "left_out": dict(left_out)}
    )


def _parted(found: Sequence[pa.Table], reasons: Sequence[str]) -> tuple[pa.Table, Counter[str]]:
    """Part rejections in those that another attempt can help, or that were asked for, and the rest, by reason."""
    empty = pa.schema([pa.field(name, ARRIVALS.schema.field(name).type) for name in _COLUMNS[:-1]]).empty_table()
    if not found:
        return empty, Counter()
    rows = pa.concat_tables(found)
    if reasons:
        return rows, Counter()
    can_help = pc.is_in(rows["rejection"], value_set=pa.array([each.value for each in Reason if each.retriable]))
    rest = rows.filter(pc.invert(can_help)).select(["uri", "rejection"]).group_by(["uri", "rejection"]).aggregate([])
    return rows.filter(can_help), Counter(rest["rejection"].to_pylist())


def _newest_arrivals(lake: LakePaths, rejections: pa.Table, before: datetime) -> pa.Table:
    """Return the newest arrival of each picture whose rejection is the outcome of just that arrival."""
    table = dataset_of(open_table(lake.table(ARRIVALS)))
    uris = Selection(tuple(pc.unique(rejections["uri"]).to_pylist()))
    rows = newest(rows_of(table, uris, ARRIVALS.columns))
    rows = rows.filter(pc.less(rows["discovered_at"], pa.scalar(before, ARRIVALS.schema.field("discovered_at").type)))
    return rows.filter(pa.array(np.isin(_identities(rows), _identities(rejections))))


def _identities(rows: pa.Table) -> NDArray[np.bytes_]:
    return np.concatenate([np.empty(0, HASH), *map(identities, rows.to_batches())])


def _attempts(rows: pa.Table, requested_at: datetime) -> Iterator[Attempt]:
    for row in rows.to_pylist():
        found = Found(row["uri"], row["e_tag"], row["landed_at"], row["size"], row["version"])
        yield Attempt(found, row["attempt"] + 1, max(row["discovered_at"], requested_at))


def _sentence(retried: int, waiting: int, left_out: Counter[str]) -> str:
    parts = [f"{amount(retried, 'rejected picture')} will be tried again"]
    if left_out:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(left_out.items()))
        parts.append(f"{left_out.total():,} left out, as another attempt cannot help ({reasons}; --reason insists)")
    if waiting:
        parts.append(f"{amount(waiting, 'picture')} left alone, as a newer arrival waits for its outcome")
    return "; ".join(parts)
