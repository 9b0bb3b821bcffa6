"""Which of several repeated things is due, and whether the time of day was set back."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime


class Clock:
    """Tells when each of several things is due again.

    Parameters
    ----------
    every
        Seconds between two times, by name.
    first
        Seconds until the first time where it is not the usual interval, by name.
    monotonic
        The clock, in seconds.
    """

    def __init__(
        self,
        every: Mapping[str, float],
        first: Mapping[str, float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every = dict(every)
        self._monotonic = monotonic
        self._next = {name: monotonic() + (first or {}).get(name, seconds) for name, seconds in every.items()}

    def due(self, name: str) -> bool:
        """Whether it is time; the interval then begins anew."""
        now = self._monotonic()
        if now < self._next[name]:
            return False
        self._next[name] = now + self._every[name]
        return True


class SetBack:
    """Notices that the time of day was set back, by a clock that never is.

    Parameters
    ----------
    wall
        The time of day, in seconds.
    monotonic
        The other clock, in seconds.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()

    def seconds(self, been: float | None = None) -> float:
        """Return by how much it was set back since it was furthest ahead; asked often, as it may go there and back.

        Parameters
        ----------
        been
            A time of day that is known to have been, as somebody else has seen it between two looks.
        """
        now = self._wall()
        ahead = now - self._monotonic()
        self._ahead = max(self._ahead, ahead)
        return max(self._ahead - ahead, 0.0 if been is None else been - now)


def left(interval: float, since: str) -> float:
    """Return the seconds of an interval that are left of those since a moment, in ISO 8601; 0 for none or no moment."""
    if not since:
        return 0.0
    return max(0.0, interval - (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
