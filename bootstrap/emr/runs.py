"""A run of a job as either platform tells of it, and what is asked of a platform."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from bootstrap.emr.jobs import Job


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes
    ----------
    id, name, state : str
        As the platform has them.
    running, active, succeeded : bool
        Whether it runs; whether it does or is about to; whether it has ended as it should.
    since : datetime or None
        When it came to run or to end; of one that is tried again, the attempt.
    attempt : int or None
        Which it is, where the platform counts them.
    detail : str
        What the platform says of the state.
    vcpu_hours, gb_hours : float or None
        What was used so far, where the platform tells.
    applications : tuple of str
        Ids of YARN, on a cluster.
    """

    id: str
    name: str
    state: str
    running: bool
    active: bool
    succeeded: bool = False
    since: datetime | None = None
    attempt: int | None = None
    detail: str = ""
    vcpu_hours: float | None = None
    gb_hours: float | None = None
    applications: tuple[str, ...] = ()


class Platform(Protocol):
    """Where jobs run. Errors of every call are those of `bootstrap.emr.account.call`."""

    def request(self, job: Job) -> dict[str, Any]:
        """Return what is sent to submit a job."""

    def submit(self, request: dict[str, Any]) -> str:
        """Submit a job and return the id of its run."""

    def newest(self, name: str) -> Run | None:
        """Return the run of this name that is active, else the last one, else None."""

    def look(self, run: Run) -> Run:
        """Return a run as it is now, with what only a look at it alone tells."""

    def cancel(self, run: Run, seconds: int) -> str:
        """End a run, and return a sentence of what comes of it.

        Parameters
        ----------
        run
        seconds
            That it gets to end by itself.
        """

    def page(self, run: Run) -> str:
        """Return the URL of Spark's pages of a run, which whoever has it can open for a while."""
