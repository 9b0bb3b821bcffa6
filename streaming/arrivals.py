"""The arrivals table's only writer: new versions of pictures, each appended once.

Appends go through delta-rs: a commit costs milliseconds and none of the executors' cores, and on object stores it is
a conditional put. Each append is a transaction of the application `verger-arrivals`. delta-rs refuses it where another
append was committed since the snapshot that the known versions were read from, so a slow or second writer can never
add a version twice.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from numpy.typing import NDArray

from conf import points
from conf.errors import LakeError, StorageError, first_line
from conf.schemas import ARRIVALS, TIMESTAMP
from conf.tables import dataset_of, files_of, open_table
from streaming.discovery.sighting import Found

APPLICATION = "verger-arrivals"
_HASH_BYTES = 16
HASH = np.dtype(f"S{_HASH_BYTES}")
_IDENTIFYING = ["uri", "e_tag", "landed_at", "attempt"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_T = TypeVar("_T")
_MERGE_AT = 50_000
_PAGE = 4096
_DEFAULT_ROW_BYTES = 40.0
_TELLING_ROWS = 64
_NEWEST_FILES = 64
_COMMIT_TRIES = 3
_REOPEN_EVERY = 50


class Known:
    """The set of arrivals by identity, 16 bytes each: a sorted array and what came since it was sorted.

    160 MB at ten million pictures; a hash of 128 bits makes a chance collision one in 10^24 there. The array lies as
    two columns of numbers, which are searched ten times as fast as texts.
    """

    def __init__(self, identities: Iterable[NDArray[np.bytes_]] = ()) -> None:
        self._first, self._second = _halves(np.unique(np.concatenate([np.empty(0, HASH), *identities])))
        self._recent: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._first) + len(self._recent)

    def missing(self, identities: Iterable[bytes]) -> list[bytes]:
        """Return those that the set does not hold, in their order."""
        wanted = list(identities)
        first, second = _halves(np.array(wanted, dtype=HASH))
        places = np.searchsorted(self._first, first)
        found = np.zeros(len(wanted), dtype=bool)
        alike = places < len(self._first)
        alike[alike] = self._first[places[alike]] == first[alike]
        found[alike] = self._second[places[alike]] == second[alike]
        # One in billions: others share its first half.
        for number in np.flatnonzero(alike & ~found):
            same = slice(places[number], np.searchsorted(self._first, first[number], side="right"))
            found[number] = second[number] in self._second[same]
        return [each for each, held in zip(wanted, found, strict=True) if not held and each not in self._recent]

    def add(self, identities: Iterable[bytes]) -> None:
        """Add identities, merging them into the sorted array from time to time."""
        self._recent.update(self.missing(identities))
        # Merged ever more rarely: each merge costs as much as there is.
        if len(self._recent) >= max(_MERGE_AT, len(self._first) // 8):
            first, second = _halves(np.array(list(self._recent), dtype=HASH))
            first, second = np.concatenate([self._first, first]), np.concatenate([self._second, second])
            order = np.lexsort((second, first))
            self._first, self._second = first[order], second[order]
            self._recent = set()


@dataclass(frozen=True)
class Attempt:
    """One try at one version of a picture: what becomes a row.

    Attributes
    ----------
    found : Found
        The version.
    number : int
        1, and one more for each retry.
    not_before : datetime
        The row is to count as discovered then, or later: it must win over the attempt that it repeats, whatever the
        clock says.
    """

    found: Found
    number: int = 1
    not_before: datetime = _EPOCH


def identity(uri: str, e_tag: str, landed_at: datetime, attempt: int = 1) -> bytes:
    """Return the 16-byte hash of an arrival: a picture's version and the attempt at it."""
    text = f"{uri}\0{e_tag}\0{(landed_at - _EPOCH) // _MICROSECOND}\0{attempt}"
    return hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).digest()


def identities(batch: pa.RecordBatch) -> NDArray[np.bytes_]:
    """Return the identities of many rows, in their order.

    Parameters
    ----------
    batch
        Rows of any table with the columns `uri`, `e_tag`, `landed_at` and `attempt`, none of them null.

    Returns
    -------
    NDArray[np.bytes_]
        Of dtype `HASH`; equal to `identity` of each row.
    """
    uri, e_tag, landed_at, attempt = (batch.column(name) for name in _IDENTIFYING)
    texts = (uri, e_tag, landed_at.cast(TIMESTAMP).cast(pa.int64()), attempt)
    # Joined by Arrow: of the time per row only the hash itself is left.
    joined = pc.binary_join_element_wise(*[each.cast(pa.string()).cast(pa.binary()) for each in texts], b"\0")
    hashed = hashlib.blake2b
    return np.array([hashed(row, digest_size=_HASH_BYTES).digest() for row in joined.to_pylist()], dtype=HASH)


