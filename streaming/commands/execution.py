"""Executing requests: by the driver that holds the stream's lease, or by the command itself where there is none."""

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import UTC, datetime

from deltalake.exceptions import DeltaError

from conf import lease
from conf.errors import LakeError, StorageError, VergerError, first_line
from conf.lake import LakePaths
from conf.logs import fields, logger
from streaming.arrivals import Arrivals
from streaming.commands import dropping, inbox, retries, takedown
from streaming.commands.requests import Answer, Kind, Request

LEG = "stream"
# Seconds, in a folder and on S3, where each look is a request.
LOOK_EVERY = (0.2, 1.0)


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def needs_pause(request: Request) -> bool:
    """Whether no query may run while a request is executed."""
    return request.kind in (Kind.FORGET, Kind.DROP, Kind.UPKEEP)


def execute(
    request: Request,
    lake: LakePaths,
    arrivals: Arrivals,
    rows_per_file: int,
    vacuum_days: float,
    *,
    streamed: Collection[str] = (),
    upkeep: Callable[[], Answer],
    clock: Callable[[], datetime] = now,
) -> Answer:
    """Execute a request; executing it once more changes nothing more.

    Parameters
    ----------
    request
        Of any kind. A stop is taken for one that was meant for a driver which has ended: the driver that is to stop
        sees to it itself (`requests.stops`).
    lake
        The caller holds the lease of its stream and, for what `needs_pause`, runs no query.
    arrivals
        The caller's, which is told where rows went.
    rows_per_file
        The most arrivals in a file.
    vacuum_days
        Days for which files that the tables no longer name are kept.
    streamed
        The featurizers that the caller streams.
    upkeep
        Does the upkeep.
    clock
        Gives the time, in UTC.

    Returns
    -------
    Answer
        One with an exit code where the request failed for good.

    Raises
    ------
    StorageError
        The world's fault: the request stays pending and is to be executed again later.
    """
    try:
        match request.kind:
            case Kind.RETRY:
                return retries.retry(request, lake, arrivals, rows_per_file)
            case Kind.FORGET:
                return takedown.forget(request, lake, arrivals, vacuum_days, clock)
            case Kind.RECALL:
                return takedown.recall(request, lake, clock)
            case Kind.DROP:
                return dropping.drop(request, lake, streamed)
            case Kind.UPKEEP:
                return upkeep()
            case Kind.STOP:
                return Answer("no stream runs here, or the one that was meant has ended")
    except (DeltaError, OSError) as error:
        raise StorageError(f"a request cannot be executed now: {first_line(error)}") from error
    except StorageError:
        raise
    except VergerError as error:
        return Answer(str(error), exit_code=error.exit_code)
    except Exception as error:
        # A request that nobody can execute must not end every driver that tries.
        logger().exception("a request failed", extra=fields(kind=request.kind, id=request.id))
        return Answer(f"the request failed: {type(error).__name__}: {first_line(error)}", exit_code=1)


def carry_out(
    request: Request,
    lake: LakePaths,
    execute: Callable[[Request], Answer],
    wait_seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Answer | None:
    """Have a request executed: by the driver of the stream, or here where nobody holds its lease.

    Parameters
    ----------
    request
        Is left in the lake first, so that it survives this process; what others left there comes before it.
    lake
        An existing one.
    execute
        Executes a request here; the lease is held meanwhile.
    wait_seconds
        How long to wait for the driver's answer.
    sleep, monotonic
        Waiting, and the clock for it, in seconds.

    Returns
    -------
    Answer or None
        None where the driver has not answered yet: it will execute the request, or a later driver or command will.

    Raises
    ------
    LakeError
        The lake cannot be written.
    StorageError
        The request could not be executed now; it stays in the lake, for the next driver or command.
    """
    inbox.submit(lake.requests, request)
    watch = lease.watch(lake.lease(LEG))
    deadline = monotonic() + wait_seconds
    while True:
        with ExitStack() as stack:
            held = _leased(stack, lake, watch)
            if held:
                _execute_pending(lake, request, execute, held)
        found = inbox.answer_of(lake.requests, request.id)
        if found is not None or monotonic() >= deadline:
            return found
        sleep(LOOK_EVERY[lake.remote])


def _leased(stack: ExitStack, lake: LakePaths, watch: lease.Watch) -> lease.Lease | None:
    """Take the stream's lease if nobody holds it, or whoever did is gone."""
    if not watch.free():
        return None
    try:
        return stack.enter_context(lease.hold(lake.lease(LEG), watch))
    except LakeError:
        # A driver was quicker; or else the lake cannot be written.
        if watch.free():
            raise
        return None


def _execute_pending(lake: LakePaths, mine: Request, execute: Callable[[Request], Answer], held: lease.Lease) -> None:
    for request in inbox.pending(lake.requests):
        held.check()
        try:
            inbox.answer(lake.requests, request, execute(request))
        except StorageError as error:
            if request.id == mine.id:
                raise
            logger().warning("a request waits on", extra=fields(kind=request.kind, id=request.id, error=str(error)))
