"""How many vectors, their mean and their centred scatter: all that standardisation and PCA need of a table.

Merging is the pairwise update of Chan, Golub and LeVeque, "Algorithms for computing the sample variance: analysis and
recommendations", The American Statistician 37 (1983), 242-247, and removing is its inverse; each block is centred with
its own mean before it is squared, their two-pass algorithm. Raw sums of squares lose every digit where the mean is
large beside the spread.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.algebra.envelope import opened, sealed

Vector = NDArray[np.float64]

_KIND = b"VMOM"
_SHAPE = struct.Struct("<qqq")
# Of the squared magnitude: what varies less is rounding, the ghost that a subtraction leaves, or of no use.
_CONSTANT = 1e-12
# Of the peak: below it fewer than nine digits are left of double precision's fifteen.
_FAINT = 1e-6
_BLOCK_BYTES, _BLOCK_ROWS = 64 << 20, 8192
# Rows of the scatter that are worked on at a time, so that no second one is needed.
_STRIP = 64


@dataclass(frozen=True, eq=False)
class Moments:
    """Of n vectors with d columns, in float64.

    Attributes
    ----------
    n : int
        How many vectors.
    mean : ndarray, shape (d,)
        Their mean; zeros for none.
    scatter : ndarray, shape (d, d) or (d,)
        Σ (x - mean)(x - mean)ᵀ, or only its diagonal, for vectors too wide for more.
    peak : ndarray, shape (d,)
        The greatest diagonal of the scatter since the last pass over the whole table, while the column varied.
        Removals leave an error of the size of its rounding.
    """

    n: int
    mean: Vector
    scatter: Vector
    peak: Vector

    @classmethod
    def empty(cls, width: int, full: bool = True) -> "Moments":
        """Return the moments of no vectors."""
        return cls(0, np.zeros(width), np.zeros((width, width) if full else width), np.zeros(width))

    @classmethod
    def of(cls, vectors: NDArray[np.floating[Any]], full: bool = True) -> "Moments":
        """Return the moments of the rows of an array.

        Parameters
        ----------
        vectors
            Shape (m, d), finite, of any floating dtype; copied to float64 in blocks of 64 MB.
        full
            Whether to have the whole scatter, or its diagonal.
        """
        count, width = vectors.shape
        total = Accumulator(cls.empty(width, full))
        most = block_rows(width)
        block = np.empty((min(count, most), width))
        for start in range(0, count, most):
            rows = vectors[start : start + most]
            block[: len(rows)] = rows
            total.absorb(block[: len(rows)])
        return total.moments()

    @property
    def width(self) -> int:
        """How many columns, d."""
        return len(self.mean)

    @property
    def full(self) -> bool:
        """Whether the scatter is whole, or only its diagonal."""
        return self.scatter.ndim == 2

    @property
    def diagonal(self) -> Vector:
        """The diagonal of the scatter, shape (d,)."""
        return np.diagonal(self.scatter) if self.full else self.scatter

    @property
    def variance(self) -> Vector:
        """The population variance (ddof 0) of each column, shape (d,), never below 0; zeros for no vectors."""
        return np.maximum(self.diagonal, 0) / max(self.n, 1)

    @property
    def varying(self) -> NDArray[np.bool_]:
        """Which columns vary, shape (d,): those whose variance is more than 1e-12 of mean² + variance."""
        variance = self.variance
        return np.asarray(variance > _CONSTANT * (self.mean**2 + variance))

    @property
    def trusted(self) -> bool:
        """Whether removals left enough digits; where not, only a pass over the whole table gives them back.

        They did not where a column that varied has a diagonal below 1e-6 of its peak. A column that was constant all
        the time has no peak.
        """
        return not ((self.peak > 0) & (self.diagonal < _FAINT * self.peak)).any()

    def merged(self, other: "Moments") -> "Moments":
        """Return the moments of these vectors and others together.

        Raises
        ------
        ValueError
            The two differ in width, or in whether the scatter is whole.
        """
        if not _alike(other, self).n:
            return replace(self, peak=np.maximum(self.peak, other.peak))
        return _merged(self, other, np.empty_like(self.scatter))

    def removed(self, other: "Moments") -> "Moments":
        """Return the moments of what is left without some of these vectors: the inverse of `merged`.

        Parameters
        ----------
        other
            Of vectors that are among these; nothing can tell whether they are.

        Raises
        ------
        ValueError
            `other` is of more vectors, or of another shape.
        """
        left = self.n - _alike(other, self).n
        if left < 0:
            raise ValueError(f"{other.n} vectors cannot be removed from {self.n}: make a full pass")
        peak = np.maximum(self.peak, other.peak)
        if other.n == 0:
            return replace(self, peak=peak)
        if left == 0:
            return replace(Moments.empty(self.width, self.full), peak=peak)
        shift = self.mean - other.mean
        scatter = np.empty_like(self.scatter)
        for strip, square in _squares(shift * math.sqrt(self.n * other.n / left), self.full):
            scatter[strip] = self.scatter[strip] - other.scatter[strip] - square
        return Moments(left, self.mean + shift * (other.n / left), scatter, peak)

    def to_bytes(self) -> bytes:
        """Return the value as bytes: little-endian; the scatter as its upper triangle, row by row.

        After the envelope: n, d and whether the scatter is whole as int64; then mean, peak and scatter as float64.
        """
        rows = (row[at:] for at, row in enumerate(self.scatter)) if self.full else iter([self.scatter])
        numbers = (np.ascontiguousarray(each, "<f8").data for each in (self.mean, self.peak, *rows))
        return sealed(_KIND, [_SHAPE.pack(self.n, self.width, self.full), *numbers])

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "Moments":
        """Return the value that `to_bytes` wrote.

        Raises
        ------
        ValueError
            The bytes are something else, of a newer version, or damaged.
        """
        content = opened(_KIND, data)
        n, width, full = _SHAPE.unpack_from(content)
        numbers = np.frombuffer(content, "<f8", offset=_SHAPE.size)
        mean, peak, packed = np.split(numbers, [width, 2 * width])
        if len(packed) != (width * (width + 1) // 2 if full else width):
            raise ValueError(f"moments of {width} columns do not come with {len(packed)} numbers of scatter")
        scatter = _unpacked(packed, width) if full else packed.astype(np.float64)
        return cls(n, mean.astype(np.float64), scatter, peak.astype(np.float64))


class Accumulator:
    """Moments that grow in place, however many blocks come: one scatter, and the one of what comes.

    Parameters
    ----------
    start
        What there is already; its scatter is the memory that is written to.
    """

    def __init__(self, start: Moments) -> None:
        self._total = start

    def absorb(self, block: Vector) -> None:
        """Add the rows of a block, shape (m, d), which is used up: it is centred in place."""
        if not len(block):
            return
        mean = block.mean(axis=0)
        block -= mean
        # The product of a matrix with its own transpose takes half the work (BLAS syrk).
        scatter = block.T @ block if self._total.full else np.einsum("ij,ij->j", block, block)
        self.merge(Moments(len(block), mean, scatter, np.zeros_like(mean)))

    def merge(self, other: Moments) -> None:
        """Add the vectors that other moments are of.

        Raises
        ------
        ValueError
            They are of another shape.
        """
        self._total = _merged(self._total, _alike(other, self._total), self._total.scatter)

    def moments(self) -> Moments:
        """Return the moments of all that came; what comes later changes them."""
        return self._total


def block_rows(width: int) -> int:
    """Return how many vectors make a block: 64 MB of float64 and 8,192 rows at most."""
    return max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // (8 * width)))


def _alike(other: Moments, one: Moments) -> Moments:
    if other.scatter.shape != one.scatter.shape:
        raise ValueError(f"scatters of shapes {one.scatter.shape} and {other.scatter.shape} do not go together")
    return other


def _merged(one: Moments, other: Moments, scatter: Vector) -> Moments:
    """Return both together, with the memory of `scatter`, which may be that of one of them."""
    n = one.n + other.n
    shift = other.mean - one.mean
    for strip, square in _squares(shift * math.sqrt(one.n * other.n / max(n, 1)), one.full):
        square += one.scatter[strip]
        square += other.scatter[strip]
        scatter[strip] = square
    both = Moments(n, one.mean + shift * (other.n / max(n, 1)), scatter, np.maximum(one.peak, other.peak))
    return replace(both, peak=np.maximum(both.peak, np.where(both.varying, both.diagonal, 0)))


def _squares(vector: Vector, full: bool) -> Iterator[tuple[slice, Vector]]:
    """Yield the outer square of a vector in strips of rows, or its diagonal."""
    if not full:
        yield slice(None), vector**2
        return
    for start in range(0, len(vector), _STRIP):
        strip = slice(start, start + _STRIP)
        yield strip, np.multiply.outer(vector[strip], vector)


def _unpacked(packed: Vector, width: int) -> Vector:
    """Return the symmetric matrix whose upper triangle is packed row by row."""
    matrix = np.empty((width, width))
    start = 0
    for at in range(width):
        row = packed[start : start + width - at]
        matrix[at, at:] = row
        # Below the diagonal, only to the next strip: what lies further is copied in tiles, which spares the cache.
        end = at + _STRIP - at % _STRIP
        matrix[at:end, at] = row[: end - at]
        start += width - at
    for end in range(_STRIP, width, _STRIP):
        strip = slice(end - _STRIP, end)
        matrix[end:, strip] = matrix[strip, end:].T
    return matrix
