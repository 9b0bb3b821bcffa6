"""The orchard's drawings, and the windfalls among them."""

import itertools
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bootstrap.orchard import VARIETIES, draw, plant
from bootstrap.windfalls import ODD_NAMES, bad_files, odd_files
from conf.errors import Rejected
from conf.rejections import Reason
from streaming.backbones.backbone import Preparation
from streaming.decode import decode

LIMIT = 80_000_000
EVERY = pytest.mark.parametrize("variety", VARIETIES)


@EVERY
def test_a_fruit_stands_on_white(variety: str) -> None:
    """A drawing is RGB of the asked side: a fruit of some size inside a white border."""
    for seed in range(4):
        picture = draw(variety, seed)
        pixels = np.asarray(picture)
        assert (picture.mode, picture.size) == ("RGB", (100, 100))
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert np.all(corners == 255)
        assert 0.08 < np.mean(np.any(pixels < 250, axis=-1)) < 0.8


@EVERY
def test_a_drawing_follows_its_seed(variety: str) -> None:
    """Equal seeds draw equal pixels, different seeds different ones."""
    assert draw(variety, 7) == draw(variety, 7)
    assert draw(variety, 7) != draw(variety, 8)


def test_the_side_is_free() -> None:
    """A larger drawing of the same seed shows the same fruit."""
    large = draw("Pear", 3, side=200).resize((100, 100), Image.Resampling.BOX)
    assert np.abs(np.asarray(large).astype(int) - np.asarray(draw("Pear", 3))).mean() < 3


def test_varieties_differ_more_than_their_pictures() -> None:
    """The nearest other picture in mean colour is of the same variety more often than not."""
    pictures = list(itertools.product(VARIETIES, range(6)))
    means = np.array([np.asarray(draw(*picture)).reshape(-1, 3).mean(axis=0) for picture in pictures])
    away = np.linalg.norm(means[:, None] - means, axis=-1)
    np.fill_diagonal(away, np.inf)
    hits = [
        pictures[nearest][0] == variety for nearest, (variety, _) in zip(away.argmin(axis=0), pictures, strict=True)
    ]
    assert np.mean(hits) > 0.5


def test_planting_goes_round_the_varieties(tmp_path: Path) -> None:
    """Pictures are 100 x 100 JPEGs named by variety and number, every variety in its turn."""
    paths = plant(tmp_path, 15, seed=1)
    assert [path.relative_to(tmp_path).as_posix() for path in paths[10:14]] == [
        "Strawberry/0000.jpg",
        "Watermelon/0000.jpg",
        "Apple Green/0001.jpg",
        "Apple Red/0001.jpg",
    ]
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (100, 100))


def test_equal_seeds_plant_equal_bytes(tmp_path: Path) -> None:
    """Two orchards of one seed are byte for byte the same; another seed gives other bytes."""
    first, again, other = (
        [path.read_bytes() for path in plant(tmp_path / name, 13, seed)]
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert first == again
    assert not set(first) & set(other)


def test_a_second_wave_continues_the_first(tmp_path: Path) -> None:
    """With `start`, a second wave writes the files that one long planting would have written next."""
    whole = plant(tmp_path / "whole", 20, seed=2)
    waves = plant(tmp_path / "waves", 7, seed=2) + plant(tmp_path / "waves", 13, seed=2, start=7)
    assert [path.parts[-2:] for path in waves] == [path.parts[-2:] for path in whole]
    contents = [path.read_bytes() for path in waves]
    assert contents == [path.read_bytes() for path in whole]
    assert len(set(contents)) == 20


def test_bad_files_are_rejected_for_the_reason_told(tmp_path: Path) -> None:
    """Each bad file is rejected by the decoder with the reason that the orchard expects, and none is large."""
    expected = bad_files(tmp_path)
    found = {}
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 100_000
        with pytest.raises(Rejected) as caught:
            decode(path.read_bytes(), Preparation(32), LIMIT)
        found[path.name] = caught.value.reason
    assert found == expected
    assert set(expected.values()) == {
        Reason.EMPTY,
        Reason.NOT_A_PICTURE,
        Reason.TRUNCATED,
        Reason.CORRUPT,
        Reason.TOO_MANY_PIXELS,
    }


def test_odd_files_give_pixels(tmp_path: Path) -> None:
    """Each odd file is decoded, and none to a blank square."""
    paths = odd_files(tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    for path in paths:
        pixels = decode(path.read_bytes(), Preparation(32), LIMIT).pixels
        assert path.name == "one pixel.png" or pixels.std() > 5, path


def test_odd_files_are_as_odd_as_their_names(tmp_path: Path) -> None:
    """The files have the modes, frames and sizes they are there for."""
    written = {path.name: path for path in odd_files(tmp_path)}
    unread = ("broken exif.jpg", *ODD_NAMES)  # Pillow warns about the first; the others are odd by name only
    odd = {name: Image.open(BytesIO(path.read_bytes())) for name, path in written.items() if name not in unread}
    assert [odd[name].mode for name in ("cmyk.jpg", "palette.png", "sixteen bits.png", "alpha.png")] == [
        "CMYK",
        "P",
        "I;16",
        "RGBA",
    ]
    assert [getattr(odd[name], "n_frames", 1) for name in ("animated.gif", "animated.webp")] == [2, 2]
    assert [odd[name].size for name in ("one pixel.png", "ribbon.png")] == [(1, 1), (3000, 2)]
    assert odd["turned.jpg"].getexif()[0x0112] == 6
    assert odd["a png.jpg"].format == "PNG"
    assert set(unread) <= set(written)
