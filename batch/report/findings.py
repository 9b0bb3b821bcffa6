"""What a report has to say, as values: the other modules of this package find it, `page` and `charts` show it.

Distances are Euclidean in the space of the components unless said otherwise; pictures go by their uri.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Name = str | None

# The points of a sample: `components` are the first ones, as many in each row; `distance` is to the centre of the
# picture's own label, null where it has none.
POINTS = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("distance", pa.float32()),
        pa.field("components", pa.list_(pa.float32()), nullable=False),
    ]
)


@dataclass(frozen=True)
class Stray:
    """A picture that lies far from its own label, or is more like another.

    Attributes
    ----------
    uri : str
    label : str
        Its own.
    distance : float
        To the centre of its label.
    usual : float
        The spread of its label: what such a distance usually is.
    nearest : str or None
        The other label whose pictures it is most like; None where there is no other.
    nearest_distance : float
        To that label's centre; NaN where there is none.
    suspicion : float
        By how much the nearest other label explains it better than its own (`batch.algebra.discriminant`): above 0 it
        is more like the other. NaN where there is no other.
    """

    uri: str
    label: str
    distance: float
    usual: float
    nearest: str | None
    nearest_distance: float
    suspicion: float


@dataclass(frozen=True)
class Label:
    """One label of the whole view.

    Attributes
    ----------
    name : str or None
        None stands for pictures without a label.
    n : int
        Pictures.
    spread : float
        Root mean square of the distances of its pictures from their centre.
    nearest : str or None
        The label whose centre is nearest; None where there is no other.
    nearest_distance : float
        Between the two centres; NaN where there is no other.
    outliers : tuple of Stray
        Its farthest pictures, those first; few.
    """

    name: Name
    n: int
    spread: float
    nearest: str | None
    nearest_distance: float
    outliers: tuple[Stray, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The pictures that are drawn.

    Attributes
    ----------
    of : int
        Pictures of the view.
    points : pyarrow.Table
        As `POINTS`; all of them, or a part drawn by label and by chance from a fixed seed.
    rule : str
        In a sentence without its full stop how the part was drawn; empty where all are shown.
    """

    of: int
    points: pa.Table
    rule: str = ""


@dataclass(frozen=True)
class Copies:
    """Pictures with the same bytes.

    Attributes
    ----------
    sha256 : str
    uris : tuple of str
        Sorted; two at least, and as many as are shown.
    labels : tuple of (str or None)
        Of each.
    more : int
        How many further pictures have these bytes.
    """

    sha256: str
    uris: tuple[str, ...]
    labels: tuple[Name, ...]
    more: int = 0


@dataclass(frozen=True)
class Alike:
    """Two pictures that look the same, and whose bytes differ.

    Attributes
    ----------
    uris : tuple of str
        The two, sorted.
    labels : tuple of (str or None)
        Of each.
    distance : float
        Between their components.
    difference : float or None
        Root mean square difference of their thumbnails, in levels of 0 to 255; None where they could not be read.
    """

    uris: tuple[str, str]
    labels: tuple[Name, Name]
    distance: float
    difference: float | None


@dataclass(frozen=True)
class Duplicates:
    """Pictures that are there more than once.

    Attributes
    ----------
    copies : tuple of Copies
        The largest groups first; as many as are shown.
    groups, surplus : int
        How many groups there are in all, and how many pictures are more than one of each.
    alike : tuple of Alike
        The most alike first; as many as are shown.
    pairs : int
        How many pairs there are in all.
    searched : int
        Among how many pictures near duplicates were looked for.
    compared : int
        How many of them were compared by thumbnail.
    """

    copies: tuple[Copies, ...] = ()
    groups: int = 0
    surplus: int = 0
    alike: tuple[Alike, ...] = ()
    pairs: int = 0
    searched: int = 0
    compared: int = 0


@dataclass(frozen=True)
class Rejected:
    """The pictures rejected for one reason.

    Attributes
    ----------
    reason, sentence : str
        From the fixed list, and what it means.
    count : int
        Pictures whose newest outcome it is.
    examples : tuple of (uri, detail)
        A few, with what was seen.
    """

    reason: str
    sentence: str
    count: int
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Refitted:
    """One refit.

    Attributes
    ----------
    model : str
        Its id.
    created_at : datetime
    n, k : int
        Pictures, and components.
    shown : float
        Share of all variance that the components explain.
    drift : mapping or None
        The `drift` struct of the table; None for a first one.
    published : bool
        Whether the components are of it.
    """

    model: str
    created_at: datetime
    n: int
    k: int
    shown: float
    drift: Mapping[str, Any] | None
    published: bool


@dataclass(frozen=True)
class Interval:
    """What was featurized in one stretch of time.

    Attributes
    ----------
    start, end : datetime
    outcomes, rejected : int
        Made in it, and how many of them were rejections.
    freshness_p50, freshness_p95 : float
        Seconds from a picture's landing to its outcome, median and 95th percentile; NaN where there was none.
    rate : float
        Pictures per second of its length.
    """

    start: datetime
    end: datetime
    outcomes: int
    rejected: int
    freshness_p50: float
    freshness_p95: float
    rate: float


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a report says.

    Attributes
    ----------
    lake, featurizer : str
        Its root without secrets, and the whole id.
    made_at : datetime
        When the report was.
    model : str
        Id of the published model, by whose components everything lies.
    run_card : mapping
        How that was made.
    n, provisional : int
        Pictures of the view, and how many of them have come since the refit.
    width, k : int
        Length of the features, and components.
    variances, shares : ndarray of float64
        Eigenvalues and their shares of all variance, by component: those of the model in its order, then, where its
        moments tell them, all others, greatest first.
    labels : tuple of Label
        By name, None first.
    labelled_by : str
        Where labels come from: empty for the label rule, else the user's own file.
    strays : tuple of Stray
        Pictures that may bear a wrong label, the most suspicious first.
    sample : Sample
    duplicates : Duplicates
    rejected : tuple of Rejected
        The most frequent reason first.
    refits : tuple of Refitted
        Oldest first; the last ones.
    intervals : tuple of Interval
        Oldest first, without gaps; equally long.
    thumbnails : mapping of str to ndarray
        By uri, RGB of uint8, shape (side, side, 3); pictures that could not be read are left out.
    links : mapping of str to str
        By uri, where a browser finds the picture: a presigned URL, or its file.
    suspected : int
        How many strays there are in all.
    labels_beyond : int
        How many smaller labels there are beside `labels`, where there are more than a thousand: nothing is told of
        them, and their pictures have no distance. Pictures without a label count as one.
    freshness : tuple of float
        Seconds from a picture's landing to its first outcome, median and 95th percentile of all; NaN where there was
        none.
    """

    lake: str
    featurizer: str
    made_at: datetime
    model: str
    run_card: Mapping[str, Any]
    n: int
    provisional: int
    width: int
    k: int
    variances: NDArray[np.float64]
    shares: NDArray[np.float64]
    labels: tuple[Label, ...]
    labelled_by: str
    strays: tuple[Stray, ...]
    sample: Sample
    duplicates: Duplicates
    rejected: tuple[Rejected, ...]
    refits: tuple[Refitted, ...]
    intervals: tuple[Interval, ...]
    thumbnails: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels_beyond: int = 0
    suspected: int = 0
    freshness: tuple[float, float] = (math.nan, math.nan)
