"""Fruits: how each variety is drawn, upright, within about the unit circle."""

from collections.abc import Callable

import numpy as np

from bootstrap.relief import Colour, Ground, Solid, ball, lattice, mix, near, over, rounded, stalk, step

BROWN, LEAF = (104, 70, 38), (88, 140, 48)
Recipe = Callable[[Ground], Solid]


def _apple(ground: Ground, skin: Colour, blush: Colour, top: Colour, streaks: float) -> Solid:
    square = ground.u**2 + ground.v**2
    dents = 0.17 * near(ground, 0, 0.95, 0.4) + 0.06 * near(ground, 0, -0.95, 0.3)
    height = rounded((0.9 + 0.03 * ground.v - dents) ** 2 - square)
    height = np.where(height > 0, np.maximum(height - 0.3 * near(ground, 0, 0.64, 0.24), 0.01), height)
    streak = ground.around(46, 0, 0.8)
    colour = mix(skin, blush, (streaks * streak + 0.6 * ground.speckle(4) * ground.speckle(3)).clip(0, 1))
    colour = mix(colour, top, 0.8 * near(ground, 0, 0.72, 0.34) * (0.6 + 0.4 * streak))
    colour = mix(colour, (240, 226, 170), 0.45 * step(lattice(ground, 0.16, 0.9), 0.1, 0.04) * ground.speckle(9))
    lean = ground.random.uniform(-0.14, 0.14)
    return over(Solid(height, colour, 0.5), stalk(ground, (0, 0.58), (lean, 1.03), 0.045, BROWN))


def _apple_red(ground: Ground) -> Solid:
    return _apple(ground, (176, 18, 30), (224, 92, 52), (214, 176, 84), 0.75)


def _apple_green(ground: Ground) -> Solid:
    return _apple(ground, (132, 182, 44), (176, 208, 84), (120, 150, 50), 0.4)


def _lemon(ground: Ground) -> Solid:
    tips = 0.15**2 - (np.abs(ground.u) - 0.86) ** 2
    body = 0.64**2 * (1 - (ground.u / 0.92) ** 2)
    height = rounded(np.logaddexp(16 * body, 16 * tips) / 16 - ground.v**2 - 0.012)
    height = height - 0.025 * ground.speckle(34)
    colour = mix((246, 208, 36), (252, 230, 92), ground.speckle(5))
    ends = step(np.abs(ground.u), 0.78, 1.0)
    return Solid(height, mix(colour, (176, 178, 40), 0.6 * ends), 0.4)


def _orange(ground: Ground) -> Solid:
    height = ball(ground, 0, 0, 0.92) - 0.028 * ground.speckle(44)
    colour = mix((238, 122, 12), (252, 158, 44), ground.speckle(5))
    spot = ground.random.uniform(-0.45, 0.45), ground.random.uniform(-0.1, 0.5)
    ring = np.hypot(ground.u - spot[0], ground.v - spot[1])
    colour = mix(colour, (178, 110, 20), 0.5 * near(ground, *spot, 0.2))
    star = 0.09 + 0.035 * ground.around(9, *spot)
    return Solid(height - 0.05 * near(ground, *spot, 0.13), mix(colour, LEAF, step(star - ring, -0.01, 0.02)), 0.45)


def _plum(ground: Ground) -> Solid:
    height = rounded(0.72**2 * (1 - (ground.v / 0.95) ** 2) * (1 - 0.12 * ground.v) - ground.u**2)
    groove = np.abs(ground.u - 0.28 * np.sqrt(np.maximum(1 - ground.v**2, 0)))
    height = height - 0.12 * np.exp(-((groove / 0.07) ** 2))
    colour = mix((72, 32, 92), (128, 42, 92), ground.speckle(4))
    bloom = ground.speckle(6) * ground.speckle(3)
    colour = mix(colour, (140, 140, 190), 0.75 * bloom)
    return over(Solid(height, colour, 0.28), stalk(ground, (0.05, 0.86), (0.1, 1.06), 0.035, BROWN))


