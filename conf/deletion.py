"""Deleting rows of a table: a commit that rewrites the files which hold them; VACUUM deletes the old files later."""

import hashlib
from collections.abc import Callable, Sequence

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from conf.errors import LakeError, StorageError, first_line
from conf.tables import open_table

_COMMIT_TRIES = 5
# delta-rs walks a list in SQL recursively: 25,000 items overflow a stack of 8 MB, and that ends the process.
_FEW = 1000


def delete_pictures(place: str, uris: Sequence[str], prefix: str = "") -> None:
    """Delete the rows of some pictures from the table at `place`; where there are none, nothing is committed.

    The table's log keeps the conditions of its commits, so none of them names a picture: a prefix stands there as it
    is, uris as hashes or not at all.

    Parameters
    ----------
    place
        Where the table lies.
    uris
        Of pictures, as the table spells them.
    prefix
        Pictures whose uri begins so go, too; empty: none.

    Raises
    ------
    StorageError
        The table cannot be written.
    """
    if prefix:
        # A range, by which whole files are passed over.
        delete_rows(place, f"uri >= {quoted(prefix)} AND uri < {quoted(_after(prefix))}")
    if 0 < len(uris) <= _FEW:
        delete_rows(place, f"sha256(uri) IN ({', '.join(map(_hashed, uris))})")
    elif uris:
        # Reads whole rows of the whole table, where a predicate reads the uris; but once, however many there are.
        named = pa.table({"uri": pa.array(list(dict.fromkeys(uris)), pa.string())})
        _commit(place, lambda table: _merge_away(table, named))


def delete_rows(place: str, predicate: str) -> None:
    """Delete the rows of the table at `place` for which a condition in delta-rs' SQL holds, as `delete_pictures`."""
    _commit(place, lambda table: table.delete(predicate))


def quoted(text: str) -> str:
    """Return a text as SQL spells it."""
    return "'" + text.replace("'", "''") + "'"


def _commit(place: str, change: Callable[[DeltaTable], object]) -> None:
    for _ in range(_COMMIT_TRIES):
        try:
            change(open_table(place))
            return
        except CommitFailedError:
            # Somebody else committed meanwhile: what is to go may lie in other files now.
            continue
        except (LakeError, DeltaError, OSError) as error:
            raise StorageError(f"rows of {place} cannot be deleted: {first_line(error)}") from error
    raise StorageError(f"rows of {place} cannot be deleted: another writer was first, {_COMMIT_TRIES} times in a row")


def _merge_away(table: DeltaTable, named: pa.Table) -> None:
    merger = table.merge(named, "kept.uri = gone.uri", source_alias="gone", target_alias="kept")
    merger.when_matched_delete().execute()


def _after(prefix: str) -> str:
    """Return the least text that is greater than all that begin with `prefix`, which is of ASCII as URIs are."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _hashed(uri: str) -> str:
    return f"X'{hashlib.sha256(uri.encode()).hexdigest()}'"
