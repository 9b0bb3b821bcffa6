"""The page: all findings in one HTML file that needs nothing else, not even a network.

Texts stand in the HTML, escaped; what is drawn is data that the page's own program reads. Labels and uris are
anybody's, so the page's policy lets no other program run, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from batch.report import data, palette, pictures, wording
from batch.report.findings import Findings, Name, Refitted
from batch.report.survey import AXES
from batch.report.thumbnails import Sprites, sprites
from conf.printable import printable

_ASSETS = files("batch.report") / "assets"
# Later ones use what earlier ones define.
_PROGRAM = (
    "unpacking.js",
    "space.js",
    "view.js",
    "scatter.js",
    "card.js",
    "panel.js",
    "gestures.js",
    "tables.js",
    "curves.js",
    "page.js",
)
_FILTERS = (
    wording.angle,
    wording.count,
    wording.counted,
    wording.measure,
    wording.moment,
    wording.named,
    wording.share,
    wording.span,
    wording.times,
)


def page(findings: Findings) -> str:
    """Return the report as one HTML document.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    str
        To be written in UTF-8. Under 6 MB for some thousand pictures with thumbnails; never much over 8 MB, as
        thumbnails get smaller and fewer (`batch.report.thumbnails.BUDGET`).
    """
    looks = palette.looks(data.names(findings))
    shown = sprites(findings.thumbnails, _wanted(findings))
    style, program = _style(), _program()
    return (
        _environment(findings, looks, shown)
        .from_string(_asset("page.html"))
        .render(
            found=findings,
            figures=_figures(findings),
            policy=_policy(style, program),
            style=Markup(style),
            program=Markup(program),
            data=Markup(data.packed(data.drawn(findings, looks, shown))),
            sheets=[Markup(base64.b64encode(sheet).decode()) for sheet in shown.sheets],
            charted=data.charted(findings),
            stretch=data.stretch(findings),
            near=min(findings.k, AXES),
            passing=any(urlsplit(link).scheme.lower() in ("http", "https") for link in findings.links.values()),
            moved=_moved(findings),
            shapes=palette.SHAPES,
        )
    )


def _environment(findings: Findings, looks: Mapping[Name, palette.Look], shown: Sprites) -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update({each.__name__: each for each in _FILTERS})
    environment.filters.update(path=_path, seen=lambda text: printable(str(text)))
    points = {uri: place for place, uri in enumerate(findings.sample.points["uri"].to_pylist())}
    environment.globals.update(
        look=looks.get,
        place={name: place for place, name in enumerate(looks)}.get,
        point=points.get,
        sprite=shown.places.get,
        link=partial(data.opened, findings.links),
    )
    return environment


def _path(uri: str) -> Markup:
    """Give a uri whose segments each have a direction of their own: else those after an Arabic one stand before it."""
    return Markup("/").join(Markup("<bdi>{}</bdi>").format(printable(part)) for part in uri.split("/"))


def _wanted(findings: Findings) -> Iterator[str]:
    """Give uris by how much a picture is missed: what is named in a list first, then points in no order."""
    yield from pictures.named(findings.strays, findings.duplicates, findings.labels)
    uris = findings.sample.points["uri"].to_pylist()
    yield from (uris[place] for place in np.random.default_rng(0).permutation(len(uris)))


def _figures(findings: Findings) -> dict[str, Any]:
    return {
        "featurized": any(each.outcomes for each in findings.intervals),
        "explained": float(findings.shares[: findings.k].sum()),
        "labels": sum(label.name is not None for label in findings.labels),
        "loose": sum(label.n for label in findings.labels if label.name is None),
        "rejected": sum(each.count for each in findings.rejected),
    }


def _moved(findings: Findings) -> tuple[Refitted, list[Mapping[str, Any]]] | None:
    """Return the labels whose means moved most in the newest refit that had one before it."""
    refitted = next((each for each in reversed(findings.refits) if each.drift), None)
    if refitted is None or refitted.drift is None:
        return None
    moved = [each for each in refitted.drift.get("labels") or () if (each.get("mean_shift") or 0) > 0]
    return refitted, sorted(moved, key=lambda each: -each["mean_shift"])[:8]


def _policy(style: str, program: str) -> str:
    return (
        f"default-src 'none'; script-src {_hashed(program)}; style-src {_hashed(style)}; img-src data: blob:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _style() -> str:
    colours = [*enumerate(palette.COLOURS), (-1, palette.NOTHING)]
    rules = [f".c{place}{{color:light-dark({light},{dark})}}" for place, (light, dark) in colours]
    return _asset("page.css") + "\n".join(rules)


def _program() -> str:
    return "'use strict';\n(() => {\n" + "\n".join(map(_asset, _PROGRAM)) + "\n})();"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8")
