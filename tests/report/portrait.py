"""Findings to show: pictures of fruit placed by hand-made clusters, with everything odd that a report tells of.

Among the names are such as people give who wish a page ill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.report.findings import (
    POINTS,
    Alike,
    Copies,
    Duplicates,
    Findings,
    Interval,
    Label,
    Name,
    Refitted,
    Rejected,
    Sample,
    Stray,
)
from bootstrap import orchard

Doubles = NDArray[np.float64]

MADE_AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
TURNED = "gnp.\u202eexe.fruit"
ARABIC = "تفاح أخضر"
SOURCE = "/data/landing"
SIDE = 96


@dataclass(frozen=True)
class Cloud:
    """Pictures as points, before they are told of."""

    uris: tuple[str, ...]
    labels: tuple[Name, ...]
    components: Doubles
    centres: Mapping[Name, Doubles]

    def away(self, place: int, name: Name) -> float:
        """Return how far a picture is from the centre of a label."""
        return float(np.linalg.norm(self.components[place] - self.centres[name]))


@cache
def fruit(variety: str, seed: int, side: int) -> NDArray[np.uint8]:
    """Draw a thumbnail."""
    return np.asarray(orchard.draw(variety, seed, side))


def fruits(n: int, side: int = SIDE) -> list[NDArray[np.uint8]]:
    """Draw thumbnails, variety by variety."""
    return [fruit(orchard.VARIETIES[place % len(orchard.VARIETIES)], place, side) for place in range(n)]


def _varied(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    light = random.uniform(0.88, 1.0)
    turned = np.rot90(pixels, int(random.integers(4)))[:, :: int(random.choice([-1, 1]))]
    return np.ascontiguousarray((turned * light).astype(np.uint8))


def cloud(n: int, names: Sequence[Name], k: int, seed: int = 1) -> Cloud:
    """Place pictures around the centres of their labels, in turn."""
    random = np.random.default_rng(seed)
    decay = 9 * 0.82 ** np.arange(k)
    centres = random.normal(size=(len(names), k)) * decay
    labels = [names[place % len(names)] for place in range(n)]
    widths = random.uniform(0.18, 0.4, size=len(names))
    noise = random.normal(size=(n, k)) * (decay * 0.8 + 0.6)
    at = np.arange(n) % len(names)
    points = centres[at] + noise * widths[at][:, None]
    lost = range(40, n, 61)
    points[lost] += centres[(at[lost] + 5) % len(names)] - centres[at[lost]]
    uris = tuple(f"{SOURCE}/{name or 'loose'}/{place:05d}.jpg" for place, name in enumerate(labels))
    return Cloud(uris, tuple(labels), points, {name: points[at == place].mean(0) for place, name in enumerate(names)})


def portrait(
    n: int = 300, *, of: int | None = None, drawn: int = 96, k: int = 24, more: int = 0, side: int = SIDE
) -> Findings:
    """Return findings of n drawn pictures.

    Parameters
    ----------
    n, of : int
        Pictures drawn, and of how many; all of them unless said.
    drawn : int
        How many thumbnails are drawn one by one.
    k : int
        Components.
    more : int
        Labels besides those of the orchard, an Arabic one and none.
    side : int
        Of a thumbnail, in pixels.
    """
    varieties = [*orchard.VARIETIES, ARABIC, *(f"Sort {place:03d}" for place in range(more))]
    seen = cloud(n, [None, *varieties], k)
    shares = 0.17 * 0.83 ** np.arange(60, dtype=np.float64)
    thumbnails = dict(zip(seen.uris, _pictures(seen, drawn, side), strict=True))
    links = {uri: f"file://{uri}" for uri in seen.uris[::2]}
    return Findings(
        lake="s3://orchard/lake",
        featurizer="efficientnet-lite0@224-3f9c2a71",
        made_at=MADE_AT,
        model="20260504T091200Z-7be1",
        run_card=RUN_CARD,
        n=of or n,
        provisional=n // 20,
        width=1280,
        k=k,
        variances=shares * 1280,
        shares=shares,
        labels=_labels(seen),
        labelled_by="",
        strays=_strays(seen, 30),
        suspected=34,
        freshness=(5.2, 14.25),
        sample=_sample(seen, of or n),
        duplicates=_duplicates(seen),
        rejected=REJECTED,
        refits=_refits(n),
        intervals=_intervals(48),
        thumbnails=thumbnails,
        links=links | {seen.uris[1]: "javascript:alert(2)"},
    )


def hostile() -> Findings:
    """Return findings whose names try to be more than names."""
    found = portrait(40, drawn=12, k=6)
    renamed = {
        "Apple Red": SCRIPT,
        "Banana": TURNED,
        "Cherry": "</script>\u2028\x1b[2J",
        "Kiwi": '" onclick="x',
        "Plum": "苹果 $x$",
    }
    labels = tuple(replace(each, name=renamed.get(each.name or "", each.name)) for each in found.labels)
    points = found.sample.points.to_pylist()
    for each in points:
        each["label"] = renamed.get(each["label"] or "", each["label"])
        each["uri"] += f"?{SCRIPT}"
    rejected = (Rejected("corrupt", "The data contradicts itself.", 1, ((f"/x/{SCRIPT}", "\u202e\n<img src=x>"),)),)
    card = {"asked": {SCRIPT: SCRIPT}}
    sample = replace(found.sample, points=pa.Table.from_pylist(points, POINTS))
    return replace(found, labels=labels, sample=sample, lake=f"/lake/{SCRIPT}", run_card=card, rejected=rejected)


def bare(n: int = 1) -> Findings:
    """Return the least that there can be: one picture without a label on one component, or none at all."""
    points = [{"uri": "/a.jpg", "label": None, "source": "/", "distance": None, "components": [0.0]}][:n]
    nothing = np.zeros(0)
    labels = tuple(Label(None, 1, float("nan"), None, float("nan")) for _ in points)
    sample = Sample(n, pa.Table.from_pylist(points, POINTS))
    return Findings(
        lake="/lake",
        featurizer="tiny",
        made_at=MADE_AT,
        model="m",
        run_card={},
        n=n,
        provisional=0,
        width=8,
        k=1,
        variances=nothing,
        shares=np.ones(n),
        labels=labels,
        labelled_by="",
        strays=(),
        sample=sample,
        duplicates=Duplicates(),
        rejected=(),
        refits=(),
        intervals=(),
    )


def _pictures(seen: Cloud, drawn: int, side: int) -> list[NDArray[np.uint8]]:
    """Give each picture one of its label's fruit; those of no variety get any."""
    at = {name: place for place, name in enumerate(orchard.VARIETIES)}
    pool = fruits(max(drawn, 12), side)
    varieties = [at.get(name or "", place) % 12 for place, name in enumerate(seen.labels)]
    random = np.random.default_rng(5)
    rounds = len(pool) // 12
    return [_varied(pool[variety + 12 * (place % rounds)], random) for place, variety in enumerate(varieties)]


