"""One writing driver per leg: a lock where the lake is a folder, an object renewed in time where it is a store's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from conf.lease import folder, objects, record
from conf.lease.expiry import Watch
from conf.lease.objects import Fence
from conf.lease.record import SECONDS, Record, Seen, Versioned

__all__ = ["Fence", "Lease", "Watch", "hold", "holder", "watch"]


class Lease(Protocol):
    """A lease that is held."""

    @property
    def fence(self) -> Fence | None:
        """What workers check; None where a lock cannot be lost."""

    def check(self) -> None:
        """Return where this process is sure to hold the lease.

        Raises
        ------
        LeaseLost
            It is not: it must write no more. `LeaseUnsure`, one of these, may pass.
        """


def hold(
    place: Path | Versioned,
    watch: Watch | None = None,
    *,
    seconds: float = SECONDS,
    say: Callable[[str], None] = lambda text: None,
    on_lost: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> AbstractContextManager[Lease]:
    """Hold the lease at `place` for the length of a `with` block.

    An object's that somebody holds is watched until it is seen to be renewed, or has run out.

    Parameters
    ----------
    place
        A file, or an object as `conf.objects.ObjectPath`.
    watch
        What has been seen of it so far, where the caller has watched it.
    seconds
        For how long others take the holder of an object for alive after its last renewal.
    say
        Told a sentence where it has to wait.
    on_lost
        Called, from whatever thread, once somebody else holds the lease.
    sleep
        Sleeps for some seconds while it has to wait; what it raises ends the waiting.

    Raises
    ------
    LakeError
        Another process holds it; the message says which and since when.
    LeaseLost
        An object's was lost before the block ended.
    StorageError
        The store does not answer.
    """
    if isinstance(place, Path):
        return folder.hold(place)
    return objects.hold(place, watch, seconds=seconds, say=say, on_lost=on_lost, sleep=sleep)


def holder(place: Path | Versioned) -> dict[str, str | int | float] | None:
    """Return who holds the lease at `place`, or None where nobody does.

    Returns
    -------
    dict or None
        `pid`, `host`, `since`; of an object, whose holder may be gone all the same, also `renewed` and `seconds`.

    Raises
    ------
    StorageError
        The store does not answer.
    """
    if isinstance(place, Path):
        return folder.holder(place)
    found = record.read(place)
    if found is None or found.record.released:
        return None
    return {name: getattr(found.record, name) for name in ("pid", "host", "since", "renewed", "seconds")}


def watch(place: Path | Versioned) -> Watch:
    """Return a watch on the lease at `place`, for a caller that waits until it is free and has other things to do."""
    return Watch(lambda: _look(place))


def _look(place: Path | Versioned) -> Seen | None:
    if not isinstance(place, Path):
        return record.read(place)
    found = folder.holder(place)
    # A lock is never held by nobody.
    return None if found is None else Seen(replace(Record.of(found), seconds=math.inf), "")
