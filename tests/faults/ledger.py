"""The suite's own book of what landed: every version of every file, whatever Verger makes of it."""

import os
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Protocol
from urllib.parse import quote

from tests.faults import contents
from tests.faults.contents import Content
from tests.storage.cloud import Cloud

Key = tuple[str, str, datetime]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOLDERS = ("Apple Red 1", "Birne", "cherry#2", "Kürbis", "date%41", "élan/deep")
_SUFFIXES = (".jpg", ".JPEG", ".png")


@dataclass(frozen=True)
class Version:
    """One version of one file.

    Attributes
    ----------
    key : tuple
        uri, e_tag and landed_at, as the tables must spell them.
    content : Content
        Its bytes and what must become of them.
    """

    key: Key
    content: Content


class Zone(Protocol):
    """Where files land. Each method returns the key of the version that it made."""

    def put(self, name: str, data: bytes) -> Key:
        """Let a file appear, or be replaced, in one step."""

    def delete(self, name: str) -> None:
        """Take a file away."""


@dataclass(frozen=True)
class FolderZone:
    """A landing folder; files are written beside it and moved in."""

    root: Path

    def put(self, name: str, data: bytes) -> Key:
        """Move a new file to its name."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.root.with_name("arriving")
        beside.write_bytes(data)
        beside.replace(path)
        return self._key(path, path.stat())

    def dribble(self, name: str, data: bytes, pause: float) -> list[Key]:
        """Write a file under its own name in two halves; return the versions that anybody can have seen."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seen = []
        with path.open("xb", buffering=0) as file:
            for part in (b"", data[: len(data) // 2], data[len(data) // 2 :]):
                file.write(part)
                seen.append(self._key(path, os.fstat(file.fileno())))
                time.sleep(pause)
        return seen

    def delete(self, name: str) -> None:
        """Delete a file."""
        (self.root / name).unlink()

    @staticmethod
    def _key(path: Path, status: os.stat_result) -> Key:
        landed = _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
        return f"file://{quote(str(path))}", f"{status.st_size}-{status.st_mtime_ns}", landed


@dataclass(frozen=True)
class BucketZone:
    """A prefix of a bucket."""

    cloud: Cloud
    bucket: str
    prefix: str

    def put(self, name: str, data: bytes) -> Key:
        """Put an object."""
        client, key = self.cloud.client("s3"), f"{self.prefix}/{name}"
        e_tag = client.put_object(Bucket=self.bucket, Key=key, Body=data)["ETag"].strip('"')
        modified = client.head_object(Bucket=self.bucket, Key=key)["LastModified"]
        return f"s3://{self.bucket}/{quote(key)}", e_tag, modified.replace(microsecond=0)

    def delete(self, name: str) -> None:
        """Delete an object."""
        self.cloud.client("s3").delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")


@dataclass
class Ledger:
    """Lands pictures and writes down what it did.

    Attributes
    ----------
    versions : dict
        Every version that ever stood, by its key.
    standing : dict
        The name of each file that is there now, and its version.
    """

    zone: Zone
    random: Random
    versions: dict[Key, Version] = field(default_factory=dict)
    standing: dict[str, Version] = field(default_factory=dict)
    _drawn: int = 0

    def land(self, number: int, *, bad: float = 0.1) -> None:
        """Let new files appear."""
        for _ in range(number):
            self._put(self._new_name(), self._content(bad))

    def land_endless(self) -> None:
        """Let a picture appear on which the decoder hangs."""
        self._put(self._new_name(), contents.endless(self._next()))

    def overwrite(self, number: int) -> None:
        """Replace files by others."""
        for name in self._some(number):
            self._put(name, self._content(0.1))

    def delete(self, number: int) -> None:
        """Take files away."""
        for name in self._some(number):
            self.zone.delete(name)
            del self.standing[name]

    def dribble(self, pause: float) -> None:
        """Write a file slowly, where the zone shows halves of files."""
        if not isinstance(self.zone, FolderZone):
            self.land(1)
            return
        name, whole = self._new_name(), contents.good(self._next())
        half = Content(whole.data[: len(whole.data) // 2], "truncated")
        for key, content in zip(
            self.zone.dribble(name, whole.data, pause), (Content(b"", "empty"), half, whole), strict=True
        ):
            self._stands(name, Version(key, content))

    @property
    def keys(self) -> set[Key]:
        """The versions that are there now."""
        return {each.key for each in self.standing.values()}

    def _put(self, name: str, content: Content) -> None:
        self._stands(name, Version(self.zone.put(name, content.data), content))

    def _stands(self, name: str, version: Version) -> None:
        former = self.versions.get(version.key)
        if former is not None and former.content != version.content:
            # One tick of the clock and one size: nothing from outside can tell these versions apart.
            version = replace(version, content=former.content)
        self.versions[version.key] = version
        self.standing[name] = version

    def _some(self, number: int) -> list[str]:
        names = sorted(self.standing)
        return self.random.sample(names, min(number, len(names)))

    def _content(self, bad: float) -> Content:
        number = self._next()
        return contents.bad(number) if self.random.random() < bad else contents.good(number)

    def _new_name(self) -> str:
        return f"{self.random.choice(_FOLDERS)}/{self._next():05d}{self.random.choice(_SUFFIXES)}"

    def _next(self) -> int:
        self._drawn += 1
        return self._drawn
