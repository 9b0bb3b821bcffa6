"""Decoding: how a picture becomes a square, and when a large JPEG is decoded at a smaller scale."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from streaming.backbones.backbone import Preparation
from streaming.decode import decode
from tests.unit.pictures import LIMIT, SIDE, STILL, encoded, scene


class TestFit:
    """How a picture that is not square becomes one."""

    def halves(self, width: int, height: int) -> bytes:
        """Give a picture whose left half is red and whose right half is blue."""
        picture = Image.new("RGB", (width, height), (255, 0, 0))
        picture.paste((0, 0, 255), (width // 2, 0, width, height))
        return encoded(picture, "PNG")

    def test_stretch_keeps_everything(self) -> None:
        """Stretch shows both ends of a wide picture over the full height."""
        pixels = decode(self.halves(80, 20), Preparation(20), LIMIT).pixels
        assert np.all(pixels[:, :9] == [255, 0, 0])
        assert np.all(pixels[:, 11:] == [0, 0, 255])

    @pytest.mark.parametrize(("width", "height"), [(60, 20), (61, 20), (20, 60), (20, 63)])
    def test_crop_keeps_the_central_square(self, width: int, height: int) -> None:
        """Crop shows the square of the short side around the middle, pixel by pixel where no scaling is needed."""
        picture = scene(width, height)
        left, top = (width - 20) // 2, (height - 20) // 2
        pixels = decode(encoded(picture, "PNG"), Preparation(20, fit="crop"), LIMIT).pixels
        assert np.array_equal(pixels, np.asarray(picture)[top : top + 20, left : left + 20])

    @pytest.mark.parametrize("grey", [False, True])
    def test_pad_centres_on_white(self, grey: bool) -> None:
        """Pad shows the whole picture in its proportions between two white bands."""
        picture = scene(20, 10).convert("L" if grey else "RGB")
        pixels = decode(encoded(picture, "PNG"), Preparation(20, fit="pad"), LIMIT).pixels
        assert np.array_equal(pixels[5:15], np.asarray(picture.convert("RGB")))
        assert np.all(pixels[:5] == 255)
        assert np.all(pixels[15:] == 255)

    @pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
    @pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000), (1, 900)])
    def test_extreme_shapes_work(self, fit: Any, size: tuple[int, int]) -> None:
        """A dot and a thread have pixels under every fit, and their true size is told."""
        for format in ("PNG", "JPEG"):
            picture = decode(encoded(scene(*size), format), Preparation(SIDE, fit=fit), LIMIT)
            assert picture.pixels.shape == (SIDE, SIDE, 3)
            assert (picture.width, picture.height) == size

    @pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos"])
    def test_the_filter_is_the_named_one(self, name: Any) -> None:
        """The resize filter of the declaration is the one Pillow runs."""
        expected = scene().resize((SIDE, SIDE), Image.Resampling[name.upper()])
        pixels = decode(encoded(scene(), "PNG"), Preparation(SIDE, filter=name), LIMIT).pixels
        assert np.array_equal(pixels, np.asarray(expected))


class TestDraft:
    """When a JPEG is decoded at a smaller scale."""

    @pytest.fixture
    def scales(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """Record the size that the JPEG decoder is asked for."""
        sizes: list[tuple[int, int]] = []
        load = ImageFile.ImageFile.load

        def recorded(self: ImageFile.ImageFile) -> Any:
            if self.tile:
                sizes.append(self.size)
            return load(self)

        monkeypatch.setattr(ImageFile.ImageFile, "load", recorded)
        return sizes

    @pytest.mark.parametrize(
        ("size", "decoded"),
        [
            ((40, 40), (40, 40)),
            ((127, 300), (127, 300)),
            ((128, 128), (64, 64)),
            ((700, 256), (175, 64)),
            ((512, 512), (64, 64)),
        ],
    )
    def test_only_large_jpegs_are_drafted(
        self, size: tuple[int, int], decoded: tuple[int, int], scales: list[tuple[int, int]]
    ) -> None:
        """Both sides must be at least 4 times the target, and no side is decoded below twice the target."""
        data = encoded(scene(*size), "JPEG")
        scales.clear()
        picture = decode(data, STILL, LIMIT)
        assert scales == [decoded]
        assert (picture.width, picture.height) == size

    def test_a_draft_looks_like_the_full_picture(self) -> None:
        """On a smooth picture the draft differs from the full decoding by a few grey levels at most."""
        smooth = scene(16, 16).resize((640, 640), Image.Resampling.BICUBIC)
        data = encoded(smooth, "JPEG", quality=95)
        full = Image.open(BytesIO(data)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        difference = np.asarray(full).astype(int) - decode(data, STILL, LIMIT).pixels
        assert np.abs(difference).max() <= 6
