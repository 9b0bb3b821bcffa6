"""Submitting and stopping, alike on either platform.

What could not be tried without an account: whether EMR Serverless takes a stream whose driver ended with 0 for done.
Where it starts it again, `stop` finds it running when the grace is over, and has it cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bootstrap.emr import account
from bootstrap.emr.deployment import Deployment
from bootstrap.emr.jobs import Job, name_of
from bootstrap.emr.runs import Platform, Run
from bootstrap.emr.serverless import Serverless
from bootstrap.emr.steps import Steps
from conf.errors import AccountError, UsageError, VergerError
from conf.lake import open_lake
from conf.saying import Say
from streaming.commands import errands, requests

# Seconds that EMR Serverless gives a job that it cancels; it takes no others.
GRACE = range(15, 1801)
USUAL_GRACE = 600
_LOOK_EVERY = 5.0

# Asks the driver of a lake to end, waits for so many seconds, and returns whether it has; None where there is none.
Ask = Callable[[str, float], bool | None]


def platform(deployment: Deployment, client: Any = None) -> Platform:
    """Return where a deployment's jobs run.

    Parameters
    ----------
    deployment
    client
        None: one for its region.
    """
    if deployment.kind == "serverless":
        return Serverless(deployment, client or account.client("emr-serverless", deployment.region))
    return Steps(deployment, client or account.client("emr", deployment.region))


def check_alone(where: Platform, deployment: Deployment) -> None:
    """Refuse a second stream of a deployment; the lease of its lake would hold it back, and it would cost.

    Raises
    ------
    UsageError
        One is active; the message names it.
    """
    there = where.newest(name_of("stream"))
    if there is not None and there.active:
        raise UsageError(
            f"a stream of the stack {deployment.stack} is {there.state} already: {there.id}{_since(there)}; end it "
            "first (`verger emr stop`)"
        )


def submit(where: Platform, deployment: Deployment, job: Job) -> str:
    """Submit a job and return the id of its run.

    Raises
    ------
    UsageError
        It is a second stream.
    """
    if job.leg == "stream":
        check_alone(where, deployment)
    return where.submit(where.request(job))


def ask_driver(lake: str, seconds: float) -> bool | None:
    """Ask the driver of a lake to end; see `Ask`."""
    paths = open_lake(lake)
    if not requests.stop(paths).driver:
        return None
    return errands.have_stopped(paths, seconds).exit_code == 0


def stop(
    where: Platform,
    deployment: Deployment,
    grace: int,
    say: Say,
    ask: Ask = ask_driver,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """End the stream: ask its driver, and have the platform cancel what has not ended when its grace is over.

    Parameters
    ----------
    where, deployment
    grace
        Seconds that it gets to commit its running micro-batch, and once more when it is cancelled.
    say
        Told what is waited for.
    ask, sleep, clock
        For tests.

    Returns
    -------
    str
        Which of both ended it.

    Raises
    ------
    UsageError, AccountError
        The grace is out of bounds; AWS refuses.
    """
    if grace not in GRACE:
        raise UsageError(f"--grace {grace}: it must be {GRACE[0]} to {GRACE[-1]} seconds")
    run = where.newest(name_of("stream"))
    if run is None or not run.active:
        last = "" if run is None else f"; the last one, {run.id}, is {run.state}{_since(run)}"
        return f"no stream of the stack {deployment.stack} runs{last}"
    until = clock() + grace
    say("waiting for the stream to end")
    try:
        ended = ask(deployment.lake, grace)
        asked = {
            True: "its driver ended as it was asked to, and the job did not",
            False: f"its driver did not end within {grace} s",
            None: f"no driver has begun on {deployment.lake}",
        }[ended]
    except VergerError as error:
        ended, asked = None, f"its driver could not be asked ({error})"
    while ended:
        run = where.look(run)
        if not run.active:
            return f"the stream on {deployment.lake} has ended as it was asked to: {run.id} is {run.state}"
        if clock() >= until:
            break
        sleep(_LOOK_EVERY)
    return f"{asked}: {where.cancel(run, grace)}"


def pages_of(where: Platform, run: Run) -> tuple[str, str]:
    """Return the URL of Spark's pages of a run, and why there is none."""
    try:
        return where.page(run), ""
    except AccountError as error:
        return "", str(error)


def _since(run: Run) -> str:
    return f" since {run.since:%Y-%m-%d %H:%M} UTC" if run.since else ""
