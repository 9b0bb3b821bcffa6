"""What the driver of a stream does beside its queries, some of it only while they rest: requests, and upkeep."""

from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event

from deltalake.exceptions import DeltaError

from conf import points
from conf.errors import LakeError, LeaseUnsure, StorageError
from conf.lake import LakePaths
from conf.lease import Lease
from conf.logs import fields, logger
from conf.settings import Settings
from streaming import books, upkeeping
from streaming.arrivals import Arrivals
from streaming.books import Books
from streaming.commands import inbox, requests
from streaming.commands.execution import execute, needs_pause
from streaming.crew import Crew


class Chores:
    """The requests and the upkeep of one run.

    Parameters
    ----------
    lake
        Its lease is held.
    held
        The lease, which is asked before anything is written.
    settings
        In force.
    arrivals, books
        Of the run; they are told what a request has changed.
    streamed
        The featurizers whose queries run.
    stop
        Set where a request says that the run is to end.

    Attributes
    ----------
    crew : Crew
        The keepers of the queries, once there are any.
    """

    def __init__(
        self,
        lake: LakePaths,
        held: Lease,
        settings: Settings,
        arrivals: Arrivals,
        books: Books,
        streamed: Sequence[str],
        stop: Event,
    ) -> None:
        self._lake = lake
        self._held = held
        self._settings = settings
        self._arrivals = arrivals
        self._books = books
        self._streamed = streamed
        self._stop = stop
        self.crew = Crew([])

    def take_requests(self) -> None:
        """Do what commands have asked for; what the world prevents is tried again later."""
        try:
            # What cannot be done yet keeps nobody from stopping.
            pending = inbox.pending(self._lake.requests)
            for request in sorted(pending, key=lambda each: not requests.stops(each, self._lake)):
                answer = self._answer(request)
                points.reach("request-executed")
                inbox.answer(self._lake.requests, request, answer)
        except (StorageError, LeaseUnsure) as error:
            logger().warning("requests wait", extra=fields(error=str(error)))

    def upkeep_or_wait(self) -> None:
        """Do the upkeep; what the world prevents is tried again later."""
        try:
            if self._lake.remote or upkeeping.needs_pause(self._lake, datetime.now(UTC)):
                with self.crew.paused(self._books.take):
                    self._upkeep()
            else:
                self._upkeep(queries_run=self.crew.running)
        except (StorageError, LakeError, DeltaError, OSError) as error:
            logger().warning("upkeep failed and will be repeated", extra=fields(error=str(error)))

    def _answer(self, request: requests.Request) -> requests.Answer:
        if requests.stops(request, self._lake):
            self._stop.set()
            return requests.Answer("the stream lets its running micro-batches commit, then ends")
        if not needs_pause(request):
            return self._executed(request)
        with self.crew.paused(self._books.take):
            answer = self._executed(request)
            self._books.take()
            self._books.count()
        return answer

    def _executed(self, request: requests.Request) -> requests.Answer:
        self._held.check()
        answer = execute(
            request,
            self._lake,
            self._arrivals,
            self._books.rows_per_file(),
            self._settings.vacuum_days,
            streamed=self._streamed,
            upkeep=self._upkeep,
        )
        logger().info("request", extra=fields(kind=request.kind, id=request.id, answer=answer.sentence))
        return answer

    def _upkeep(self, *, queries_run: bool = False) -> requests.Answer:
        self._held.check()
        days, now = self._settings.vacuum_days, datetime.now(UTC)
        answer = upkeeping.keep_up(self._lake, days, self._books.rows_per_file(), now, queries_run=queries_run)
        self._books.totals.upkeep_at = books.now()
        return answer
