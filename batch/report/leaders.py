"""The greatest few of each group, of rows that come block by block."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_GROUP, _KEY = "leaders.group", "leaders.key"


class Leaders:
    """Keeps of each group the `most` rows with the greatest keys, of equal ones the first by uri.

    Parameters
    ----------
    groups
        How many groups.
    most
        Rows of each that are kept.
    schema
        Of the rows; `uri` is among them.
    """

    def __init__(self, groups: int, most: int, schema: pa.Schema) -> None:
        self._most = most
        # The key that is to be reached, once a group has as many rows as are kept.
        self._bars = np.full(groups, -np.inf)
        fields = [pa.field(_GROUP, pa.int64()), pa.field(_KEY, pa.float64()), *schema]
        self._rows = pa.schema(fields).empty_table()

    def add(self, groups: NDArray[np.int64], keys: NDArray[np.float64], rows: pa.Table) -> None:
        """Take rows into account, with the group and the key of each; those whose key is NaN are left out."""
        high = keys >= self._bars[groups]
        if not high.any():
            return
        new = rows.filter(pa.array(high))
        new = new.add_column(0, _KEY, pa.array(keys[high])).add_column(0, _GROUP, pa.array(groups[high]))
        self._rows = self._best(pa.concat_tables([self._rows, new.cast(self._rows.schema)]))

    def found(self) -> tuple[NDArray[np.int64], pa.Table]:
        """Return the groups of the rows that are kept, shape (m,), and the rows; by group, the greatest key first."""
        return self._rows[_GROUP].to_numpy(), self._rows.drop_columns([_GROUP, _KEY])

    def _best(self, rows: pa.Table) -> pa.Table:
        order = [(_GROUP, "ascending"), (_KEY, "descending"), ("uri", "ascending")]
        rows = rows.take(pc.sort_indices(rows, sort_keys=order))
        groups = rows[_GROUP].to_numpy()
        starts = np.searchsorted(groups, groups)
        ranks = np.arange(len(groups)) - starts
        last = ranks == self._most - 1
        self._bars[groups[last]] = rows[_KEY].to_numpy()[last]
        return rows.filter(pa.array(ranks < self._most)).combine_chunks()
