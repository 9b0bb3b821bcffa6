"""The view read three times over: which labels there are, where each lies, and which pictures lie oddly.

What is held is 12 bytes a picture, the statistics by label, the few farthest of each, and the pictures that are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.algebra.discriminant import Discriminant, LabelScatter, Likeness, places_of
from batch.algebra.vectors import lists, vectors
from batch.own_labels import OwnLabels, each_relabelled
from batch.report import sampling
from batch.report.findings import POINTS, Label, Name, Sample, Stray
from batch.report.first_reading import FirstReading, Read, first_reading
from batch.report.leaders import Leaders
from conf.saying import Say, silent

STRAYS, OUTLIERS, AXES = 60, 5, 10
_BLOCK_ROWS = 8192
# Beside the spread: a distance that is greater by rounding alone is not.
_BEYOND = 1 + 1e-6
_ODD = pa.schema(
    [
        ("uri", pa.string()),
        ("distance", pa.float64()),
        ("nearest", pa.int64()),
        ("nearest_distance", pa.float64()),
        ("suspicion", pa.float64()),
    ]
)


@dataclass(frozen=True, eq=False)
class Survey:
    """What three readings of the view find.

    Attributes
    ----------
    n, provisional : int
        Pictures, and how many of them have come since the refit.
    labels : tuple of Label
        By name, None first; the largest, where there are too many.
    beyond : int
        How many smaller labels there are, of which nothing is told.
    strays : tuple of Stray
        The most suspicious first.
    suspected : int
        How many there are in all.
    sample : Sample
    drawn : ndarray of float32, shape (m, k)
        The components of its points, all of them.
    """

    n: int
    provisional: int
    labels: tuple[Label, ...]
    beyond: int
    strays: tuple[Stray, ...]
    suspected: int
    sample: Sample
    drawn: NDArray[np.float32]


def survey(
    read: Read,
    width: int,
    labels: OwnLabels | None = None,
    say: Say = silent,
    most: int = sampling.MOST,
    strays: int = STRAYS,
) -> Survey:
    """Find what a view holds.

    Parameters
    ----------
    read
        As `batch.view.View.batches`.
    width
        The number of components, k.
    labels
        The user's own; None for those of the rows.
    most
        How many pictures are drawn.
    strays
        How many are told at most.
    """
    counted = first_reading(read, width, labels, say, most)
    scatter = LabelScatter.empty(counted.names, width)
    for block in _blocks(read, width, counted, labels, "finding the centre of each label", say):
        scatter = scatter.merged(LabelScatter.of(counted.names, block.places, block.values))
    look = _Look(counted, scatter, strays)
    for block in _blocks(read, width, counted, labels, "measuring distances from the centres", say):
        look.take(block)
    points = pa.concat_tables([POINTS.empty_table(), *look.points])
    return Survey(
        counted.n,
        counted.provisional,
        look.labels(),
        counted.beyond,
        look.found_strays(),
        look.suspected,
        Sample(counted.n, points, counted.rule),
        np.concatenate([np.zeros((0, width), np.float32), *look.drawn]),
    )


@dataclass(frozen=True, eq=False)
class _Block:
    """Some rows whose vectors are usable: their texts, the places of their labels, and their components (m, k)."""

    rows: pa.Table
    places: NDArray[np.int64]
    values: NDArray[np.float32]


def _blocks(
    read: Read, width: int, counted: FirstReading, labels: OwnLabels | None, text: str, say: Say
) -> Iterator[_Block]:
    done = 0
    for batch in each_relabelled(read(("uri", "label", "source", "components")), labels):
        for start in range(0, batch.num_rows, _BLOCK_ROWS):
            rows = pa.Table.from_batches([batch.slice(start, _BLOCK_ROWS)])
            say(text, done, counted.n)
            done += rows.num_rows
            values, usable = vectors(rows["components"], width)
            rows = rows.drop_columns("components").filter(pa.array(usable)).combine_chunks()
            yield _Block(rows, places_of(rows["label"], counted.names), values)
    say(text, done, counted.n)


class _Look:
    """The last reading: gathers what lies oddly, and what is drawn."""

    def __init__(self, counted: FirstReading, scatter: LabelScatter, strays: int) -> None:
        self.points: list[pa.Table] = []
        self.drawn: list[NDArray[np.float32]] = []
        self.suspected = 0
        self._counted, self._scatter = counted, scatter
        self._spreads, self._named = scatter.spreads, ~scatter.unnamed
        self._discriminant = Discriminant(scatter) if counted.names else None
        self._outliers = Leaders(len(counted.names), OUTLIERS, _ODD)
        self._strays = Leaders(1, strays, pa.schema([*_ODD, ("own", pa.int64())]))

    def take(self, block: _Block) -> None:
        if self._discriminant is None or not len(block.places):
            return
        likeness = self._discriminant.likeness(block.places, block.values)
        rows = _odd(block, likeness)
        suspected = likeness.suspicion > 0
        self.suspected += int(suspected.sum())
        self._strays.add(
            np.zeros(int(suspected.sum()), np.int64),
            likeness.suspicion[suspected],
            rows.append_column("own", pa.array(block.places)).filter(pa.array(suspected)),
        )
        labelled = (block.places >= 0) & self._named[block.places]
        far = labelled & (likeness.distance > _BEYOND * self._spreads[block.places])
        self._outliers.add(block.places[far], likeness.distance[far], rows.filter(pa.array(far)))
        self._draw(block, likeness, labelled)

    def _draw(self, block: _Block, likeness: Likeness, labelled: NDArray[np.bool_]) -> None:
        chosen = self._counted.chosen(block.places, block.rows["uri"])
        distances = pa.array(likeness.distance.astype(np.float32), mask=~labelled)
        columns = {
            **{name: block.rows[name] for name in ("uri", "label", "source")},
            "distance": distances,
            "components": lists(block.values[:, :AXES]),
        }
        self.points.append(pa.table(columns).filter(pa.array(chosen)).select(POINTS.names).cast(POINTS))
        self.drawn.append(block.values[chosen])

    def labels(self) -> tuple[Label, ...]:
        """Return every label that is told apart."""
        if self._discriminant is None:
            return ()
        groups, rows = self._outliers.found()
        farthest: dict[int, list[Stray]] = {}
        for group, row in zip(groups.tolist(), rows.to_pylist(), strict=True):
            farthest.setdefault(group, []).append(self._stray(group, row))
        found = self._scatter
        nearest, apart = _nearest_centres(found)
        return tuple(
            Label(
                name,
                int(found.counts[place]),
                float(self._spreads[place]),
                self._name(nearest[place]),
                float(apart[place]),
                tuple(farthest.get(place, ())),
            )
            for place, name in enumerate(found.names)
            if found.counts[place]
        )

    def found_strays(self) -> tuple[Stray, ...]:
        """Return the pictures that may bear a wrong label."""
        return tuple(self._stray(row["own"], row) for row in self._strays.found()[1].to_pylist())

    def _stray(self, own: int, row: dict[str, Any]) -> Stray:
        return Stray(
            uri=row["uri"],
            label=self._name(own) or "",
            distance=row["distance"],
            usual=float(self._spreads[own]),
            nearest=self._name(row["nearest"]),
            nearest_distance=row["nearest_distance"],
            suspicion=row["suspicion"],
        )

    def _name(self, place: int) -> Name:
        return self._scatter.names[place] if place >= 0 else None


def _odd(block: _Block, likeness: Likeness) -> pa.Table:
    numbers = (likeness.distance, likeness.nearest, likeness.nearest_distance, likeness.suspicion)
    return pa.table([block.rows["uri"], *(pa.array(each) for each in numbers)], schema=_ODD)


def _nearest_centres(found: LabelScatter) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return of each label the other one whose centre is nearest, or -1, and the distance, or NaN."""
    others = np.flatnonzero(~found.unnamed & (found.counts > 0))
    nearest, apart = np.full(len(found.names), -1), np.full(len(found.names), np.nan)
    for place, mean in enumerate(found.means):
        there = others[others != place]
        if len(there):
            squares = ((found.means[there] - mean) ** 2).sum(axis=1)
            nearest[place], apart[place] = there[squares.argmin()], np.sqrt(squares.min())
    return nearest, apart