def _spread(seen: Cloud, name: Name) -> float:
    away = [seen.away(place, name) for place, label in enumerate(seen.labels) if label == name]
    return float(np.sqrt(np.mean(np.square(away))))


def _nearest(seen: Cloud, to: Doubles, but: Name) -> tuple[str, float]:
    found = {name: float(np.linalg.norm(to - centre)) for name, centre in seen.centres.items() if name and name != but}
    return min(found.items(), key=lambda each: each[1])


def _stray(seen: Cloud, place: int, usual: float) -> Stray:
    label = str(seen.labels[place])
    nearest, there = _nearest(seen, seen.components[place], label)
    here = seen.away(place, label)
    return Stray(seen.uris[place], label, here, usual, nearest, there, (here**2 - there**2) / usual**2)


def _labels(seen: Cloud) -> tuple[Label, ...]:
    return tuple(_label(seen, name) for name in sorted(seen.centres, key=lambda each: (each is not None, each or "")))


def _label(seen: Cloud, name: Name) -> Label:
    places = [place for place, label in enumerate(seen.labels) if label == name]
    farthest = sorted(places, key=lambda place: -seen.away(place, name))[:5] if name else []
    spread = _spread(seen, name)
    outliers = tuple(_stray(seen, place, spread) for place in farthest)
    return Label(name, len(places), spread, *_nearest(seen, seen.centres[name], name), outliers)


def _strays(seen: Cloud, many: int) -> tuple[Stray, ...]:
    spreads = {name: _spread(seen, name) for name in seen.centres}
    found = [_stray(seen, place, spreads[name]) for place, name in enumerate(seen.labels[:2000]) if name]
    return tuple(sorted(found, key=lambda each: -each.suspicion)[:many])


def _sample(seen: Cloud, of: int) -> Sample:
    columns = {
        "uri": list(seen.uris),
        "label": list(seen.labels),
        "source": [SOURCE] * len(seen.uris),
        "distance": [seen.away(place, name) if name else None for place, name in enumerate(seen.labels)],
        "components": seen.components.astype(np.float32).tolist(),
    }
    n = len(seen.uris)
    rule = f"{n:,} of {of:,} pictures are drawn: of each label in proportion" if of > n else ""
    return Sample(of, pa.Table.from_pydict(columns, POINTS), rule)


