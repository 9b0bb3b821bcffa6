"""Pacing: discovery does not run ahead of the queries with ever smaller files of arrivals.

A micro-batch takes whole files, and of those that hold a few pictures only so many, as admission goes by bytes and a
Parquet file of one row has thousands of them. Whoever looked at the landing more often than micro-batches take such
files would make a line of them that grows without end. So discovery waits while there are more than the next
micro-batches take: what has landed meanwhile comes in one file, and would have waited all the same.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streaming.query import Admission

# Of a Parquet file of arrivals with one row; one of 30 rows has 5,000.
_FRAGMENT_BYTES = 4000
# For one micro-batch that runs and one that comes.
_BATCHES = 2
# Seconds after which discovery looks in any case: a queue forgets messages, and a person wants to know the backlog.
_LONGEST = 30.0


@dataclass(frozen=True)
class _Fragment:
    """A file that holds less than a micro-batch takes: how many arrivals there were before it, and with it."""

    before: int
    after: int


class Pace:
    """Tells discovery whether to look at the landing now.

    Parameters
    ----------
    admissions
        What a micro-batch takes, by featurizer.
    monotonic
        The clock, in seconds.
    """

    def __init__(self, admissions: Mapping[str, Admission], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = {name: _BATCHES * taken(each) for name, each in admissions.items()}
        self._monotonic = monotonic
        self._last = monotonic()
        self._fragments: deque[_Fragment] = deque()

    def looked(self, before: int, after: int, rows_per_file: int) -> None:
        """Remember that discovery has looked, and how many arrivals there were before and after.

        Parameters
        ----------
        rows_per_file
            Of a full file; what came with one is no reason to wait.
        """
        self._last = self._monotonic()
        if 0 < after - before < rows_per_file:
            self._fragments.append(_Fragment(before, after))

    def allows(self, outcomes: Mapping[str, int], arrived: int) -> bool:
        """Whether discovery is to look: not while fragments wait in a line too long, but after 30 seconds in any case.

        The line is too long where every featurizer has it before it, or where one has come to it. One that is still
        busy with what came earlier does not hold up the others.

        Parameters
        ----------
        outcomes
            By featurizer; arrivals get them in their order.
        arrived
            How many arrivals there are.
        """
        self._forget(min(outcomes.values()), arrived)
        if self._monotonic() >= self._last + _LONGEST:
            return True
        lines = {name: self._line(name, done) for name, done in outcomes.items()}
        at_one = any(line and line[0].before <= outcomes[name] for name, line in lines.items())
        return not (at_one or all(lines.values()))

    def _line(self, name: str, done: int) -> list[_Fragment]:
        """Return the files that wait for a featurizer where they are too many, else none."""
        waiting = [each for each in self._fragments if each.after > done]
        return waiting if len(waiting) >= self._most[name] else []

    def _forget(self, done: int, arrived: int) -> None:
        """Forget the files that every featurizer is done with; at rest all, as a takedown makes counts less."""
        while self._fragments and (self._fragments[0].after <= done or done >= arrived):
            self._fragments.popleft()


def taken(admission: Admission) -> int:
    """Return how many files of a few arrivals a micro-batch takes, at least."""
    return min(admission.max_files, math.ceil(admission.max_bytes / _FRAGMENT_BYTES))
