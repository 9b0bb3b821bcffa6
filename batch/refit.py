"""The batch leg: refit standardisation and principal axes on the features, publish every picture's components."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from batch import fit, making, models, replacement
from batch.algebra import solvers
from batch.fit import Times
from batch.model import Model
from batch.plan import Plan, plan
from batch.publication import Publication, published
from batch.replacement import Overtaken
from batch.rows.parts import PartGone
from batch.rows.winners import snapshot, winners
from batch.tasks.distribution import Distribution, Here, OnSpark, in_pictures
from batch.tasks.projecting import readings
from conf import access, lease, points, upkeep
from conf.access import Access
from conf.errors import StorageError, UsageError
from conf.featurizers import chosen
from conf.lake import LakePaths, open_lake
from conf.logs import fields, logger
from conf.memory import available_bytes, text_of
from conf.saying import Say, silent
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.session import check_java, on_cluster, on_demand, parse_spark_conf, session
from conf.settings import Settings
from conf.tables import ensure

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LEG = "refit"
_TRIES = 5
# A mean alone has no axes.
_LEAST = 2
# Of the JVM and this process, beside what the work itself takes.
_BASE_BYTES = 1 << 30

Sessions = Callable[..., AbstractContextManager["SparkSession"]]
Distribute = Callable[[], Distribution]


@dataclass(frozen=True)
class Refit:
    """How a refit ended.

    Attributes
    ----------
    model : Model or None
        What is published now; None where there was nothing to fit.
    sentence : str
        For a person.
    written : bool
        Whether anything was.
    """

    model: Model | None
    sentence: str
    written: bool
    notes: tuple[str, ...] = ()


def run(settings: Settings, say: Say = silent, sessions: Sessions = session) -> Refit:
    """Refit one featurizer of a lake, in proportion to what has changed, and publish.

    Parameters
    ----------
    settings
        `lake` must be given.
    say
        Called with a sentence before each step that takes seconds, and again as it gets on.
    sessions
        Makes the Spark session, as `conf.session.session` does; asked for one at once on YARN, elsewhere only
        where there is work.

    Raises
    ------
    VergerError
        What was published before stays published; the next refit repairs what is left.
    """
    access.use(Access(settings.s3_endpoint, settings.s3_region))
    lake = open_lake(settings.lake)
    featurizer = chosen(lake, settings.featurizer)
    # Each partial result is megabytes: one at a time.
    extra = {"spark.sql.execution.arrow.maxRecordsPerBatch": "1"} | parse_spark_conf(settings.spark_conf)
    check_java()

    def start() -> AbstractContextManager[SparkSession]:
        say("starting Spark")
        return sessions("verger refit", cores=settings.cores, extra=extra, lake=str(lake.root))

    with lease.hold(lake.lease(LEG), seconds=settings.lease, say=say) as held, on_demand(start) as spark:
        for table in (MODELS, COMPONENTS):
            ensure(table, lake.table(table))
            upkeep.configure(lake.table(table), {**table.properties, **upkeep.remembering(settings.vacuum_days)})

        def distribute() -> Distribution:
            return OnSpark(spark(), access.settled(str(lake.root)))

        def step(text: str, done: float = 0, total: float = 0) -> None:
            # Between steps only: what is told within one may come from another thread.
            if not done:
                held.check()
            say(text, done, total)

        done = refit(lake, featurizer, settings, distribute, step)
        _clean(lake, settings.vacuum_days)
        return done


def use(lake: LakePaths, featurizer: str, wish: str, say: Say = silent) -> Refit:
    """Publish a model that was made before: every picture that counts now, on its axes. Starts no JVM.

    The next refit that finds something new publishes its own model again.

    Raises
    ------
    UsageError
        No model, or several, begin so.
    LakeError
        A refit is running.
    """
    with lease.hold(lake.lease(LEG)):
        return _tried(lambda: _used(lake, models.load(lake, models.meant(lake, featurizer, wish)), say))


def refit(
    lake: LakePaths, featurizer: str, settings: Settings, distribute: Distribute = Here, say: Say = silent
) -> Refit:
    """Refit one featurizer, as `run` does; the caller holds the leg's lease.

    Parameters
    ----------
    distribute
        Gives what the work is distributed by; called once there is work.
    """
    return _tried(lambda: _attempt(lake, featurizer, settings, distribute, say))


def _tried(attempt: Callable[[], Refit]) -> Refit:
    for _ in range(_TRIES):
        try:
            return attempt()
        except (PartGone, Overtaken) as reason:
            logger().warning("begins again", extra=fields(leg=LEG, reason=str(reason)))
    raise StorageError(f"the lake changed meanwhile, {_TRIES} times in a row, and nothing was published: try again")


def _used(lake: LakePaths, model: Model, say: Say) -> Refit:
    features = lake.table(FEATURES)
    now = snapshot(features, model.featurizer)
    counting = winners(now, pa.array([], pa.string()))
    told = in_pictures(say, f"placing {counting.n:,} pictures on the {model.k:,} axes of {model.id}", counting.n)
    rows = replacement.replace_components(lake, model, now.version, readings(counting.parts, ()), Here(), told)
    return Refit(model, f"{model.id} published again, for {rows:,} pictures", True)


def _attempt(lake: LakePaths, featurizer: str, settings: Settings, distribute: Distribute, say: Say) -> Refit:
    last, shown = models.newest(lake, featurizer), published(lake, featurizer)
    solver = solvers.choose(settings.solver, last.width)[0] if last else ""
    times = Times()
    with times.of("plan"):
        planned = plan(lake, featurizer, last, solver, full=settings.full)
    points.reach("refit-planned")
    if planned.winners.n < _LEAST:
        return Refit(None, f"nothing to fit: {planned.winners.n} pictures have features, {_LEAST} are needed", False)
    if last and planned.unchanged and not settings.full and making.asked(settings) == last.run_card["asked"]:
        return _unchanged(lake, planned, last, shown, distribute, say)
    _check_memory(planned, settings, say)
    before = last if shown is None or last is None or shown.model == last.id else models.load(lake, shown.model)
    with times.of("start"):
        distribution = distribute()
    made = making.make(making.Job(lake, featurizer, settings, planned, before, distribution, say, times))
    if made is None:
        return Refit(None, f"nothing to fit: the features of {planned.winners.n:,} pictures are all the same", False)
    return Refit(made.model, _sentence(made.model), True, made.notes)


def _unchanged(
    lake: LakePaths, planned: Plan, last: Model, shown: Publication | None, distribute: Distribute, say: Say
) -> Refit:
    """Publish the last model where a refit was cut off before it did; else there is nothing to do."""
    if shown is not None and (last.created_at <= shown.knows):
        return Refit(last, f"nothing new: {shown.model} is of the {planned.winners.n:,} pictures that there are", False)
    say(f"publishing {last.id}, which a refit that was cut off has left")
    replacement.replace_components(lake, last, planned.version, readings(planned.winners.parts, ()), distribute())
    return Refit(last, f"{last.id} published, which a refit that was cut off had left", True)


def _check_memory(planned: Plan, settings: Settings, say: Say) -> None:
    """Say how much memory the work takes, before it starts; refuse what cannot be had on this machine."""
    width, labels = fit.width_of(planned), len(planned.winners.labels)
    solver = solvers.choose(settings.solver, width)[0]
    tasks = settings.cores or os.cpu_count() or 1
    each, here = fit.memory(width, solver, labels, making.wanted(settings))
    need = f"{text_of(each)} of memory for each task, and {text_of(here)} to find the axes"
    free = None if on_cluster() else available_bytes()
    if free is not None and _BASE_BYTES + tasks * each + here > free:
        mend = "--solver randomized" if solver == "covariance" else "--cores 1"
        raise UsageError(f"--solver {solver} takes {need}, with {tasks} tasks; {text_of(free)} are free: say {mend}")
    say(need)
    logger().info("memory", extra=fields(solver=solver, tasks=tasks, each=each, here=here, free=free))


def _sentence(model: Model) -> str:
    shown = 100 * model.explained_variance_ratio.sum()
    return f"{model.id}: {model.k:,} components show {shown:.1f} % of the variance of {model.n:,} pictures"


def _clean(lake: LakePaths, vacuum_days: float) -> None:
    """Delete components that nobody reads any more; the tables are this leg's."""
    now = datetime.now(UTC)
    for table in (COMPONENTS, MODELS):
        upkeep.trim_log(lake.table(table), None)
        upkeep.vacuum(lake.table(table), now - timedelta(days=vacuum_days), now)
