"""PCA of wide rows: a randomised block Krylov method that sees their correlation matrix as products only."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from batch.algebra.solvers import (
    Array,
    Solution,
    Wanted,
    constant_columns,
    greatest_rank,
    how_many,
    numerical_rank,
    scale_of,
    solution,
    suffices,
    unmet,
    varying_columns,
    without_components,
)

# Of the largest eigenvalue. An eigenvalue errs by the square of its residual over the gap to its neighbours, and an
# axis by the residual over the gap: axes are right to 1e-6 where gaps are 1e-3.
_TOLERANCE = 1e-9
# Of the largest eigenvalue: what is left of a direction that is in the subspace already. Far below the tolerance.
_SPENT = 1e-11
# Of all variance: so little is round-off.
_ALL = 1e-9
# Of its own eigenvalue: the greatest residual of a component when memory ends before a variance target is reached.
_FAIR = 1e-2
# More directions than components, so that the wanted ones are told from the next (Halko et al. 2011, section 1.3).
_OVERSAMPLING = 10
# Directions that cost a pass about as much as reading the rows does: fewer save nothing, and make for more passes.
_BLOCK = 64
# Fewer would be no Krylov method. Passes that deepen it do more for its accuracy than wider blocks.
_FEWEST_BLOCKS = 4
# Of BLAS, for two or three threads; measured.
_BUFFERS = 64 << 20

Multiply = Callable[[Array], Array]


def memory_bytes(width: int, columns: int) -> int:
    """Return the bytes that `randomized` takes at most on the driver, with a subspace of so many columns.

    The subspace; as much again for a block's copies, or the basis; the projected problem; and what BLAS keeps.
    """
    return _BUFFERS + 8 * (2 * width * columns + 4 * columns**2)


def columns_within(width: int, bytes: int) -> int:
    """Return the most columns whose `memory_bytes` are within a number of bytes."""
    return int((math.sqrt(width**2 + max(0, bytes - _BUFFERS) / 2) - width) / 4)


def block_width(wanted: Wanted, most_columns: int) -> int:
    """Return the most columns of a block: what a worker holds twice over, as it comes and as a partial product."""
    return max(1, min(max(wanted.components + _OVERSAMPLING, _BLOCK), most_columns // _FEWEST_BLOCKS))


def randomized(
    n: int,
    mean: Array,
    variance: Array,
    multiply: Multiply,
    wanted: Wanted,
    most_columns: int,
    seed: int = 0,
    say: Callable[[str], object] = lambda sentence: None,
) -> Solution:
    """Fit from products with the correlation matrix, each of which is a pass over the table.

    A random block and its images under the matrix span a subspace S, kept orthonormal; the eigenpairs of S' C S are
    those of C, as soon as the residuals ||C v - t v|| vanish, and are known exactly and without a further pass. Their
    eigenvalues approach the true ones from below.

    References
    ----------
    Halko, Martinsson and Tropp (2011), Finding structure with randomness, SIAM Review 53, 217-288; Musco and Musco
    (2015), Randomized block Krylov methods for stronger and faster approximate SVD, NIPS 28, algorithm 2; Parlett
    (1998), The symmetric eigenvalue problem, section 6.9 for orthogonality, 11.7 for what residuals say about errors.

    Parameters
    ----------
    n
        Rows.
    mean, variance
        (d,), of each column; the variance with ddof 0.
    multiply
        Returns C @ block, (d, l) float64, for a block (d, l) that it does not modify, C being the correlation matrix
        of the n rows; zero in constant columns. The array is the solver's to overwrite.
    wanted
        How many components.
    most_columns
        The bound on the subspace that memory sets; see `columns_within`.
    seed
        Of the first block. The same seed and products give the same solution.
    say
        Told a sentence after each pass.

    Returns
    -------
    Solution
        Its residuals are within 1e-9 of the largest eigenvalue, or a note says that memory ended before. If it ends
        before a variance target is reached, the leading components whose residuals are within 1 % of their eigenvalue.
    """
    varying, scale = varying_columns(mean, variance), scale_of(mean, variance)
    rank, count = greatest_rank(n, varying), int(varying.sum())
    if not rank:
        return without_components(n, scale, "randomized")
    attainable = Wanted(min(wanted.components, rank), wanted.variance)
    limit = max(1, min(most_columns, count))
    space = _Subspace(varying, limit, seed)
    space.explore(min(rank, block_width(attainable, limit)))
    for passes in itertools.count(1):
        pairs = space.ritz(multiply(space.newest))
        say(f"pass {passes:,}: {space.size:,} directions hold {pairs.values.sum() / count:.4f} of the variance")
        if _converged(pairs, attainable, count) or not space.grow(pairs):
            break
    k = _kept(pairs, attainable, count, rank)
    worst = float(pairs.residuals[:k].max())
    notes = (
        *constant_columns(varying),
        *unmet(pairs.values[:k], wanted, varying),
        f"{passes:,} passes over the table, worst residual {worst:.1e} of the largest eigenvalue",
        *_out_of_memory(worst, limit),
    )
    return solution(n, varying, scale, pairs.values[:k], space.axes(pairs.vectors[:, :k]), "randomized", notes)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The m Ritz pairs of a subspace, greatest first; residuals in units of the largest eigenvalue."""

    values: Array
    vectors: Array
    residuals: Array


