"""Windfalls: files that a landing really receives, bad ones that must be rejected and odd ones that must not."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bootstrap.orchard import draw
from conf.rejections import Reason

BOMB_SIDE = 20_000
ODD_NAMES = ("two words.jpg", "crème brûlée.jpg", "a+b.jpg", "100%.jpg", "no #1.jpg", "line\nbreak.jpg")


def bad_files(folder: Path) -> dict[str, Reason]:
    """Write files that must end as rejections.

    Parameters
    ----------
    folder : Path
        Made if it is missing.

    Returns
    -------
    dict of str to Reason
        File name in the folder, and the reason it must be rejected for.
    """
    jpeg, png = _encoded(draw("Pear", 1), "JPEG"), _encoded(draw("Plum", 1), "PNG")
    files = {
        "cut short.jpg": (jpeg[: len(jpeg) * 6 // 10], Reason.TRUNCATED),
        "cut short.png": (png[: len(png) * 6 // 10], Reason.TRUNCATED),
        "empty.jpg": (b"", Reason.EMPTY),
        "shopping list.jpg": (b"apples, pears, two lemons\n", Reason.NOT_A_PICTURE),
        "bomb.png": (_bomb(), Reason.TOO_MANY_PIXELS),
        "invoice.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", Reason.NOT_A_PICTURE),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), Reason.NOT_A_PICTURE),
        "scratched.png": (_scratched(png), Reason.CORRUPT),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: reason for name, (_, reason) in files.items()}


def odd_files(folder: Path) -> list[Path]:
    """Write pictures that look hostile and must give features all the same.

    Parameters
    ----------
    folder : Path
        Made if it is missing.

    Returns
    -------
    list of Path
    """
    fruit, other = draw("Orange", 2), draw("Kiwi", 2)
    turned = Image.Exif()
    turned[0x0112] = 6
    grey = Image.fromarray(np.asarray(fruit.convert("L")).astype(np.uint16) * 257)
    faded = fruit.copy()
    faded.putalpha(Image.linear_gradient("L").resize(fruit.size))
    files = {
        "cmyk.jpg": _encoded(fruit.convert("CMYK"), "JPEG"),
        "palette.png": _encoded(fruit.quantize(32), "PNG", transparency=0),
        "sixteen bits.png": _encoded(grey, "PNG"),
        "alpha.png": _encoded(faded, "PNG"),
        "animated.gif": _encoded(fruit, "GIF", save_all=True, append_images=[other]),
        "animated.webp": _encoded(fruit, "WEBP", save_all=True, append_images=[other]),
        "one pixel.png": _encoded(fruit.resize((1, 1)), "PNG"),
        "ribbon.png": _encoded(fruit.resize((3000, 2)), "PNG"),
        "broken exif.jpg": _encoded(fruit, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff no directory"),
        "turned.jpg": _encoded(fruit, "JPEG", exif=turned.tobytes()),
        "a png.jpg": _encoded(other, "PNG"),
    } | {name: _encoded(draw("Lemon", number), "JPEG") for number, name in enumerate(ODD_NAMES)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def _encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def _bomb() -> bytes:
    """Make a white PNG of 400 megapixels in less than 100 kB."""
    row = b"\0" + b"\xff" * (BOMB_SIDE // 8)  # no filter, one bit a pixel
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * BOMB_SIDE, 4)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _scratched(png: bytes) -> bytes:
    """Overwrite some bytes in the middle of the pixel data; the lengths stay right."""
    middle = len(png) // 2
    return png[:middle] + bytes(16) + png[middle + 16 :]
