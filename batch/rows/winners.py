"""Which rows of the append-only `features` count, decided exactly and in bounded memory: the newest of each uri.

Most uris have one row. A first pass reads uris alone and keeps a hash of each; only rows whose hash occurs again are
read with their keys and decided by `conf.lake.newest`, on the uris themselves: a collision of hashes costs a look, and
never a picture. The driver holds 8 bytes a row, 16 while it sorts them, and some hundred bytes for each of at most
1,000,000 contested rows at a time, however many there are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from numpy.typing import NDArray

from batch.rows.parts import Part, count_rows, read, read_placed
from conf.errors import LakeError, first_line
from conf.lake import newest
from conf.schemas import FEATURES, NEWEST_WINS
from conf.tables import files_of, open_table

# What tells a row of one featurizer from every other.
IDENTITY = ("uri", *NEWEST_WINS)
# What is known of a row without its vector, and where that lies.
ROWS = pa.schema(
    [
        *((name, FEATURES.schema.field(name).type) for name in IDENTITY),
        ("rejected", pa.bool_()),
        ("label", pa.string()),
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("position", pa.int64()),
    ]
)
_ROWS_A_ROUND = 1_000_000


@dataclass(frozen=True)
class Snapshot:
    """One featurizer's files in one version of `features`."""

    version: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Winners:
    """The rows of a snapshot that count.

    Attributes
    ----------
    parts : tuple of Part
        The files that hold a newest row with features, without the rows that lose. Rejections may be among their rows;
        the features of these are null.
    n : int
        Pictures whose newest outcome has features.
    rejected : int
        Pictures whose newest outcome is a rejection.
    labels : Mapping[str or None, int]
        How many of the `n` have a label; None for no label.
    rows : pyarrow.Table
        Every row of the uris that were asked for, winners and losers, as `ROWS`.
    """

    parts: tuple[Part, ...]
    n: int
    rejected: int
    labels: Mapping[str | None, int]
    rows: pa.Table


def snapshot(place: str, featurizer: str, version: int | None = None) -> Snapshot:
    """Return what the log of the `features` at `place` names, now or at a version.

    Raises
    ------
    LakeError
        The table, or that version, cannot be read, or not by reading its files alone.
    """
    table = open_table(place)
    if version is not None and version != table.version():
        _load(table, place, version)
    needed = table.protocol().min_reader_version
    if needed != 1:
        raise LakeError(
            f"{place} needs Delta reader version {needed}, Verger keeps to 1 so that any reader understands it: "
            f"drop deletion vectors and column mapping from it with ALTER TABLE ... DROP FEATURE"
        )
    return Snapshot(table.version(), tuple(_parts(table, place, featurizer)))


def winners(snapshot: Snapshot, touched: pa.Array) -> Winners:
    """Decide which rows of a snapshot count.

    Parameters
    ----------
    touched
        Uris, as strings, of which every row is to be returned.

    Raises
    ------
    batch.rows.parts.PartGone
        A file was deleted meanwhile.
    StorageError
        A file cannot be read.
    """
    looks = [_look(part) for part in snapshot.parts]
    asked = [ROWS.empty_table()]
    for hashes in _rounds(_contested(looks, touched)):
        found = [_candidates(look, hashes) for look in looks]
        rows = pa.concat_tables([ROWS.empty_table(), *found])
        _lose(looks, found, rows)
        asked.append(rows.filter(pc.is_in(rows["uri"], value_set=touched)))
    parts = tuple(look.remaining() for look in looks if look.featured)
    rejected = sum(look.rejected for look in looks)
    labels = sum((look.featured for look in looks), Counter[str | None]())
    return Winners(parts, labels.total(), rejected, labels, pa.concat_tables(asked).unify_dictionaries())


def rows_of(part: Part) -> pa.Table:
    """Return what is known of the rows of a part, as `ROWS`.

    Raises
    ------
    batch.rows.parts.PartGone
        The file is not there.
    StorageError
        It cannot be read.
    """
    read_columns = (*IDENTITY, "rejection", "label")
    return pa.Table.from_batches((_known(part, *each) for each in read_placed(part, read_columns)), ROWS)


