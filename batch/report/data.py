"""The values that the page's program draws: points as whole numbers of 16 bits, names, curves; packed into text."""

import base64
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batch.report import wording
from batch.report.findings import Findings, Name, Refitted, Sample
from batch.report.palette import Look
from batch.report.survey import AXES
from batch.report.thumbnails import Sprites
from conf.printable import printable

_STEPS = 65000
_OPENED = ("http", "https", "file")


def packed(values: Any) -> str:
    """Return a value of JSON as gzip in base64; equal values give equal texts."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def opened(links: Mapping[str, str], uri: str) -> str:
    """Return where a browser finds a picture, or an empty text: a link of another scheme could be a program."""
    link = links.get(uri, "")
    return link if urlsplit(link).scheme.lower() in _OPENED else ""


def names(findings: Findings) -> tuple[Name, ...]:
    """Return all labels in the order of the report; those that only the sample has come last."""
    drawn = pc.unique(findings.sample.points["label"]).to_pylist()
    return tuple(dict.fromkeys([*(label.name for label in findings.labels), *drawn]))


def drawn(findings: Findings, looks: Mapping[Name, Look], sprites: Sprites) -> dict[str, Any]:
    """Return all that is drawn, as JSON has it; numbers that are not finite are null.

    Parameters
    ----------
    findings : Findings
    looks : mapping of (str or None) to Look
        Of every label of `names`, in that order.
    sprites : Sprites

    Returns
    -------
    dict
        The lists of the points are in base64: label, source, sprite and distance as little-endian int32 (the last
        float32), components as int16, one after the other; -32768 stands for none.
    """
    steps, low, step = _quantised(components(findings.sample))
    return {
        **_points(findings.sample, list(looks)),
        "components": _encoded(steps.T, "<i2"),
        **_places(findings, sprites),
        "of": findings.sample.of,
        "axes": _axes(findings, low, step),
        "labels": _labels(findings, looks),
        "shares": _finite(findings.shares[: charted(findings)].tolist()),
        "k": findings.k,
        "refits": [_refit(each) for each in findings.refits],
        "intervals": [
            [_millis(each.start), *_finite([each.freshness_p50, each.freshness_p95, each.rate])]
            for each in findings.intervals
        ],
        "stretch": stretch(findings),
    }


def charted(findings: Findings) -> int:
    """Return of how many components the charts show the variance: half as many again as the model's, 20 at least."""
    return min(findings.shares.size, max(20, math.ceil(1.5 * findings.k)))


def stretch(findings: Findings) -> float:
    """Return how long each interval is, in seconds; 0 where there is none."""
    return next(((each.end - each.start).total_seconds() for each in findings.intervals), 0.0)


def components(sample: Sample) -> NDArray[np.float32]:
    """Return the components of a sample's points, the first ten at most, shape (n, m)."""
    column = sample.points["components"].combine_chunks()
    n = len(column)
    values = np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32)
    return values.reshape(n, -1)[:, :AXES] if n and len(values) else np.zeros((n, 0), np.float32)


def _points(sample: Sample, order: Sequence[Name]) -> dict[str, Any]:
    at = {name: place for place, name in enumerate(order)}
    sources = pc.unique(sample.points["source"]).to_pylist()
    of = {source: place for place, source in enumerate(sources)}
    return {
        "uris": [printable(uri) for uri in sample.points["uri"].to_pylist()],
        "sources": [printable(source) for source in sources],
        "label": _encoded([at[name] for name in sample.points["label"].to_pylist()], "<i4"),
        "source": _encoded([of[source] for source in sample.points["source"].to_pylist()], "<i4"),
        "distance": _encoded(_distances(sample.points), "<f4"),
    }


def _places(findings: Findings, sprites: Sprites) -> dict[str, Any]:
    uris = findings.sample.points["uri"].to_pylist()
    links = {place: link for place, uri in enumerate(uris) if (link := opened(findings.links, uri))}
    return {
        "links": links,
        "sprite": _encoded([sprites.places.get(uri, -1) for uri in uris], "<i4"),
        "sprites": {"side": sprites.side, "across": sprites.across, "n": len(sprites.places)},
    }


def _axes(findings: Findings, low: NDArray[np.float64], step: NDArray[np.float64]) -> list[dict[str, float | None]]:
    shares = [*_finite(findings.shares[: len(low)].tolist()), *[None] * len(low)]
    return [{"low": float(a), "step": float(b), "share": c} for a, b, c in zip(low, step, shares, strict=False)]


def _quantised(values: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float64], NDArray[np.float64]]:
    known = np.isfinite(values)
    low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
    high = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)
    low, high = (np.where(np.isfinite(each), each, 0).astype(np.float64) for each in (low, high))
    step = np.where(high > low, (high - low) / _STEPS, 1)
    steps = np.rint((np.where(known, values, 0) - low) / step) - _STEPS // 2
    return np.where(known, steps, -32768).astype(np.int16), low, step


def _labels(findings: Findings, looks: Mapping[Name, Look]) -> list[dict[str, Any]]:
    known = {label.name: label for label in findings.labels}
    spreads = _finite([known[name].spread if name in known else math.nan for name in looks])
    return [
        {
            "name": None if name is None else printable(name),
            "colour": look.colour,
            "shape": look.shape,
            "spread": spread,
        }
        for (name, look), spread in zip(looks.items(), spreads, strict=True)
    ]


def _refit(refitted: Refitted) -> list[float | bool | None]:
    drift = refitted.drift or {}
    told = [drift.get(key) for key in ("mean_shift", "error_old", "error_new")]
    return [_millis(refitted.created_at), *_finite(told), refitted.published]


def _distances(points: pa.Table) -> NDArray[np.float32]:
    return np.asarray(pc.fill_null(points["distance"], math.nan).to_numpy(), np.float32)


def _encoded(values: Any, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def _finite(values: Sequence[float | None]) -> list[float | None]:
    return [float(f"{value:.6g}") if value is not None and math.isfinite(value) else None for value in values]


def _millis(when: datetime) -> int:
    return round(wording.aware(when).timestamp() * 1000)
