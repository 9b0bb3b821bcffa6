"""What a command has done about a request: by the running driver, or by itself where none runs."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from conf import lease
from conf.lake import LakePaths
from conf.schemas import ARRIVALS
from conf.settings import Settings
from streaming import sizing
from streaming.arrivals import Arrivals
from streaming.commands import inbox
from streaming.commands.execution import LEG, LOOK_EVERY, carry_out, execute
from streaming.commands.requests import Answer, Request, stop
from streaming.totals import former
from streaming.upkeeping import keep_up, prepare

# A driver answers when its running micro-batches have been committed.
_WAIT_SECONDS = 120.0
# Where nobody has measured yet.
_RATE = 100.0


def have_done(lake: LakePaths, request: Request, settings: Settings) -> Answer:
    """Have a request executed and return its answer, or that the driver has it.

    Raises
    ------
    LakeError, StorageError
        As `streaming.commands.execution.carry_out`.
    """
    rates = former(lake.report(LEG), sizing.TELLING_ROWS).rates.values()
    rows = sizing.rows(min(rates, default=_RATE), settings.batch_pictures)
    days = settings.vacuum_days

    def upkeep() -> Answer:
        prepare(lake, days)
        return keep_up(lake, days, rows, datetime.now(UTC), queries_run=False)

    def here(each: Request) -> Answer:
        return execute(each, lake, Arrivals(lake.table(ARRIVALS)), rows, days, upkeep=upkeep)

    answer = carry_out(request, lake, here, _WAIT_SECONDS)
    return answer or Answer(
        f"the running stream has the request and has not answered within {_WAIT_SECONDS:.0f} s; it will execute it",
        {"request": request.id},
    )


def have_stopped(
    lake: LakePaths, wait_seconds: float = _WAIT_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> Answer:
    """Ask the running driver to end, and wait until it has."""
    request = stop(lake)
    if not request.driver:
        return Answer(f"no stream runs on {lake.root}")
    inbox.submit(lake.requests, request)
    every = LOOK_EVERY[lake.remote]
    for _ in range(int(wait_seconds / every)):
        if stop(lake).driver != request.driver:
            return Answer(f"the stream on {lake.root} has ended")
        sleep(every)
    held = lease.holder(lake.lease(LEG)) or {}
    return Answer(
        f"the stream (process {held.get('pid')} on {held.get('host')}) has not ended within {wait_seconds:.0f} s; "
        "it ends when its micro-batch does",
        exit_code=1,
    )
