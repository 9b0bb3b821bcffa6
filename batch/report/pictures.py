"""Which pictures a report shows small, and in which order they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.report.findings import Duplicates, Label, Rejected, Stray
from batch.report.resemblance import Thumbnail
from batch.report.sampling import hashes_of
from batch.view import SCHEMA, View
from conf.saying import Say

# Thumbnails of a report, and those that are compared for near duplicates.
SHOWN, COMPARED = 6_000, 6_000

# Reads versions of pictures, a table with `uri` and `e_tag`: by uri, RGB of uint8 and one shape (side, side, 3). Those
# that cannot be read are left out.
Thumbnails = Callable[[pa.Table, Say], Mapping[str, Thumbnail]]
# Gives where a browser finds pictures.
Links = Callable[[Sequence[str]], Mapping[str, str]]


def versions(seen: View, uris: Sequence[str]) -> pa.Table:
    """Return the versions that a view has of pictures: their `uri` and `e_tag`."""
    columns = ("uri", "e_tag")
    wanted = pa.array(uris, pa.string())
    found = [batch.filter(pc.is_in(batch.column("uri"), value_set=wanted)) for batch in seen.batches(columns)]
    return pa.Table.from_batches(found, pa.schema([SCHEMA.field(name) for name in columns]))


def named(
    strays: Iterable[Stray], duplicates: Duplicates, labels: Iterable[Label], rejected: Iterable[Rejected] = ()
) -> list[str]:
    """Return the pictures that the lists of a report name, each once, the most telling first."""
    uris = [each.uri for each in strays]
    uris += [uri for pair in duplicates.alike for uri in pair.uris]
    uris += [uri for group in duplicates.copies for uri in group.uris]
    uris += [stray.uri for label in labels for stray in label.outliers]
    uris += [uri for each in rejected for uri, _ in each.examples]
    return list(dict.fromkeys(uris))


def shown(
    first: Sequence[str], points: pa.Table, had: Mapping[str, Thumbnail], asked: Sequence[str], most: int = SHOWN
) -> list[str]:
    """Return the pictures of which a report has thumbnails, `most` at most.

    Parameters
    ----------
    first
        Those that lists name.
    points
        The sample, as `batch.report.findings.POINTS`: of these come as many as there is room for, by chance.
    had
        Thumbnails that there are already; their pictures come before others of the sample.
    asked
        Pictures that were asked for already: one that is not among `had` cannot be read.
    """
    unreadable = set(asked) - had.keys()
    uris = points["uri"].to_pylist()
    order = np.lexsort((hashes_of(uris), np.array([uri not in had for uri in uris], bool))).tolist()
    wanted = dict.fromkeys([*first, *(uris[place] for place in order)])
    return [uri for uri in wanted if uri not in unreadable][:most]
