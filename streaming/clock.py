"""Which of several repeated things is due."""

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


def left(interval: float, since: str) -> float:
    """Return the seconds of an interval that are left of those since a moment, in ISO 8601; 0 for none or no moment."""
    if not since:
        return 0.0
    return max(0.0, interval - (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
