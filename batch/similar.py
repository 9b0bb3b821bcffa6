"""Find similar: the pictures whose components or raw features are nearest to those of one picture, without a JVM.

Every file is read twice, by threads: its uris alone, to find the picture, then its vectors alone. Texts are read again
only for the rows that are shown. What is held is a batch of vectors for each thread, and of raw features 8 bytes a row.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from batch.algebra.vectors import vectors
from batch.rows.parts import Part, PartGone, read, read_placed
from batch.rows.winners import snapshot, winners
from batch.view import BATCH, PROVISIONAL, view
from conf.errors import StorageError, UsageError
from conf.lake import LakePaths, newest
from conf.rejections import Reason
from conf.schemas import ARRIVALS, COMPONENTS, FEATURES, NEWEST_WINS
from conf.tables import dataset_of, open_table
from conf.uris import spelled

By = Literal["components", "features"]
# `source` is null by features, which no refit has touched.
SCHEMA = pa.schema([("uri", pa.string()), ("label", pa.string()), ("distance", pa.float64()), ("source", pa.string())])
# Of the length of usual features: what is shorter is of a blank picture, and its direction is noise.
_BLANK = 0.01
_TRIES = 5
_NO_URIS = pa.array([], pa.string())
Floats = NDArray[np.float64]
Measure = Callable[[NDArray[np.float32]], Floats]


def similar(
    lake: LakePaths,
    featurizer: str,
    uri: str,
    count: int = 12,
    by: By = "components",
    forgotten: Callable[[str], bool] = lambda uri: False,
) -> pa.Table:
    """Return the pictures that are nearest to one picture, which itself is left out.

    Parameters
    ----------
    uri
        The picture, as a path or URI.
    count
        How many to return, at most.
    by
        "components": by Euclidean distance in the view, which is the published components and what has come since.
        "features": by cosine distance, 1 - cos, of the newest features of each picture; it needs no refit. Those whose
        features are shorter than 1 % of the picture's own are left out: they are blank.
    forgotten
        Whether a takedown holds a uri; asked only to say why a picture is not there.

    Returns
    -------
    pyarrow.Table
        As `SCHEMA`, nearest first, those at the same distance by uri.

    Raises
    ------
    UsageError
        The lake holds no vector of the picture, for the reason that the message gives; it is blank (by features); or
        `count` or `by` is out of range.
    LakeError
        Nothing is published yet (by components), or the lake cannot be read.
    StorageError
        A file cannot be read.
    """
    if count < 1:
        raise UsageError(f"-k {count}: ask for 1 picture or more")
    if by not in _SPACES:
        raise UsageError(f"--by {by}: it is one of {', '.join(_SPACES)}")
    uri = spelled(uri, "picture")
    for _ in range(_TRIES):
        try:
            found = _nearest(_SPACES[by](lake, featurizer), uri, count)
        except PartGone:
            continue
        if found is None:
            raise UsageError(_missing(lake, featurizer, uri, forgotten))
        return found
    raise StorageError(f"files of {lake.root} vanish while they are read: ask again later")


@dataclass(frozen=True)
class _Space:
    """The vectors among which to look: those in files but for the superseded uris, and those in memory.

    Attributes
    ----------
    column : str
        The one that holds the vectors, in the files and in `provisional`.
    source : str or None
        Of what is in files.
    """

    parts: Sequence[Part]
    column: str
    source: str | None
    superseded: pa.Array
    provisional: pa.Table


def _components(lake: LakePaths, featurizer: str) -> _Space:
    seen = view(lake, featurizer)
    settled = snapshot(lake.table(COMPONENTS), featurizer, seen.publication.version)
    return _Space(settled.parts, "components", BATCH, seen.superseded, seen.provisional)


def _features(lake: LakePaths, featurizer: str) -> _Space:
    counting = winners(snapshot(lake.table(FEATURES), featurizer), _NO_URIS).parts
    return _Space(counting, "features", None, _NO_URIS, FEATURES.schema.empty_table())


_SPACES = {"components": _components, "features": _features}


def _nearest(space: _Space, uri: str, count: int) -> pa.Table | None:
    """Return the nearest rows of a space; None where the picture is not in it."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        looks = list(threads.map(partial(_look, uri, space.superseded), space.parts))
        own = space.provisional.filter(pc.equal(space.provisional["uri"], uri))[space.column]
        query = _query(own, [look.own for look in looks if look.own], space.column)
        if query is None:
            return None
        measure = _Cosine(uri, query) if space.column == "features" else partial(_euclidean, query)
        others = [look.others for look in looks]
        found = list(threads.map(partial(_near, space.column, len(query), measure, count), others))
    if isinstance(measure, _Cosine):
        measure.check()
    rows = [
        *_told(others, _best(found, count), space.source),
        _measured(space.provisional.filter(pc.not_equal(space.provisional["uri"], uri)), space.column, query, measure),
    ]
    return pa.concat_tables(rows).sort_by([("distance", "ascending"), ("uri", "ascending")]).slice(0, count)


