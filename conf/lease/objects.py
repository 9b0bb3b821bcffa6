"""One writing driver per leg of a lake in an object store: an object that its holder puts anew every few seconds.

It is put only where it is absent, released or still the version that was seen last, so of two that try one gets it. The
holder is sure of it for two thirds of the seconds that others wait for a sign of life (`conf.lease.expiry`), counted
from before it asked for the renewal: a process that was stopped knows, once it wakes, that it may have been replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from conf import access
from conf.access import Access
from conf.errors import LakeError, LeaseLost, LeaseUnsure, StorageError
from conf.lease.expiry import Clock, Watch, elapsed
from conf.lease.record import SECONDS, Record, Seen, Versioned, new, read, write
from conf.logs import fields, logger

_SURE, _RENEWED_EVERY, _LOOKED_EVERY = 2 / 3, 1 / 6, 1 / 30


@dataclass(frozen=True)
class Fence:
    """What tells a worker, in whatever process, whether the driver that sent it still holds its lease.

    Attributes
    ----------
    place : Versioned
        The lease's object.
    token : str
        The driver's.
    way : Access
        How to reach it, as the driver does.
    """

    place: Versioned
    token: str
    way: Access = field(default_factory=access.current)

    def check(self) -> None:
        """Look at the lease once: one GET.

        Raises
        ------
        LeaseLost
            Somebody else holds it, or nobody does.
        StorageError
            The store does not answer.
        """
        # In a worker nobody has told yet.
        access.use(self.way)
        found = read(self.place)
        if found is None or found.record.token != self.token or found.record.released:
            raise LeaseLost(_loss(self.place, found))


class ObjectLease:
    """A lease that is held.

    Parameters
    ----------
    place
        Its object.
    seen
        This process's record, and the version under which it was put.
    begun
        When the put began, by `clock`.
    on_lost
        Called once somebody else holds the lease or its object is gone, from whatever thread finds it.
    clock
        Seconds, as `elapsed` gives them.

    Attributes
    ----------
    fence : Fence
        For workers; it can be pickled.
    """

    def __init__(
        self, place: Versioned, seen: Seen, begun: float, on_lost: Callable[[], None], clock: Clock = elapsed
    ) -> None:
        self.fence = Fence(place, seen.record.token, access.settled(str(place)))
        self._place, self._on_lost, self._clock = place, on_lost, clock
        self._record, self._version, self._begun = seen.record, seen.version, begun
        self._loss = ""
        self._ended, self._writing = Event(), Lock()

    @property
    def sure(self) -> bool:
        """Whether nobody else can have taken the lease yet; asks nobody."""
        return not self._loss and self._clock() - self._begun < self._record.seconds * _SURE

    def check(self) -> None:
        """Return where this process is sure to hold the lease; where the last renewal is too old it tries another.

        Raises
        ------
        LeaseLost
            Somebody else holds it, or its object is gone: for good.
        LeaseUnsure
            The store does not answer.
        """
        cause = None
        if not self.sure:
            cause = self._tried()
        self.refuse_if_lost()
        if not self.sure:
            told = cause or f"the last renewal began {self._clock() - self._begun:.0f} s ago"
            raise LeaseUnsure(f"the lease {self._place} may be another's by now: {told}") from cause

    def refuse_if_lost(self) -> None:
        """Raise `LeaseLost` where it is known to be lost; ask nobody."""
        if self._loss:
            raise LeaseLost(self._loss)

    def renew(self) -> None:
        """Renew it now, unless it is lost or released.

        Raises
        ------
        StorageError
            The store does not answer.
        """
        with self._writing:
            if self._loss or self._ended.is_set():
                return
            begun = self._clock()
            # Kept before it is put: a put whose answer is lost may take effect, and its record must not come twice.
            self._record = self._record.renew()
            found = write(self._place, self._record, self._version)
            if found is None or found.record != self._record:
                self._loss = _loss(self._place, found)
            else:
                self._version, self._begun = found.version, begun
        if self._loss:
            logger().error("the lease is lost", extra=fields(reason=self._loss))
            self._on_lost()

    def keep(self) -> None:
        """Renew it from a thread of its own until it is released or lost."""
        Thread(target=self._renew_on, name=f"lease {self._record.leg}", daemon=True).start()

    def release(self) -> None:
        """Let others have it at once; where that fails it runs out by itself."""
        self._ended.set()
        with self._writing:
            if self._loss:
                return
            record = self._record.renew(released=True)
            try:
                found = write(self._place, record, self._version)
            except StorageError as error:
                logger().warning("the lease is left to run out", extra=fields(error=str(error)))
                return
            if found is None or found.record != record:
                logger().warning(
                    "the lease was lost before its release", extra=fields(reason=_loss(self._place, found))
                )

    def _renew_on(self) -> None:
        while not self._loss and not self._ended.wait(self._record.seconds * _RENEWED_EVERY):
            self._tried()

    def _tried(self) -> StorageError | None:
        try:
            self.renew()
        except StorageError as error:
            logger().warning("the lease was not renewed and will be", extra=fields(error=str(error)))
            return error
        return None


def _silent(text: str) -> None:
    pass


@contextmanager
def hold(
    place: Versioned,
    watch: Watch | None = None,
    *,
    seconds: float = SECONDS,
    say: Callable[[str], None] = _silent,
    on_lost: Callable[[], None] = lambda: None,
    clock: Clock = elapsed,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[ObjectLease]:
    """Hold the lease at `place` for the length of a `with` block, as `conf.lease.hold` does.

    Raises
    ------
    LakeError
        Another process holds it and is alive.
    LeaseLost
        At the end of a block that raises nothing: it was lost meanwhile.
    StorageError
        The store does not answer.
    """
    watch = watch or Watch(lambda: read(place), clock)
    while not (lease := attempt(place, watch, seconds, on_lost, clock)):
        _refuse_if_alive(place, watch, say)
        say = _silent
        sleep(seconds * _LOOKED_EVERY)
    try:
        lease.keep()
        yield lease
    finally:
        lease.release()
    lease.refuse_if_lost()


def attempt(
    place: Versioned, watch: Watch, seconds: float, on_lost: Callable[[], None], clock: Clock
) -> ObjectLease | None:
    """Look at the lease once and take it where it is free; None where it is not, or somebody was quicker.

    Raises
    ------
    StorageError
        The store does not answer.
    """
    begun = clock()
    if not watch.free():
        return None
    mine = new(place.name, seconds)
    found = write(place, mine, watch.version)
    if found is None or found.record != mine:
        return None
    if watch.seen and not watch.seen.record.released:
        former = watch.seen.record
        told = fields(place=str(place), former=str(former), renewed=former.renewed)
        logger().warning("the lease had run out and is taken over", extra=told)
    return ObjectLease(place, found, begun, on_lost, clock)


def _refuse_if_alive(place: Versioned, watch: Watch, say: Callable[[str], None]) -> None:
    if not watch.seen or watch.seen.record.released:
        # Somebody was quicker; the next look sees who.
        return
    record = watch.seen.record
    if watch.moved:
        raise LakeError(_refusal(place, record))
    say(f"{place} is held by {record}; waiting up to {record.seconds:g} s to see whether it still lives")


def _refusal(place: Versioned, record: Record) -> str:
    return (
        f"another process writes this lake as its `verger {place.name}`: {record}, last renewed {record.renewed}; "
        "let a command end, or end that process; if it is gone for good, the lease frees itself "
        f"{record.seconds:g} s after its last renewal, or delete {place}"
    )


def _loss(place: Versioned, found: Seen | None) -> str:
    if found is None:
        became = "was deleted"
    elif found.record.released:
        became = f"was released by {found.record}"
    else:
        became = f"is held by {found.record}"
    return f"this process no longer writes this lake as its `verger {place.name}`: the lease {place} {became}"
