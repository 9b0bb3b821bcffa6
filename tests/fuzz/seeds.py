"""Seeds: the whole files that the fuzzer damages, of every kind of picture that Verger reads, made on the spot."""

import math
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.unit.hostile import endless_jpeg
from tests.unit.pictures import FILES, LIMIT, encoded, orientation, png, scene, tiff

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "fruits"
_TIFF_CODECS = ("packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "zstd", "lzma", "group3", "group4")
_TIFF_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F")


def seeds(photos: int = 6) -> dict[str, bytes]:
    """Make the seeds.

    Parameters
    ----------
    photos : int
        How many real photos to add, where this checkout has any beside it.

    Returns
    -------
    dict of str to bytes
        By name, which tells the kind; the same on every machine but for the photos.
    """
    files = FILES | _jpegs() | _pngs() | _gifs() | _webps() | _bmps() | _tiffs() | _odd_tiffs() | _strangers()
    return files | dict(_photos(photos))


def wide_seeds() -> dict[str, bytes]:
    """Make small files of just as many pixels as the tests' limit allows, so that what a decoder takes for them shows.

    Returns
    -------
    dict of str to bytes
        By name, as `seeds` does.
    """
    side = math.isqrt(LIMIT)
    plain, deep = Image.new("RGBA", (side, side), "orange"), Image.new("F", (side, side), 0.5)
    return {
        "wide png": encoded(plain, "PNG"),
        "wide gif": encoded(plain.convert("P"), "GIF"),
        "wide webp": encoded(plain, "WEBP", lossless=True),
        "wide animated webp": encoded(plain, "WEBP", lossless=True, save_all=True, append_images=[plain.rotate(1)]),
        "wide cmyk jpeg": encoded(plain.convert("RGB").convert("CMYK"), "JPEG", quality=1, progressive=True),
        "wide float tiff": encoded(deep, "TIFF", compression="tiff_adobe_deflate"),
        "wide lab tiff": encoded(Image.new("LAB", (side, side)), "TIFF", compression="tiff_adobe_deflate"),
        "wide jpeg of many scans": endless_jpeg(scans=300, side=side),
        "wide la tiff": encoded(plain.convert("LA"), "TIFF", compression="zstd"),
    }


def _photos(many: int) -> list[tuple[str, bytes]]:
    found = sorted(PHOTOS.glob("*/*.jpg"))
    chosen = found[:: max(1, len(found) // many)][:many] if many else []
    return [(f"photo {number} jpeg", path.read_bytes()) for number, path in enumerate(chosen)]


def _small(mode: str = "RGB") -> Image.Image:
    """Give a scene of 17 by 13 pixels, neither side a multiple of any block."""
    grey = np.asarray(scene(17, 13).convert("L"))
    if mode in ("I;16", "I"):
        return Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else np.int32) * 257)
    if mode == "F":
        return Image.fromarray(grey.astype(np.float32) / 255)
    if mode == "LAB":
        return Image.merge("LAB", scene(17, 13).split())
    return scene(17, 13).quantize(16) if mode == "P" else scene(17, 13).convert(mode)


def _jpegs() -> dict[str, bytes]:
    icc = b"\0" * 128 + b"\0\0\0\0"
    return {
        "grey jpeg": encoded(_small("L"), "JPEG"),
        "full colour jpeg": encoded(_small(), "JPEG", subsampling=0, optimize=True, icc_profile=icc),
        "restarted jpeg": encoded(_small(), "JPEG", restart_marker_blocks=1, comment=b"apple"),
        "progressive cmyk jpeg": encoded(_small("CMYK"), "JPEG", progressive=True, dpi=(72, 72)),
        "large jpeg": encoded(scene(300, 200), "JPEG", quality=20, exif=orientation(8)),
        "oriented mpo": encoded(_small(), "MPO", save_all=True, append_images=[_small()], exif=orientation(5)),
    }


def _pngs() -> dict[str, bytes]:
    """Every depth and colour type, with a row of noise repeated; what Pillow alone can save stands below them."""
    files = {}
    for colour, channels, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)), (4, 2, (8, 16))):
        for depth in depths:
            row = b"\1" + bytes(range(7, 7 + (5 * channels * depth + 7) // 8))
            palette = [(b"PLTE", bytes(range(6, 6 + 3 * min(32, 2**depth))))] if colour == 3 else []
            files[f"{depth} bit type {colour} png"] = png(5, 4, depth, colour, row * 4, *palette)
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(b"pear" * 9)), (b"iTXt", b"Title\0\0\0en\0\0plum")
    marked = (b"tRNS", b"\0\7"), (b"gAMA", struct.pack(">I", 45455)), (b"pHYs", struct.pack(">IIB", 9, 9, 1))
    return files | {
        "grey animated png": encoded(_small("L"), "PNG", save_all=True, append_images=[_small("L")], duration=9),
        "covered animated png": encoded(
            _small("RGBA"),
            "PNG",
            save_all=True,
            append_images=[_small("RGBA")],
            default_image=True,
            disposal=1,
            blend=1,
        ),
        "described png": png(5, 4, 8, 0, b"\0apple" * 4, *text, *marked),
        "interlaced png": _interlaced(png(1, 1, 8, 0, b"\0\7")),
        "profiled png": encoded(_small("RGBA"), "PNG", icc_profile=bytes(200), exif=orientation(7)),
    }


def _interlaced(data: bytes) -> bytes:
    header = bytearray(data[12:29])
    header[-1] = 1
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def _gifs() -> dict[str, bytes]:
    many = [_small().rotate(90 * turn) for turn in range(1, 4)]
    return {
        "grey gif": encoded(_small("L"), "GIF", interlace=1),
        "clear gif": encoded(_small("P"), "GIF", transparency=3, comment=b"quince", interlace=0),
        "long gif": encoded(_small(), "GIF", save_all=True, append_images=many, loop=0, duration=20, disposal=2),
    }


def _webps() -> dict[str, bytes]:
    clear = _small("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    several: dict[str, Any] = {"save_all": True, "append_images": [_small("RGBA")], "duration": 40}
    return {
        "clear webp": encoded(clear, "WEBP"),
        "clear lossless webp": encoded(clear, "WEBP", lossless=True, exif=orientation(2)),
        "clear animated webp": encoded(clear, "WEBP", minimize_size=True, **several),
        "profiled webp": encoded(_small(), "WEBP", icc_profile=bytes(64), xmp=b"<x/>", exif=orientation(6)),
    }


def _bmps() -> dict[str, bytes]:
    """Make the kinds that Pillow saves, and those of old that it only reads."""
    indices = bytes(range(8)) * 8
    palette = bytes(range(64))
    eight, four = b"\2\1\3\2\0\0" * 8 + b"\0\1", b"\4\x12\0\3\x34\x50\0\0" * 8 + b"\0\1"
    masks = struct.pack("<III", 0x7C00, 0x3E0, 0x1F)
    files = {f"{mode} bmp": encoded(_small(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")}
    return files | {
        "run length 8 bmp": _bmp(8, 1, eight, palette, colours=16),
        "run length 4 bmp": _bmp(4, 2, four, palette, colours=16),
        "bit field bmp": _bmp(16, 3, indices * 2, masks),
        "15 bit bmp": _bmp(16, 0, indices * 2),
        "top down bmp": _bmp(32, 0, indices * 4, height=-8),
        "core bmp": b"BM" + struct.pack("<IIIIHHHH", 26 + 192, 0, 26, 12, 8, 8, 1, 24) + indices * 3,
        "long header bmp": _bmp(32, 3, indices * 4, struct.pack("<IIII", 255, 65280, 255 << 16, 255 << 24) + bytes(68)),
    }


def _bmp(depth: int, compression: int, pixels: bytes, after: bytes = b"", height: int = 8, colours: int = 0) -> bytes:
    """Give a BMP of 8 columns; `after` stands between its header and its pixels, and makes it a longer header."""
    size = 40 + (0 if colours or len(after) < 16 else len(after))
    header = struct.pack("<IiiHHIIiiII", size, 8, height, 1, depth, compression, len(pixels), 0, 0, colours, 0)
    start = 14 + len(header) + len(after)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + after + pixels


def _tiffs() -> dict[str, bytes]:
    """Every mode that Pillow saves, and every compression of a few of them."""
    files = {f"{mode} tiff": encoded(_small(mode), "TIFF") for mode in _TIFF_MODES}
    for codec in _TIFF_CODECS:
        mode = "1" if codec.startswith("group") else "RGB"
        files[f"{codec} tiff"] = encoded(_small(mode), "TIFF", compression=codec, exif=orientation(4))
    return files | {
        "ycbcr jpeg tiff": encoded(_small("YCbCr"), "TIFF", compression="jpeg"),
        "deep lzw tiff": encoded(_small("I;16"), "TIFF", compression="tiff_lzw"),
        "float zstd tiff": encoded(_small("F"), "TIFF", compression="zstd"),
        "predicted tiff": encoded(_small(), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}),
        "big tiff": encoded(_small(), "TIFF", big_tiff=True),
        "three-page tiff": encoded(_small(), "TIFF", save_all=True, append_images=[_small(), _small("L")]),
    }


def _odd_tiffs() -> dict[str, bytes]:
    """Kinds that Pillow only reads."""
    size, strip = {256: 8, 257: 8, 258: 8, 278: 8}, bytes(range(64))
    motorola = BytesIO()
    Image.fromarray(np.arange(64, dtype=">u2").reshape(8, 8) * 999).save(motorola, "TIFF")
    return {
        "tiled tiff": tiff({256: 8, 257: 8, 258: 8, 322: 16, 323: 16, 324: 200, 325: 256}, bytes(range(256)) * 2),
        "12 bit tiff": tiff(size | {258: 12}, strip + strip[:32]),
        "4 bit tiff": tiff(size | {258: 4}, strip[:32]),
        "signed tiff": tiff(size | {258: 16, 339: 2}, strip * 2),
        "32 bit tiff": tiff(size | {258: 32}, strip * 4),
        "white is 0 tiff": tiff(size | {258: 1, 262: 0, 266: 2}, strip[:8]),
        "motorola tiff": motorola.getvalue(),
    }


def _strangers() -> dict[str, bytes]:
    """Files that are no picture in a format that Verger reads."""
    return {
        "text": b"apples, pears, two lemons\n",
        "html": b"<!doctype html><title>403</title>",
        "zip": b"PK\3\4" + bytes(40),
        "film": b"\0\0\0\x20ftypisom" + bytes(40),
        "icon": encoded(_small(), "ICO"),
        "avif": encoded(_small(), "AVIF"),
        "empty": b"",
    }
