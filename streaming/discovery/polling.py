"""Discovery: what the landing shows that has not arrived yet becomes arrivals, forgotten pictures excepted.

The landing is listed in slices, so that whoever polls is free again after a moment, however many pictures there are.
Where notifications tell of new pictures, a listing now and then finds what they have missed.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from conf.logs import fields, logger
from conf.uris import Place
from streaming.arrivals import Arrivals
from streaming.commands import tombstones
from streaming.discovery.sighting import Found, Sighting

_SLICE_SECONDS = 2.0
_CHUNK = 1000


class Listing(Protocol):
    """Lists a landing; see `streaming.discovery.folders` and `streaming.discovery.buckets`."""

    def poll(self) -> Iterator[Found]:
        """Begin a listing."""

    def sighting(self) -> Sighting:
        """Return what the last listing passed over."""


class Notices(Protocol):
    """Tells of new pictures; see `streaming.discovery.collector`."""

    @property
    def full(self) -> bool:
        """Whether there is more to receive at once."""

    def receive(self) -> Iterator[Found]:
        """Yield what has been told of and is still there."""

    def done(self) -> None:
        """Forget what was told: it has arrived."""

    def passed_over(self) -> Counter[str]:
        """Return how many events have been passed over since the start, by why."""


@dataclass(frozen=True)
class _Slice:
    """Some of what a listing shows, and whether that is the last of it."""

    found: list[Found]
    last: bool


class Discovery:
    """Polls the landing and appends what is new.

    Parameters
    ----------
    listing
        The landing.
    arrivals
        The table.
    forgotten
        The folder of the lake's tombstones, looked at in each poll that finds something.
    notices
        Tells of new pictures; None: only listings do.
    reconcile
        Seconds between two listings where there are notices.
    monotonic
        The clock, in seconds.
    """

    def __init__(
        self,
        listing: Listing,
        arrivals: Arrivals,
        forgotten: Place,
        notices: Notices | None = None,
        reconcile: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listing = listing
        self._arrivals = arrivals
        self._forgotten = forgotten
        self._notices = notices
        self._reconcile = reconcile
        self._monotonic = monotonic
        self._under_way: Iterator[Found] | None = None
        self._slice: _Slice | None = None
        self._next_listing = monotonic()
        self._sighting = Sighting()
        self._names: frozenset[str] = frozenset()
        self._tombstones = tombstones.Tombstones()
        self._looked = False
        self._held: Counter[str] = Counter()
        self._held_of_notices: Counter[str] = Counter()
        self._told: Counter[str] = Counter()

    @property
    def arrived(self) -> int:
        """Rows of arrivals since the lake began: versions of pictures, and retries of them."""
        return len(self._arrivals)

    @property
    def unfinished(self) -> bool:
        """Whether there is more to find at once: a listing has not come to its end, or notices came in plenty."""
        return self._under_way is not None or (self._notices is not None and self._notices.full)

    def poll(self, rows_per_file: int) -> Sighting:
        """Take what there are notices of, list a slice of the landing if that is due, and append what is new.

        A poll that finds nothing new costs the looking only.

        Returns
        -------
        Sighting
            What was passed over by the last whole listing and by notices; what is forgotten counts as `forgotten`.

        Raises
        ------
        LandingError, StorageError
            The landing or the table does not answer; nothing is lost, a later poll finds the same pictures.
        LakeError
            A tombstone is damaged.
        """
        self._looked = False
        new = self._take_notices(rows_per_file) if self._notices else 0
        new += self._list_a_slice(rows_per_file)
        told = self._sighting.passed_over + self._held_of_notices
        told += self._notices.passed_over() if self._notices else Counter()
        if new or told != self._told:
            self._told = told
            logger().info("arrivals", extra=fields(new=new, waiting=self._sighting.young, passed_over=dict(told)))
        return Sighting(told, self._sighting.young)

    def _take_notices(self, rows_per_file: int) -> int:
        assert self._notices is not None
        new = self._append(self._notices.receive(), "notification", rows_per_file, self._held_of_notices)
        # Only now: what a crash leaves in the queue comes again.
        self._notices.done()
        return new

    def _list_a_slice(self, rows_per_file: int) -> int:
        if self._under_way is None:
            if self._notices and self._monotonic() < self._next_listing:
                return 0
            self._under_way, self._held = self._listing.poll(), Counter()
        if self._slice is None:
            try:
                self._slice = self._next_slice(self._under_way)
            except BaseException:
                # The next poll begins anew, with what it finds then.
                self._under_way = None
                raise
        held: Counter[str] = Counter()
        # Where the table does not answer, the slice is kept: a long listing need not begin anew.
        new = self._append(iter(self._slice.found), "listing", rows_per_file, held)
        self._held += held
        if self._slice.last:
            self._under_way = None
            self._next_listing = self._monotonic() + self._reconcile
            sighting = self._listing.sighting()
            self._sighting = Sighting(sighting.passed_over + self._held, sighting.young)
        self._slice = None
        return new

    def _next_slice(self, under_way: Iterator[Found]) -> _Slice:
        found: list[Found] = []
        until = self._monotonic() + _SLICE_SECONDS
        while True:
            chunk = list(islice(under_way, _CHUNK))
            found += chunk
            last = len(chunk) < _CHUNK
            if last or self._monotonic() >= until:
                return _Slice(found, last)

    def _append(self, found: Iterator[Found], route: str, rows_per_file: int, held: Counter[str]) -> int:
        def forgotten(uri: str) -> bool:
            # A queue is asked five times a second, and mostly has nothing: then nothing is to be known.
            self._look_for_tombstones()
            holds = self._tombstones.holds(uri)
            held["forgotten"] += holds
            return holds

        return sum(self._arrivals.append(found, route=route, rows_per_file=rows_per_file, unless=forgotten))

    def _look_for_tombstones(self) -> None:
        """Look once in each poll, where there is a picture to look for."""
        if self._looked:
            return
        names = tombstones.names(self._forgotten)
        if names != self._names:
            self._tombstones = tombstones.load(self._forgotten)
            self._names = names
        self._looked = True