@dataclass(frozen=True)
class _Look:
    """A file's rows without those that do not count and without the picture; and the picture's own, if it is there."""

    others: Part
    own: Part | None


def _look(uri: str, superseded: pa.Array, part: Part) -> _Look:
    own, left_out = [], [] if part.positions is None else [part.positions]
    for places, batch in read_placed(part, ("uri",)):
        uris = batch.column("uri")
        mine = pc.equal(uris, uri).to_numpy(zero_copy_only=False)
        if len(superseded):
            gone = pc.is_in(uris, value_set=superseded).to_numpy(zero_copy_only=False)
            left_out.append(places[gone])
            mine &= ~gone
        if mine.any():
            own.append(places[mine])
            left_out.append(places[mine])
    others = replace(part, positions=np.unique(np.concatenate(left_out))) if left_out else part
    return _Look(others, replace(part, positions=own[0], skipping=False) if own else None)


def _query(provisional: pa.ChunkedArray, places: Sequence[Part], column: str) -> NDArray[np.float32] | None:
    """Return the picture's own vector, the provisional one first; None where there is none that is usable."""
    batches = (batch.column(column) for part in places for batch in read(part, (column,)))
    vector = next((each for found in (*provisional.chunks, *batches) for each in found if each.is_valid), None)
    if vector is None:
        return None
    numbers = np.asarray(vector.values.to_numpy(zero_copy_only=False), np.float32)
    return numbers if len(numbers) and np.isfinite(numbers).all() else None


def _euclidean(query: NDArray[np.float32], values: NDArray[np.float32]) -> Floats:
    """Return the distances of vectors (m, k) from one (k)."""
    differences = np.subtract(values, query, dtype=np.float64)
    distances: Floats = np.sqrt(np.einsum("ij,ij->i", differences, differences))
    return distances


@dataclass(frozen=True)
class _Cosine:
    """Measures 1 - cos as half the squared distance of the unit vectors: exact for near ones, and 0 for the same.

    The lengths of the vectors that it is given are kept, to say what is usual.
    """

    uri: str
    query: NDArray[np.float32]
    lengths: list[Floats] = field(default_factory=list)

    def __call__(self, values: NDArray[np.float32]) -> Floats:
        """Return the distances of vectors (m, d); infinite for those next to which the picture's is much longer."""
        direction, own = _unit(self.query[np.newaxis])
        units, lengths = _unit(values)
        self.lengths.append(lengths)
        units -= direction
        distances: Floats = np.einsum("ij,ij->i", units, units) / 2
        distances[lengths < _BLANK * own] = np.inf
        return distances

    def check(self) -> None:
        """Refuse a picture that is blank among the others."""
        own = float(_unit(self.query[np.newaxis])[1][0])
        usual = float(np.median(np.concatenate([*self.lengths, np.empty(0)]))) if any(map(len, self.lengths)) else own
        if own == 0 or own < _BLANK * usual:
            raise UsageError(
                f"{self.uri} is blank: its features have the length {own:.2g} and others {usual:.2g}, so that their "
                f"direction is noise: give another picture, or look by components"
            )


