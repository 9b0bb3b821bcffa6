"""Stable axes: the axes of a refit in the order and with the signs of the model before it, where they are the same."""

import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from batch.algebra.solvers import Array, Solution, signs

# More than half of an axis lies along another: of orthonormal axes, one at most can be so near.
_SAME_AXIS = np.sqrt(0.5)


def aligned(solution: Solution, previous: Array, n: int) -> Solution:
    """Return a solution with the previous model's signs and, among equals, its order, where its axes are the same.

    Two axes are the same where |cos| > 1 / sqrt(2). Nothing is rotated: each axis stays the eigenvector that it is.
    Axes change places only where sampling cannot tell their eigenvalues apart (see `groups`), so explained variances
    descend but for sampling error. An axis without a previous one has the deterministic sign of
    `batch.algebra.solvers.signs`, and a place by its explained variance among those that are left.

    Parameters
    ----------
    solution
        With k axes, by descending explained variance, or the result of an alignment.
    previous
        (k0, d), unit rows, in the standardised coordinates of `solution`; see `in_new_units`. k0 may be 0.
    n
        The rows that `solution` was fitted on.

    Returns
    -------
    Solution
        The same axes and explained variances; aligned with the same `previous` once more it stays as it is.
    """
    cosines = solution.basis @ previous.T
    order = _order(np.abs(cosines), solution.explained_variance, n)
    turned = _signs(cosines, solution.basis)
    return replace(
        solution,
        explained_variance=solution.explained_variance[order],
        explained_variance_ratio=solution.explained_variance_ratio[order],
        basis=solution.basis[order] * turned[order, None],
    )


def groups(explained_variance: Array, n: int) -> list[slice]:
    """Return the runs of axes whose explained variances a sample of n rows cannot tell apart.

    By the rule of thumb of North et al. (1982), an eigenvalue errs by its ``sqrt(2 / n)``; where it lies closer than
    that to its neighbour, the two axes are one arbitrary choice in the plane they span. Neighbours chain into a group.

    References
    ----------
    North, Bell, Cahalan and Moeng (1982), Sampling errors in the estimation of empirical orthogonal functions, Monthly
    Weather Review 110, 699-706.

    Parameters
    ----------
    explained_variance
        (k,), in any order; the groups are those of the descending order.
    n
        Rows.
    """
    descending = np.sort(explained_variance)[::-1]
    apart = descending[:-1] - descending[1:] >= descending[:-1] * np.sqrt(2 / n)
    bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), len(descending)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds) if start < stop]


def in_new_units(previous: Array, previous_scale: Array, scale: Array, varying: NDArray[np.bool_]) -> Array:
    """Return the previous axes as directions in the standardised coordinates of a refit.

    An axis b is the function ``(x - mean) / previous_scale @ b`` of a row x. Its gradient over x is ``b /
    previous_scale``, and over the new coordinates ``b * scale / previous_scale``: what is returned, with length 1.
    The rows are not made orthogonal again. Scales that change by different factors do tilt the axes towards one
    another, but each is compared as the direction it is, while orthogonalising would mix it with the others; the
    subspace, and so its principal angles, is the same either way.

    Parameters
    ----------
    previous
        (k0, d), the basis of the previous model.
    previous_scale, scale
        (d,), of the previous model and of the refit.
    varying
        (d,), the columns that vary now; the scale of the others says nothing.

    Returns
    -------
    (k0, d) float64
        Unit rows; a zero row for an axis that lay in columns that no longer vary.
    """
    rows: Array = previous * np.where(varying, scale / previous_scale, 0.0)
    lengths = linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def principal_angles(basis: Array, previous: Array) -> Array:
    """Return the angles between the subspaces of two bases, ascending.

    They are exact for small angles, too, as sines are used there (Björck and Golub 1973, Numerical methods for
    computing angles between linear subspaces, Mathematics of Computation 27, 579-594).

    Parameters
    ----------
    basis, previous
        (k, d) and (k0, d), rows of any length in the same coordinates.

    Returns
    -------
    (min(k, k0),) float64
        In radians, from 0 to pi / 2; fewer where rows are zero or depend on each other.
    """
    if not basis.any() or not previous.any():
        return np.zeros(0)
    return np.asarray(linalg.subspace_angles(basis.T, previous.T)[::-1], dtype=np.float64)


def _order(nearness: Array, explained_variance: Array, n: int) -> NDArray[np.intp]:
    """Return which axis comes at each place."""
    descending = np.argsort(-explained_variance, kind="stable")
    places = [_within(nearness[descending[group], group], descending[group]) for group in groups(explained_variance, n)]
    return np.concatenate([np.zeros(0, np.intp), *places])


def _within(nearness: Array, axes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the axes of one group by place: at a previous axis' place the same one, at others what is left, in order.

    `nearness` has a row for each axis and a column for each place that had a previous axis.
    """
    same = np.where(nearness > _SAME_AXIS, nearness, 0.0)
    rows, places = optimize.linear_sum_assignment(same, maximize=True)
    matched = same[rows, places] > 0
    order = np.full(len(axes), -1, np.intp)
    order[places[matched]] = axes[rows[matched]]
    order[order < 0] = np.delete(axes, rows[matched])
    return order


def _signs(cosines: Array, basis: Array) -> Array:
    """Return the sign, 1.0 or -1.0, of each axis."""
    if not cosines.size:
        return signs(basis)
    nearest = cosines[np.arange(len(cosines)), np.abs(cosines).argmax(axis=1)]
    return np.where(np.abs(nearest) > _SAME_AXIS, np.sign(nearest), signs(basis))
