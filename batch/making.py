"""From a plan to a published model: sums, axes, components, drift, in this order, each step timed."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch import fit, models, replacement
from batch.algebra import alignment, solvers
from batch.algebra.solvers import Solution, Wanted
from batch.drift import drift
from batch.fit import Sums, Times
from batch.model import Model, Projection, id_of
from batch.plan import Plan
from batch.tasks.distribution import Distribution, in_pictures
from batch.tasks.projecting import Projected, readings
from conf import points
from conf.lake import LakePaths
from conf.saying import Say
from conf.settings import Settings

_PACKAGES = ("verger", "numpy", "scipy", "pyarrow", "deltalake")


@dataclass(frozen=True)
class Made:
    """A model that has been published, and what is to be said aloud of it."""

    model: Model
    notes: tuple[str, ...]


def asked(settings: Settings) -> dict[str, Any]:
    """Return what of the settings decides what a model is like."""
    return {"components": settings.components, "variance": settings.variance, "solver": settings.solver}


def wanted(settings: Settings) -> Wanted:
    """Return how many components the settings ask for."""
    return Wanted(settings.components, settings.variance)


@dataclass(frozen=True)
class Job:
    """What is to be made.

    Attributes
    ----------
    featurizer : str
        Its whole id.
    plan : Plan
        What is to be read.
    before : Model or None
        The model whose axes the new ones are matched to, and against which drift is measured: the published one.
    distribution : Distribution
        Where the tasks run.
    say : callable
        Told a sentence before each step, and how far it is.
    times : Times
        How long each step took.
    """

    lake: LakePaths
    featurizer: str
    settings: Settings
    plan: Plan
    before: Model | None
    distribution: Distribution
    say: Say
    times: Times

    @property
    def told_apart(self) -> bool:
        """Whether it is known which pictures are new since `before`: it is since the last model, often the same."""
        last, before = self.plan.last, self.before
        return self.plan.difference is not None and last is not None and before is not None and before.id == last.id


def make(job: Job) -> Made | None:
    """Fit a model, append it to the table, and publish every picture's components.

    Returns
    -------
    Made or None
        None where no column of the features varies: there is nothing to fit.

    Raises
    ------
    batch.replacement.Overtaken, batch.rows.parts.PartGone
        The lake changed meanwhile: nothing was published.
    """
    width = fit.width_of(job.plan)
    solver, why_solver = solvers.choose(job.settings.solver, width)
    sums = _sums(job, width, solver)
    job.say(f"finding the axes of {sums.moments.n:,} pictures by {width:,} columns: {why_solver}")
    with job.times.of("solve"):
        solution = fit.solve(job.plan, sums, solver, wanted(job.settings), job.distribution, job.say)
    if not len(solution.explained_variance):
        return None
    points.reach("axes-found")
    before = job.before if job.before and job.before.width == width else None
    solution, former = _aligned(solution, before, sums)
    projection = Projection(sums.moments.mean, solution.scale, solution.basis)
    created_at = _after(job.lake, job.featurizer)
    name = id_of(created_at, projection)
    projected = _projected(job, name, projection, sums)
    if projected.rows != sums.moments.n:
        replacement.discard(job.lake, job.featurizer, projected.files)
        return make(_from_scratch(job, sums))
    variances = solution.explained_variance
    model = Model(
        id=name,
        featurizer=job.featurizer,
        created_at=created_at,
        features_version=job.plan.version,
        n=sums.moments.n,
        rejected=job.plan.winners.rejected,
        solver=solver,
        projection=projection,
        explained_variance=variances,
        explained_variance_ratio=solution.explained_variance_ratio,
        labels=sums.labels.to_bytes(),
        moments=sums.moments.to_bytes() if sums.moments.full else None,
        drift=_drift(job, before, former, projection, variances, sums, projected),
        parent=before.id if before else None,
        run_card=_run_card(job, sums, solution, why_solver),
    )
    models.append(job.lake, model)
    points.reach("model-appended")
    replacement.publish(job.lake, job.featurizer, model.id, model.features_version, projected.files)
    return Made(model, (*solution.notes, *_notes(sums)))


def _sums(job: Job, width: int, solver: str) -> Sums:
    told = in_pictures(job.say, _sentence(job.plan), job.plan.winners.n)
    with job.times.of("sums"):
        sums = fit.sums(job.plan, width, solver, job.distribution, told)
    points.reach("sums-taken")
    if sums.why_full != job.plan.why_full:
        job.say(f"full pass over {job.plan.winners.n:,} pictures: {sums.why_full}")
    return sums


def _from_scratch(job: Job, sums: Sums) -> Job:
    """Return the same job with a full pass: the moments were of other pictures than there are."""
    if sums.why_full:
        raise replacement.Overtaken("the table held other pictures when it was read again")
    why = "the last model's moments were not of the pictures in the table"
    return replace(job, plan=replace(job.plan, why_full=why))


def _projected(job: Job, model: str, projection: Projection, sums: Sums) -> Projected:
    plan = job.plan
    n = plan.winners.n
    told = in_pictures(job.say, f"placing {n:,} pictures on {len(projection.basis):,} axes", n)
    read = readings(plan.winners.parts, plan.difference.added if plan.difference and job.told_apart else ())
    labels = frozenset(sums.labels.names)
    with job.times.of("project"):
        return replacement.project(
            job.lake, job.featurizer, model, projection, plan.version, read, labels, job.distribution, told
        )


def _aligned(solution: Solution, before: Model | None, sums: Sums) -> tuple[Solution, NDArray[np.float64] | None]:
    """Return the solution with the former axes where it has them, and these as directions in its coordinates."""
    if before is None:
        return solution, None
    former = alignment.in_new_units(
        before.projection.basis, before.projection.scale, solution.scale, sums.moments.varying
    )
    return alignment.aligned(solution, former, sums.moments.n), former


def _after(lake: LakePaths, featurizer: str) -> datetime:
    """Return the time, or a moment after the last model where the clock was set back: the newest model sorts last."""
    made: list[datetime] = models.summaries(lake, featurizer, ["created_at"])["created_at"].to_pylist()
    return max([datetime.now(UTC), *(each + timedelta(microseconds=1) for each in made)])


def _drift(
    job: Job,
    before: Model | None,
    former: NDArray[np.float64] | None,
    projection: Projection,
    explained_variance: NDArray[np.float64],
    sums: Sums,
    projected: Projected,
) -> dict[str, Any] | None:
    if before is None or former is None:
        return None
    return drift(before, former, projection, explained_variance, sums.labels, projected, told_apart=job.told_apart)


def _sentence(plan: Plan) -> str:
    if plan.why_full or plan.difference is None:
        return f"full pass over {plan.winners.n:,} pictures: {plan.why_full}"
    taken, given = plan.difference.n_removed, plan.difference.n_added
    return f"{given:,} pictures to add to the last model's sums, {taken:,} to take away, {plan.winners.n:,} in all"


def _notes(sums: Sums) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if sums.unusable:
        notes += (f"{sums.unusable:,} pictures left out: their features are not finite, or of another length",)
    if sums.labels.other:
        notes += (
            f"{len(sums.labels.names):,} labels have statistics of their own, the other {sums.labels.other:,} pictures "
            "are counted together",
        )
    return notes


def _run_card(job: Job, sums: Sums, solution: Solution, why_solver: str) -> dict[str, Any]:
    last, difference = job.plan.last, job.plan.difference
    incremental = not sums.why_full
    return {
        "asked": asked(job.settings),
        "kind": "incremental" if incremental else "full",
        "why": sums.why_full or None,
        "continues": last.id if last and incremental else None,
        "increments": last.run_card.get("increments", 0) + 1 if last and incremental else 0,
        "added": difference.n_added if difference else None,
        "removed": difference.n_removed if difference else None,
        "unusable": sums.unusable,
        "other_labels": sums.labels.other,
        "solver": why_solver,
        "notes": [*solution.notes, *_notes(sums)],
        "tasks": job.distribution.tasks,
        "seconds": {step: round(seconds, 3) for step, seconds in job.times.seconds.items()},
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES} | {"pyspark": _pyspark()},
        "python": platform.python_version(),
    }


def _pyspark() -> str:
    """Return PySpark's version; a platform's own is no installed package."""
    import pyspark

    return pyspark.__version__
