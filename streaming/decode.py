"""Decode: any bytes become the pixels a backbone looks at, or a rejection; never anything else.

The decoding rule, version 1 (part of the featurizer's declaration through `Preparation.decoding`):

1.  The format is told by the bytes, not by the name: JPEG (and MPO), PNG, GIF, WebP, BMP, TIFF.
2.  Width times height is held against the pixel limit before any pixel is decoded.
3.  A JPEG whose sides are both at least 4 times the target is decoded at 1/2, 1/4 or 1/8 scale inside the inverse DCT
    (`draft`), never below twice the target. Other pictures are decoded in full.
4.  The first picture of an animation or a multipage file counts; of an animated PNG, the one a still viewer shows.
5.  Deep grey becomes 8 bits: 16-bit values keep their high byte (as Pillow does with 16-bit colour), 12-bit ones their
    upper 8 bits. 32-bit integers are clipped to 0..65535 first. Floats are scaled from the smallest of the ranges 0..1,
    0..255 and 0..65535 that holds the greatest finite value, rounded; negatives and NaN are black.
6.  Transparency of any kind is composited over white. CMYK and YCCK become RGB by Pillow's formula, Adobe polarity.
    Colour profiles are ignored.
7.  The EXIF orientation is applied; EXIF that cannot be read is ignored.
8.  ``stretch`` resizes to the square, ``crop`` resizes the central square of the short side, ``pad`` resizes the long
    side to the square's and centres on white.
"""

import ctypes
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, _imaging

from conf.errors import Rejected
from conf.rejections import Reason
from streaming.backbones.backbone import Preparation
from streaming.diagnosis import FORMATS, diagnosis

DEEP_GREY = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = frozenset({5, 6, 7, 8})  # orientations that swap width and height
# The hungriest picture, a TIFF of floats, was seen to take 24 for each of 80 million pixels.
_BYTES_PER_PIXEL = 32
_BYTES_FOR_ANY = 256 << 20
BITS_PER_SAMPLE, TILE_WIDTH, TILE_LENGTH = 258, 322, 323  # TIFF 6.0, sections 8 and 15


def _hush() -> None:
    """Keep from standard error what Pillow logs and libtiff prints of damaged files; an exception says it as well.

    Pillow leaves libtiff's handler of errors as it is and offers no way to it but the symbol that it links to.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    handler = getattr(ctypes.CDLL(_imaging.__file__), "TIFFSetErrorHandler", None)
    if handler is not None:  # a build without libtiff, or one that hides it
        handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        handler(None)


_hush()


@dataclass(frozen=True)
class Picture:
    """A decoded picture, ready for a backbone.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (size, size, 3)
        RGB, C-contiguous, read-only.
    format : str
        Lower case, from the bytes: jpeg, mpo, png, gif, webp, bmp or tiff.
    width, height : int
        Of the whole stored picture as a viewer shows it, that is after the EXIF orientation and before any scaling.
    """

    pixels: NDArray[np.uint8]
    format: str
    width: int
    height: int


def room_for(pixel_limit: int) -> int:
    """Return the most memory, in bytes, that decoding a picture within a pixel limit can honestly take."""
    return _BYTES_PER_PIXEL * pixel_limit + _BYTES_FOR_ANY


def decode(data: bytes, preparation: Preparation, pixel_limit: int) -> Picture:
    """Decode a picture to the square of pixels that a backbone takes in.

    Parameters
    ----------
    data : bytes
        The whole file.
    preparation : Preparation
        Side of the square, fit and resize filter.
    pixel_limit : int
        Greatest width times height.

    Returns
    -------
    Picture

    Raises
    ------
    Rejected
        EMPTY, NOT_A_PICTURE, TOO_MANY_PIXELS, TRUNCATED or CORRUPT. Whatever the bytes, no warning leaves and nothing
        is printed.
    MemoryError
        There was no room, for which the picture need not be to blame. Nothing else is raised.
    """
    if not data:
        raise Rejected(Reason.EMPTY, "0 bytes")
    with _pillow_guarded(pixel_limit):
        try:
            return _decoded(data, preparation, pixel_limit)
        except (Rejected, MemoryError):
            raise
        except Exception as error:  # Pillow's plugins raise whatever their parsing runs into
            if str(error).startswith("out of memory"):  # its codecs' way to say it
                raise MemoryError(str(error)) from error
            raise diagnosis(error, data) from error


@contextmanager
def _pillow_guarded(pixel_limit: int) -> Iterator[None]:
    """Set Pillow's own bomb guard to our limit and keep its warnings in.

    The guard also stands where a plugin allocates before it returns (the canvas of a WebP) or meets a larger size later
    (a frame of a GIF).
    """
    usual = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = (pixel_limit + 1) // 2  # Pillow refuses above twice this number
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def _decoded(data: bytes, preparation: Preparation, pixel_limit: int) -> Picture:
    stored = Image.open(BytesIO(data), formats=FORMATS)
    width, height = stored.size
    _check_pixels(stored, pixel_limit)
    stored.draft(None, (2 * preparation.size, 2 * preparation.size))  # only the JPEG plugin acts on it
    stored.load()
    flat, orientation = _flat(stored, data), _orientation(stored)
    if orientation in LYING:
        width, height = height, width
    upright = flat.transpose(TURNS[orientation]) if orientation in TURNS else flat
    fitted = _fitted(upright, preparation)
    pixels = np.asarray(fitted if fitted.mode == "RGB" else fitted.convert("RGB"))
    return Picture(pixels, str(stored.format).lower(), width, height)


def _check_pixels(stored: ImageFile.ImageFile, pixel_limit: int) -> None:
    width, height = stored.size
    tags = getattr(stored, "tag_v2", {})  # a tile of a TIFF may be larger than its picture
    tile = [tags.get(tag, 0) for tag in (TILE_WIDTH, TILE_LENGTH)]
    if not all(isinstance(side, Real) for side in tile):  # a text times a number is a long text
        raise ValueError("the size of the tiles is no pair of numbers")
    if max(width * height, math.prod(tile)) > pixel_limit:
        raise Rejected(Reason.TOO_MANY_PIXELS, f"{width:,} x {height:,} pixels; the limit is {pixel_limit:,}")


def _orientation(stored: ImageFile.ImageFile) -> Any:
    try:  # a TIFF has none left: its plugin has turned the picture while loading
        return stored.getexif().get(ExifTags.Base.Orientation, 1)
    except MemoryError:
        raise
    except Exception:  # broken EXIF says nothing about the pixels, which are whole
        return 1


def _flat(stored: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Give the picture as L or RGB of 8 bits; grey stays grey, as it is resized three times faster."""
    if stored.mode in DEEP_GREY:
        return _eight_bits(stored)
    if stored.has_transparency_data:
        return _over_white(stored, data)
    if stored.mode in ("L", "RGB"):
        return stored
    return stored.convert("L" if stored.mode == "1" else "RGB")