class Arrivals:
    """Appends to the arrivals table and knows what has arrived; reads the table when it is first asked.

    Parameters
    ----------
    place
        Where the table lies.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._appends = 0
        self.reload()

    def __len__(self) -> int:
        """Rows of the table: versions that have arrived, and retries of them.

        Raises
        ------
        StorageError
            The table cannot be read.
        """
        if self._known is None:
            self._read()
        return len(self._known or ())

    def reload(self) -> None:
        """Take nothing for known any more, as after a takedown: the table is read anew when it is next needed."""
        self._stale = True
        self._known: Known | None = None

    def append(
        self,
        found: Iterable[Found],
        *,
        route: str,
        rows_per_file: int,
        unless: Callable[[str], bool] = lambda uri: False,
    ) -> Iterator[int]:
        """Append what has not arrived yet, in files of at most `rows_per_file` rows, one commit each.

        Parameters
        ----------
        found
            What discovery saw; repetitions and known versions are passed over.
        route
            How it was found: `listing` or `notification`.
        rows_per_file
            The bound that keeps one micro-batch's work bounded: admission takes whole files.
        unless
            Asked with the uri of each version that is new; what it says yes to does not arrive.

        Yields
        ------
        int
            Rows of each commit.

        Raises
        ------
        StorageError
            The table cannot be written; a later poll finds the same pictures again.
        """
        pages = _pages(found, lambda each: identity(each.uri, each.e_tag, each.landed_at))
        new = ({key: Attempt(page[key]) for key in self._missing(page) if not unless(page[key].uri)} for page in pages)
        return self._append(new, route, rows_per_file)

    def repeat(self, attempts: Iterable[Attempt], *, rows_per_file: int) -> Iterator[int]:
        """Append retries of versions that have arrived, as `append` does; one that is there already is passed over."""
        pages = _pages(attempts, _identity)
        return self._append(({key: page[key] for key in self._missing(page)} for page in pages), "retry", rows_per_file)

    def _append(self, new: Iterable[dict[bytes, Attempt]], route: str, rows_per_file: int) -> Iterator[int]:
        pending: dict[bytes, Attempt] = {}
        for page in new:
            pending |= page
            while len(pending) >= rows_per_file:
                taken = list(islice(pending, rows_per_file))
                yield from self._commit({key: pending.pop(key) for key in taken}, route)
        if pending:
            yield from self._commit(pending, route)

    def bytes_per_row(self) -> float:
        """Return the stored bytes per arrival, measured on the largest of the newest files."""
        actions = files_of(open_table(self._place))
        actions = actions.sort_by([("modification_time", "descending")])
        newest = actions.slice(0, _NEWEST_FILES).select(["size_bytes", "num_records"]).to_pylist()
        telling = [each for each in newest if (each["num_records"] or 0) >= _TELLING_ROWS]
        if not telling:
            return _DEFAULT_ROW_BYTES
        largest = max(telling, key=lambda each: int(each["num_records"]))
        return float(largest["size_bytes"]) / float(largest["num_records"])

    def _read(self) -> Known:
        """Read the table anew: its latest version and what has arrived by then."""
        try:
            self._table = open_table(self._place)
            self._known = Known(map(identities, dataset_of(self._table).to_batches(columns=_IDENTIFYING)))
        except (LakeError, DeltaError, OSError) as error:
            raise StorageError(f"arrivals cannot be read: {first_line(error)}") from error
        self._stale = False
        return self._known

    def _missing(self, page: Iterable[bytes]) -> list[bytes]:
        known = self._read() if self._known is None else self._known
        return known.missing(page)

    def _commit(self, chunk: dict[bytes, Attempt], route: str) -> list[int]:
        for _ in range(_COMMIT_TRIES):
            if self._stale:
                self._read()
            try:
                fresh = {key: chunk[key] for key in self._missing(chunk)}
                if not fresh:
                    return []
                written = self._write(fresh, route)
                points.reach("arrivals-appended")
                return [written]
            except CommitFailedError:
                # Somebody appended since our snapshot: look again at what is really new.
                self._stale = True
            except (DeltaError, OSError) as error:
                # Whether the commit happened is unknown: the table tells, when it can be read again.
                self._stale = True
                raise StorageError(f"arrivals cannot be written: {first_line(error)}") from error
        raise StorageError(f"arrivals cannot be written: another writer was first, {_COMMIT_TRIES} times in a row")

    def _write(self, chunk: dict[bytes, Attempt], route: str) -> int:
        last = self._table.transaction_version(APPLICATION) or 0
        write_deltalake(
            self._table,
            _rows(chunk.values(), route),
            mode="append",
            commit_properties=CommitProperties(app_transactions=[Transaction(APPLICATION, last + 1)]),
        )
        if self._known is not None:
            self._known.add(chunk)
        self._appends += 1
        if self._appends % _REOPEN_EVERY == 0:
            self._reopen()
        return len(chunk)

    def _reopen(self) -> None:
        # A handle keeps every commit since it was opened: each append would take longer than the one before.
        with suppress(LakeError):
            fresh = open_table(self._place)
            # What somebody else has appended meanwhile must collide with the next append, not count as known.
            if fresh.version() == self._table.version():
                self._table = fresh


def _halves(identities: NDArray[np.bytes_]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the first and the last 8 bytes of identities as numbers, which are ordered as the identities are."""
    numbers = identities.view(">u8").reshape(-1, 2).astype(np.uint64)
    return np.ascontiguousarray(numbers[:, 0]), np.ascontiguousarray(numbers[:, 1])


def _pages(items: Iterable[_T], key: Callable[[_T], bytes]) -> Iterator[dict[bytes, _T]]:
    source = iter(items)
    while page := {key(each): each for each in islice(source, _PAGE)}:
        yield page


def _identity(attempt: Attempt) -> bytes:
    found = attempt.found
    return identity(found.uri, found.e_tag, found.landed_at, attempt.number)


def _rows(attempts: Iterable[Attempt], route: str) -> pa.Table:
    now = datetime.now(UTC)
    rows = [
        {
            "uri": each.found.uri,
            "e_tag": each.found.e_tag,
            "landed_at": each.found.landed_at,
            "size": each.found.size,
            "version": each.found.version,
            "discovered_at": max(now, each.not_before),
            "attempt": each.number,
            "route": route,
        }
        for each in attempts
    ]
    return pa.Table.from_pylist(rows, schema=ARRIVALS.schema)
