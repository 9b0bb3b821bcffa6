"""How many vectors bear each label, and their mean: what drift, spread and outliers are told by.

The labels that have a mean of their own are a closed set, settled by a pass over the whole table; all others are
counted together.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batch.algebra.envelope import opened, sealed

Name = str | None

_KIND = b"VLBL"
_SHAPE = struct.Struct("<qqqq")
_MOST, _MOST_BYTES = 1000, 64 << 20
# Rows of one label that are gathered at a time, so that no second block is needed.
_GATHERED, _GATHERED_BYTES = 512, 4 << 20


@dataclass(frozen=True, eq=False)
class LabelMeans:
    """Of vectors with d columns and L labels, in float64.

    Attributes
    ----------
    names : tuple of (str or None)
        The labels, sorted; None stands for pictures without one, and comes first.
    counts : ndarray of int64, shape (L,)
        How many vectors bear each; 1 at least.
    means : ndarray of float64, shape (L, d)
        Their means.
    other : int
        How many vectors bear a label that has no mean of its own.
    other_mean : ndarray of float64, shape (d,)
        The mean of those together; zeros for none.
    """

    names: tuple[Name, ...]
    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    other: int
    other_mean: NDArray[np.float64]

    @classmethod
    def empty(cls, width: int) -> "LabelMeans":
        """Return the value for no vectors."""
        return cls((), np.zeros(0, np.int64), np.zeros((0, width)), 0, np.zeros(width))

    @classmethod
    def of(
        cls, labels: pa.Array | pa.ChunkedArray, vectors: NDArray[np.floating[Any]], kept: frozenset[Name]
    ) -> "LabelMeans":
        """Return the value for some vectors.

        Parameters
        ----------
        labels
            Strings or nulls, one for each vector.
        vectors
            Shape (m, d), of any floating dtype.
        kept
            The labels that have a mean of their own.
        """
        sums = LabelSums(vectors.shape[1], kept)
        sums.add(labels, vectors)
        return sums.means()

    @property
    def width(self) -> int:
        """How many columns, d."""
        return len(self.other_mean)

    @property
    def n(self) -> int:
        """How many vectors, with any label."""
        return int(self.counts.sum()) + self.other

    def merged(self, other: "LabelMeans") -> "LabelMeans":
        """Return the value for these vectors and others together.

        Raises
        ------
        ValueError
            They differ in width.
        """
        return self._changed(other, 1)

    def removed(self, other: "LabelMeans") -> "LabelMeans":
        """Return the value for what is left without some of these vectors; a label that none bears is gone.

        Raises
        ------
        ValueError
            `other` has more vectors of a label than there are, or another width.
        """
        return self._changed(other, -1)

    def _changed(self, other: "LabelMeans", sign: int) -> "LabelMeans":
        if self.width != other.width:
            raise ValueError(f"means of {self.width} and of {other.width} columns do not go together")
        names = tuple(sorted({*self.names, *other.names}, key=_order))
        rows = {name: row for row, name in enumerate(names)}
        counts, means = np.zeros(len(names), np.int64), np.zeros((len(names), self.width))
        mine = [rows[name] for name in self.names]
        counts[mine], means[mine] = self.counts, self.means
        for name, count, mean in zip(other.names, other.counts, other.means, strict=True):
            row = rows[name]
            counts[row], means[row] = _pooled(int(counts[row]), means[row], sign * int(count), mean, f"label {name!r}")
        rest, rest_mean = _pooled(self.other, self.other_mean, sign * other.other, other.other_mean, "other labels")
        there = counts > 0
        if there.all():
            return LabelMeans(names, counts, means, rest, rest_mean)
        left = tuple(name for name, stays in zip(names, there, strict=True) if stays)
        return LabelMeans(left, counts[there], means[there], rest, rest_mean)

    def to_bytes(self) -> bytes:
        """Return the value as bytes: little-endian, the names as JSON.

        After the envelope: L, d, `other` and the length of the names as int64; counts as int64; means and `other_mean`
        as float64; the names.
        """
        names = json.dumps(self.names).encode()
        shape = _SHAPE.pack(len(self.names), self.width, self.other, len(names))
        means = [np.ascontiguousarray(each, "<f8").data for each in (*self.means, self.other_mean)]
        return sealed(_KIND, [shape, self.counts.astype("<i8").tobytes(), *means, names])

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "LabelMeans":
        """Return the value that `to_bytes` wrote.

        Raises
        ------
        ValueError
            The bytes are something else, of a newer version, or damaged.
        """
        content = opened(_KIND, data)
        length, width, other, text = _SHAPE.unpack_from(content)
        ends = np.cumsum([_SHAPE.size, 8 * length, 8 * length * width, 8 * width, text]).tolist()
        if ends[-1] != len(content):
            raise ValueError(f"means of {length} labels and {width} columns do not come in {len(content)} bytes")
        counts, means, rest, names = (content[start:end] for start, end in pairwise(ends))
        return cls(
            tuple(json.loads(bytes(names))),
            np.frombuffer(counts, "<i8").astype(np.int64),
            np.frombuffer(means, "<f8").astype(np.float64).reshape(length, width),
            other,
            np.frombuffer(rest, "<f8").astype(np.float64),
        )


class LabelSums:
    """Sums by label that grow in place, however many blocks come.

    Parameters
    ----------
    width
        How many columns, d.
    kept
        The labels that have a sum of their own; all others have one together.
    """

    def __init__(self, width: int, kept: frozenset[Name]) -> None:
        self._names = tuple(sorted(kept, key=_order))
        self._rows = {name: row for row, name in enumerate(self._names)}
        self._counts = np.zeros(len(kept) + 1, np.int64)
        # The last row is for all others. Memory that nothing was written to is not taken.
        self._sums = np.zeros((len(kept) + 1, width))

    def add(self, labels: pa.Array | pa.ChunkedArray, vectors: NDArray[np.floating[Any]]) -> None:
        """Add vectors, shape (m, d), and their labels, strings or nulls."""
        rows = self._rows_of(labels)
        order = np.argsort(rows, kind="stable")
        counts = np.bincount(rows, minlength=len(self._counts))
        self._counts += counts
        ends = np.cumsum(counts)
        most = max(1, min(_GATHERED, _GATHERED_BYTES // (8 * vectors.shape[1])))
        for row in np.flatnonzero(counts):
            for start in range(ends[row] - counts[row], ends[row], most):
                found = vectors[order[start : min(start + most, ends[row])]]
                self._sums[row] += found.sum(axis=0, dtype=np.float64)

    def means(self) -> LabelMeans:
        """Return the means of all that came."""
        found = np.flatnonzero(self._counts[:-1])
        counts, means = self._counts[found], self._sums[found]
        means /= counts[:, None]
        other = int(self._counts[-1])
        return LabelMeans(
            tuple(self._names[row] for row in found), counts, means, other, self._sums[-1] / max(other, 1)
        )

    def _rows_of(self, labels: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        """Return for each label the row of the sums that it belongs to."""
        chunks = pa.chunked_array([labels]) if isinstance(labels, pa.Array) else labels
        codes = pc.dictionary_encode(chunks.cast(pa.string()).combine_chunks(), null_encoding="encode")
        last = len(self._names)
        rows = np.array([self._rows.get(name, last) for name in codes.dictionary.to_pylist()], np.int64)
        return np.asarray(rows[codes.indices.to_numpy()])


def most_labels(width: int) -> int:
    """Return how many labels may have a mean of their own: 1,000, and 64 MiB of means, at most; 1 at least."""
    return max(1, min(_MOST, _MOST_BYTES // (8 * width)))


def keep(counts: Mapping[Name, int], most: int) -> frozenset[Name]:
    """Return the labels that are to have a mean of their own: the `most` largest, of equal ones the first by name.

    Parameters
    ----------
    counts
        How many vectors bear each label; None for those without one, which counts as a label and comes first.
    most
        See `most_labels`.
    """
    return frozenset(sorted(counts, key=lambda name: (-counts[name], _order(name)))[:most])


def grown(before: LabelMeans, names: Iterable[Name], most: int) -> frozenset[Name]:
    """Return the labels that have a mean of their own after a refit in proportion to what changed.

    Parameters
    ----------
    before
        What the model before has.
    names
        Labels of the rows that come, those first that are to be preferred where there is little room.
    most
        See `most_labels`.

    Returns
    -------
    frozenset of (str or None)
        The labels from before, and the new ones for which there is room. None of these where some vectors already are
        without a mean for their label: a new label may be among theirs, which only a full pass can tell apart.
    """
    kept = dict.fromkeys(before.names)
    if before.other:
        return frozenset(kept)
    fresh = [name for name in dict.fromkeys(names) if name not in kept]
    return frozenset([*kept, *fresh[: max(0, most - len(kept))]])


def _order(name: Name) -> tuple[bool, str]:
    return name is not None, name or ""


def _pooled(
    n: int, mean: NDArray[np.float64], change: int, changed: NDArray[np.float64], what: str
) -> tuple[int, NDArray[np.float64]]:
    """Return count and mean after as many vectors of another mean came, or, below 0, went."""
    left = n + change
    if left < 0:
        raise ValueError(f"{-change} vectors of {what} cannot be removed from {n}: make a full pass")
    return (left, mean + (changed - mean) * (change / left)) if left else (0, np.zeros_like(mean))
