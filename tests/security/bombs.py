"""Small files that unfold to much more than they are, or say that they do, of every format that is decoded."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from conf.rejections import Reason
from tests.unit.pictures import FILES, encoded, png, scene, tiff

PIXEL_LIMIT = 1_000_000
# 400 megapixels are 400 MB of grey, and more than a gigabyte of colour.
_SIDE = 20_000
_MUCH = 600 << 20
# Values of a tag, each of which becomes an object of Python.
_MANY = 12_000_000


PICTURE, NO_ROOM = "a picture", "no room"


@dataclass(frozen=True)
class Bomb:
    """A file, and what decoding it ends in.

    Attributes
    ----------
    make : callable
        Gives the bytes.
    outcome : str
        A reason; or that it is a picture, of as many pixels as it may have; or that there was no room.
    """

    make: Callable[[], bytes]
    outcome: str = Reason.TOO_MANY_PIXELS


def _unfolding() -> bytes:
    """Give zlib's form of very many zeros, a thousandth of them: blocks that know nothing of one another, repeated."""
    packer, zeros = zlib.compressobj(9), bytes(1 << 20)
    first, again = (packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (_MUCH >> 20)


def _patched(name: str, mark: bytes, offset: int, layout: str, *values: int) -> bytes:
    data = bytearray(FILES[name])
    struct.pack_into(layout, data, data.index(mark) + offset, *values)
    return bytes(data)


def _webp() -> bytes:
    """Give an animation whose canvas is as large as there can be."""
    side = (16_383 - 1).to_bytes(3, "little")
    data = bytearray(FILES["animated webp"])
    at = data.index(b"VP8X") + 12
    data[at : at + 6] = side + side
    return bytes(data)


def _bmp(width: int, height: int, compression: int, pixels: bytes) -> bytes:
    """Give a BMP of 256 colours."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(pixels), 0, 0, 256, 0)
    at = 14 + len(header) + 1024
    return b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + header + bytes(1024) + pixels


def _tagged(tag: int, kind: int, values: bytes, count: int) -> bytes:
    """Give a TIFF of one pixel with a tag of very many values of a kind (TIFF 6.0, section 2)."""
    tags = dict.fromkeys((256, 257, 259, 262, 273, 278, 279), (4, 1, 1)) | {258: (3, 1, 8)}
    tags[tag] = (kind, count, 8 + 2 + 12 * len({*tags, tag}) + 4)
    entries = [struct.pack("<HHII", each, *tags[each]) for each in sorted(tags)]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + values


def _chained(directories: int) -> bytes:
    """Give a TIFF whose directories, of nothing, follow one another without end."""
    first = tiff({256: 1, 257: 1, 258: 8}, b"\0")
    count = struct.unpack_from("<H", first, 8)[0]
    data = bytearray(first)
    struct.pack_into("<I", data, 10 + 12 * count, len(data))
    for _ in range(directories):
        data += struct.pack("<HHHIII", 1, 256, 4, 1, 1, len(data) + 18)
    return bytes(data)


def _with(kind: bytes, content: bytes, times: int = 1) -> bytes:
    """Give a PNG of one pixel with further chunks."""
    return png(1, 1, 8, 0, b"\0\0", *[(kind, content)] * times)


def _of_data(packed: bytes) -> bytes:
    """Give a PNG of one pixel whose data are these, as zlib packs them."""
    whole = png(1, 1, 8, 0, b"\0\0")
    start = whole.index(b"IDAT") - 4
    crc = struct.pack(">I", zlib.crc32(b"IDAT" + packed))
    return whole[:start] + struct.pack(">I", len(packed)) + b"IDAT" + packed + crc + whole[whole.index(b"IEND") - 4 :]


def _interlaced(data: bytes) -> bytes:
    head = data[12:28] + b"\1"
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def _jpeg_in_tiff() -> bytes:
    """Give a TIFF of 40 pixels whose strip is a JPEG of many."""
    strip = bytearray(encoded(scene().convert("L"), "JPEG"))
    struct.pack_into(">HH", strip, strip.index(b"\xff\xc0") + 5, _SIDE, _SIDE)
    return tiff({256: 40, 257: 40, 258: 8, 259: 7, 278: 40}, bytes(strip))


BOMBS: dict[str, Bomb] = {
    "jpeg": Bomb(lambda: _patched("jpeg", b"\xff\xc0", 5, ">HH", _SIDE, _SIDE)),
    "progressive jpeg": Bomb(lambda: _patched("progressive jpeg", b"\xff\xc2", 5, ">HH", _SIDE, _SIDE)),
    "mpo": Bomb(lambda: _patched("mpo", b"\xff\xc0", 5, ">HH", _SIDE, _SIDE)),
    "png": Bomb(lambda: png(_SIDE, _SIDE, 8, 0, bytes(_SIDE * 50))),
    "interlaced png": Bomb(lambda: _interlaced(png(_SIDE, _SIDE, 8, 2, bytes(_SIDE * 50)))),
    "png of more data than pixels": Bomb(lambda: _of_data(_unfolding()), PICTURE),
    "png profile": Bomb(lambda: _with(b"iCCP", b"icc\0\0" + _unfolding()), Reason.CORRUPT),
    "png text": Bomb(lambda: _with(b"zTXt", b"Comment\0\0" + _unfolding()), Reason.CORRUPT),
    "png international text": Bomb(lambda: _with(b"iTXt", b"Comment\0\1\0\0\0" + _unfolding()), Reason.CORRUPT),
    "png of many texts": Bomb(
        lambda: _with(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000)), times=600), Reason.CORRUPT
    ),
    "gif": Bomb(lambda: _patched("gif", b"GIF8", 6, "<HH", _SIDE, _SIDE)),
    "gif frame": Bomb(lambda: _patched("gif", b",\0\0\0\0", 5, "<HH", _SIDE, _SIDE)),
    "webp": Bomb(lambda: _patched("webp", b"\x9d\x01\x2a", 3, "<HH", 16_383, 16_383)),
    "animated webp": Bomb(_webp),
    "bmp": Bomb(lambda: _bmp(_SIDE, _SIDE, 0, b"")),
    "bmp of runs": Bomb(lambda: _bmp(_SIDE, _SIDE, 1, b"\xff\1" * 1000)),
    # Steps of 255 rows, each as wide as there may be.
    "bmp of steps": Bomb(lambda: _bmp(PIXEL_LIMIT, 1, 1, b"\0\2\0\xff" * 8), PICTURE),
    "tiff": Bomb(lambda: tiff({256: _SIDE, 257: _SIDE, 258: 8, 278: _SIDE}, b"\0" * 99)),
    "lzw tiff": Bomb(lambda: tiff({256: _SIDE, 257: _SIDE, 258: 8, 259: 5, 278: _SIDE}, b"\x80" * 99)),
    "deflate tiff": Bomb(lambda: tiff({256: _SIDE, 257: _SIDE, 258: 8, 259: 8, 278: _SIDE}, _unfolding())),
    "tiff tile": Bomb(lambda: tiff({256: 4, 257: 4, 258: 8, 259: 5, 322: 60_000, 323: 60_000, 324: 8, 325: 4}, b"")),
    "tiff of more data than pixels": Bomb(
        lambda: tiff({256: 4, 257: 4, 258: 8, 259: 8, 278: 4}, _unfolding()), PICTURE
    ),
    "jpeg in tiff": Bomb(_jpeg_in_tiff, Reason.CORRUPT),
    "tiff of a tag that nobody reads": Bomb(lambda: _tagged(40_000, 3, b"\x08\1" * _MANY, _MANY), PICTURE),
    "tiff of many strips": Bomb(lambda: _tagged(273, 3, b"\x08\1" * _MANY, _MANY), NO_ROOM),
    "tiff of many samples": Bomb(lambda: _tagged(258, 4, b"\x08\1\0\0" * _MANY, _MANY), NO_ROOM),
    "tiff of a profile of numbers": Bomb(lambda: _tagged(34_675, 3, b"\x08\1" * _MANY, _MANY), NO_ROOM),
    "tiff that says it has many values": Bomb(lambda: _tagged(258, 12, b"", 0x7FFF_FFFF), PICTURE),
    "tiff of many directories": Bomb(lambda: _chained(100_000), PICTURE),
}
