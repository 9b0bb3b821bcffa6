"""Pictures that look the same though their bytes differ: near in the feature space, and pixel by pixel.

Nearness finds candidates, and thumbnails decide, since two fruits of a kind may lie as near as a picture and its copy.
Photos of Fruits-360 saved again as JPEG of quality 90, 75 and 50 lie 0.15, 0.21 and 0.31 of the usual distance from
themselves at the median, and their thumbnails differ by 1.5, 2.2 and 3.0 levels; so do those of frames of a turning
fruit, now and then: of 5,400 photos 194 pairs differ by 4 at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the usual distance between two pictures: how near candidates are, and those that need no thumbnail.
_REACH, _SURELY = 0.4, 0.05
# Of thumbnails, in levels.
_SAME = 4.0
SIDE = 32
# Candidates of a picture among those after it.
_EACH = 8
_PAIRS = 20_000
# Distances that are held at a time: 64 MB.
_AT_ONCE = 16 << 20
# Of the greatest squared length: what rounding may add to a squared distance in float32.
_ROUNDING = 1e-5
_DIFFERENCES_AT_ONCE = 4096

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
Thumbnail = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Near:
    """Pairs of pictures that lie near to one another, the nearest first.

    Attributes
    ----------
    first, second : ndarray of int64, shape (p,)
        Their places among the pictures.
    distance : ndarray of float64, shape (p,)
        Between the two.
    usual : float
        The median distance between two pictures.
    searched : int
        Among how many pictures.
    """

    first: Places
    second: Places
    distance: NDArray[np.float64]
    usual: float
    searched: int = 0

    @property
    def sure(self) -> NDArray[np.bool_]:
        """Which are so near that they count without a thumbnail, shape (p,)."""
        return np.asarray(self.distance <= _SURELY * self.usual)


def near(values: Floats) -> Near:
    """Return the pairs of pictures within 0.4 of the usual distance; of each picture the 8 nearest of those after it.

    Parameters
    ----------
    values
        Components, shape (m, k), finite.
    """
    usual = _usual(values)
    reach = _REACH * usual
    lengths = np.einsum("ij,ij->i", values, values)
    slack = _ROUNDING * float(lengths.max(initial=0))
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    rows = max(1, _AT_ONCE // max(1, len(values)))
    for start in range(0, len(values), rows):
        squared = values[start : start + rows] @ (-2 * values[start:].T)
        squared += lengths[start:]
        squared += lengths[start : start + rows, None]
        first, second = np.nonzero(_nearest(squared, reach**2 + slack))
        found.append((first + start, second + start))
    first, second = (np.concatenate(each) for each in zip(*found, strict=True))
    distance = _apart(values, first, second)
    order = np.argsort(distance, kind="stable")
    order = order[: np.searchsorted(distance[order], reach, "right")]
    return Near(first[order], second[order], distance[order], usual)


def same(difference: float | None, sure: bool) -> bool:
    """Whether two pictures look the same, by the difference of their thumbnails, or else by lying very near."""
    return sure if difference is None else difference <= _SAME


def differences(pairs: list[tuple[str, str]], thumbnails: Mapping[str, Thumbnail]) -> list[float | None]:
    """Return the root mean square difference of the thumbnails of each pair, in levels of 0 to 255.

    Parameters
    ----------
    thumbnails
        RGB, of one shape (side, side, 3); larger ones than of 32 pixels are averaged down to them.

    Returns
    -------
    list of (float or None)
        None where one of the two has no thumbnail, or they differ in size.
    """
    small: dict[str, NDArray[np.float32]] = {}
    for uri in {uri for pair in pairs for uri in pair if uri in thumbnails}:
        small[uri] = reduced(thumbnails[uri])
    return [_difference(small.get(one), small.get(other)) for one, other in pairs]


def reduced(thumbnail: Thumbnail) -> NDArray[np.float32]:
    """Return a square thumbnail averaged down to 32 pixels a side, float32; a smaller one as it is."""
    side = len(thumbnail)
    if side <= SIDE:
        return thumbnail.astype(np.float32)
    starts = np.arange(SIDE) * side // SIDE
    sums = np.add.reduceat(np.add.reduceat(thumbnail.astype(np.float32), starts, axis=0), starts, axis=1)
    lengths = np.diff(starts, append=side).astype(np.float32)
    return np.asarray(sums / (lengths[:, None, None] * lengths[None, :, None]), np.float32)


def _difference(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float | None:
    if one is None or other is None or one.shape != other.shape:
        return None
    return float(np.sqrt(np.mean((one - other) ** 2)))


def _usual(values: Floats) -> float:
    """Return the median distance between two pictures, of some drawn by chance; 0 for fewer than two."""
    if len(values) < 2:
        return 0.0
    first, step = np.random.default_rng(0).integers(0, len(values) - 1, (2, _PAIRS))
    return float(np.median(_apart(values, first, (first + 1 + step) % len(values))))


def _nearest(squared: Floats, reach: float) -> NDArray[np.bool_]:
    """Return which of those after each row's own are near, and among the nearest; `squared` is used up.

    Shape (r, n); the first r columns are of the rows themselves.
    """
    squared[np.tri(*squared.shape, dtype=np.bool_)] = np.inf
    close = np.asarray(squared <= reach)
    crowded = np.flatnonzero(np.count_nonzero(close, axis=1) > _EACH)
    if len(crowded):
        kept = np.argpartition(squared[crowded], _EACH - 1, axis=1)[:, :_EACH]
        close[crowded] = False
        close[crowded[:, None], kept] = True
    return close


def _apart(values: Floats, first: Places, second: Places) -> NDArray[np.float64]:
    """Return the distances of pairs, exactly, some pairs at a time."""
    found = np.empty(len(first))
    for start in range(0, len(first), _DIFFERENCES_AT_ONCE):
        some = slice(start, start + _DIFFERENCES_AT_ONCE)
        off = values[first[some]].astype(np.float64) - values[second[some]]
        found[some] = np.sqrt(np.einsum("ij,ij->i", off, off))
    return found
