"""One writing driver per leg of a lake in a folder: a locked file, released by the system when the process ends."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conf.errors import LakeError
from conf.lease.record import Record


@dataclass(frozen=True)
class FolderLease:
    """A lock that is held; the system keeps it as long as the process lives, stopped or not."""

    fence: None = None

    def check(self) -> None:
        """Return: it is held."""


@contextmanager
def hold(path: Path) -> Iterator[FolderLease]:
    """Hold the lease at `path` for the length of a `with` block.

    Raises
    ------
    LakeError
        Another process holds it; the message says which and since when.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise LakeError(f"the lake cannot be written: {path}: {error.strerror or error}") from error
    try:
        if not _lock(descriptor):
            raise LakeError(
                f"another process writes this lake as its `verger {path.name}`: {Record.of(_read(path))}; "
                "let a command end, or stop the driver"
            )
        _write(descriptor)
        yield FolderLease()
        os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(path: Path) -> dict[str, str | int | float] | None:
    """Return who holds the lease at `path` (`pid`, `host`, `since`), or None where nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    finally:
        os.close(descriptor)
    return None


def _lock(descriptor: int, tries: int = 5, pause: float = 0.1) -> bool:
    """Try a few times: `holder` takes the lock for an instant, too."""
    for attempt in range(tries):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause if attempt + 1 < tries else 0)
        else:
            return True
    return False


def _write(descriptor: int) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode(), 0)


def _read(path: Path) -> dict[str, str | int | float]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