def _known(part: Part, positions: NDArray[np.int64], batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = {name: batch[name] for name in batch.schema.names}
    columns["rejected"] = pc.is_valid(batch["rejection"])
    columns["file"] = pa.DictionaryArray.from_arrays(np.zeros(len(batch), np.int32), [part.path])
    columns["position"] = pa.array(positions)
    return pa.RecordBatch.from_arrays([columns[name] for name in ROWS.names], schema=ROWS)


def _load(table: DeltaTable, place: str, version: int) -> None:
    try:
        table.load_as_version(version)
    except (DeltaError, OSError) as error:
        raise LakeError(f"version {version} of {place} cannot be read: {first_line(error)}") from error


def _parts(table: DeltaTable, place: str, featurizer: str) -> Iterator[Part]:
    files = files_of(table, featurizer=featurizer).sort_by("path").select(["path", "size_bytes", "num_records"])
    for each in files.to_pylist():
        path = f"{place}/{unquote(each['path'])}"
        rows = count_rows(path) if each["num_records"] is None else each["num_records"]
        if rows:
            yield Part(path, each["size_bytes"], rows)


@dataclass
class _Look:
    """What is known of a file: a hash of each row's uri, how many rows still count, and the places of those that lost.

    Rows with features are counted by their label.
    """

    part: Part
    hashes: NDArray[np.int64]
    rejected: int
    featured: Counter[str | None]
    lost: list[NDArray[np.int64]] = field(default_factory=list)

    def lose(self, rows: pa.Table) -> None:
        """Take rows out of those that count."""
        self.rejected -= pc.sum(rows["rejected"]).as_py()
        # This operator also forgets labels of which nothing is left.
        self.featured -= _featured(rows["rejected"], rows["label"])
        self.lost.append(rows["position"].to_numpy())

    def remaining(self) -> Part:
        """Return the file without what lost."""
        return replace(self.part, positions=np.sort(np.concatenate(self.lost))) if self.lost else self.part


def _look(part: Part) -> _Look:
    look = _Look(part, np.empty(part.rows, np.int64), 0, Counter())
    seen = 0
    for batch in read(part, ("uri", "rejection", "label")):
        rejected = pc.is_valid(batch["rejection"])
        look.hashes[seen : seen + len(batch)] = hashes_of(batch["uri"])
        look.rejected += pc.sum(rejected).as_py()
        look.featured += _featured(rejected, batch["label"])
        seen += len(batch)
    return look


def hashes_of(uris: pa.Array) -> NDArray[np.int64]:
    """Return 64 bits of each text, by Python's own hash (SipHash): another in each process."""
    return np.fromiter(map(hash, uris.to_numpy(zero_copy_only=False)), np.int64, len(uris))


def _featured(rejected: pa.Array, labels: pa.Array) -> Counter[str | None]:
    counts = pc.value_counts(labels.filter(pc.invert(rejected)))
    return Counter({each["values"]: each["counts"] for each in counts.to_pylist()})


def _contested(looks: Iterable[_Look], touched: pa.Array) -> NDArray[np.int64]:
    """Return the hashes that more than one row or a touched uri has, ascending, each as often as there are rows."""
    hashes: NDArray[np.int64] = np.concatenate([*(look.hashes for look in looks), hashes_of(touched)])
    hashes.sort()
    again = np.append(False, hashes[1:] == hashes[:-1])[: len(hashes)]
    again[:-1] |= again[1:]
    return np.compress(again, hashes)


def _rounds(contested: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the distinct hashes, ascending, at a time as many as a bounded number of rows have."""
    start = 0
    while start < len(contested):
        last = contested[min(start + _ROWS_A_ROUND, len(contested)) - 1]
        end = int(np.searchsorted(contested, last, "right"))
        yield np.unique(contested[start:end])
        start = end


def _candidates(look: _Look, hashes: NDArray[np.int64]) -> pa.Table:
    """Read the rows of a file whose uri has one of some hashes."""
    nearest = np.minimum(np.searchsorted(hashes, look.hashes), len(hashes) - 1)
    positions = np.flatnonzero(hashes[nearest] == look.hashes)
    return rows_of(replace(look.part, positions=positions, skipping=False)) if len(positions) else ROWS.empty_table()


def _lose(looks: Sequence[_Look], found: Sequence[pa.Table], rows: pa.Table) -> None:
    """Take out of each file those of the rows found in it that are not the newest of their uri among all found."""
    numbered = rows.select(list(IDENTITY)).append_column("number", pa.array(np.arange(rows.num_rows)))
    lost = np.ones(rows.num_rows, bool)
    lost[newest(numbered)["number"].to_numpy()] = False
    start = 0
    for look, mine in zip(looks, found, strict=True):
        losing, start = lost[start : start + mine.num_rows], start + mine.num_rows
        if losing.any():
            look.lose(mine.filter(pa.array(losing)))
