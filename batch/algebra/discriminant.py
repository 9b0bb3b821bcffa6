"""Which label a vector is more like: scatter within labels, and the linear discriminant that follows from it.

Merging is the pairwise update of Chan, Golub and LeVeque (see `batch.algebra.moments`), label by label; each block is
centred with its own means before it is squared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import linalg

Name = str | None
Doubles = NDArray[np.float64]
Places = NDArray[np.int64]

# Numbers of the distances from every label that are held at a time: 32 MB.
_AT_ONCE = 4 << 20
# A covariance without any of the target may have no inverse.
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, eq=False)
class LabelScatter:
    """Of vectors with k columns and L labels, in float64.

    Attributes
    ----------
    names : tuple of (str or None)
        The labels that are told apart, a closed set; None stands for pictures without one.
    counts : ndarray of int64, shape (L,)
        How many vectors bear each; 0 for a label of which none came.
    means : ndarray, shape (L, k)
        Their means; zeros for none.
    squares : ndarray, shape (L,)
        The sum over each label's vectors of their squared distances from its mean.
    scatter : ndarray, shape (k, k)
        Σ (x - m)(x - m)ᵀ over the vectors of all labels but None, m being the mean of the vector's own label.
    """

    names: tuple[Name, ...]
    counts: Places
    means: Doubles
    squares: Doubles
    scatter: Doubles

    @classmethod
    def empty(cls, names: tuple[Name, ...], width: int) -> LabelScatter:
        """Return the value for no vectors."""
        count = len(names)
        return cls(
            names, np.zeros(count, np.int64), np.zeros((count, width)), np.zeros(count), np.zeros((width, width))
        )

    @classmethod
    def of(cls, names: tuple[Name, ...], places: Places, vectors: NDArray[np.floating[Any]]) -> LabelScatter:
        """Return the value for some vectors.

        Parameters
        ----------
        places
            Shape (m,), the place of each vector's label in `names`, as `places_of` has it; -1 for any other label,
            whose vectors take no part.
        vectors
            Shape (m, k), finite, of any floating dtype.
        """
        found = cls.empty(names, vectors.shape[1])
        order = np.argsort(places, kind="stable")
        order = order[np.searchsorted(places[order], 0) :]
        if not len(order):
            return found
        mine, rows = places[order], vectors[order].astype(np.float64)
        there, starts, counts = np.unique(mine, return_index=True, return_counts=True)
        found.counts[there] = counts
        found.means[there] = np.add.reduceat(rows, starts, axis=0) / counts[:, None]
        rows -= found.means[mine]
        found.squares[there] = np.add.reduceat(np.einsum("ij,ij->i", rows, rows), starts)
        labelled = rows[~found.unnamed[mine]]
        np.matmul(labelled.T, labelled, out=found.scatter)
        return found

    @property
    def unnamed(self) -> NDArray[np.bool_]:
        """Which of the names is None, shape (L,)."""
        return np.array([name is None for name in self.names], bool)

    @property
    def spreads(self) -> Doubles:
        """Root mean square distance of each label's vectors from its mean, shape (L,); zeros for none."""
        return np.asarray(np.sqrt(self.squares / np.maximum(self.counts, 1)))

    def merged(self, other: LabelScatter) -> LabelScatter:
        """Return the value for these vectors and others together.

        Raises
        ------
        ValueError
            The two are of other labels, or of another width.
        """
        if self.names != other.names or self.means.shape != other.means.shape:
            raise ValueError(f"scatters of {self.means.shape} and of {other.means.shape} labels do not go together")
        counts = self.counts + other.counts
        share = other.counts / np.maximum(counts, 1)
        shift = other.means - self.means
        weights = self.counts * share
        squares = self.squares + other.squares + weights * np.einsum("ij,ij->i", shift, shift)
        between = shift * np.sqrt(np.where(self.unnamed, 0, weights))[:, None]
        scatter = self.scatter + other.scatter + between.T @ between
        return LabelScatter(self.names, counts, self.means + shift * share[:, None], squares, scatter)


@dataclass(frozen=True, eq=False)
class Likeness:
    """Of m vectors, how they lie to the labels; every array has the shape (m,).

    Attributes
    ----------
    distance : ndarray of float64
        To the mean of the vector's own label, Euclidean; NaN where that is none of those told apart.
    nearest : ndarray of int64
        The place of the label, other than its own, that explains the vector best; -1 where there is none.
    nearest_distance : ndarray of float64
        To that label's mean, Euclidean; NaN where there is none.
    suspicion : ndarray of float64
        Above 0 where the vector is more like that other label than like its own without it; NaN where it has no label,
        no other bears it, or there is no other label.
    """

    distance: Doubles
    nearest: Places
    nearest_distance: Doubles
    suspicion: Doubles


