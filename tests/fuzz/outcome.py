"""Outcome: what a decoding ended in, told so that two of one kind are equal."""

import re
from dataclasses import dataclass

from conf.errors import Rejected
from conf.rejections import Reason
from streaming.decode import Picture

LISTED = frozenset({Reason.EMPTY, Reason.NOT_A_PICTURE, Reason.TOO_MANY_PIXELS, Reason.TRUNCATED, Reason.CORRUPT})
FORMATS = frozenset({"jpeg", "mpo", "png", "gif", "webp", "bmp", "tiff"})
PICTURE, NO_ROOM, BROKEN = "picture", "no room", "broken"
_MAGICS = {
    b"\xff\xd8": "jpeg",
    b"\x89P": "png",
    b"GI": "gif",
    b"RI": "webp",
    b"BM": "bmp",
    b"II": "tiff",
    b"MM": "tiff",
}
# A quotation may hold a quote behind a backslash, and may be cut before its end.
_QUOTED = r"""b?'(?:[^'\\]|\\.)*(?:'|$)|b?"(?:[^"\\]|\\.)*(?:"|$)"""
_OF_ONE_FILE = re.compile(rf"(first bytes|text:) .*|{_QUOTED}|0x[0-9a-f]+|-?\d[\d,]*|not allowed .*", re.DOTALL)


@dataclass(frozen=True, order=True)
class Outcome:
    """What a decoding ended in.

    Attributes
    ----------
    kind : str
        The format that the first two bytes name, "other" where they name none.
    result : str
        `PICTURE`, a `Reason` that `decode` lists, `NO_ROOM` for a MemoryError, or `BROKEN` for what it never promised.
    said : str
        A picture's format; else the message without the numbers and quotations of the one file.
    """

    kind: str
    result: str
    said: str


def of_picture(data: bytes, picture: Picture) -> Outcome:
    """Tell of a picture."""
    return Outcome(_kind(data), PICTURE, picture.format)


def of_error(data: bytes, error: Exception) -> Outcome:
    """Tell of whatever a decoder raised."""
    if isinstance(error, Rejected):
        return Outcome(_kind(data), error.reason.value, general(error.detail))
    if isinstance(error, MemoryError):
        return Outcome(_kind(data), NO_ROOM, general(str(error)))
    return Outcome(_kind(data), BROKEN, general(f"{type(error).__name__}: {error}"))


def general(message: str) -> str:
    """Take out of a message what only belongs to one file."""
    return _OF_ONE_FILE.sub("~", message)[:120]


def _kind(data: bytes) -> str:
    return _MAGICS.get(data[:2], "other")
