"""Which pictures are drawn where there are too many: a part of each label, the same one in every report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 20_000
# Of each label, where it has as many: fewer show no shape.
_LEAST = 20

Hashes = NDArray[np.uint64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Draw:
    """What is drawn of pictures that belong to strata, which are labels.

    Attributes
    ----------
    limits : ndarray of uint64
        Of each stratum, the greatest hash of a picture that is drawn.
    some : ndarray of bool
        Of which strata any is drawn.
    rule : str
        In a sentence how; empty where all are.
    """

    limits: Hashes
    some: NDArray[np.bool_]
    rule: str

    def of(self, strata: Counts, hashes: Hashes) -> NDArray[np.bool_]:
        """Return which pictures are drawn, by their strata and by `hashes_of` their uris, shape (m,)."""
        return np.asarray(self.some[strata] & (hashes <= self.limits[strata]))


def draw(strata: Counts, hashes: Hashes, most: int = MOST) -> Draw:
    """Settle which of all pictures are drawn: of each stratum those with the least hashes.

    Parameters
    ----------
    strata
        Shape (n,), the number of each picture's stratum, from 0.
    hashes
        Shape (n,), `hashes_of` the uris.
    most
        How many are drawn; all, where there are no more.
    """
    counts = np.bincount(strata)
    wanted = quotas(counts, most)
    order = np.lexsort((hashes, strata))
    last = np.cumsum(counts) - counts + wanted - 1
    limits = np.where(wanted > 0, hashes[order[last]] if len(order) else 0, 0).astype(np.uint64)
    return Draw(limits, wanted > 0, _rule(counts, most))


def quotas(counts: Counts, most: int) -> Counts:
    """Return how many are drawn of each stratum, shape (L,).

    As many in proportion to its pictures as come to `most` in all, but 20 at least, or all where it has fewer; where
    that alone is too many, as many of each as there is room for.

    Parameters
    ----------
    counts
        Shape (L,), pictures.
    """
    if counts.sum() <= most:
        return counts
    low, high = np.minimum(counts, least_of(counts, most)), 1.0
    below = 0.0
    # The share of each stratum's pictures at which it comes to `most`, by bisection.
    for _ in range(60):
        middle = (below + high) / 2
        fits = np.maximum(low, np.floor(middle * counts)).sum() <= most
        below, high = (middle, high) if fits else (below, middle)
    found: Counts = np.maximum(low, np.floor(below * counts)).astype(np.int64)
    # What rounding down left over, to those that it took most from.
    left = np.where(found < counts, below * counts - found, -np.inf)
    order = np.argsort(-left, kind="stable")[: most - int(found.sum())]
    found[order] += found[order] < counts[order]
    return found


def least_of(counts: Counts, most: int) -> int:
    """Return how many of each stratum are drawn at least, or all where it has fewer."""
    return min(_LEAST, most // max(1, int(np.count_nonzero(counts))))


def hashes_of(uris: Iterable[str]) -> Hashes:
    """Return 64 bits of each uri, the same in every process, shape (n,)."""
    return np.fromiter((_hash(uri) for uri in uris), np.uint64)


def _hash(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "little")


def _rule(counts: Counts, most: int) -> str:
    total = int(counts.sum())
    if total <= most:
        return ""
    least = least_of(counts, most)
    return (
        f"{most:,} of {total:,} pictures are drawn: of each label in proportion, but at least {least} or all that it "
        "has; chosen by a hash of their uri, so the same ones each time"
    )