class Discriminant:
    """The linear discriminant of some labels, all taken to be as likely and as scattered as one another.

    The covariance S within labels is shrunk towards the multiple of the identity that has its trace, by the share of
    Chen, Wiesel, Eldar and Hero (2010), Shrinkage algorithms for MMSE covariance estimation, IEEE Transactions on
    Signal Processing 58, 5016-5029, equation 23. Suspicion is half the squared Mahalanobis distance from the mean of
    the vector's own label, less half that from the nearest other: the difference of the two discriminant functions of
    Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 4.3. A label's mean is in part
    each of its vectors, so that of n vectors one lies n / (n - 1) times as far from the mean of the others; this is
    what counts. The covariance, to which each vector adds little, is left as it is.

    Parameters
    ----------
    found
        What the labels are like; one at least.
    """

    def __init__(self, found: LabelScatter) -> None:
        self._found = found
        self._root = linalg.cholesky(_covariance(found), lower=True)
        self._centres = self._whitened(found.means)
        self._lengths = np.einsum("ij,ij->i", self._centres, self._centres)
        self._eligible = ~found.unnamed & (found.counts > 0)
        # By what a vector's squared distance from the mean grows where that is of the others alone.
        self._left_out = (found.counts / np.maximum(found.counts - 1, 1)) ** 2

    def likeness(self, places: Places, vectors: NDArray[np.floating[Any]]) -> Likeness:
        """Return how vectors, shape (m, k), lie to the labels.

        Parameters
        ----------
        places
            Shape (m,), as for `LabelScatter.of`.
        """
        nothing = np.zeros(0)
        parts = [Likeness(nothing, np.zeros(0, np.int64), nothing, nothing)]
        most = max(1, _AT_ONCE // max(len(self._centres), vectors.shape[1]))
        for start in range(0, len(places), most):
            rows = slice(start, start + most)
            parts.append(self._of_block(places[rows], vectors[rows].astype(np.float64)))
        return Likeness(
            np.concatenate([each.distance for each in parts]),
            np.concatenate([each.nearest for each in parts]),
            np.concatenate([each.nearest_distance for each in parts]),
            np.concatenate([each.suspicion for each in parts]),
        )

    def _of_block(self, places: Places, rows: Doubles) -> Likeness:
        white = self._whitened(rows)
        nearest, other = self._nearest(places, white)
        alone = (places < 0) | ~self._eligible[places] | (self._found.counts[places] < 2)
        own = _squared(white - self._centres[places]) * self._left_out[places]
        suspicion = np.where(alone | (nearest < 0), np.nan, (own - other) / 2)
        return Likeness(self._apart(rows, places), nearest, self._apart(rows, nearest), suspicion)

    def _nearest(self, places: Places, white: Doubles) -> tuple[Places, Doubles]:
        """Return the nearest other label of each vector, and the squared distance from it in whitened space."""
        squared = white @ (-2 * self._centres.T)
        squared += self._lengths
        squared += _squared(white)[:, None]
        squared[:, ~self._eligible] = np.inf
        own = np.flatnonzero(places >= 0)
        squared[own, places[own]] = np.inf
        nearest = squared.argmin(axis=1)
        least = squared[np.arange(len(squared)), nearest]
        return np.where(np.isfinite(least), nearest, -1), np.maximum(least, 0)

    def _whitened(self, rows: Doubles) -> Doubles:
        """Return rows in the coordinates in which the covariance within labels is the identity."""
        return np.asarray(linalg.solve_triangular(self._root, rows.T, lower=True).T)

    def _apart(self, rows: Doubles, places: Places) -> Doubles:
        """Return the Euclidean distance of each row from the mean of a label; NaN for the label -1."""
        return np.where(places < 0, np.nan, np.sqrt(_squared(rows - self._found.means[places])))


def places_of(labels: pa.Array | pa.ChunkedArray, names: tuple[Name, ...]) -> Places:
    """Return for each label, a string or null, its place in the names; -1 where it is not there."""
    column = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
    found = pc.index_in(column.cast(pa.string()), value_set=pa.array(names, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def shrinkage(covariance: Doubles, freedom: int) -> float:
    """Return the share of the identity that a sample covariance is to get, in (0, 1]; see `Discriminant`.

    Parameters
    ----------
    covariance
        Shape (k, k).
    freedom
        Degrees of freedom that it is estimated with.
    """
    width, trace, square = len(covariance), float(np.trace(covariance)), float(np.sum(covariance**2))
    off = (freedom + 1 - 2 / width) * (square - trace**2 / width)
    # Nothing is off the target, but for rounding.
    if off <= 1e-12 * square:
        return 1.0
    return float(np.clip(((1 - 2 / width) * square + trace**2) / off, _LEAST_SHARE, 1))


def _covariance(found: LabelScatter) -> Doubles:
    """Return the shrunk covariance within labels; the identity where nothing varies within any."""
    width = len(found.scatter)
    named = found.counts[~found.unnamed]
    freedom = int(named.sum() - np.count_nonzero(named))
    scale = float(np.trace(found.scatter)) / (width * max(freedom, 1)) if width else 0.0
    if scale <= 0:
        return np.eye(width)
    covariance = found.scatter / freedom
    share = shrinkage(covariance, freedom)
    return np.asarray((1 - share) * covariance + share * scale * np.eye(width))


def _squared(rows: Doubles) -> Doubles:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))
