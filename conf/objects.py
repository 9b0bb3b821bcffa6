"""Objects of a store as paths: the part of `pathlib.Path` that a lake's small files and data files need.

Folders are prefixes: they need not be made, and are there while an object lies below them. What obstore raises is
translated into what a file system raises, so that whoever handles an `OSError` handles both.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, TypeVar

from conf import access
from conf.errors import first_line
from conf.object_files import RangeReader, WholeWriter
from conf.retrying import persistently
from conf.store_errors import passing, translated

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_T = TypeVar("_T")
_READ_AHEAD = 4 << 20
_PAGE = 1000


@dataclass(frozen=True)
class Status:
    """What `ObjectPath.stat` tells, under a file's names.

    Attributes
    ----------
    st_size : int
        Bytes.
    st_mtime : float
        Seconds since the epoch.
    e_tag : str
        The version's identity.
    """

    st_size: int
    st_mtime: float
    e_tag: str = ""


@dataclass(frozen=True, order=True)
class ObjectPath:
    """One object, or a prefix.

    Attributes
    ----------
    uri : str
        `s3://bucket/key`, the key as it is; without a slash at its end.
    """

    uri: str
    _status: Status | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(f"{self.uri}/{name}")

    @property
    def key(self) -> str:
        """The key within the bucket."""
        return self.uri.partition("://")[2].partition("/")[2]

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The extension, with its dot."""
        stem, dot, extension = self.name.rpartition(".")
        return f"{dot}{extension}" if stem else ""

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return self.name.removesuffix(self.suffix) if self.suffix else self.name

    @property
    def parent(self) -> ObjectPath:
        """The prefix that holds it."""
        return ObjectPath(self.uri.rpartition("/")[0])

    def with_name(self, name: str) -> ObjectPath:
        """Return a neighbour."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> ObjectPath:
        """Return the neighbour of the same stem."""
        return self.parent / f"{self.stem}{suffix}"

    def as_uri(self) -> str:
        """Return the URI."""
        return self.uri

    def stat(self) -> Status:
        """Return size and time of the object, as the listing told of it where it comes from one.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        if self._status is not None:
            return self._status
        return _status(self._do("head", lambda obstore, store: obstore.head(store, self.key)))

    def exists(self) -> bool:
        """Whether there is an object of this name, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        try:
            ObjectPath(self.uri).stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether an object lies below this prefix."""
        # One page, of which not all mark folders.
        return any(True for _ in self._files(self._below(pages=1)))

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield the objects and prefixes right below.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        found = self._do("list", lambda obstore, store: obstore.list_with_delimiter(store, _prefix(self.key)))
        if not found["objects"] and not found["common_prefixes"]:
            raise FileNotFoundError(f"nothing lies below {self.uri}")
        yield from self._files(found["objects"])
        yield from (self._named(path) for path in found["common_prefixes"])

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield what lies right below and matches; the pattern may begin with names of folders."""
        *folders, last = pattern.split("/")
        place = self
        for each in folders:
            place = place / each
        with suppress(FileNotFoundError):
            yield from (each for each in place.iterdir() if fnmatchcase(each.name, last))

    def walk_files(self) -> Iterator[ObjectPath]:
        """Yield every object below this prefix, at any depth."""
        yield from self._files(self._below())

    def read_bytes(self) -> bytes:
        """Return the whole object.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        return self._do("get", lambda obstore, store: bytes(obstore.get(store, self.key).bytes()))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the whole object as a text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> int:
        """Put the object: whole, or not at all."""
        self._do("put", lambda obstore, store: obstore.put(store, self.key, content))
        return len(content)

    def put(self, content: bytes, over: str = "") -> str:
        """Put the object only where none is, or where it is still the version `over`; return its new version.

        Raises
        ------
        FileExistsError
            There is one already, or another version of it. After an answer that was lost this may be one's own.
        """
        mode: Any = {"e_tag": over} if over else "create"
        done = self._do("put", lambda obstore, store: obstore.put(store, self.key, content, mode=mode))
        return str(done["e_tag"])

    def read_version(self) -> tuple[bytes, str]:
        """Return the whole object and its version.

        Raises
        ------
        FileNotFoundError
            There is none.
        """

        def got(obstore: Any, store: ObjectStore) -> tuple[bytes, str]:
            found = obstore.get(store, self.key)
            return bytes(found.bytes()), str(found.meta["e_tag"])

        return self._do("get", got)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open the object for reading (`rb`), in ranges, or for writing (`xb`): then it is there once it is closed."""
        if mode == "rb":
            return io.BufferedReader(RangeReader(self.stat().st_size, self.range), _READ_AHEAD)
        return WholeWriter(self.write_bytes)  # type: ignore[return-value]

    def range(self, start: int, length: int) -> bytes:
        """Return some bytes of the object."""
        return self._do(
            "get", lambda obstore, store: bytes(obstore.get_range(store, self.key, start=start, length=length))
        )

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; that it is not there is not noticed."""
        with suppress(FileNotFoundError):
            self._do("delete", lambda obstore, store: obstore.delete(store, self.key))

    def rename(self, target: ObjectPath) -> ObjectPath:
        """Copy the object, or all that lies below the prefix, then delete what was copied; not atomic."""
        files = [*self.walk_files()]
        for each in files or [self]:
            self._copy(each.key, ObjectPath(target.uri + each.uri.removeprefix(self.uri)).key)
        if files:
            self.rmtree()
        else:
            self.unlink()
        return target

    replace = rename

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: prefixes need not be made."""

    def rmtree(self) -> None:
        """Delete all that lies below, Hadoop's marks of folders as well, which obstore cannot name."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket = access.bucket_of(self.uri)
        try:
            client = access.client("s3", access.current().to(bucket))
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{self.key}/"):
                keys = [{"Key": each["Key"]} for each in page.get("Contents", [])]
                left = client.delete_objects(Bucket=bucket, Delete={"Objects": keys}).get("Errors") if keys else None
                if left:
                    raise OSError(f"{self.uri} cannot be deleted: {left[0].get('Key')}: {left[0].get('Message')}")
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"{self.uri} cannot be deleted: {first_line(error)}") from error

    def _copy(self, key: str, to: str) -> None:
        self._do("copy", lambda obstore, store: obstore.copy(store, key, to))

    def _named(self, key: str, status: Status | None = None) -> ObjectPath:
        return ObjectPath(self.uri[: len(self.uri) - len(self.key)] + key, status)

    def _below(self, pages: int | None = None) -> list[Any]:
        def listed(obstore: Any, store: ObjectStore) -> list[Any]:
            found = obstore.list(store, _prefix(self.key), chunk_size=_PAGE)
            return [meta for page in islice(found, pages) for meta in page]

        return self._do("list", listed)

    def _files(self, metas: Iterable[Any]) -> Iterator[ObjectPath]:
        for meta in metas:
            path = self._named(meta["path"], _status(meta))
            # Hadoop marks a folder by an empty object whose name ends with a slash, which obstore leaves out.
            if meta["size"] or ObjectPath(path.uri).is_file():
                yield path

    def _do(self, kind: str, call: Callable[[Any, ObjectStore], _T]) -> _T:
        import obstore

        scheme, _, rest = self.uri.partition("://")
        store = access.store(scheme, rest.partition("/")[0], access.current())
        with translated(self.uri):
            return persistently(lambda: call(obstore, store), f"lake {kind}", passing)


def addressable(key: str) -> bool:
    """Whether obstore can name a key of S3: without empty, `.` or `..` segments and control characters."""
    return all(segment not in ("", ".", "..") for segment in key.split("/")) and not any(
        ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0 for each in key
    )


def _prefix(key: str) -> str | None:
    return f"{key}/" if key else None


def _status(meta: Any) -> Status:
    modified: datetime = meta["last_modified"]
    return Status(int(meta["size"]), modified.timestamp(), str(meta["e_tag"] or ""))