def _eight_bits(stored: ImageFile.ImageFile) -> Image.Image:
    deep = np.asarray(stored)
    if stored.mode == "F":
        return Image.fromarray(_scaled(deep))
    shift = 4 if getattr(stored, "tag_v2", {}).get(BITS_PER_SAMPLE) == (12,) else 8
    grey = np.clip(deep >> shift, 0, 255).astype(np.uint8)
    if "transparency" in stored.info:
        grey[deep == stored.info["transparency"]] = 255
    return Image.fromarray(grey)


def _scaled(deep: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = deep[np.isfinite(deep)]
    if not finite.size:
        raise Rejected(Reason.CORRUPT, "no pixel of the float picture is finite")
    full = next((full for full in (1, 255) if finite.max() <= full), 65535)
    unit = np.clip(np.nan_to_num(deep, nan=0, posinf=full, neginf=0) / full, 0, 1)
    return np.rint(unit * 255).astype(np.uint8)


def _over_white(stored: ImageFile.ImageFile, data: bytes) -> Image.Image:
    if stored.format == "PNG" and "transparency" in stored.info:
        stored.info["transparency"] = _eight_bit_key(stored.info["transparency"], stored.mode, depth=data[24])
    straight = stored.convert("LA") if stored.mode == "La" else stored  # Pillow has no way from La to RGBA
    colours = straight.convert("RGBA")
    white = Image.new("RGB", colours.size, "white")
    white.paste(colours, mask=colours)
    return white


def _eight_bit_key(key: Any, mode: str, depth: int) -> Any:
    """Scale a transparent colour as Pillow scales the pixels; it leaves the key at the depth of the file."""
    if mode == "RGB" and depth == 16:
        return tuple(channel >> 8 for channel in key)
    if mode == "L" and depth < 8:
        return key * 255 // (2**depth - 1)
    return key


def _fitted(upright: Image.Image, preparation: Preparation) -> Image.Image:
    side, resample = preparation.size, Image.Resampling[preparation.filter.upper()]
    width, height = upright.size
    if preparation.fit == "crop":
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        return upright.resize((side, side), resample, box=(left, top, left + short, top + short))
    if preparation.fit == "pad":
        scale = side / max(width, height)
        inner = upright.resize((max(1, round(width * scale)), max(1, round(height * scale))), resample)
        square = Image.new(inner.mode, (side, side), "white")
        square.paste(inner, ((side - inner.width) // 2, (side - inner.height) // 2))
        return square
    return upright.resize((side, side), resample)
