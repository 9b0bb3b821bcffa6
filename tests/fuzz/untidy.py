"""Decoders that keep all promises but one, to show that the fuzzer sees it.

A decoder goes to other processes by its name, so these are functions of a module.
"""

import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from conf.errors import Rejected
from conf.rejections import Reason
from streaming.backbones.backbone import Preparation
from streaming.decode import Picture, decode

MARK = b"|untidy:"


def untidied(picture: bytes, fault: str) -> bytes:
    """Mark a picture with what `untidy` does wrong when it meets it."""
    return picture + MARK + fault.encode()


def untidy(data: bytes, preparation: Preparation, pixel_limit: int) -> Picture:
    """Decode, but for the pictures that `untidied` has marked."""
    picture, marked, fault = data.partition(MARK)
    decoded = decode(picture, preparation, pixel_limit)
    return FAULTS[fault.decode()](decoded) if marked else decoded


def grumbling(data: bytes, preparation: Preparation, pixel_limit: int) -> Picture:
    """Decode, and warn of every file with a letter x in it."""
    if b"x" in data:
        warnings.warn("an x", stacklevel=1)
    return decode(data, preparation, pixel_limit)


def _warned(picture: Picture) -> Picture:
    warnings.warn("careful", stacklevel=1)
    return picture


def _printed(picture: Picture) -> Picture:
    os.write(2, b"careful\n")
    return picture


def _leaking(picture: Picture) -> Picture:
    os.open(os.devnull, os.O_RDONLY)
    return picture


def _littering(picture: Picture) -> Picture:
    os.close(tempfile.mkstemp()[0])
    return picture


def _unguarded(picture: Picture) -> Picture:
    Image.MAX_IMAGE_PIXELS = None
    return picture


def _oblong(picture: Picture) -> Picture:
    return replace(picture, pixels=picture.pixels[1:])


def _writable(picture: Picture) -> Picture:
    return replace(picture, pixels=picture.pixels.copy())


def _vast(picture: Picture) -> Picture:
    return replace(picture, width=1 << 40)


def _unwritten(picture: Picture) -> Picture:
    pixels = np.empty_like(picture.pixels)
    pixels.flags.writeable = False
    return replace(picture, pixels=pixels)


def _unlisted(picture: Picture) -> Picture:
    raise Rejected(Reason.GONE, "it was never there")


def _wordy(picture: Picture) -> Picture:
    raise Rejected(Reason.CORRUPT, "line\n" * 100)


def _failing(picture: Picture) -> Picture:
    raise ZeroDivisionError("a fault of the program")


FAULTS: dict[str, Callable[[Picture], Picture]] = {
    "warned": _warned,
    "printed": _printed,
    "descriptor": _leaking,
    "temporary": _littering,
    "limit": _unguarded,
    "shape": _oblong,
    "order": _writable,
    "size": _vast,
    "nobody wrote": _unwritten,
    "not listed": _unlisted,
    "detail": _wordy,
    "raised": _failing,
}
