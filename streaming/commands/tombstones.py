"""Tombstones: which pictures were forgotten, so that they do not arrive again unless recalled.

Each takedown, and each recall, is a file `tombstones/<request id>.json`. Pictures stand there as hashes: a takedown is
not to keep the names that it removes. A prefix stands as text.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

from conf.errors import LakeError, StorageError
from conf.files import write_atomically
from conf.uris import Place
from streaming.commands.selection import Selection

_HASH_BYTES = 16


@dataclass(frozen=True)
class Tombstone:
    """One takedown or recall.

    Attributes
    ----------
    id : str
        Of the request.
    number : int
        The order among the tombstones of a lake: the one with the greatest number decides about a picture.
    forgotten : bool
        False for a recall.
    hashes : tuple of str
        Of the uris.
    prefix : str
        Empty where none was given.
    removed : Mapping
        Counts of what a takedown removes.
    executed_at : datetime or None
        When it was complete.
    physical_after : datetime or None
        When the files that hold the rows may be deleted.
    """

    id: str
    number: int
    forgotten: bool
    hashes: tuple[str, ...] = ()
    prefix: str = ""
    removed: Mapping[str, int] = field(default_factory=dict)
    executed_at: datetime | None = None
    physical_after: datetime | None = None


class Tombstones:
    """All tombstones of a lake, made for asking about many uris.

    Parameters
    ----------
    stones
        In any order.
    """

    def __init__(self, stones: Iterable[Tombstone] = ()) -> None:
        self.stones = sorted(stones, key=lambda stone: stone.number)
        self._by_hash: dict[str, Tombstone] = {}
        self._by_prefix: dict[str, Tombstone] = {}
        for stone in self.stones:
            self._by_hash.update(dict.fromkeys(stone.hashes, stone))
            if stone.prefix:
                self._by_prefix[stone.prefix] = stone
        # Prefixes are looked up, not tried one by one: there are few lengths, whatever their number.
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

    def holds(self, uri: str) -> bool:
        """Whether a picture is forgotten: the newest tombstone that speaks of it decides."""
        if not self.stones:
            return False
        found = [self._by_prefix.get(uri[:length]) for length in self._lengths]
        if self._by_hash:
            found.append(self._by_hash.get(hashed(uri)))
        newest = max((each for each in found if each), key=lambda stone: stone.number, default=None)
        return newest is not None and newest.forgotten

    def find(self, request_id: str) -> Tombstone | None:
        """Return the tombstone of a request."""
        return next((each for each in self.stones if each.id == request_id), None)

    def next_number(self) -> int:
        """Return a number greater than any."""
        return self.stones[-1].number + 1 if self.stones else 1


def hashed(uri: str) -> str:
    """Return what stands for a uri."""
    return blake2b(uri.encode(), digest_size=_HASH_BYTES).hexdigest()


def tombstone(request_id: str, number: int, selection: Selection, *, forgotten: bool) -> Tombstone:
    """Return the tombstone of a selection, not yet executed."""
    return Tombstone(request_id, number, forgotten, tuple(map(hashed, selection.uris)), selection.prefix)


def names(folder: Place) -> frozenset[str]:
    """Return the names of a lake's tombstones: the same names mean the same answers to `holds`.

    Raises
    ------
    StorageError
        The folder does not answer.
    """
    try:
        return frozenset(path.name for path in folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise StorageError(f"tombstones cannot be read: {error}") from error


def load(folder: Place) -> Tombstones:
    """Read a lake's tombstones.

    Raises
    ------
    LakeError
        One is damaged: without it a forgotten picture could arrive again.
    StorageError
        The folder does not answer.
    """
    return Tombstones(_read(folder / name) for name in names(folder))


def save(folder: Place, stone: Tombstone) -> None:
    """Write a tombstone, replacing an earlier state of it.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    content = {
        "kind": "forget" if stone.forgotten else "recall",
        "number": stone.number,
        "uris": list(stone.hashes),
        "prefix": stone.prefix,
        "removed": dict(stone.removed),
        "executed_at": stone.executed_at and stone.executed_at.isoformat(),
        "physical_after": stone.physical_after and stone.physical_after.isoformat(),
    }
    try:
        write_atomically(folder / f"{stone.id}.json", json.dumps(content, indent=2).encode())
    except OSError as error:
        raise StorageError(f"the tombstone cannot be written: {error}") from error


def _read(path: Place) -> Tombstone:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return Tombstone(
            id=path.stem,
            number=int(found["number"]),
            forgotten={"forget": True, "recall": False}[found["kind"]],
            hashes=tuple(found["uris"]),
            prefix=str(found["prefix"]),
            removed=dict(found["removed"]),
            executed_at=_moment(found["executed_at"]),
            physical_after=_moment(found["physical_after"]),
        )
    except OSError as error:
        raise StorageError(f"the tombstone {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LakeError(
            f"the tombstone {path} is damaged: restore it, or delete it and repeat `verger forget`"
        ) from error


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
