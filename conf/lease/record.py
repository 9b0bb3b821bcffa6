"""What the object of a lease says: who holds it, and which version of the object says so.

Every record that is put differs from every other, so no version, which S3 makes of an object's content, comes twice.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol
from uuid import uuid4

from conf.errors import StorageError, first_line

SECONDS = 60.0
_TRIES = 5


class Versioned(Protocol):
    """An object that can be put over one version of it only, as `conf.objects.ObjectPath` is."""

    @property
    def name(self) -> str:
        """The leg's."""

    def put(self, content: bytes, over: str = "") -> str:
        """Put it over a version, or where none is; return the new version."""

    def read_version(self) -> tuple[bytes, str]:
        """Return content and version."""


@dataclass(frozen=True)
class Record:
    """Who holds a lease.

    Attributes
    ----------
    token : str
        The holder's alone; empty where the object says nothing of use.
    leg : str
    pid : int or str
    host : str
    since, renewed : str
        In UTC; for people only.
    seconds : float
        How long the lease holds without a renewal.
    renewals : int
        Tries to renew it.
    released : bool
        Whether the holder has ended.
    """

    token: str
    leg: str
    pid: int | str
    host: str
    since: str
    renewed: str
    seconds: float = SECONDS
    renewals: int = 0
    released: bool = False

    @classmethod
    def of(cls, found: Any) -> Record:
        """Take what stands in an object or a file, whatever it is."""
        content = found if isinstance(found, dict) else {}
        leg, host, since, renewed = (str(content.get(name, "?")) for name in ("leg", "host", "since", "renewed"))
        pid = content.get("pid", "?")
        return cls(
            token=str(content.get("token", "")),
            leg=leg,
            pid=pid if isinstance(pid, int) else str(pid),
            host=host,
            since=since,
            renewed=renewed,
            seconds=_seconds(content.get("seconds")),
            renewals=content.get("renewals", 0),
            released=content.get("released") is True,
        )

    def renew(self, *, released: bool = False) -> Record:
        """Return the next one of the same holder."""
        return replace(self, renewals=self.renewals + 1, renewed=_now(), released=released)

    def to_bytes(self) -> bytes:
        """Give the record as it stands in its object."""
        return json.dumps(asdict(self), indent=2).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@dataclass(frozen=True)
class Seen:
    """A record, and the version of the object that says so."""

    record: Record
    version: str


def new(leg: str, seconds: float) -> Record:
    """Return a record of this process under a token of its own."""
    now = _now()
    return Record(uuid4().hex, leg, os.getpid(), socket.gethostname(), since=now, renewed=now, seconds=seconds)


def read(place: Versioned) -> Seen | None:
    """Return what stands at `place`, None where nothing does.

    Raises
    ------
    StorageError
        The store does not answer, or denies it.
    """
    try:
        with _answering():
            content, version = place.read_version()
    except FileNotFoundError:
        return None
    return Seen(Record.of(_parsed(content)), version)


def write(place: Versioned, record: Record, over: str = "") -> Seen | None:
    """Put a record over a version of the object, or where there is none, and return what stands there then.

    That is the record itself, somebody else's, or nothing. A refusal alone does not tell: it also comes where the
    answer to the same put was lost, or to the holder's put before, and where S3 wants a put repeated. So it is read.

    Raises
    ------
    StorageError
        The store does not answer, or denies it: the record may stand there, or may still come to.
    """
    for _ in range(_TRIES):
        try:
            with _answering():
                return Seen(record, place.put(record.to_bytes(), over))
        except (FileExistsError, FileNotFoundError):
            found = read(place)
        if found is None or found.record == record or found.record.token != record.token:
            return found
        over = found.version
    raise StorageError(f"{place} refuses to be put over the version that it has, {_TRIES} times in a row")


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except PermissionError as error:
        mend = "it takes s3:GetObject and s3:PutObject on it, and s3:ListBucket"
        raise StorageError(f"the lease {first_line(error)}: {mend}") from error
    except OSError as error:
        raise StorageError(f"the lease {first_line(error)}") from error


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _seconds(found: Any) -> float:
    usable = isinstance(found, int | float) and math.isfinite(found) and found > 0
    return float(found) if usable else SECONDS


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
