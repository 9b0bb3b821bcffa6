"""The first reading of a view, of its texts alone: how many pictures, which labels, and which pictures are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batch.algebra.labels import keep, most_labels
from batch.own_labels import OwnLabels, each_relabelled
from batch.report import sampling
from batch.report.findings import Name
from batch.report.sampling import Draw
from batch.view import PROVISIONAL
from conf.saying import Say

READING = "reading the feature space"

# Yields the rows of a view with the columns asked for, the same ones each time.
Read = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]


@dataclass(frozen=True, eq=False)
class FirstReading:
    """What is known before any vector is read.

    Attributes
    ----------
    n, provisional : int
        Pictures, and how many of them have come since the refit.
    names : tuple of (str or None)
        The labels that are told apart, None first: all, or the largest.
    beyond : int
        How many smaller ones there are.
    draw : Draw
        Which pictures are drawn; each label is a stratum, and those that are not told apart are one together.
    """

    n: int
    provisional: int
    names: tuple[Name, ...]
    beyond: int
    draw: Draw

    @property
    def rule(self) -> str:
        """In a sentence how pictures are drawn; empty where all are."""
        rest = f"; the {self.beyond:,} smallest labels count as one" if self.beyond else ""
        return self.draw.rule and self.draw.rule + rest

    def chosen(self, places: NDArray[np.int64], uris: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
        """Return which pictures are drawn, shape (m,).

        Parameters
        ----------
        places
            Shape (m,), the places of their labels in `names`; -1 for any other.
        uris
            As many strings.
        """
        if not self.draw.rule:
            return np.ones(len(places), bool)
        return self.draw.of(_strata(places, self.names), sampling.hashes_of(uris.to_pylist()))


def first_reading(read: Read, width: int, labels: OwnLabels | None, say: Say, most: int) -> FirstReading:
    """Count labels, and settle which pictures are drawn. What is held is 12 bytes a picture.

    Parameters
    ----------
    read
        As `batch.view.View.batches`.
    width
        The number of components, by which it goes how many labels are told apart.
    labels
        The user's own; None for those of the rows.
    most
        How many pictures are drawn.
    """
    seen = _Seen()
    say(READING)
    for batch in each_relabelled(read(("uri", "label", "source")), labels):
        seen.take(batch)
        say(READING, seen.counts.total())
    names = tuple(sorted(keep(seen.by_name, most_labels(width)), key=lambda name: (name is not None, name or "")))
    order = {name: place for place, name in enumerate(names)}
    places = np.array([order.get(name, -1) for name in seen.numbers], np.int64)[np.concatenate(seen.codes)]
    draw = sampling.draw(_strata(places, names), np.concatenate(seen.hashes), most)
    return FirstReading(len(places), seen.provisional, names, len(seen.numbers) - len(names), draw)


class _Seen:
    """What has been read so far: a number for each label as it comes, and of each picture that and its hash."""

    def __init__(self) -> None:
        self.numbers: dict[Name, int] = {}
        self.counts: Counter[int] = Counter()
        self.codes = [np.zeros(0, np.int32)]
        self.hashes = [np.zeros(0, np.uint64)]
        self.provisional = 0

    @property
    def by_name(self) -> dict[Name, int]:
        return {name: self.counts[number] for name, number in self.numbers.items()}

    def take(self, batch: pa.RecordBatch) -> None:
        found = pc.dictionary_encode(batch.column("label"), null_encoding="encode")
        numbers = [self.numbers.setdefault(name, len(self.numbers)) for name in found.dictionary.to_pylist()]
        self.codes.append(np.array(numbers, np.int32)[found.indices.to_numpy()])
        self.counts.update(self.codes[-1].tolist())
        self.hashes.append(sampling.hashes_of(batch.column("uri").to_pylist()))
        self.provisional += int(pc.sum(pc.equal(batch.column("source"), PROVISIONAL)).as_py() or 0)


def _strata(places: NDArray[np.int64], names: tuple[Name, ...]) -> NDArray[np.int64]:
    """Return the stratum of each picture: its label, and one together for those that are not told apart."""
    return np.where(places < 0, len(names), places)
