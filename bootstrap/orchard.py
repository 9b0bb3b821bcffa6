"""Orchard: draws fruit, so that a demonstration and the tests have pictures where no photograph exists.

Every picture is a small height field with a colour per point, lit from a random side, shown on white as in the
Fruits-360 photographs: 100 x 100 pixels, one fruit, turned by any angle. Equal seeds draw equal pictures.
"""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from bootstrap.fruits import RECIPES
from bootstrap.relief import Ground, lit

SUPERSAMPLING = 3
VARIETIES = tuple(RECIPES)


def draw(variety: str, seed: int, side: int = 100) -> Image.Image:
    """Draw one fruit on white.

    Parameters
    ----------
    variety : str
        One of `VARIETIES`.
    seed : int
        Not negative. Decides the turn, size, place, light, hue and texture.
    side : int
        Width and height in pixels.

    Returns
    -------
    PIL.Image.Image
        RGB, (side, side).
    """
    random = np.random.default_rng([VARIETIES.index(variety), seed])
    points = side * SUPERSAMPLING
    turn, scale = random.uniform(0, 2 * np.pi), random.uniform(0.76, 0.88)
    line = np.linspace(-1, 1, points, dtype=np.float32) / np.float32(scale)
    x, y = line - random.uniform(-0.05, 0.05), line[:, None] - random.uniform(-0.05, 0.05)
    cos, sin = math.cos(turn), math.sin(turn)
    solid = RECIPES[variety](Ground(cos * x + sin * y, sin * x - cos * y, random))
    pixels = lit(solid, float(line[1] - line[0]), random)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)


def plant(folder: Path, count: int, seed: int, start: int = 0) -> list[Path]:
    """Write pictures as ``folder/<Variety>/<nnnn>.jpg``, one variety after the other.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    count : int
        Number of pictures.
    seed : int
        Equal seeds write equal bytes.
    start : int
        Number of pictures already planted with this seed; the next ones differ from them.

    Returns
    -------
    list of Path
        In the order of writing.
    """
    paths = []
    for number in range(start, start + count):
        variety = VARIETIES[number % len(VARIETIES)]
        path = folder / variety / f"{number // len(VARIETIES):04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole at once, as whoever streams without a settle time has to land them.
        beside = path.with_name(f".{path.name}")
        draw(variety, seed * 1_000_000 + number).save(beside, "JPEG", quality=90)
        beside.replace(path)
        paths.append(path)
    return paths
