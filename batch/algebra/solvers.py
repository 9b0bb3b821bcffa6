"""PCA of standardised columns from their moments: what is wanted, what comes out, and the exact solver."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]

# Up to this width the correlation matrix is formed and solved: 8 s and 0.4 GB there; the time grows with its cube.
WIDEST_EXACT = 4096
# Of the largest eigenvalue: what lies below is the round-off of eigenvalues that are zero.
_NOISE = 1e-12
# Of all variance: a target of 1.0 must not fail by the last digit of a sum.
_SLACK = 1e-10
# Of a column's mean square: what lies below is what sums in float64 leave of a column that does not vary.
_CONSTANT = 1e-12
# Of an axis' greatest entry: entries within this are equally great, whatever their last digits say.
_TIE = 1e-8
# LAPACK's solver for the leading k overtakes the one for all below this share of the width (measured at 1,280).
_FEW = 1 / 8


@dataclass(frozen=True)
class Wanted:
    """How many components a fit is to have.

    Attributes
    ----------
    components : int
        That many, where greater than 0.
    variance : float
        Otherwise the fewest that explain at least this share of all variance, in (0, 1].
    """

    components: int = 0
    variance: float = 0.90


@dataclass(frozen=True, eq=False)
class Solution:
    """The PCA of n rows of d columns, each divided by its scale; what every solver returns.

    The components of a row x are ``((x - mean) / scale) @ basis.T``. With ``StandardScaler`` and ``PCA`` of
    scikit-learn the numbers are the same, ddof included.

    Attributes
    ----------
    scale : (d,) float64
        Population standard deviation (ddof 0); 1.0 for a constant column.
    explained_variance : (k,) float64
        Eigenvalues of the correlation matrix, descending, times n / (n - 1).
    explained_variance_ratio : (k,) float64
        The eigenvalues divided by their sum, which is the number of varying columns.
    basis : (k, d) float64
        Orthonormal rows in standardised coordinates, zero in constant columns; see `signs` for their signs.
    solver : str
        Which one it was: ``covariance`` or ``randomized``.
    notes : tuple of str
        What a person should hear: limits that were met.
    """

    scale: Array
    explained_variance: Array
    explained_variance_ratio: Array
    basis: Array
    solver: str
    notes: tuple[str, ...] = ()


def varying_columns(mean: Array, variance: Array) -> NDArray[np.bool_]:
    """Return which columns are not constant: their variance is above 1e-12 of their mean square.

    Parameters
    ----------
    mean, variance
        (d,), of each column; the variance with ddof 0, and below 0 where a subtraction left it so.
    """
    return variance > _CONSTANT * (mean**2 + variance)


def scale_of(mean: Array, variance: Array) -> Array:
    """Return what each column is divided by, (d,): its standard deviation (ddof 0), or 1.0 where it is constant."""
    return np.sqrt(np.where(varying_columns(mean, variance), variance, 1.0))


def signs(basis: Array) -> Array:
    """Return the sign, 1.0 or -1.0, that makes each row's entry of greatest magnitude positive.

    It is the rule of scikit-learn's ``svd_flip(u_based_decision=False)``, but the first of several entries counts that
    differ in magnitude by round-off only: an axis along the difference of two columns has two greatest entries.

    Parameters
    ----------
    basis
        (k, d).

    Returns
    -------
    (k,) float64
    """
    return np.array([_sign(row) for row in basis], dtype=np.float64)


def signed(basis: Array) -> Array:
    """Return the rows, each with the sign of `signs`."""
    return basis * signs(basis)[:, None]


def choose(name: str, width: int) -> tuple[str, str]:
    """Return the solver that a name, maybe ``auto``, means for rows of `width` columns, and why, in a sentence."""
    if name != "auto":
        return name, f"solver {name}, as asked for"
    if width <= WIDEST_EXACT:
        return "covariance", f"solver covariance: exact, and quick up to {WIDEST_EXACT:,} columns; here are {width:,}"
    return "randomized", f"solver randomized: {width:,} columns are more than the {WIDEST_EXACT:,} of covariance"


def memory_bytes(width: int) -> int:
    """Return the bytes that `covariance` takes at most beside the scatter it is given: 3 matrices of its size."""
    return 3 * 8 * width**2


def covariance(n: int, mean: Array, scatter: Array, wanted: Wanted) -> Solution:
    """Fit by eigendecomposition of the correlation matrix of the varying columns, with LAPACK.

    Parameters
    ----------
    n
        Rows.
    mean
        (d,).
    scatter
        (d, d), symmetric: the sum over rows of ``outer(x - mean, x - mean)``. It is not modified.
    wanted
        How many components.

    Returns
    -------
    Solution
        With at most min(n - 1, varying columns) components; none where fewer than two rows are there, or no column
        varies. Eigenvalues that are zero but for round-off are not returned.
    """
    variance = np.diagonal(scatter) / max(n, 1)
    varying, scale = varying_columns(mean, variance), scale_of(mean, variance)
    most = greatest_rank(n, varying)
    if not most:
        return without_components(n, scale, "covariance")
    values, vectors = _leading(_correlation(n, scatter, varying, scale), min(most, wanted.components or most))
    values = values[: numerical_rank(values)]
    k = how_many(values, wanted, int(varying.sum()))
    basis = np.zeros((k, len(mean)))
    basis[:, varying] = vectors[:, :k].T
    notes = (*constant_columns(varying), *unmet(values[:k], wanted, varying))
    return solution(n, varying, scale, values[:k], basis, "covariance", notes)


def eigenvalues(n: int, mean: Array, scatter: Array) -> tuple[Array, Array]:
    """Return what every axis would explain, those that `covariance` leaves out, too.

    Parameters
    ----------
    n, mean, scatter
        As for `covariance`.

    Returns
    -------
    variances, shares : (m,) float64
        As `Solution` has them, descending, of the axes whose eigenvalue is not zero.
    """
    variance = np.diagonal(scatter) / max(n, 1)
    varying, scale = varying_columns(mean, variance), scale_of(mean, variance)
    most = greatest_rank(n, varying)
    if not most:
        return np.zeros(0), np.zeros(0)
    matrix = _correlation(n, scatter, varying, scale)
    values: Array = linalg.eigvalsh(matrix.T, overwrite_a=True)[::-1][:most]
    values = values[: numerical_rank(values)]
    return values * (n / (n - 1)), values / varying.sum()


def greatest_rank(n: int, varying: NDArray[np.bool_]) -> int:
    """Return the most components that n rows can have: n - 1, as they are centred, or their varying columns."""
    return max(0, min(n - 1, int(varying.sum())))


def numerical_rank(values: Array) -> int:
    """Return how many of some eigenvalues, descending, are more than the round-off of a zero."""
    return int(np.sum(values > _NOISE * values[0]))


def how_many(values: Array, wanted: Wanted, varying: int) -> int:
    """Return how many of the leading eigenvalues, (m,) descending, are wanted; all where they do not suffice."""
    if wanted.components:
        return min(wanted.components, len(values))
    enough = np.searchsorted(np.cumsum(values), (wanted.variance - _SLACK) * varying) + 1
    return min(int(enough), len(values))


def suffices(values: Array, wanted: Wanted, varying: int) -> bool:
    """Whether these eigenvalues are as many, or explain as much, as wanted."""
    if wanted.components:
        return len(values) >= wanted.components
    return bool(values.sum() >= (wanted.variance - _SLACK) * varying)


def solution(
    n: int,
    varying: NDArray[np.bool_],
    scale: Array,
    values: Array,
    basis: Array,
    solver: str,
    notes: tuple[str, ...],
) -> Solution:
    """Return the solution of k eigenvalues, descending, and their axes, (k, d), whose signs are set in place."""
    basis *= signs(basis)[:, None]
    return Solution(scale, values * (n / (n - 1)), values / varying.sum(), basis, solver, notes)


def without_components(n: int, scale: Array, solver: str) -> Solution:
    """Return the solution of rows that do not vary: they have a scale and no component."""
    reason = "no column varies" if n > 1 else "a single picture does not vary" if n else "there is no picture"
    none = np.zeros(0)
    return Solution(scale, none, none, np.zeros((0, len(scale))), solver, (f"no components: {reason}",))


def constant_columns(varying: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the note on columns that take no part, where there are any."""
    count = len(varying) - int(varying.sum())
    return (f"{count:,} of {len(varying):,} columns are constant and take no part",) if count else ()


