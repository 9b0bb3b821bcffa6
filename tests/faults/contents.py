"""What lands: pictures good and bad, no two alike, and what must become of each."""

import hashlib
from dataclasses import dataclass
from functools import cache
from io import BytesIO

from bootstrap import orchard
from tests.unit.hostile import endless_jpeg
from tests.unit.pictures import png


@dataclass(frozen=True)
class Content:
    """The bytes of a file.

    Attributes
    ----------
    rejection : str
        The reason that it must be rejected for; empty where it must have features.
    """

    data: bytes
    rejection: str = ""

    @property
    def sha256(self) -> str:
        """Its hash, as the features table spells it."""
        return hashlib.sha256(self.data).hexdigest()


@cache
def good(number: int) -> Content:
    """Draw a picture; different numbers give different ones."""
    variety = orchard.VARIETIES[number % len(orchard.VARIETIES)]
    buffer = BytesIO()
    orchard.draw(variety, number).save(buffer, "JPEG", quality=90)
    return Content(buffer.getvalue())


def bad(number: int) -> Content:
    """Give bytes that must be rejected, of one kind after the other."""
    data = good(number).data
    kinds = (
        Content(data[: len(data) // 2], "truncated"),
        Content(b"no picture at all, number %d" % number, "not_a_picture"),
        Content(_bomb(number), "too_many_pixels"),
    )
    return kinds[number % len(kinds)]


def endless(number: int) -> Content:
    """Give a picture that keeps its decoder busy for minutes, and the worker silent."""
    return Content(endless_jpeg() + b"%d" % number, "timed_out")


def _bomb(number: int) -> bytes:
    return png(100_000 + number, 100_000, 8, 2, b"")
