"""Real small files of every format, made on the spot, for the tests of decoding."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from streaming.backbones.backbone import Preparation

LIMIT = 1_000_000
SIDE = 32
STILL = Preparation(SIDE)


def scene(width: int = 40, height: int = 40) -> Image.Image:
    """Give a picture in which every pixel differs from its neighbours and no corner equals another."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(5).integers(0, 25, (height, width))
    layers = [x * 200 // width, y * 200 // height, (x + y) * 120 // (width + height)]
    return Image.fromarray((np.stack(layers, axis=-1) + noise[..., None]).astype(np.uint8))


def encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    """Give the bytes of a picture in a format."""
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *between: tuple[bytes, bytes]) -> bytes:
    """Give a PNG of raw rows, as Pillow does not write every depth; `between` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *between, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def tiff(tags: dict[int, int], strip: bytes, short: int = 0) -> bytes:
    """Give a little-endian TIFF whose directory stands before its only strip; `short` bytes are missing at its end."""
    tags = {259: 1, 262: 1, 277: 1, 278: 1, 279: len(strip)} | tags
    tags |= {273: 8 + 2 + 12 * (len(tags) + 1) + 4}
    entries = (struct.pack("<HHII", tag, 4 if value > 65535 else 3, 1, value) for tag, value in sorted(tags.items()))
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4) + strip
    return data[: len(data) - short]


def orientation(value: int) -> bytes:
    """Give EXIF that holds an orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


FILES = {
    "jpeg": encoded(scene(), "JPEG", exif=orientation(6)),
    "progressive jpeg": encoded(scene(), "JPEG", progressive=True),
    "cmyk jpeg": encoded(scene().convert("CMYK"), "JPEG"),
    "mpo": encoded(scene(), "MPO", save_all=True, append_images=[scene().rotate(90)]),
    "png": encoded(scene(), "PNG", exif=orientation(3)),
    "palette png": encoded(scene().quantize(16), "PNG", transparency=3),
    "animated png": encoded(scene(), "PNG", save_all=True, append_images=[scene().rotate(90)]),
    "gif": encoded(scene(), "GIF"),
    "animated gif": encoded(scene(), "GIF", save_all=True, append_images=[scene().rotate(90)]),
    "webp": encoded(scene(), "WEBP"),
    "lossless webp": encoded(scene(), "WEBP", lossless=True),
    "animated webp": encoded(scene(), "WEBP", lossless=True, save_all=True, append_images=[scene().rotate(90)]),
    "bmp": encoded(scene(), "BMP"),
    "palette bmp": encoded(scene().quantize(16), "BMP"),
    "tiff": encoded(scene(), "TIFF"),
    "lzw tiff": encoded(scene(), "TIFF", compression="tiff_lzw"),
    "deflate tiff": encoded(scene(), "TIFF", compression="tiff_adobe_deflate"),
    "jpeg tiff": encoded(scene(), "TIFF", compression="jpeg"),
    "fax tiff": encoded(scene().convert("1"), "TIFF", compression="group4"),
    "two-page tiff": encoded(scene(), "TIFF", save_all=True, append_images=[scene().rotate(90)]),
}
