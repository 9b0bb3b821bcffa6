"""Decoding with a clock beside it, for whoever measures; a module of its own, as a decoder's process imports it."""

import time
from dataclasses import dataclass

from streaming.backbones.backbone import Preparation
from streaming.decode import Picture, decode


@dataclass(frozen=True)
class Timed(Picture):
    """A decoded picture, and the seconds that it took where it was decoded."""

    seconds: float = 0.0


def timed(data: bytes, preparation: Preparation, pixel_limit: int) -> Timed:
    """Decode as `streaming.decode.decode` does."""
    start = time.perf_counter()
    made = decode(data, preparation, pixel_limit)
    return Timed(made.pixels, made.format, made.width, made.height, time.perf_counter() - start)
