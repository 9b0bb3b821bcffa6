"""Decoding: what the pixels of good and odd pictures are."""

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conf.errors import Rejected
from streaming.backbones.backbone import Preparation
from streaming.decode import decode
from tests.unit.pictures import FILES, LIMIT, SIDE, STILL, encoded, orientation, png, scene, tiff

LOSSLESS = ["png", "animated png", "lossless webp", "animated webp", "bmp", "tiff", "lzw tiff", "two-page tiff"]


def unscaled(data: bytes) -> NDArray[np.uint8]:
    """Decode a square picture to its own size, so that no pixel is resampled."""
    side = decode(data, STILL, LIMIT).width
    return decode(data, Preparation(side), LIMIT).pixels


def one_pixel(data: bytes) -> list[int]:
    """Decode to a single pixel."""
    pixel: list[int] = decode(data, Preparation(1), LIMIT).pixels[0, 0].tolist()
    return pixel


class TestPixels:
    """What the pixels are."""

    @pytest.mark.parametrize("name", FILES)
    def test_every_format_gives_the_square_of_its_preparation(self, name: str) -> None:
        """A picture of any format becomes C-contiguous uint8 of (size, size, 3), with its format and size."""
        picture = decode(FILES[name], STILL, LIMIT)
        assert picture.pixels.shape == (SIDE, SIDE, 3)
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.flags.c_contiguous
        assert (picture.width, picture.height) == (40, 40)
        assert picture.format == name.rsplit(maxsplit=1)[-1]

    @pytest.mark.parametrize("name", LOSSLESS)
    def test_lossless_formats_give_the_first_picture_exactly(self, name: str) -> None:
        """Nothing between a lossless file and the backbone changes a pixel, and the first frame or page counts."""
        expected = np.asarray(scene())
        if name == "png":  # the file carries an orientation of 180 degrees
            expected = expected[::-1, ::-1]
        assert np.array_equal(unscaled(FILES[name]), expected)

    def test_the_first_frame_of_a_gif_counts(self) -> None:
        """An animated GIF gives what the same picture gives as a still GIF."""
        assert np.array_equal(unscaled(FILES["animated gif"]), unscaled(FILES["gif"]))

    @pytest.mark.parametrize("value", range(1, 9))
    @pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
    def test_exif_orientation_is_applied(self, value: int, format: str) -> None:
        """Each of the eight orientations shows the picture as the EXIF standard (4.6.4, tag 0x0112) draws it."""
        stored = np.asarray(scene(12, 12))
        across = stored.swapaxes(0, 1)
        truth = [
            stored,
            stored[:, ::-1],
            stored[::-1, ::-1],
            stored[::-1],
            across,
            across[:, ::-1],
            across[::-1, ::-1],
            across[::-1],
        ]
        options = {"WEBP": {"lossless": True}}.get(format, {})
        data = encoded(scene(12, 12), format, exif=orientation(value), **options)
        assert np.array_equal(unscaled(data), truth[value - 1])

    @pytest.mark.parametrize(("value", "size"), [(1, (30, 20)), (3, (30, 20)), (6, (20, 30)), (8, (20, 30))])
    @pytest.mark.parametrize("format", ["JPEG", "TIFF", "MPO"])
    def test_width_and_height_are_of_the_upright_picture(self, value: int, size: tuple[int, int], format: str) -> None:
        """The size is the one a viewer shows, whether or not the plugin turns the picture by itself."""
        picture = decode(encoded(scene(30, 20), format, exif=orientation(value)), STILL, LIMIT)
        assert (picture.width, picture.height) == size

    @pytest.mark.parametrize(
        "exif",
        [
            b"",
            b"nonsense",
            b"Exif\0\0",
            b"Exif\0\0MM\0*\xff\xff\xff\xff",
            b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
            orientation(99),
        ],
    )
    def test_broken_exif_is_ignored(self, exif: bytes) -> None:
        """EXIF that cannot be read costs the orientation, never the picture."""
        plain, broken = encoded(scene(), "JPEG"), encoded(scene(), "JPEG", exif=exif)
        assert np.array_equal(unscaled(broken), unscaled(plain))

    def test_no_warning_of_pillow_leaves(self) -> None:
        """Even with warnings made errors, a picture that Pillow warns about is decoded and the filters are put back."""
        picture = scene().quantize(16)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            decode(encoded(picture, "PNG", transparency=bytes(range(0, 160, 10))), STILL, LIMIT)
            decode(encoded(scene(), "BMP"), STILL, pixel_limit=1600)  # Pillow warns from half of its limit on
            with pytest.raises(UserWarning):
                warnings.warn("still an error", UserWarning, stacklevel=1)


