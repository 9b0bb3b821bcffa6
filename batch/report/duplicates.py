"""Pictures that are there more than once: with the same bytes, or looking the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batch.own_labels import OwnLabels, relabelled
from batch.report import resemblance
from batch.report.findings import Alike, Copies, Duplicates, Name
from batch.report.resemblance import Near, Thumbnail
from batch.rows.parts import Part, read_all
from batch.rows.winners import hashes_of
from conf.saying import Say, silent

SHOWN, SHOWN_OF_A_GROUP = 60, 24
_COLUMNS = ("uri", "label", "sha256", "rejection")
_GROUPED = pa.schema([("uri", pa.string()), ("label", pa.string()), ("sha256", pa.string())])


@dataclass(frozen=True, eq=False)
class Exact:
    """Pictures with the same bytes.

    Attributes
    ----------
    copies : tuple of Copies
        The largest groups first; as many as are shown.
    groups, surplus : int
        As `batch.report.findings.Duplicates`.
    named : pyarrow.Table
        The `uri` of each picture of all groups, and its `sha256`.
    """

    copies: tuple[Copies, ...]
    groups: int
    surplus: int
    named: pa.Table


def exact(parts: Sequence[Part], labels: OwnLabels | None = None, say: Say = silent) -> Exact:
    """Find the pictures whose files have the same bytes. What is held is 8 bytes a picture, and all that are copies.

    Parameters
    ----------
    parts
        The rows of features that count; rejections among them are left out.
    labels
        The user's own; None for those of the rows.

    Raises
    ------
    batch.rows.parts.PartGone, StorageError
        A file cannot be read.
    """
    seen = [np.zeros(0, np.int64)]
    seen += (hashes_of(batch.column("sha256")) for batch in _rows(parts, ("sha256", "rejection"), say))
    again = _repeated(np.concatenate(seen))
    found = [_GROUPED.empty_table()]
    if len(again):
        for batch in _rows(parts, _COLUMNS, silent):
            mine = batch.filter(pa.array(np.isin(hashes_of(batch.column("sha256")), again)))
            found.append(pa.Table.from_batches([mine]).select(_GROUPED.names).cast(_GROUPED))
    rows = pa.concat_tables(found)
    return _grouped(relabelled(rows, labels) if labels else rows)


def near(points: pa.Table, values: NDArray[np.float32], copies: pa.Table) -> Near:
    """Find the pairs of pictures that may look the same; of those with the same bytes only one takes part.

    Parameters
    ----------
    points
        As `batch.report.findings.POINTS`.
    values
        Their components, all of them, shape (m, k).
    copies
        The uris that have the bytes of others, and the places of these bytes; see `Exact`.
    """
    places = pc.index_in(points["uri"], value_set=copies["uri"]).combine_chunks()
    bytes_of = pc.fill_null(copies["sha256"].take(places), "").to_numpy(zero_copy_only=False)
    kept = np.flatnonzero((bytes_of == "") | _first_of_each(bytes_of))
    found = resemblance.near(values[kept])
    return replace(found, first=kept[found.first], second=kept[found.second], searched=len(kept))


def _first_of_each(names: NDArray[np.object_]) -> NDArray[np.bool_]:
    first = np.zeros(len(names), bool)
    first[np.unique(names.astype(str), return_index=True)[1]] = True
    return first


def uris_of(points: pa.Table, pairs: Near, most: int) -> list[str]:
    """Return the pictures of the nearest pairs whose thumbnails are to be compared, `most` at most."""
    uris = points["uri"].to_pylist()
    both = np.stack([pairs.first, pairs.second], axis=1).reshape(-1).tolist()
    return [uris[place] for place in dict.fromkeys(both)][:most]


def duplicates(exact: Exact, points: pa.Table, pairs: Near, thumbnails: Mapping[str, Thumbnail]) -> Duplicates:
    """Return all that is there more than once.

    Parameters
    ----------
    thumbnails
        By uri; a pair of which one is missing counts only where the two lie very near.
    """
    uris, labels = points["uri"].to_pylist(), points["label"].to_pylist()
    named = [(uris[one], uris[other]) for one, other in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)]
    label = dict(zip(uris, labels, strict=True))
    found = [
        _alike(pair, label, distance, difference)
        for pair, distance, difference, sure in zip(
            named,
            pairs.distance.tolist(),
            resemblance.differences(named, thumbnails),
            pairs.sure.tolist(),
            strict=True,
        )
        if resemblance.same(difference, sure)
    ]
    found.sort(key=lambda each: (each.difference is None, each.difference or 0.0, each.distance, each.uris))
    return Duplicates(
        exact.copies,
        exact.groups,
        exact.surplus,
        tuple(found[:SHOWN]),
        len(found),
        searched=pairs.searched,
        compared=len(thumbnails),
    )


def _alike(pair: tuple[str, str], label: Mapping[str, Name], distance: float, difference: float | None) -> Alike:
    one, other = sorted(pair)
    return Alike((one, other), (label[one], label[other]), distance, difference)


def _rows(parts: Sequence[Part], columns: Sequence[str], say: Say) -> Iterator[pa.RecordBatch]:
    """Yield the rows that have features and tell the hash of their bytes."""
    for batch in read_all(parts, columns, "looking for files with the same bytes", say):
        yield batch.filter(pc.and_(pc.is_null(batch.column("rejection")), pc.is_valid(batch.column("sha256"))))


def _repeated(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what is there more than once, ascending."""
    found, counts = np.unique(hashes, return_counts=True)
    return np.asarray(found[counts > 1])


def _grouped(rows: pa.Table) -> Exact:
    """Return the groups of rows with the same bytes; a row that has none like it only shared a hash."""
    rows = rows.sort_by([("sha256", "ascending"), ("uri", "ascending")]).combine_chunks()
    names, starts, counts = np.unique(
        np.array(rows["sha256"].to_pylist(), object), return_index=True, return_counts=True
    )
    groups = sorted(
        (
            (int(count), str(name), int(start))
            for name, start, count in zip(names, starts, counts, strict=True)
            if count > 1
        ),
        key=lambda group: (-group[0], group[1]),
    )
    repeated = np.repeat(counts > 1, counts)
    surplus = sum(count - 1 for count, _, _ in groups)
    shown = tuple(_copies(rows, *group) for group in groups[:SHOWN])
    return Exact(shown, len(groups), surplus, rows.select(["uri", "sha256"]).filter(pa.array(repeated)))


def _copies(rows: pa.Table, count: int, sha256: str, start: int) -> Copies:
    shown = rows.slice(start, min(count, SHOWN_OF_A_GROUP))
    uris, labels = tuple(shown["uri"].to_pylist()), tuple(shown["label"].to_pylist())
    return Copies(sha256, uris, labels, count - len(uris))
