"""Thumbnails as sprite sheets: many small pictures in a few WebP files, within a budget of bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

BUDGET = 3_000_000
SIDES = (96, 72, 56, 48, 40, 32)
_SHEET = 1024
_QUALITY = 72
_TRIED = 96


@dataclass(frozen=True)
class Sprites:
    """Square sprites on sheets, row by row, sheet by sheet.

    Attributes
    ----------
    side : int
        Of a sprite, in pixels.
    across : int
        Sprites in a row, and rows of a full sheet.
    sheets : tuple of bytes
        WebP.
    places : mapping of str to int
        Which sprite shows which uri.
    """

    side: int
    across: int
    sheets: tuple[bytes, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)


def sprites(thumbnails: Mapping[str, Pixels], wanted: Iterable[str], budget: int = BUDGET) -> Sprites:
    """Put thumbnails on sheets, as large as the budget lets them be.

    Parameters
    ----------
    thumbnails : mapping of str to ndarray
        By uri, RGB of uint8, shape (side, side, 3).
    wanted : iterable of str
        Uris, the most wanted first: where even the smallest are too many, the last ones go without.
    budget : int
        Bytes of all sheets together.

    Returns
    -------
    Sprites
        No sprite is larger than the largest thumbnail.
    """
    uris = [uri for uri in dict.fromkeys(wanted) if uri in thumbnails]
    if not uris:
        return Sprites(SIDES[-1], 1)
    most = max(thumbnails[uri].shape[0] for uri in uris)
    sides = [side for side in SIDES if side <= most] or [most]
    side = next((each for each in sides if _weight(thumbnails, uris, each) * len(uris) <= budget), sides[-1])
    return _within(thumbnails, uris, side, budget)


def _weight(thumbnails: Mapping[str, Pixels], uris: Sequence[str], side: int) -> float:
    tried = uris[:: max(1, len(uris) // _TRIED)]
    return sum(map(len, _sheets(thumbnails, tried, side))) / len(tried)


def _within(thumbnails: Mapping[str, Pixels], uris: Sequence[str], side: int, budget: int) -> Sprites:
    kept = min(len(uris), int(budget / _weight(thumbnails, uris, side)))
    while True:
        sheets = _sheets(thumbnails, uris[:kept], side)
        if (weight := sum(map(len, sheets))) <= budget:
            return Sprites(side, _across(side), sheets, {uri: place for place, uri in enumerate(uris[:kept])})
        kept = int(0.97 * kept * budget / weight)


def _across(side: int) -> int:
    return max(1, _SHEET // side)


def _sheets(thumbnails: Mapping[str, Pixels], uris: Sequence[str], side: int) -> tuple[bytes, ...]:
    full = _across(side) ** 2
    return tuple(_sheet([thumbnails[uri] for uri in uris[at : at + full]], side) for at in range(0, len(uris), full))


def _sheet(pictures: Sequence[Pixels], side: int) -> bytes:
    across = min(_across(side), len(pictures))
    sheet = Image.new("RGB", (across * side, -(-len(pictures) // across) * side))
    for place, pixels in enumerate(pictures):
        row, column = divmod(place, across)
        sheet.paste(_sized(pixels, side), (column * side, row * side))
    written = BytesIO()
    sheet.save(written, "WEBP", quality=_QUALITY, method=4)
    return written.getvalue()


def _sized(pixels: Pixels, side: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    return picture if picture.size == (side, side) else picture.resize((side, side), Image.Resampling.LANCZOS)
