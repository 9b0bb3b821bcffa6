"""From a plan to a published model: sums, axes, components, drift, in this order, each step timed."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch import alignment, fit, models, replacement, solvers
from batch.distribution import Distribution
from batch.drift import drift
from batch.fit import Sums, Times
from batch.model import Model, Projection, id_of
from batch.plan import Plan
from batch.projecting import Projected, readings
from batch.solvers import Solution, Wanted
from conf.lake import LakePaths
from conf.settings import Settings

_PACKAGES = ("verger", "numpy", "scipy", "pyarrow", "deltalake", "pyspark")
Say = Callable[[str], None]


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


def make(
    lake: LakePaths,
    featurizer: str,
    settings: Settings,
    plan: Plan,
    before: Model | None,
    distribution: Distribution,
    say: Say,
) -> Made | None:
    """Fit a model, append it to the table, and publish every picture's components.

    Parameters
    ----------
    plan
        What is to be read.
    before
        The model whose axes the new ones are matched to, and against which drift is measured: the published one.
    distribution
        Where the tasks run.
    say
        Told a sentence before each step.

    Returns
    -------
    Made or None
        None where no column of the features varies: there is nothing to fit.

    Raises
    ------
    batch.replacement.Overtaken, batch.parts.PartGone
        The lake changed meanwhile: nothing was published.
    """
    times = Times()
    width = fit.width_of(plan)
    solver, why_solver = solvers.choose(settings.solver, width)
    say(_sentence(plan))
    with times.of("sums"):
        sums = fit.sums(plan, width, solver, distribution)
    if sums.why_full != plan.why_full:
        say(f"full pass over {plan.winners.n:,} pictures: {sums.why_full}")
    say(f"finding the axes of {sums.moments.n:,} pictures by {width:,} columns: {why_solver}")
    with times.of("solve"):
        solution = fit.solve(plan, sums, solver, wanted(settings), distribution, say)
    if not len(solution.explained_variance):
        return None
    before = before if before and before.width == width else None
    former = _former(before, solution, sums)
    if former is not None:
        solution = alignment.aligned(solution, former, sums.moments.n)
    projection = Projection(sums.moments.mean, solution.scale, solution.basis)
    created_at = _after(lake, featurizer)
    name = id_of(created_at, projection)
    say(f"placing {plan.winners.n:,} pictures on {len(solution.basis):,} axes")
    with times.of("project"):
        projected = _projected(lake, featurizer, name, projection, plan, sums, distribution)
    if projected.rows != sums.moments.n:
        replacement.discard(lake, featurizer, projected.files)
        return _made_anew(lake, featurizer, settings, plan, sums, before, distribution, say)
    model = Model(
        id=name,
        featurizer=featurizer,
        created_at=created_at,
        features_version=plan.version,
        n=sums.moments.n,
        rejected=plan.winners.rejected,
        solver=solver,
        projection=projection,
        explained_variance=solution.explained_variance,
        explained_variance_ratio=solution.explained_variance_ratio,
        labels=sums.labels.to_bytes(),
        moments=sums.moments.to_bytes() if sums.moments.full else None,
        drift=_drift(before, former, projection, solution, sums, projected, plan),
        parent=before.id if before else None,
        run_card=_run_card(settings, plan, sums, solution, why_solver, times, distribution),
    )
    models.append(lake, model)
    replacement.publish(lake, featurizer, model.id, model.features_version, projected.files)
    return Made(model, (*solution.notes, *_notes(sums)))


def _made_anew(
    lake: LakePaths,
    featurizer: str,
    settings: Settings,
    plan: Plan,
    sums: Sums,
    before: Model | None,
    distribution: Distribution,
    say: Say,
) -> Made | None:
    """Begin again with a full pass: the moments are of other pictures than there are."""
    if sums.why_full:
        raise replacement.Overtaken("the table held other pictures when it was read again")
    why = "the last model's moments were not of the pictures in the table"
    return make(lake, featurizer, settings, replace(plan, why_full=why), before, distribution, say)


def _projected(
    lake: LakePaths,
    featurizer: str,
    model: str,
    projection: Projection,
    plan: Plan,
    sums: Sums,
    distribution: Distribution,
) -> Projected:
    added = plan.difference.added if plan.difference else ()
    labels = frozenset(sums.labels.names)
    read = readings(plan.winners.parts, added)
    return replacement.project(lake, featurizer, model, projection, plan.version, read, labels, distribution)


def _former(before: Model | None, solution: Solution, sums: Sums) -> NDArray[np.float64] | None:
    """Return the axes of the model before, as directions in the new coordinates."""
    if before is None:
        return None
    return alignment.in_new_units(
        before.projection.basis, before.projection.scale, solution.scale, sums.moments.varying
    )


def _after(lake: LakePaths, featurizer: str) -> datetime:
    """Return the time, or a moment after the last model where the clock was set back: the newest model sorts last."""
    made: list[datetime] = models.summaries(lake, featurizer, ["created_at"])["created_at"].to_pylist()
    return max([datetime.now(UTC), *(each + timedelta(microseconds=1) for each in made)])


def _drift(
    before: Model | None,
    former: NDArray[np.float64] | None,
    projection: Projection,
    solution: Solution,
    sums: Sums,
    projected: Projected,
    plan: Plan,
) -> dict[str, Any] | None:
    if before is None or former is None:
        return None
    told_apart = plan.difference is not None
    variances = solution.explained_variance
    return drift(before, former, projection, variances, sums.labels, projected, told_apart=told_apart)


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


def _run_card(
    settings: Settings,
    plan: Plan,
    sums: Sums,
    solution: Solution,
    why_solver: str,
    times: Times,
    distribution: Distribution,
) -> dict[str, Any]:
    last, difference = plan.last, plan.difference
    incremental = not sums.why_full
    return {
        "asked": asked(settings),
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
        "tasks": distribution.tasks,
        "seconds": {step: round(seconds, 3) for step, seconds in times.seconds.items()},
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
    }
