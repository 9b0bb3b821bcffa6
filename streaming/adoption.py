"""Adoption: a query without a usable checkpoint goes on from what the tables say.

The arrivals that have no outcome yet are featurized in commits of bounded size; a new query then reads arrivals from
the next version on. The same comparison of the two tables is the audit's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import CommitProperties, Transaction, write_deltalake
from numpy.typing import NDArray

from conf import points
from conf.errors import StorageError
from conf.lake import LakePaths
from conf.schemas import ARRIVALS, FEATURES
from conf.tables import dataset_of, open_table
from streaming.arrivals import HASH, identities
from streaming.worker import INPUT

_KEY = ["uri", "e_tag", "landed_at", "attempt"]
_MARKER = "verger-adoption"


@dataclass(frozen=True)
class Gap:
    """The arrivals of one version of the table that have no outcome of one featurizer.

    Attributes
    ----------
    version : int
        The version of arrivals.
    rows : pyarrow.Table
        Their columns `streaming.worker.INPUT`.
    doubled : int
        Outcomes beyond one per arrival, which no rule of Verger's allows.
    """

    version: int
    rows: pa.Table
    doubled: int


def gap(lake: LakePaths, featurizer: str, version: int | None = None) -> Gap:
    """Compare arrivals, at `version` or the latest, with the outcomes of a featurizer.

    Holds 16 bytes for each outcome and the rows that have none.
    """
    arrivals = open_table(lake.table(ARRIVALS), version)
    features = dataset_of(open_table(lake.table(FEATURES)))
    mine = features.to_batches(columns=_KEY, filter=ds.field("featurizer") == featurizer)
    outcomes = np.concatenate([np.empty(0, HASH), *map(identities, mine)])
    distinct = np.unique(outcomes)
    columns = list(dict.fromkeys((*INPUT, *_KEY)))
    missing = [
        batch.filter(pa.array(~_among(identities(batch), distinct)))
        for batch in dataset_of(arrivals).to_batches(columns=columns)
    ]
    schema = pa.schema([ARRIVALS.schema.field(name) for name in columns])
    rows = (
        pa.Table.from_batches([each for each in missing if each.num_rows], schema) if missing else schema.empty_table()
    )
    return Gap(arrivals.version(), rows.select(list(INPUT)), len(outcomes) - len(distinct))


def fill(
    lake: LakePaths,
    featurizer: str,
    rows: pa.Table,
    rows_per_commit: int,
    append: Callable[[pa.Table, str, int], None],
    stop: Callable[[], bool],
) -> bool:
    """Give each of `rows` its outcome, in commits of bounded size.

    Parameters
    ----------
    lake, featurizer
        What is to be completed.
    rows
        Of a `Gap`.
    rows_per_commit
        Pictures per commit.
    append
        Featurizes the rows of a table and appends the outcomes in one commit, as the given transaction of the given
        application; see `streaming.query.append`.
    stop
        Asked between commits.

    Returns
    -------
    bool
        False where `stop` said so before the end; what was written stands.

    Raises
    ------
    StorageError
        Somebody else fills the same gap.
    """
    application = f"{_MARKER}-{featurizer}"
    last = open_table(lake.table(FEATURES)).transaction_version(application) or 0
    for start in range(0, rows.num_rows, rows_per_commit):
        if stop():
            return False
        last += 1
        append(rows.slice(start, rows_per_commit), application, last)
        if open_table(lake.table(FEATURES)).transaction_version(application) != last:
            raise StorageError(f"somebody else adopts the outcomes of {featurizer}")
        points.reach("outcomes-adopted")
    return True


def version_after(lake: LakePaths, version: int) -> int:
    """Return the next version of arrivals, and see to it that it exists: a query cannot start from one to come."""
    arrivals = open_table(lake.table(ARRIVALS))
    if arrivals.version() == version:
        last = arrivals.transaction_version(_MARKER) or 0
        properties = CommitProperties(app_transactions=[Transaction(_MARKER, last + 1)])
        write_deltalake(arrivals, ARRIVALS.schema.empty_table(), mode="append", commit_properties=properties)
    return version + 1


def _among(wanted: NDArray[np.bytes_], ordered: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    places = np.searchsorted(ordered, wanted)
    inside = places < len(ordered)
    inside[inside] = ordered[places[inside]] == wanted[inside]
    return inside
