"""The arrivals table's only writer: new versions of pictures, each appended once.

Appends go through delta-rs: a commit costs milliseconds and none of the executors' cores, and on object stores it is
a conditional put. Each append is a transaction of the application `verger-arrivals`. delta-rs refuses it where another
append was committed since the snapshot that the known versions were read from, so a slow or second writer can never
add a version twice.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from numpy.typing import NDArray

from conf.errors import LakeError, StorageError
from conf.tables import ARRIVALS, open_table
from streaming.listing import Found

APPLICATION = "verger-arrivals"
_HASH_BYTES = 16
_HASH = np.dtype(f"S{_HASH_BYTES}")
_MERGE_AT = 50_000
_PAGE = 4096
_DEFAULT_ROW_BYTES = 40.0
_TELLING_ROWS = 64
_NEWEST_FILES = 64
_COMMIT_TRIES = 3


class Known:
    """The set of versions that have arrived, 16 bytes each: a sorted array and what came since it was sorted.

    160 MB at ten million pictures; a hash of 128 bits makes a chance collision one in 10^24 there.
    """

    def __init__(self, identities: Iterable[NDArray[np.bytes_]] = ()) -> None:
        self._sorted: NDArray[np.bytes_] = np.unique(np.concatenate([np.empty(0, _HASH), *identities]))
        self._recent: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def missing(self, identities: Iterable[bytes]) -> list[bytes]:
        """Return those that the set does not hold, in their order."""
        wanted = list(identities)
        array = np.array(wanted, dtype=self._sorted.dtype)
        places = np.searchsorted(self._sorted, array)
        found = np.zeros(len(wanted), dtype=bool)
        inside = places < len(self._sorted)
        found[inside] = self._sorted[places[inside]] == array[inside]
        return [each for each, held in zip(wanted, found, strict=True) if not held and each not in self._recent]

    def add(self, identities: Iterable[bytes]) -> None:
        """Add identities, merging them into the sorted array from time to time."""
        self._recent.update(self.missing(identities))
        # Merged ever more rarely: each merge costs as much as there is.
        if len(self._recent) >= max(_MERGE_AT, len(self._sorted) // 8):
            fresh = np.array(list(self._recent), dtype=self._sorted.dtype)
            self._sorted = np.union1d(self._sorted, fresh)
            self._recent = set()


def identity(uri: str, e_tag: str, landed_at: datetime) -> bytes:
    """Return the 16-byte hash of a picture's version."""
    text = f"{uri}\0{e_tag}\0{landed_at.timestamp():.6f}"
    return hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).digest()


class Arrivals:
    """Appends new versions to the arrivals table and knows which have arrived.

    Parameters
    ----------
    place
        Where the table lies.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self.reload()

    def __len__(self) -> int:
        """Versions that have arrived."""
        return len(self._known)

    def reload(self) -> None:
        """Read the table anew: its latest version and the versions that have arrived by then."""
        self._stale = True
        self._table = open_table(self._place)
        batches = self._table.to_pyarrow_dataset().to_batches(columns=["uri", "e_tag", "landed_at"])
        self._known = Known(map(_identities, batches))
        self._stale = False

    def append(self, found: Iterable[Found], *, route: str, rows_per_file: int) -> Iterator[int]:
        """Append what has not arrived yet, in files of at most `rows_per_file` rows, one commit each.

        Parameters
        ----------
        found
            What discovery saw; repetitions and known versions are passed over.
        route
            How it was found: `listing`, `notification` or `retry`.
        rows_per_file
            The bound that keeps one micro-batch's work bounded: admission takes whole files.

        Yields
        ------
        int
            Rows of each commit.

        Raises
        ------
        StorageError
            The table cannot be written; a later poll finds the same pictures again.
        """
        pending: dict[bytes, Found] = {}
        for page in _pages(found):
            pending |= {key: page[key] for key in self._known.missing(page)}
            while len(pending) >= rows_per_file:
                taken = list(islice(pending, rows_per_file))
                yield from self._commit({key: pending.pop(key) for key in taken}, route)
        if pending:
            yield from self._commit(pending, route)

    def bytes_per_row(self) -> float:
        """Return the stored bytes per arrival, measured on the largest of the newest files."""
        actions = pa.table(self._table.get_add_actions(flatten=True)).sort_by([("modification_time", "descending")])
        newest = actions.slice(0, _NEWEST_FILES).select(["size_bytes", "num_records"]).to_pylist()
        telling = [each for each in newest if (each["num_records"] or 0) >= _TELLING_ROWS]
        if not telling:
            return _DEFAULT_ROW_BYTES
        largest = max(telling, key=lambda each: int(each["num_records"]))
        return float(largest["size_bytes"]) / float(largest["num_records"])

    def _commit(self, chunk: dict[bytes, Found], route: str) -> list[int]:
        for _ in range(_COMMIT_TRIES):
            try:
                if self._stale:
                    self.reload()
                fresh = {key: chunk[key] for key in self._known.missing(chunk)}
                return [self._write(fresh, route)] if fresh else []
            except CommitFailedError:
                # Somebody appended since our snapshot: look again at what is really new.
                self._stale = True
            except (LakeError, DeltaError, OSError) as error:
                # Whether the commit happened is unknown: the table tells, when it can be read again.
                self._stale = True
                raise StorageError(f"arrivals cannot be written: {error}") from error
        raise StorageError(f"arrivals cannot be written: another writer was first, {_COMMIT_TRIES} times in a row")

    def _write(self, chunk: dict[bytes, Found], route: str) -> int:
        last = self._table.transaction_version(APPLICATION) or 0
        write_deltalake(
            self._table,
            _rows(chunk.values(), route),
            mode="append",
            commit_properties=CommitProperties(app_transactions=[Transaction(APPLICATION, last + 1)]),
        )
        self._known.add(chunk)
        return len(chunk)


def _identities(batch: pa.RecordBatch) -> NDArray[np.bytes_]:
    columns = [batch.column(name).to_pylist() for name in ("uri", "e_tag", "landed_at")]
    return np.array([identity(*row) for row in zip(*columns, strict=True)], dtype=_HASH)


def _pages(found: Iterable[Found]) -> Iterator[dict[bytes, Found]]:
    source = iter(found)
    while page := {identity(each.uri, each.e_tag, each.landed_at): each for each in islice(source, _PAGE)}:
        yield page


def _rows(found: Iterable[Found], route: str) -> pa.Table:
    now = datetime.now(UTC)
    rows = [
        {
            "uri": each.uri,
            "e_tag": each.e_tag,
            "landed_at": each.landed_at,
            "size": each.size,
            "version": each.version,
            "discovered_at": now,
            "attempt": 1,
            "route": route,
        }
        for each in found
    ]
    return pa.Table.from_pylist(rows, schema=ARRIVALS.schema)
