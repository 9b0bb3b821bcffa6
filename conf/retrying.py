"""Trying again what the world prevented: with growing, jittered waits, and counted, so that the log can tell of it."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TypeVar

_T = TypeVar("_T")
_TRIES = 8
_LONGEST_WAIT = 20.0


class Backoff:
    """Waits between two tries: doubled each time up to a cap, with jitter, and short again after a success.

    Parameters
    ----------
    first, cap
        Seconds.
    draw
        Gives a number from 0 to 1. Half of each wait is fixed and half is drawn, so that drivers which an outage
        stopped together do not come back together.
    """

    def __init__(self, first: float = 1.0, cap: float = 300.0, draw: Callable[[], float] = random.random) -> None:
        self._first, self._cap, self._draw = first, cap, draw
        self.tries = 0

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        self.tries += 1
        # Beyond 2^30 a float would overflow in a year of outage.
        whole = min(self._cap, self._first * 2.0 ** min(self.tries - 1, 30))
        return whole / 2 + whole / 2 * self._draw()

    def reset(self) -> None:
        """Begin anew, after a success."""
        self.tries = 0


class Tally:
    """How often each kind of call was made again, in this process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, kind: str, times: int = 1) -> None:
        """Count some retries of a kind."""
        with self._lock:
            self._counts[kind] += times

    def taken(self) -> Mapping[str, int]:
        """Return the counts since they were last taken, by kind; kinds without a retry are left out."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return dict(taken)


RETRIED = Tally()


def persistently(
    call: Callable[[], _T],
    kind: str,
    passing: Callable[[BaseException], bool],
    *,
    tries: int = _TRIES,
    tally: Tally = RETRIED,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return what a call returns, made again while what it raises may pass.

    Parameters
    ----------
    kind
        What the call does, in a word, as the log shows it.
    passing
        Whether an error may be gone at the next try.
    tries
        The most tries; what the last one raises is raised.
    """
    backoff = Backoff(0.1, _LONGEST_WAIT)
    while True:
        try:
            return call()
        except Exception as error:
            if backoff.tries + 1 >= tries or not passing(error):
                raise
        tally.add(kind)
        sleep(backoff.next())
