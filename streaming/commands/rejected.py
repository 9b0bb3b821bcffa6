"""The pictures whose newest outcome is a rejection."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from conf.lake import LakePaths, newest
from conf.schemas import FEATURES, NEWEST_WINS
from conf.tables import dataset_of, open_table
from streaming.commands.selection import Selection

_PART_ROWS = 1 << 20
_KEYS = ("uri", *NEWEST_WINS, "rejection")


def rejected(
    lake: LakePaths, featurizer: str, columns: Sequence[str], reasons: Sequence[str] = (), prefix: str = ""
) -> pa.Table:
    """Return the newest outcome of each picture that one featurizer rejected.

    Parameters
    ----------
    lake
        The lake.
    featurizer
        A whole id.
    columns
        Of `features`.
    reasons
        Only these; none: any.
    prefix
        Only uris, as the tables spell them, that begin so.
    """
    mine = ds.field("featurizer") == featurizer
    table = dataset_of(open_table(lake.table(FEATURES)))
    # Most pictures were never rejected: memory is for those that once were, and their other rows.
    once = table.to_table(columns=["uri"], filter=mine & ds.field("rejection").is_valid())["uri"]
    uris = pc.unique(once.filter(pc.starts_with(once, prefix))).to_pylist()
    rows = newest(rows_of(table, Selection(tuple(uris)), list(dict.fromkeys((*columns, *_KEYS))), mine))
    kept = pc.is_valid(rows["rejection"])
    if reasons:
        kept = pc.and_(kept, pc.is_in(rows["rejection"], value_set=pa.array(reasons, pa.string())))
    return rows.filter(kept).select(list(columns))


def rows_of(
    table: ds.Dataset, selection: Selection, columns: Sequence[str], where: ds.Expression | None = None
) -> pa.Table:
    """Return the rows of some pictures; `where` limits them further."""
    selected = selection.mask()
    schema = pa.schema([table.schema.field(name) for name in columns])
    # Not a filter of the scan: Arrow fails to compare a text with the statistics of files that delta-rs rewrote.
    batches = table.to_batches(columns=list(columns), filter=where)
    parts = [rows.filter(selected(rows["uri"])) for rows in _in_parts(batches)]
    return pa.concat_tables([schema.empty_table(), *parts])


def _in_parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield tables of many rows: there may be a batch for each small file, and each question has its cost."""
    part: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        part.append(batch)
        rows += batch.num_rows
        if rows >= _PART_ROWS:
            yield pa.Table.from_batches(part)
            part, rows = [], 0
    if part:
        yield pa.Table.from_batches(part)
