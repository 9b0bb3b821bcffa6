"""Whether a lease that somebody holds has run out: by looking at it again and again, on this process's own clock.

Clocks of two machines are never compared. A lease has run out when its object was the same version for as long as the
lease holds; its holder, who counts from before it asked for that version, has given up by then.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from conf.lease.record import Seen

Clock = Callable[[], float]


def elapsed() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while this process or its machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Watch:
    """What has been seen of one lease so far.

    Parameters
    ----------
    look
        Returns what stands there now, None where nothing does.
    clock
        Seconds, as `elapsed` gives them.

    Attributes
    ----------
    seen : Seen or None
        What the last look saw.
    moved : bool
        Whether two looks saw different versions: somebody is alive.
    """

    def __init__(self, look: Callable[[], Seen | None], clock: Clock = elapsed) -> None:
        self._look, self._clock = look, clock
        self._version: str | None = None
        self._since = 0.0
        self.seen: Seen | None = None
        self.moved = False

    @property
    def version(self) -> str:
        """The version that the last look saw; empty where nothing stood there."""
        return self.seen.version if self.seen else ""

    def free(self) -> bool:
        """Look once more; return whether nobody holds the lease, or the one who did has not renewed it in time."""
        self.seen = self._look()
        # Taken after the look: the version was there by then at the latest.
        now = self._clock()
        if self.version != self._version:
            self.moved, self._since = self._version is not None, now
            self._version = self.version
        if self.seen is None or self.seen.record.released:
            return True
        return now - self._since >= self.seen.record.seconds