def _unit(values: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return vectors at the length 1, and their lengths; zeros stay zeros."""
    units = values.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", units, units))
    units /= np.where(lengths > 0, lengths, 1)[:, np.newaxis]
    return units, lengths


@dataclass(frozen=True)
class _Near:
    """Rows of one file that may be among the nearest: their places in it, ascending, and distances."""

    places: NDArray[np.int64]
    distances: Floats

    def within(self, distance: float) -> "_Near":
        """Return those no farther than a distance."""
        kept = self.distances <= distance
        return _Near(self.places[kept], self.distances[kept])


def _near(column: str, width: int, measure: Measure, count: int, part: Part) -> _Near:
    """Return the `count` nearest rows of a part, and any at the same distance as the last of them."""
    best = _Near(np.empty(0, np.int64), np.empty(0))
    for places, batch in read_placed(part, (column,)):
        values, usable = vectors(batch.column(column), width)
        new = _Near(places[usable], measure(values)).within(_farthest(best.distances, count))
        best = _Near(np.append(best.places, new.places), np.append(best.distances, new.distances))
        best = best.within(_farthest(best.distances, count))
    return best


def _farthest(distances: Floats, count: int) -> float:
    """Return the distance of the last that counts; while there is room, any finite one."""
    if len(distances) < count:
        return float(np.finfo(np.float64).max)
    return float(np.partition(distances, count - 1)[count - 1])


def _best(found: Sequence[_Near], count: int) -> list[_Near]:
    """Keep of each file what is among the nearest of all."""
    farthest = _farthest(np.concatenate([np.empty(0), *(each.distances for each in found)]), count)
    return [each.within(farthest) for each in found]


def _told(parts: Sequence[Part], found: Sequence[_Near], source: str | None) -> Iterator[pa.Table]:
    """Yield the rows of each file that are near, as `SCHEMA`."""
    for part, near in zip(parts, found, strict=True):
        if len(near.places):
            batches = read(replace(part, positions=near.places, skipping=False), ("uri", "label"))
            yield _rows(pa.Table.from_batches(batches), near.distances, source)


def _measured(provisional: pa.Table, column: str, query: NDArray[np.float32], measure: Measure) -> pa.Table:
    """Return provisional rows, as `SCHEMA`."""
    values, usable = vectors(provisional[column], len(query))
    return _rows(provisional.filter(pa.array(usable)), measure(values), PROVISIONAL)


def _rows(rows: pa.Table, distances: Floats, source: str | None) -> pa.Table:
    sources = pa.repeat(pa.scalar(source, pa.string()), rows.num_rows)
    return pa.table([rows["uri"], rows["label"], pa.array(distances), sources], schema=SCHEMA)


def _missing(lake: LakePaths, featurizer: str, uri: str, forgotten: Callable[[str], bool]) -> str:
    """Return why a lake has no vector of a picture, as far as it tells, and what to do."""
    mine = ds.field("uri") == uri
    columns = ["uri", *NEWEST_WINS, "rejection", "detail"]
    outcomes = dataset_of(open_table(lake.table(FEATURES)))
    rows = newest(outcomes.to_table(columns=columns, filter=mine & (ds.field("featurizer") == featurizer))).to_pylist()
    if rows and rows[0]["rejection"]:
        return f"{uri} has no features: {_rejected(rows[0]['rejection'], rows[0]['detail'])}"
    if rows:
        return f"{uri} has features that are not finite, or not as many as the model takes: give another picture"
    if forgotten(uri):
        return f"{uri} was forgotten: `verger forget --recall` lets it arrive again"
    if dataset_of(open_table(lake.table(ARRIVALS))).count_rows(filter=mine):
        return f"{uri} has landed, and has no outcome by {featurizer} yet: `verger stream` gives it one"
    return f"{uri} is no picture of {lake.root}: give one as the column uri of its features does, or as a path"


def _rejected(reason: str, detail: str | None) -> str:
    retriable = reason in {each.value for each in Reason if each.retriable}
    mend = "`verger rejects retry` tries it again" if retriable else "land a sound version of it"
    return f"it was rejected as {reason} ({' '.join((detail or 'no detail').split())}): {mend}"