class TestColours:
    """How every kind of pixel becomes RGB."""

    @pytest.mark.parametrize("alpha", [0, 1, 77, 128, 254, 255])
    @pytest.mark.parametrize(("mode", "colour"), [("RGBA", (10, 130, 250)), ("LA", (90,))])
    @pytest.mark.parametrize("format", ["PNG", "TIFF"])
    def test_alpha_is_composited_over_white(self, alpha: int, mode: str, colour: tuple[int, ...], format: str) -> None:
        """A pixel is alpha parts of its colour and the rest white, rounded to the nearest integer."""
        data = encoded(Image.new(mode, (4, 4), (*colour, alpha)), format)
        expected = [int((alpha * channel + (255 - alpha) * 255) / 255 + 0.5) for channel in (colour * 3)[:3]]
        assert unscaled(data)[2, 2].tolist() == expected

    def test_transparent_webp_is_composited_over_white(self) -> None:
        """The colour under full transparency does not show."""
        data = encoded(Image.new("RGBA", (4, 4), (200, 0, 0, 0)), "WEBP", lossless=True, exact=True)
        assert unscaled(data)[1, 1].tolist() == [255, 255, 255]

    @pytest.mark.parametrize("format", ["PNG", "GIF"])
    def test_a_transparent_palette_entry_is_white(self, format: str) -> None:
        """A palette picture shows white where its transparent entry stands, and its colours elsewhere."""
        picture = Image.new("P", (2, 2), 0)
        picture.putpalette([200, 10, 10, 10, 200, 10])
        picture.putpixel((1, 1), 1)
        pixels = unscaled(encoded(picture, format, transparency=1))
        assert pixels[1, 1].tolist() == [255, 255, 255]
        assert pixels[0, 0].tolist() == [200, 10, 10]

    def test_palette_entries_may_be_half_transparent(self) -> None:
        """A PNG palette with one alpha per entry is composited entry by entry."""
        picture = Image.new("P", (2, 2), 1)
        picture.putpalette([0, 0, 0, 0, 0, 0])
        assert unscaled(encoded(picture, "PNG", transparency=bytes([255, 51])))[0, 0].tolist() == [204, 204, 204]

    @pytest.mark.parametrize(
        ("depth", "colour", "row", "key"),
        [
            (8, 0, b"\x03\x50", b"\0\x03"),
            (4, 0, b"\x35", b"\0\x03"),
            (2, 0, b"\x60", b"\0\x01"),
            (1, 0, b"\x40", b"\0\x00"),
            (16, 0, b"\1\2\x50\0", b"\1\2"),
            (8, 2, b"\1\2\3\x50\x50\x50", b"\0\1\0\2\0\3"),
            (16, 2, b"\1\2\3\4\5\6" + b"\x50\0" * 3, b"\1\2\3\4\5\6"),
        ],
    )
    def test_a_transparent_colour_of_a_png_is_white(self, depth: int, colour: int, row: bytes, key: bytes) -> None:
        """A colour key hides its pixels at every depth, though Pillow leaves the key at the depth of the file."""
        first, second = decode(png(2, 1, depth, colour, b"\0" + row, (b"tRNS", key)), Preparation(2), LIMIT).pixels[0]
        opaque = decode(png(2, 1, depth, colour, b"\0" + row), Preparation(2), LIMIT).pixels[0]
        assert first.tolist() == [255, 255, 255]
        assert opaque[0].tolist() != [255, 255, 255]
        assert second.tolist() == opaque[1].tolist()

    @pytest.mark.parametrize("value", [0, 1, 255, 256, 257, 4660, 32767, 65279, 65280, 65535])
    def test_sixteen_bit_grey_keeps_its_high_byte(self, value: int) -> None:
        """0..65535 becomes 0..255 by the high byte, in PNG, in TIFF of both byte orders and in 32-bit integers."""
        files = [
            encoded(Image.fromarray(np.full((2, 2), value, np.uint16)), "PNG"),
            encoded(Image.fromarray(np.full((2, 2), value, np.uint16)), "TIFF"),
            encoded(Image.fromarray(np.full((2, 2), value, np.uint16)).convert("I").convert("I;16B"), "TIFF"),
            encoded(Image.fromarray(np.full((2, 2), value, np.int32)), "TIFF"),
        ]
        assert [one_pixel(data) for data in files] == [[value >> 8] * 3] * 4

    def test_twelve_bit_grey_keeps_its_upper_bits(self) -> None:
        """The packed 12-bit TIFF of scientific cameras uses the full range."""
        pixels = decode(tiff({256: 2, 257: 1, 258: 12}, b"\xff\xf8\x00"), Preparation(2), LIMIT).pixels
        assert pixels[0].tolist() == [[255] * 3, [128] * 3]

    def test_premultiplied_grey_is_composited_over_white(self) -> None:
        """A TIFF whose grey is already multiplied by its alpha gets the rest of white added, and no more."""
        data = tiff({256: 1, 257: 1, 258: 8, 277: 2, 338: 1}, bytes([64, 128]))
        assert one_pixel(data) == [191] * 3

    def test_sixteen_bit_grey_equals_sixteen_bit_colour(self) -> None:
        """The same grey looks the same whether the PNG stores it once or three times."""
        grey, colour = png(1, 1, 16, 0, b"\0\xab\xcd"), png(1, 1, 16, 2, b"\0" + b"\xab\xcd" * 3)
        assert one_pixel(grey) == one_pixel(colour)

    @pytest.mark.parametrize(("value", "grey"), [(-5, 0), (65536, 255), (2**31 - 1, 255)])
    def test_integers_beyond_sixteen_bits_are_clipped(self, value: int, grey: int) -> None:
        """32-bit integers are black below 0 and white above 65535."""
        assert one_pixel(encoded(Image.fromarray(np.full((2, 2), value, np.int32)), "TIFF")) == [grey] * 3

    @pytest.mark.parametrize(
        ("values", "greys"),
        [
            ([0, 0.5, 1, -3], [0, 128, 255, 0]),
            ([0, 100, 255, 7.6], [0, 100, 255, 8]),
            ([0, 65535, 25700, np.nan], [0, 255, 100, 0]),
            ([np.inf, -np.inf, 0.2, 0], [255, 0, 51, 0]),
        ],
    )
    def test_floats_are_scaled_from_the_range_that_holds_them(self, values: list[float], greys: list[int]) -> None:
        """A float TIFF is read as 0..1, 0..255 or 0..65535, the smallest that holds its greatest finite value."""
        data = encoded(Image.fromarray(np.array(values, np.float32).reshape(2, 2)), "TIFF")
        assert unscaled(data)[..., 0].ravel().tolist() == greys

    def test_a_float_picture_without_a_number_is_corrupt(self) -> None:
        """A picture of NaN only is rejected, as a black one would be a lie."""
        data = encoded(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF")
        with pytest.raises(Rejected, match="no pixel of the float picture is finite"):
            decode(data, STILL, LIMIT)

    @pytest.mark.parametrize(
        ("ink", "light"),
        [((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0)), ((0, 0, 0, 0), (255, 255, 255))],
    )
    @pytest.mark.parametrize("format", ["JPEG", "TIFF"])
    def test_cmyk_becomes_rgb(self, ink: tuple[int, ...], light: tuple[int, ...], format: str) -> None:
        """Ink is subtracted from white, with the inverted polarity of JPEG taken into account."""
        pixel = one_pixel(encoded(Image.new("CMYK", (16, 16), ink), format))
        assert np.abs(np.subtract(pixel, light)).max() <= 3

    @pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "LAB"])
    def test_other_modes_become_rgb(self, mode: str) -> None:
        """Bilevel, grey, palette, YCbCr and Lab pictures look as Pillow shows them."""
        source = Image.new("RGB", (2, 2), "white")
        picture = source.convert(mode) if mode != "LAB" else Image.new("LAB", (2, 2), (255, 128, 128))
        assert min(one_pixel(encoded(picture, "TIFF"))) >= 253
