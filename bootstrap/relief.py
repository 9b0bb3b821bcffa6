"""Relief: things drawn as a height field with a colour per point, and the light that falls on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating[Any]]  # float32 in fact: float64 is twice as slow
Colour = tuple[int, int, int]

VIEWER = np.array([0, 0, 1], dtype=np.float32)
STALK_FOOT = (40, 30, 20)


@dataclass(frozen=True)
class Ground:
    """Where a fruit is drawn: the coordinates of every point in the fruit's own upright frame, about -1.1 to 1.1."""

    u: Field
    v: Field
    random: np.random.Generator

    def speckle(self, cells: int) -> Field:
        """Smooth noise between 0 and 1 that varies over about `cells` patches a side."""
        coarse = Image.fromarray(self.random.random((cells, cells), dtype=np.float32))
        smooth: Field = np.asarray(coarse.resize(self.u.shape[::-1], Image.Resampling.BICUBIC)).clip(0, 1)
        return smooth

    def around(self, waves: int, u: float = 0.0, v: float = 0.0) -> Field:
        """Smooth noise between 0 and 1 that varies with the direction from a point only: streaks."""
        turn = np.arctan2(self.v - v, self.u - u) * (waves / (2 * np.pi))
        knots = self.random.random(waves, dtype=np.float32)
        low = np.floor(turn)
        knot = low.astype(np.intp)  # from -waves / 2: a negative index counts from the end, as a turn does
        here, there = knots.take(knot, mode="wrap"), knots.take(knot + 1, mode="wrap")
        streaks: Field = here + (there - here) * step(turn - low, 0, 1)
        return streaks


@dataclass(frozen=True)
class Solid:
    """A drawn thing of n x n points.

    Attributes
    ----------
    height : ndarray of float32, shape (n, n)
        Above the picture; negative where the thing is not.
    colour : ndarray of float32, shape (3, n, n)
        RGB, 0 to 255; the channel comes first, as NumPy is slow over a last axis of 3.
    gloss : float
        Brightness of the highlight, 0 to 1.
    """

    height: Field
    colour: Field
    gloss: float = 0.3


def _rgb(colour: Field | Colour) -> Field:
    return np.array(colour, dtype=np.float32)[:, None, None] if isinstance(colour, tuple) else colour


def mix(one: Field | Colour, other: Field | Colour, share: Field) -> Field:
    """Blend two colours: the first where `share` is 0, the other where it is 1."""
    first = _rgb(one)
    return first + (_rgb(other) - first) * share


def step(field: Field, low: float, high: float) -> Field:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    share: Field = ((field - low) / (high - low)).clip(0, 1)
    return share * share * (3 - 2 * share)


def rounded(square: Field) -> Field:
    """Root of the squared height, -1 where there is none."""
    return np.where(square > 0, np.sqrt(np.maximum(square, 0)), np.float32(-1))


def ball(ground: Ground, u: float, v: float, radius: float) -> Field:
    """Height of a ball around a point, -1 outside."""
    return rounded(radius**2 - (ground.u - u) ** 2 - (ground.v - v) ** 2)


def near(ground: Ground, u: float, v: float, reach: float) -> Field:
    """One at a point, falling to about a third at `reach`."""
    return np.exp(-((ground.u - u) ** 2 + (ground.v - v) ** 2) / reach**2)


def over(below: Solid, above: Solid) -> Solid:
    """Put one thing on another: the higher one shows."""
    there = above.height > np.maximum(below.height, 0)
    height = np.where(there, above.height, below.height)
    return Solid(height, np.where(there, above.colour, below.colour), below.gloss)


def stalk(ground: Ground, start: tuple[float, float], end: tuple[float, float], width: float, colour: Colour) -> Solid:
    """Draw a bent stalk between two points, `width` to either side."""
    (u0, v0), (u1, v1) = start, end
    du, dv = u1 - u0, v1 - v0
    along = (((ground.u - u0) * du + (ground.v - v0) * dv) / (du * du + dv * dv)).clip(0, 1)
    bow = 0.12 * np.sin(np.pi * along)  # a straight line looks like wire
    square = (ground.u - u0 - along * du - bow * dv) ** 2 + (ground.v - v0 - along * dv + bow * du) ** 2
    height = np.where(square < width**2, 0.75 + rounded(width**2 - square), np.float32(-1))
    return Solid(height, mix(colour, STALK_FOOT, 0.5 * along))


def lattice(ground: Ground, pitch: float, stretch: float) -> Field:
    """Distance, in pitches, to the nearest point of a staggered lattice."""
    row = ground.v / (pitch * stretch)
    column = ground.u / pitch + 0.5 * (np.floor(row) % 2)
    away: Field = np.hypot(column - np.floor(column) - 0.5, (row - np.floor(row) - 0.5) * stretch)
    return away


def lit(solid: Solid, pitch: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """Light a solid from a random side (Blinn-Phong) and lay it on white."""
    there = solid.height > 0
    slope_y, slope_x = np.gradient(np.maximum(solid.height, 0), pitch)
    facing = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    side, tilt = random.uniform(0, 2 * np.pi), random.uniform(0.25, 0.6)
    light = np.array([tilt * np.cos(side), tilt * np.sin(side), np.sqrt(1 - tilt**2)], dtype=np.float32)
    half = (light + VIEWER) / np.linalg.norm(light + VIEWER)
    toward, shine = ((-slope_x * way[0] - slope_y * way[1] + way[2]) * facing for way in (light, half))
    shade = random.uniform(0.92, 1.08) * (0.5 + 0.6 * toward.clip(0, 1)) * (0.84 + 0.16 * facing)
    hue = random.normal(1, 0.025, (3, 1, 1)).astype(np.float32)
    colour = solid.colour * (hue * shade) + 150 * solid.gloss * shine.clip(0, 1) ** 40
    return np.where(there, colour.clip(0, 255), 255).astype(np.uint8).transpose(1, 2, 0)