def _pear(ground: Ground) -> Solid:
    belly = 0.64**2 - (ground.v + 0.3) ** 2
    neck = 0.3**2 - (ground.v - 0.5) ** 2
    height = rounded(np.logaddexp(9 * belly, 9 * neck) / 9 - ground.u**2)
    colour = mix((190, 200, 62), (230, 218, 100), ground.speckle(4))
    cheek = float(ground.random.choice([-0.4, 0.4]))
    colour = mix(colour, (206, 104, 56), 0.75 * near(ground, cheek, -0.25, 0.5) * (0.4 + 0.6 * ground.speckle(6)))
    colour = mix(colour, (140, 108, 50), 0.7 * step(ground.speckle(40), 0.8, 0.95))
    lean = ground.random.uniform(-0.12, 0.12)
    return over(Solid(height, colour, 0.25), stalk(ground, (0, 0.76), (lean, 1.12), 0.045, BROWN))


def _banana(ground: Ground) -> Solid:
    radius, middle, half = 1.12, 0.98, 0.9
    across = np.hypot(ground.u, ground.v - middle) - radius
    along = np.arctan2(ground.u, middle - ground.v) / half
    width = 0.27 * np.sqrt(np.maximum(1 - np.abs(along) ** 3.2, 0)) + 0.012
    inside = np.where(np.abs(along) < 1.0, width, 0)
    end = (np.abs(along) < 1.14) & (along > 0)
    inside = np.where(end, np.maximum(inside, 0.07), inside)
    height = rounded(inside**2 - across**2)
    ridge = np.exp(-(((across - 0.3 * width) / 0.035) ** 2)) + np.exp(-(((across + 0.42 * width) / 0.035) ** 2))
    colour = mix((240, 200, 52), (250, 222, 96), ground.speckle(4))
    colour = mix(colour, (196, 146, 30), 0.55 * ridge)
    colour = mix(colour, (122, 150, 56), 0.6 * step(along, 0.7, 1.0))
    colour = mix(colour, (92, 62, 30), 0.8 * step(ground.speckle(26), 0.86, 0.97))
    tips = np.maximum(step(-along, 0.9, 0.97), step(along, 1.06, 1.11))
    return Solid(height, mix(colour, (62, 44, 28), tips), 0.2)


def _cherry(ground: Ground) -> Solid:
    drop = ground.random.uniform(-0.08, 0.08)
    fruits = (-0.42, -0.42 + drop, 0.44), (0.42, -0.46 - drop, 0.42)
    left, right = (ball(ground, *fruit) for fruit in fruits)
    colour = mix((128, 6, 22), (188, 22, 36), ground.speckle(4))
    both = Solid(np.maximum(left, right), colour, 0.95)
    knot = (ground.random.uniform(-0.15, 0.15), 0.98)
    for u, v, radius in fruits:
        both = over(both, stalk(ground, (u, v + 0.8 * radius), knot, 0.032, (120, 150, 60)))
    return over(
        both, Solid(np.where(near(ground, *knot, 0.08) > 0.4, 0.9, -1).astype(np.float32), mix(BROWN, BROWN, left))
    )


def _kiwi(ground: Ground) -> Solid:
    away = np.hypot(ground.u, ground.v * 1.08) / 0.93
    rays = ground.around(52)
    colour = mix((156, 196, 52), (104, 158, 28), 0.75 * rays * step(away, 0.2, 0.45))
    colour = mix(colour, (190, 216, 96), step(away, 0.62, 0.86) * 0.6)
    colour = mix((240, 240, 198), colour, step(away + 0.06 * rays, 0.2, 0.36))
    beat = np.arctan2(ground.v, ground.u) * (30 / (2 * np.pi)) + ground.random.random()
    ring = 0.43 + 0.09 * (np.floor(beat) % 2)
    seed = np.hypot((beat - np.floor(beat) - 0.5) * 0.1, (away - ring) * 0.55)
    colour = mix(colour, (28, 22, 18), step(seed, 0.036, 0.024))
    colour = mix(colour, (120, 86, 46), step(away + 0.02 * ground.speckle(40), 0.93, 0.955))
    height = np.where(away < 1, 0.5 + 0.08 * rounded(1 - away**2) - 0.4 * step(away, 0.9, 1.0), -1)
    return Solid(height.astype(np.float32), colour, 0.25)