class _Subspace:
    """An orthonormal S that grows by a block with each pass, and S' C S, exactly.

    C S is not kept. S is made of images, so that C S lies in S but for the image of the newest block; what that one has
    outside of S becomes the next block, and gives every residual.
    """

    def __init__(self, varying: NDArray[np.bool_], most: int, seed: int) -> None:
        self.size = 0
        self._newest = slice(0, 0)
        self._varying = varying
        self._random = np.random.default_rng(seed)
        # The system gives memory to a column when it is written.
        self._columns = np.empty((len(varying), most), order="F")
        self._projected = np.zeros((most, most))
        self._outside = np.zeros((len(varying), 0)), np.zeros((0, 0))

    @property
    def newest(self) -> Array:
        """The block, (d, l), whose image is not known yet."""
        return self._columns[:, self._newest]

    def explore(self, width: int) -> None:
        """Append random directions, as many as there is room for."""
        block = np.zeros((len(self._varying), min(width, self._room)), order="F")
        block[self._varying] = self._random.standard_normal((int(self._varying.sum()), block.shape[1]))
        self._take_out(block)
        self._append(_orthogonal(block)[0])

    def ritz(self, image: Array) -> _Pairs:
        """Return the Ritz pairs, given the image of the newest block, which is overwritten."""
        coefficients = self._take_out(image)
        self._projected[: self.size, self._newest] = coefficients
        self._projected[self._newest, : self.size] = coefficients.T
        self._outside = _orthogonal(image)
        values, vectors = linalg.eigh(self._projected[: self.size, : self.size], driver="evd")
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        residuals = linalg.norm(self._outside[1] @ vectors[self._newest], axis=0)
        return _Pairs(values, vectors, residuals / values[0])

    def grow(self, pairs: _Pairs) -> bool:
        """Append the next block; False where there is none, or no room for it."""
        before, free = self.size, int(self._varying.sum()) - self.size
        directions, triangle = self._outside
        left, lengths, _ = linalg.svd(triangle)
        fresh = min(int(np.sum(lengths > _SPENT * pairs.values[0])), free)
        # A part of a block would hide the rest of it from the residuals.
        if 0 < fresh <= self._room:
            block = (left[:, :fresh].T @ directions.T).T
            # Short directions were made long, and with them what round-off left of the subspace; twice is enough.
            self._take_out(block)
            self._append(_orthogonal(block)[0])
        elif not fresh and self._room and self._unexplained(pairs) > _ALL:
            # Invariant, so exact, but blind for further copies of an eigenvalue that is there many times.
            self.explore(len(triangle))
        return self.size > before

    def axes(self, vectors: Array) -> Array:
        """Return the Ritz vectors, (k, d), of k columns of coordinates in the subspace."""
        return vectors.T @ self._basis.T

    @property
    def _room(self) -> int:
        return self._columns.shape[1] - self.size

    @property
    def _basis(self) -> Array:
        return self._columns[:, : self.size]

    def _unexplained(self, pairs: _Pairs) -> float:
        """Return the share of variance outside of the subspace."""
        return float(1 - pairs.values.sum() / self._varying.sum())

    def _append(self, block: Array) -> None:
        self._newest = slice(self.size, self.size + block.shape[1])
        self.size = self._newest.stop
        self.newest[:] = block
        # A reflection leaves round-off where there was nothing.
        self.newest[~self._varying] = 0.0

    def _take_out(self, block: Array) -> Array:
        """Take out of a block, in place, what it has in the subspace, and return that, (m, l)."""
        coefficients = self._basis.T @ block
        block -= self._basis @ coefficients
        return coefficients


def _orthogonal(block: Array) -> tuple[Array, Array]:
    """Return q, (d, l), and r, (l, l), of a block, which is overwritten where its columns are contiguous."""
    q, r = linalg.qr(block, mode="economic", overwrite_a=True)
    return q, r


def _converged(pairs: _Pairs, wanted: Wanted, varying: int) -> bool:
    k = how_many(pairs.values, wanted, varying)
    return suffices(pairs.values, wanted, varying) and bool(pairs.residuals[:k].max() <= _TOLERANCE)


def _kept(pairs: _Pairs, wanted: Wanted, varying: int, rank: int) -> int:
    """Return how many of the Ritz pairs are components."""
    values = pairs.values[: min(rank, numerical_rank(pairs.values))]
    k = how_many(values, wanted, varying)
    if wanted.components or suffices(values, wanted, varying):
        return k
    fair = pairs.residuals[:k] * values[0] <= _FAIR * values[:k]
    return max(1, int(np.argmin([*fair, False])))


def _out_of_memory(worst: float, limit: int) -> tuple[str, ...]:
    if worst <= _TOLERANCE:
        return ()
    return (f"memory for {limit:,} directions ended before the components were exact: give it more, or ask for fewer",)