def unmet(values: Array, wanted: Wanted, varying: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the note on fewer components, or less variance, than were wanted, where it is so."""
    if suffices(values, wanted, int(varying.sum())):
        return ()
    if wanted.components:
        return (f"{wanted.components:,} components were asked for, there are {len(values):,}",)
    # Rounded down: 0.8999 is not 0.90.
    share = math.floor(values.sum() / varying.sum() * 1e4) / 1e4
    return (f"the target of {wanted.variance:g} is not reached with {len(values):,} components: {share:g}",)


def _sign(row: Array) -> float:
    magnitudes = np.abs(row)
    first = np.argmax(magnitudes >= (1 - _TIE) * magnitudes.max())
    return -1.0 if row[first] < 0 else 1.0


def _correlation(n: int, scatter: Array, varying: NDArray[np.bool_], scale: Array) -> Array:
    """Return the correlation matrix of the varying columns, as an array of its own."""
    matrix = scatter[np.ix_(varying, varying)]
    matrix /= scale[varying, None] * n
    matrix /= scale[varying]
    return matrix


def _leading(matrix: Array, count: int) -> tuple[Array, Array]:
    """Return the leading eigenvalues, descending, and eigenvectors as columns, overwriting the matrix.

    Eigenvalues alone are no saving where their number is to be found out: the reduction to tridiagonal form is most of
    the work and would be done twice.
    """
    width = len(matrix)
    few = count <= _FEW * width
    values, vectors = linalg.eigh(
        # Its transpose is what LAPACK calls contiguous, and is not copied.
        matrix.T,
        overwrite_a=True,
        driver="evr" if few else "evd",
        subset_by_index=[width - count, width - 1] if few else None,
    )
    return values[::-1][:count], vectors[:, ::-1][:, :count]
