"""`verger emr`: the jobs of a deployment."""

import json
from collections.abc import Callable
from typing import Annotated

import typer

from bootstrap import live, terminal
from bootstrap.commands.group import AS_JSON, UNWELL, group
from bootstrap.commands.legs import REFIT, STREAM
from bootstrap.emr import deployment, jobs, running, standing
from bootstrap.emr.deployment import Deployment
from bootstrap.emr.jobs import Job
from bootstrap.options import takes
from conf.settings import Resolved

app = group()
submitting = group("Submit a leg as a job.")
app.add_typer(submitting, name="submit")
# Of the machine that runs a command.
_HERE = ("cores",)
_WHERE = ("stack", "region")

Package = Annotated[
    str,
    typer.Option(
        help="s3:// URI of the package to run, as `verger emr package --upload` prints it; empty: the stack's.",
        metavar="URI",
    ),
]
Count = Annotated[int | None, typer.Option(min=1, help="How many executors. [default: 2]", metavar="N")]
Cores = Annotated[int | None, typer.Option(min=1, help="Cores of each. [default: 4]", metavar="N")]
Memory = Annotated[str, typer.Option(help="Heap of each. [default: 4g]", metavar="SIZE")]
Overhead = Annotated[
    str,
    typer.Option(help="What each gets beside its heap, for Python and LiteRT. [default: 8g]", metavar="SIZE"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the request as JSON, and submit nothing.")]


def _names(leg: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in leg if name not in _HERE)


@submitting.command("stream")
@takes(*_names(STREAM), *_WHERE)
def submit_stream(
    resolved: Resolved,
    package: Package = "",
    executors: Count = None,
    executor_cores: Cores = None,
    executor_memory: Memory = "",
    executor_overhead: Overhead = "",
    retries: Annotated[
        int, typer.Option(help="Attempts that may fail within an hour before it is given up, 1 to 10.", metavar="N")
    ] = jobs.USUAL_RETRIES,
    dry_run: DryRun = False,
) -> None:
    """Submit the stream, which runs until it is stopped; it takes landing, lake and queue of the stack."""
    sizes = _sizes(executors, executor_cores, executor_memory, executor_overhead)
    _submit(resolved, package, dry_run, lambda there: jobs.stream(_names(STREAM), resolved, there, sizes, retries))


@submitting.command("refit")
@takes(*_names(REFIT), *_WHERE)
def submit_refit(
    resolved: Resolved,
    package: Package = "",
    executors: Count = None,
    executor_cores: Cores = None,
    executor_memory: Memory = "",
    executor_overhead: Overhead = "",
    timeout: Annotated[
        int | None,
        typer.Option(
            help=f"Minutes after which EMR Serverless ends it. [default: {jobs.USUAL_MINUTES}]", metavar="MINUTES"
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Submit a refit now, beside those that the stack schedules."""
    sizes = _sizes(executors, executor_cores, executor_memory, executor_overhead)
    _submit(resolved, package, dry_run, lambda there: jobs.refit(_names(REFIT), resolved, there, sizes, timeout))


@app.command()
@takes("lake", *_WHERE)
def stop(
    resolved: Resolved,
    grace: Annotated[
        int,
        typer.Option(
            help="For how long the running micro-batch may go on, before AWS is told to cancel, which leaves as long "
            "again: 15 to 1800.",
            metavar="SECONDS",
        ),
    ] = running.USUAL_GRACE,
) -> None:
    """Ask the stream of a stack to end, and have it cancelled where it does not."""
    there = deployment.read(resolved.settings)
    with live.live() as show:
        told = running.stop(running.platform(there), there, grace, show.say)
    terminal.plain(told)


@app.command()
@takes("lake", *_WHERE, "unwell_after", "unwell_rejected")
def status(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Say how jobs and lake of a stack stand; exits with 3 where no stream runs, or the lake is unwell."""
    with live.live() as show:
        show.say("asking AWS")
        there = deployment.read(resolved.settings)
        found = standing.found(running.platform(there), there, resolved.settings)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        standing.show(found)
    if not found["well"]:
        raise typer.Exit(UNWELL)


def _submit(resolved: Resolved, package: str, dry_run: bool, make: Callable[[Deployment], Job]) -> None:
    there = deployment.read(resolved.settings, package)
    job = make(there)
    where = running.platform(there)
    if dry_run:
        print(json.dumps(where.request(job), indent=2))
        return
    run = running.submit(where, there, job)
    terminal.plain(
        f"{job.name} is submitted as {run} to the {there.kind} {there.id}: `verger emr status` says how it is"
    )


def _sizes(executors: int | None, cores: int | None, memory: str, overhead: str) -> dict[str, str]:
    """Return what was given, as settings of Spark."""
    given = {
        "spark.executor.instances": executors,
        "spark.executor.cores": cores,
        "spark.executor.memory": memory,
        "spark.executor.memoryOverhead": overhead,
    }
    return {name: str(value) for name, value in given.items() if value}
