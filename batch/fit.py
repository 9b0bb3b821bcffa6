"""From a plan to standardisation and axes: moments summed by tasks, or products, then a solver on this process."""

from __future__ import annotations

import functools
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from batch.algebra import krylov, solvers
from batch.algebra.labels import LabelMeans, grown, keep, most_labels
from batch.algebra.moments import Moments
from batch.algebra.solvers import Solution, Wanted
from batch.plan import Plan
from batch.rows.parts import BATCH_BYTES, Part, dealt, pieces, read
from batch.tasks import partials, products
from batch.tasks.distribution import Distribution, Here, Told, nobody
from batch.tasks.partials import PARTIAL, combined, partial_of_parts, read_partial
from conf.errors import LakeError
from conf.saying import Say

# A task that costs more to start than to do is done here.
_FEW_ROWS = 8192
_KRYLOV_BYTES = 2 << 30
_TELLING_FILES = 16
Name = str | None


@dataclass
class Times:
    """How long each step took, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Add the time of a `with` block to a step's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Sums:
    """What was summed over the pictures.

    Attributes
    ----------
    moments : Moments
        Of all usable features.
    labels : LabelMeans
        By label.
    unusable : int
        Pictures whose features are not finite, or of another length: they take no part.
    why_full : str
        Why the whole table was read; empty where the last model's moments were continued.
    """

    moments: Moments
    labels: LabelMeans
    unusable: int
    why_full: str


def width_of(plan: Plan) -> int:
    """Return the length of the features: the last model's, or the usual one of the beginnings of some files.

    Raises
    ------
    LakeError
        No row of the table has any.
    """
    if plan.last is not None:
        return plan.last.width
    lengths: Counter[int] = Counter()
    for part in plan.winners.parts[:_TELLING_FILES]:
        for batch in itertools.islice(read(part, ("features",)), 1):
            lengths.update(pc.list_value_length(batch.column("features").drop_null()).to_pylist())
    if not lengths:
        raise LakeError("no picture has features: `verger stream` makes them")
    return lengths.most_common(1)[0][0]


def sums(plan: Plan, width: int, solver: str, distribution: Distribution, told: Told = nobody) -> Sums:
    """Sum over all pictures, or over what has changed since the last model.

    Parameters
    ----------
    plan
        What is to be done; where removals leave too few digits of the last moments, the whole table is read after all.
    width
        Length of the features.
    solver
        `covariance` needs the whole scatter matrix, others its diagonal.
    distribution
        Where the tasks run.
    told
        Hears how many of them are done.
    """
    why = plan.why_full
    if not why:
        try:
            changed = _changed(plan, width, distribution)
        except ValueError as error:
            why = f"the last model's sums do not fit: {error}"
        else:
            if changed.moments.trusted:
                return changed
            why = "what was removed since the last full pass leaves too few digits"
    kept = keep(plan.winners.labels, most_labels(width))
    moments, labels, unusable = _summed(plan.winners.parts, width, solver == "covariance", kept, distribution, told)
    return Sums(moments, labels, unusable, why)


def solve(plan: Plan, found: Sums, solver: str, wanted: Wanted, distribution: Distribution, say: Say) -> Solution:
    """Find the axes: the leading eigenvectors of the correlation matrix."""
    moments = found.moments
    if solver == "covariance":
        return solvers.covariance(moments.n, moments.mean, moments.scatter, wanted)
    multiply = functools.partial(_multiplied, plan, moments, distribution)
    most = krylov.columns_within(moments.width, _KRYLOV_BYTES)
    return krylov.randomized(moments.n, moments.mean, moments.variance, multiply, wanted, most_columns=most, say=say)


def memory(width: int, solver: str, labels: int, wanted: Wanted) -> tuple[int, int]:
    """Return the bytes that each task takes at most, and those that this process does."""
    labels = min(labels, most_labels(width))
    each = partials.task_bytes(width, solver == "covariance", labels)
    if solver == "covariance":
        return each, 8 * width * width + solvers.memory_bytes(width) + partials.task_bytes(width, False, labels)
    most = krylov.columns_within(width, _KRYLOV_BYTES)
    block = krylov.block_width(wanted, most)
    return max(each, products.task_bytes(width, block, BATCH_BYTES)), krylov.memory_bytes(width, most)


def _changed(plan: Plan, width: int, distribution: Distribution) -> Sums:
    last, difference = plan.last, plan.difference
    assert last is not None
    assert last.moments is not None
    assert difference is not None
    before = LabelMeans.from_bytes(last.labels)
    kept = grown(before, difference.added_labels, most_labels(width))
    few = difference.n_removed + difference.n_added <= _FEW_ROWS
    where = Here() if few else distribution
    moments = Moments.from_bytes(last.moments)
    unusable = int(last.run_card.get("unusable", 0))
    gone, gone_labels, gone_unusable = _summed(difference.removed, width, True, kept, where)
    new, new_labels, new_unusable = _summed(difference.added, width, True, kept, where)
    return Sums(
        moments.removed(gone).merged(new),
        before.removed(gone_labels).merged(new_labels),
        unusable - gone_unusable + new_unusable,
        "",
    )


def _summed(
    parts: Sequence[Part],
    width: int,
    full: bool,
    kept: frozenset[Name],
    distribution: Distribution,
    told: Told = nobody,
) -> tuple[Moments, LabelMeans, int]:
    shares = dealt(parts, pieces(parts, distribution.tasks))
    if not shares:
        return Moments.empty(width, full), LabelMeans.empty(width), 0
    work = functools.partial(partial_of_parts, width=width, full=full, kept=kept)
    return read_partial(distribution.combined(work, combined, shares, PARTIAL, told))


def _multiplied(
    plan: Plan, moments: Moments, distribution: Distribution, block: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the product of the correlation matrix with a block (d, l): one reading of the table."""
    scale = solvers.scale_of(moments.mean, moments.variance)[:, None]
    varying = solvers.varying_columns(moments.mean, moments.variance)[:, None]
    work = functools.partial(products.multiply, factor=products.Factor(moments.mean, varying * block / scale))
    shares = dealt(plan.winners.parts, distribution.tasks)
    said = distribution.combined(work, products.summed, shares, products.SUMS)
    product: NDArray[np.float64] = varying * products.read_sums(said, moments.width) / scale / moments.n
    return product
