"""Diagnosis: which rejection the failure of a decoder means, in words for the person who looks at the row.

Pillow's plugins raise whatever their parsing runs into: OSError, SyntaxError, ValueError, struct.error, EOFError,
RecursionError and more. What matters is whether the file ends too early (an upload cut short), contradicts itself, or
never was a picture. A MemoryError says nothing about the file and is passed on.
"""

import re
import struct
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from conf.errors import Rejected
from conf.rejections import Reason

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
MARKS_OF_WHOLE_FILES = ((b"\xff\xd8", b"\xff\xda"), (b"\x89PNG", b"IEND"))  # JPEG: start of scan
STRIP_OFFSETS, STRIP_LENGTHS, TILE_OFFSETS, TILE_LENGTHS = 273, 279, 324, 325
TIFF_TYPES = {3: "H", 8: "H", 4: "I", 9: "I", 11: "I", 5: "Q", 10: "Q", 12: "Q"}  # struct's letter of each width
FOREIGN = (
    (0, b"%PDF", "a PDF"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\0\0\1\0", "an icon (ICO)"),
    (0, b"%!PS", "PostScript (EPS)"),
    (0, b"PK\3\4", "a ZIP archive or office document"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (4, b"JXL ", "a JPEG XL"),
    (4, b"jP  ", "a JPEG 2000"),
    (4, b"ftypavi", "an AVIF"),
    (4, b"ftyphe", "a HEIC"),
    (4, b"ftypmif1", "a HEIF"),
    (4, b"ftyp", "an MP4 or QuickTime film"),
    (0, b"RIFF", "a RIFF file (AVI or WAV)"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"\x7fELF", "a program"),
)
MARKUP = (
    (b"<svg", "an SVG"),
    (b"<?xml", "XML, perhaps an SVG"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
)


def diagnosis(error: Exception, data: bytes) -> Rejected:
    """Turn what a decoder raised into a rejection.

    Parameters
    ----------
    error : Exception
        Raised by `PIL.Image.open` with `FORMATS`, by `load`, or by what followed.
    data : bytes
        The whole file, not empty.

    Returns
    -------
    Rejected
        NOT_A_PICTURE, TOO_MANY_PIXELS, TRUNCATED or CORRUPT; the detail is one printable line, 200 characters at most.
    """
    if isinstance(error, Image.DecompressionBombError):
        pixels, limit = (int(number) for number in re.findall(r"\d+", str(error))[:2])
        return Rejected(Reason.TOO_MANY_PIXELS, f"{pixels:,} pixels; the limit is {limit:,}")
    if isinstance(error, UnidentifiedImageError):
        hidden = _what_open_hid(data)
        if hidden is None:
            return Rejected(Reason.NOT_A_PICTURE, f"it looks like {_looks_like(data)}")
        error = hidden
    return Rejected(Reason.TRUNCATED if _is_cut(data, error) else Reason.CORRUPT, _one_line(error))


def _what_open_hid(data: bytes) -> Exception | None:
    """Ask the plugin whose signature the bytes carry why it gave up: `Image.open` does not tell."""
    for name in FORMATS:
        plugin, accepts = Image.OPEN[name]
        if accepts and accepts(data[:16]):
            try:
                plugin(BytesIO(data), "")
            except MemoryError:
                raise
            except Exception as error:  # whatever its parsing runs into
                return error
    return None


def _one_line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]


def _is_cut(data: bytes, error: Exception) -> bool:
    """Whether the file ends too early, by Pillow's words or else by the lengths that its own container states."""
    if "truncated" in str(error).lower():
        return True
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff_is_cut(data)
    if any(data.startswith(start) and mark not in data for start, mark in MARKS_OF_WHOLE_FILES):
        return True
    ended = (EOFError, IndexError, struct.error)
    return isinstance(error, ended) or isinstance(error.__cause__, ended)


def _tiff_is_cut(data: bytes) -> bool:
    """Whether a TIFF's first directory, or anything it points at, lies beyond the last byte (TIFF 6.0, section 2)."""
    order = "<" if data.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        values = dict(_tiff_value(data, order, start + 2 + 12 * entry) for entry in range(count))
        offsets, lengths = (
            next((struct.unpack_from(*values[tag]) for tag in tags if tag in values), ())
            for tags in ((STRIP_OFFSETS, TILE_OFFSETS), (STRIP_LENGTHS, TILE_LENGTHS))
        )
    except struct.error:
        return True
    return any(offset + length > len(data) for offset, length in zip(offsets, lengths, strict=False))


def _tiff_value(data: bytes, order: str, entry: int) -> tuple[int, tuple[str, bytes, int]]:
    tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
    layout = f"{order}{count}{TIFF_TYPES.get(kind, 'B')}"
    size = struct.calcsize(layout)
    (where,) = struct.unpack_from(f"{order}I", data, entry + 8) if size > 4 else (entry + 8,)
    if where + size > len(data):
        raise struct.error("a value lies beyond the last byte")
    return tag, (layout, data, where)


def _looks_like(data: bytes) -> str:
    for at, magic, name in FOREIGN:
        if data.startswith(magic, at):
            return name
    markup = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, name in MARKUP:
        if markup.startswith(magic):
            return name
    text = data[:64].decode(errors="ignore")
    if len(text.encode()) >= len(data[:64]) - 3 and all(letter.isprintable() or letter.isspace() for letter in text):
        return f"text: {' '.join(text.split())[:40]!r}"
    return f"no format known here; first bytes {data[:16].hex(' ')}"