def _watermelon(ground: Ground) -> Solid:
    away = np.hypot(ground.u, ground.v - 0.42)
    inside = (away < 1.0) & (ground.v < 0.42)
    colour = mix((226, 46, 58), (244, 92, 92), ground.speckle(7))
    drop = lattice(Ground(ground.u, ground.v + 0.1, ground.random), 0.3, 0.95)
    seeds = step(drop, 0.2, 0.13) * step(away, 0.26, 0.28) * step(away, 0.74, 0.7) * step(0.4 - ground.v, 0.06, 0.1)
    colour = mix(colour, (38, 22, 20), seeds)
    colour = mix(colour, (244, 240, 210), step(away, 0.79, 0.85))
    skin = mix((34, 96, 40), (92, 156, 70), step(ground.around(30, 0, 0.42), 0.4, 0.6))
    colour = mix(colour, skin, step(away, 0.9, 0.92))
    height = np.where(inside, 0.5 - 0.35 * step(away, 0.93, 1.0), -1)
    return Solid(height.astype(np.float32), colour, 0.15)


def _grapes(ground: Ground) -> Solid:
    rows = ((0.5, 4), (0.2, 5), (-0.1, 4), (-0.4, 3), (-0.68, 2), (-0.9, 1))
    height = np.full_like(ground.u, -1)
    tint = np.zeros_like(ground.u)
    for v, many in rows:
        for place in range(many):
            shift, lift, shade = ground.random.uniform(-0.05, 0.05, 3).tolist()
            u = (place - (many - 1) / 2) * 0.36 + shift
            berry = ball(ground, u, v + shift, 0.23)
            berry = np.where(berry > 0, berry + 0.3 + 3 * lift, -1)
            tint = np.where(berry > height, 0.5 + 8 * shade, tint)
            height = np.maximum(height, berry)
    colour = mix((70, 28, 88), (132, 62, 128), (0.6 * tint + 0.6 * ground.speckle(9)).clip(0, 1))
    return over(Solid(height, colour, 0.55), stalk(ground, (0, 0.62), (0.1, 1.1), 0.05, (118, 128, 60)))


def _strawberry(ground: Ground) -> Solid:
    body = np.logaddexp(6 * (0.66**2 - (ground.v - 0.2) ** 2), 6 * (0.3**2 - (ground.v + 0.48) ** 2)) / 6
    height = rounded(body - ground.u**2)
    bulge = np.arcsin((ground.u / np.sqrt(np.maximum(body, 0.04))).clip(-1, 1)) * 0.5
    spot = lattice(Ground(bulge, ground.v, ground.random), 0.19, 0.95)
    colour = mix((204, 14, 32), (232, 52, 48), ground.speckle(4))
    colour = mix(colour, (246, 190, 130), 0.7 * step(ground.v, 0.5, 0.85))
    colour = mix(colour, (250, 214, 96), step(spot, 0.2, 0.12))
    height = np.where(height > 0, np.maximum(height - 0.07 * step(spot, 0.42, 0.2), 0.02), height)
    crown = np.hypot(ground.u, (ground.v - 0.78) * 1.5)
    leaf = np.where(crown < 0.2 + 0.34 * ground.around(16, 0, 0.84), 0.8 - 0.3 * crown, -1)
    green = mix((62, 122, 40), (120, 176, 70), ground.around(40, 0, 0.84))
    return over(Solid(height, colour, 0.6), Solid(leaf.astype(np.float32), green))


RECIPES: dict[str, Recipe] = {
    "Apple Green": _apple_green,
    "Apple Red": _apple_red,
    "Banana": _banana,
    "Cherry": _cherry,
    "Grapes": _grapes,
    "Kiwi": _kiwi,
    "Lemon": _lemon,
    "Orange": _orange,
    "Pear": _pear,
    "Plum": _plum,
    "Strawberry": _strawberry,
    "Watermelon": _watermelon,
}