def _duplicates(seen: Cloud) -> Duplicates:
    groups = ((2, 16, 30, 44), (3, 17), (4, 5, 18))
    copies = tuple(
        Copies(f"{place:02d}ab54" * 8, tuple(seen.uris[at] for at in group), tuple(seen.labels[at] for at in group))
        for place, group in enumerate(groups)
        if max(group) < len(seen.uris)
    )
    pairs = [(6, 20), (7, 21), (8, 23)]
    alike = tuple(
        Alike((seen.uris[a], seen.uris[b]), (seen.labels[a], seen.labels[b]), 0.3 * a, 1.5 * a) for a, b in pairs
    )
    surplus = sum(len(each.uris) - 1 for each in copies)
    return Duplicates(copies, len(copies), surplus, alike, 11, len(seen.uris), compared=40)


def _refits(n: int) -> tuple[Refitted, ...]:
    return tuple(_refit(place, n) for place in range(9))


def _refit(place: int, n: int) -> Refitted:
    wave = float(np.sin(place) ** 2)
    drift: dict[str, Any] | None = {
        "since": f"m{place - 1}",
        "old": n - 40,
        "new": 40 + 9 * place,
        "principal_angles": [0.1 + wave, 0.4 + 3 * wave, 4.0 + 8 * wave],
        "eigenvalue_change": [0.01, -0.02],
        "mean_shift": 0.02 + 0.05 * wave,
        "mean_shift_max": 0.2 + 0.3 * wave,
        "error_old": 0.184 + 0.004 * place,
        "error_new": 0.2 + 0.05 * wave + 0.01 * place,
        "labels": [
            {"label": name, "n": 30, "new": 4, "mean_shift": 0.01 * (rank + 1) ** 1.5}
            for rank, name in enumerate([None, *orchard.VARIETIES])
        ],
    }
    when = MADE_AT - timedelta(hours=6 * (9 - place))
    drift = drift if place else None
    return Refitted(f"{when:%Y%m%dT%H%M%SZ}-7be{place}", when, n - 50 + 6 * place, 24, 0.81, drift, place == 8)


def _intervals(many: int) -> tuple[Interval, ...]:
    random = np.random.default_rng(7)
    return tuple(_interval(place, many, random) for place in range(many))


def _interval(place: int, many: int, random: np.random.Generator) -> Interval:
    start = MADE_AT - timedelta(minutes=30 * (many - place))
    busy = 0 if 14 <= place < 17 else int(900 + 700 * np.sin(place / 4) + random.integers(200))
    p50 = 4.5 + 2 * float(np.sin(place / 4)) + float(random.random()) if busy else float("nan")
    late = 40.0 if place == 17 else 0.0
    return Interval(
        start, start + timedelta(minutes=30), busy, busy // 90, p50 + late, 2.6 * p50 + 2 * late, busy / 1800
    )


RUN_CARD: Mapping[str, Any] = {
    "asked": {"components": 0.8, "solver": "auto", "whiten": False},
    "kind": "incremental",
    "why": None,
    "continues": "20260504T031200Z-aa01",
    "increments": 7,
    "added": 94,
    "removed": 0,
    "unusable": 0,
    "solver": "covariance: 1,280 columns fit into memory",
    "notes": ["24 components explain 80 % of the variance", "2 constant columns"],
    "tasks": 2,
    "seconds": {"plan": 0.412, "moments": 2.871, "solve": 0.604, "project": 1.938, "publish": 0.51},
    "versions": {"numpy": "2.4.6", "pyspark": "4.1.1", "scipy": "1.16.2"},
    "python": "3.11.9",
}
REJECTED = (
    Rejected(
        "not_a_picture",
        "The bytes are no picture in a format that Verger reads.",
        14,
        ((f"{SOURCE}/notes.txt", "begins with 'Dear all'"), (f"{SOURCE}/Thumbs.db", "begins with d0cf11e0")),
    ),
    Rejected(
        "truncated",
        "The picture ends before its last row of pixels.",
        5,
        ((f"{SOURCE}/Plum/0044.jpg", "image file is truncated (2 bytes not processed)"),),
    ),
    Rejected("empty", "The file has no bytes.", 2, ((f"{SOURCE}/Pear/0001.jpg", ""),)),
)
