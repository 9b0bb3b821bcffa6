"""Anatomy: where the parts of a picture's file meet, and where its fields lie, as far as its bytes still tell."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Order = Literal["big", "little"]

_MOST = 250  # fields, parts: a damaged file may seem to have any number
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG: no length follows
_START_OF_SCAN, _END = 0xDA, 0xD9
_PLANES = b"\x2c"  # GIF: an image descriptor
_EXIF, _MULTIPLE = b"Exif\0\0", b"MPF\0"
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_DIRECTORIES = frozenset({330, 34665, 34853, 40965})  # tags whose value is the offset of another directory


@dataclass(frozen=True)
class Field:
    """An integer of the file."""

    at: int
    size: int
    order: Order

    def value(self, data: bytes) -> int:
        """Read it."""
        return int.from_bytes(data[self.at : self.at + self.size], self.order)


@dataclass(frozen=True)
class Anatomy:
    """What is known of a file.

    Attributes
    ----------
    kind : str
        The format that its first bytes name; "" where they name none.
    cuts : tuple of int
        Where one part ends and the next begins; ascending, from 0 to the file's length.
    fields : tuple of Field
        Integers that its format defines, all within the file.
    """

    kind: str
    cuts: tuple[int, ...]
    fields: tuple[Field, ...]


@lru_cache(1024)  # the same files are damaged again and again
def anatomy(data: bytes) -> Anatomy:
    """Take a file apart; what follows its first contradiction is one part without fields."""
    for kind, (magics, walk) in _WALKS.items():
        if data.startswith(magics):
            return _collected(kind, data, walk(data))
    return Anatomy("", (0, len(data)), ())


def _collected(kind: str, data: bytes, found: Iterator["Field | int"]) -> Anatomy:
    """Collect what a walk yields: fields, and cuts as integers. It may go beyond the file and be endless."""
    cuts, fields = {0, len(data)}, []
    for _, each in zip(range(_MOST), found, strict=False):
        if isinstance(each, int):
            cuts.add(min(each, len(data)))
        elif each.at + each.size <= len(data):
            fields.append(each)
    return Anatomy(kind, tuple(sorted(cuts)), tuple(fields))


def _run(at: int, *sizes: int, order: Order) -> Iterator[Field]:
    """Yield fields that follow each other."""
    for size in sizes:
        yield Field(at, size, order)
        at += size


def _jpeg(data: bytes) -> Iterator[Field | int]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        yield at
        marker = data[at + 1]
        yield Field(at + 1, 1, "big")
        if marker in _BARE_MARKERS:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield from _segment(data, at, marker, length)
        at += 2 + max(2, length)
        if marker == _START_OF_SCAN:
            yield at
            at = _after_scan(data, at)


def _segment(data: bytes, at: int, marker: int, length: int) -> Iterator[Field | int]:
    yield Field(at + 2, 2, "big")
    start = at + 4
    if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
        yield from _run(start, 1, 2, 2, 1, *[1] * min(12, max(0, length - 8)), order="big")
    elif data.startswith((_EXIF, _MULTIPLE), start):
        yield from _tiff(data, start + (6 if data.startswith(_EXIF, start) else 4))
    else:
        yield from _run(start, *[1] * min(20, max(0, length - 2)), order="big")


def _after_scan(data: bytes, at: int) -> int:
    """Find the next marker after entropy-coded data."""
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2
    return len(data)


def _png(data: bytes) -> Iterator[Field | int]:
    at = 8
    while at + 12 <= len(data):
        yield at
        yield Field(at, 4, "big")
        kind, length = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
        if kind == b"IHDR":
            yield from _run(at + 8, 4, 4, 1, 1, 1, 1, 1, order="big")
        elif kind == b"fcTL":
            yield from _run(at + 8, 4, 4, 4, 4, 4, 2, 2, 1, 1, order="big")
        elif kind == b"eXIf":
            yield from _tiff(data, at + 8)
        else:
            yield from _run(at + 8, *[1] * min(8, length), order="big")
        at += 12 + length


def _gif(data: bytes) -> Iterator[Field | int]:
    yield from _run(6, 2, 2, 1, 1, 1, order="little")
    at = 13 + _palette(data, 10)
    while at < len(data):
        yield at
        if data[at : at + 1] == b"!":
            yield from _run(at + 1, 1, *[1] * 8, order="little")
            at = yield from _blocks(data, at + 2)
        elif data[at : at + 1] == _PLANES:
            yield from _run(at + 1, 2, 2, 2, 2, 1, order="little")
            pixels = at + 10 + _palette(data, at + 9)
            yield Field(pixels, 1, "little")
            at = yield from _blocks(data, pixels + 1)
        else:
            at += 1


def _palette(data: bytes, flags: int) -> int:
    flag = data[flags] if flags < len(data) else 0
    return 3 * 2 ** (1 + flag % 8) if flag & 128 else 0


def _blocks(data: bytes, at: int) -> Generator[Field | int, None, int]:
    """Walk sub-blocks and return where they end."""
    while at < len(data) and data[at]:
        yield Field(at, 1, "little")
        at += 1 + data[at]
        yield at
    return at + 1


def _webp(data: bytes) -> Iterator[Field | int]:
    yield Field(4, 4, "little")
    at = 12
    while at + 8 <= len(data):
        yield at
        yield Field(at + 4, 4, "little")
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8X", b"ANMF"):
            yield from _run(at + 8, *([1, 3] if kind == b"VP8X" else [3, 3]), 3, 3, 3, 1, order="little")
        elif kind == b"EXIF":
            yield from _tiff(data, at + 8)
        else:
            yield from _run(at + 8, *[1] * min(12, length), order="little")
        inner = 16 if kind == b"ANMF" else length + length % 2  # the chunks of a frame stand within it
        at += 8 + inner


def _bmp(data: bytes) -> Iterator[Field | int]:
    yield 14
    yield from _run(2, 4, 2, 2, 4, 4, order="little")
    header = int.from_bytes(data[14:18], "little")
    if header == 12:
        yield from _run(18, 2, 2, 2, 2, order="little")
    else:
        yield from _run(18, 4, 4, 2, 2, 4, 4, 4, 4, 4, 4, *[4] * 4, order="little")
    yield 14 + header
    yield int.from_bytes(data[10:14], "little")


def _tiff(data: bytes, base: int = 0) -> Iterator[Field | int]:
    """Walk the directories of a TIFF, or of EXIF whose TIFF begins at `base`."""
    order: Order = "big" if data.startswith(b"MM", base) else "little"
    wide = data[base + 2 : base + 4] in (b"\x2b\0", b"\0\x2b")
    pointer = Field(base + (8 if wide else 4), 8 if wide else 4, order)
    yield from _run(base + 2, 2, order=order)
    yield pointer
    waiting, seen = [base + pointer.value(data)], set()
    while waiting:
        if (at := waiting.pop()) not in seen and at < len(data):
            seen.add(at)
            yield at
            waiting += yield from _directory(data, at, base, order, wide)


def _directory(data: bytes, at: int, base: int, order: Order, wide: bool) -> Generator[Field | int, None, list[int]]:
    """Walk one directory (TIFF 6.0, section 2, and BigTIFF) and return where others begin."""
    number = Field(at, 8 if wide else 2, order)
    width, long = (20, 8) if wide else (12, 4)
    yield number
    others, at = [], at + number.size
    for _ in range(min(number.value(data), 64)):
        yield from _run(at, 2, 2, long, order=order)
        tag, kind, count = (Field(at + gap, size, order).value(data) for gap, size in ((0, 2), (2, 2), (4, long)))
        size = _TYPE_SIZES.get(kind, 1)
        value = Field(at + 4 + long, size if size * count <= long and size <= long else long, order)
        yield value
        if size * count > long:
            outside = base + value.value(data)
            yield outside
            yield from _run(outside, *[size] * min(count, 6), order=order)
        if tag in _DIRECTORIES:
            others.append(base + value.value(data))
        at += width
    yield Field(at, long, order)
    yield at + long
    following = Field(at, long, order).value(data)
    return [*others, base + following] if following else others


_WALKS: dict[str, tuple[tuple[bytes, ...], Callable[[bytes], Iterator[Field | int]]]] = {
    "jpeg": ((b"\xff\xd8",), _jpeg),
    "png": ((b"\x89PNG",), _png),
    "gif": ((b"GIF8",), _gif),
    "webp": ((b"RIFF",), _webp),
    "bmp": ((b"BM",), _bmp),
    "tiff": ((b"II", b"MM"), _tiff),
}
