"""Decoding: what is no picture, and why; whatever the bytes, nothing but a picture or a rejection."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from conf.errors import Rejected
from conf.rejections import Reason
from streaming.decode import Picture, decode
from tests.unit.pictures import FILES, LIMIT, SIDE, STILL, encoded, png, scene, tiff

REASONS = {Reason.EMPTY, Reason.NOT_A_PICTURE, Reason.TOO_MANY_PIXELS, Reason.TRUNCATED, Reason.CORRUPT}
by_file = pytest.mark.parametrize("name", FILES)


def outcome(data: bytes) -> Picture | Rejected:
    """Give what decoding ends in; any other exception is a failure of the test."""
    try:
        return decode(data, STILL, LIMIT)
    except Rejected as rejected:
        return rejected


def rejection(data: bytes, limit: int = LIMIT) -> Rejected:
    """Decode bytes that must be rejected."""
    with pytest.raises(Rejected) as caught:
        decode(data, STILL, limit)
    return caught.value


class TestRejections:
    """What is no picture, and why."""

    def test_no_bytes_are_empty(self) -> None:
        """A file of zero bytes is EMPTY."""
        assert rejection(b"").reason is Reason.EMPTY

    @pytest.mark.parametrize(
        ("data", "word"),
        [
            (b"%PDF-1.7\n", "PDF"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
            (b"\0\0\0\x20ftypisom\0\0\0\0", "MP4"),
            (b"8BPS\0\1", "Photoshop"),
            (b"\0\0\1\0\1\0\x10\x10", "ICO"),
            (b"PK\3\4\x14\0", "ZIP"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b"\xef\xbb\xbf  <?xml version='1.0'?>", "XML"),
            (b"<!DOCTYPE HTML><title>403</title>", "HTML"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "RIFF"),
            (b"P6\n1 1\n255\nabc", "text"),
            ("des pommes, des poires, des pêches à la crème et du cidre doux".encode(), "text: 'des pommes"),
            (b"\x80\x81\x82\x83", "80 81 82 83"),
            (encoded(scene(), "JPEG2000"), "JPEG 2000"),
            (encoded(scene(), "ICO"), "ICO"),
            (encoded(scene(), "TGA"), "first bytes"),
            (encoded(scene(), "AVIF"), "AVIF"),
            (encoded(scene(), "EPS"), "EPS"),
        ],
    )
    def test_other_formats_are_named(self, data: bytes, word: str) -> None:
        """The list of formats is closed, and the detail says what the bytes look like instead."""
        rejected = rejection(data)
        assert rejected.reason is Reason.NOT_A_PICTURE
        assert word in rejected.detail

    @by_file
    def test_the_first_half_of_a_file_is_truncated(self, name: str) -> None:
        """A file that ends in the middle is TRUNCATED in every format, not CORRUPT."""
        data = FILES[name]
        if name in ("mpo", "animated png", "animated gif", "two-page tiff"):
            data = data[: len(data) // 2]  # the first half holds the first picture
        assert rejection(data[: len(data) // 2]).reason is Reason.TRUNCATED

    @by_file
    def test_no_truncation_gives_features_in_silence(self, name: str) -> None:
        """Cut anywhere, a file is rejected or gives exactly the whole picture."""
        whole = decode(FILES[name], STILL, LIMIT).pixels
        for end in range(1, len(FILES[name]), max(1, len(FILES[name]) // 120)):
            cut = outcome(FILES[name][:end])
            if isinstance(cut, Picture):
                assert np.array_equal(cut.pixels, whole), end
            else:
                assert cut.reason is Reason.TRUNCATED or (cut.reason is Reason.NOT_A_PICTURE and end < 16), (end, cut)

    def test_a_strip_beyond_the_end_is_truncated(self) -> None:
        """A compressed TIFF whose directory stands first is told to be cut by the length of its strip."""
        tags, strip = (
            {256: 40, 257: 40, 258: 8, 259: 8, 278: 40},
            zlib.compress(np.asarray(scene().convert("L")).tobytes()),
        )
        assert decode(tiff(tags, strip), STILL, LIMIT).format == "tiff"
        assert rejection(tiff(tags, strip, short=9)).reason is Reason.TRUNCATED
        assert rejection(tiff(tags, b"\xff" * len(strip))).reason is Reason.CORRUPT

    @pytest.mark.parametrize("name", ["jpeg", "png", "gif", "webp", "lossless webp", "deflate tiff"])
    def test_damaged_data_is_corrupt(self, name: str) -> None:
        """A file of the right length with a hole in its tables or data is CORRUPT, in Pillow's words."""
        data = FILES[name]
        tables = {"jpeg": b"\xff\xc4", "gif": b",\0\0\0\0", "webp": b"VP8 "}  # the data of these decode to noise
        at = data.index(tables[name]) + 10 if name in tables else len(data) // 3
        rejected = rejection(data[:at] + b"\xff" * 24 + data[at + 24 :])
        assert rejected.reason is Reason.CORRUPT
        assert rejected.detail

    def test_the_detail_is_one_short_printable_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever stands in the bytes or in what Pillow says about them, the detail can be printed and stored."""

        def fails(self: Image.Image) -> None:
            raise ValueError("bad\n\x1b[31mchunk\0 " * 99)

        for data in (b"BM" + b"\x1b[31m\n" * 9, b"ab\ncd\x1b" * 100, b"\x89PNG\r\n\x1a\n\0\0\0\4\n\n\n\n" + bytes(99)):
            detail = rejection(data).detail
            assert detail.isprintable()
            assert 0 < len(detail) <= 200
        monkeypatch.setattr(ImageFile.ImageFile, "load", fails)
        detail = rejection(FILES["jpeg"]).detail
        assert detail.startswith("ValueError: bad [31mchunk bad")
        assert len(detail) == 200

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
    def test_the_pixel_limit_is_exact(self, format: str) -> None:
        """A picture of exactly the limit passes; one pixel less of limit rejects it, odd limits included."""
        data = encoded(scene(21, 21), format)
        assert decode(data, STILL, 441).width == 21
        assert rejection(data, limit=440).reason is Reason.TOO_MANY_PIXELS
        assert rejection(data, limit=439).reason is Reason.TOO_MANY_PIXELS

    def test_our_limit_rules_over_pillows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pillow's own limit neither lowers nor outlives ours."""
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        assert decode(encoded(scene(), "PNG"), STILL, LIMIT).width == 40
        assert rejection(b"nothing").reason is Reason.NOT_A_PICTURE
        assert Image.MAX_IMAGE_PIXELS == 10

    def test_a_bomb_is_never_decoded(self) -> None:
        """400 megapixels in a small PNG are rejected in less than 100 ms and 1 MB."""
        bomb = png(20_000, 20_000, 8, 0, b"\0" * 20_001 * 50)
        spent = []
        tracemalloc.start()
        try:
            for _ in range(3):
                begun = time.perf_counter()
                rejected = rejection(bomb, limit=80_000_000)
                spent.append(time.perf_counter() - begun)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert rejected.reason is Reason.TOO_MANY_PIXELS
        assert "400,000,000" in rejected.detail
        assert min(spent) < 0.1
        assert peak < 2**20

    def test_a_gif_frame_may_not_outgrow_the_limit(self) -> None:
        """A GIF whose frame is larger than its screen is held to the limit by the frame."""
        data = bytearray(FILES["gif"])
        frame = data.index(b",\0\0\0\0")
        data[frame + 5 : frame + 9] = struct.pack("<HH", 5000, 5000)
        assert rejection(bytes(data)).reason is Reason.TOO_MANY_PIXELS

    def test_a_text_bomb_is_corrupt(self) -> None:
        """A PNG whose compressed text unfolds without end is rejected while its header is read."""
        bomb = png(1, 1, 8, 0, b"\0\0", (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8_000_000))))
        assert rejection(bomb).reason is Reason.CORRUPT

    def test_a_tile_may_not_outgrow_the_limit(self) -> None:
        """A TIFF that asks for a tile far larger than its picture is rejected before the tile is made."""
        size = {256: 4, 257: 4, 258: 8, 259: 5}
        assert rejection(tiff(size | {322: 60_000, 323: 60_000, 324: 8, 325: 4}, b"")).reason is Reason.TOO_MANY_PIXELS


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a real file that was cut, overwritten, or had bytes put in or taken out."""
    data = bytearray(draw(st.sampled_from(list(FILES.values()))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([60, 400, 10_000]))) - 1))
        patch = draw(st.binary(max_size=6))
        data[at : at + draw(st.sampled_from([len(patch), len(patch), 0, 9]))] = patch
        if not data:
            return b""
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


class TestAnyBytes:
    """Whatever the bytes, a picture or a rejection."""

    def hold(self, data: bytes) -> None:
        """Hold the contract against bytes."""
        result = outcome(data)
        if isinstance(result, Picture):
            assert result.pixels.shape == (SIDE, SIDE, 3)
            assert 0 < result.width * result.height <= LIMIT
        else:
            assert result.reason in REASONS
            assert 0 < len(result.detail) <= 200

    @settings(max_examples=1500, suppress_health_check=list(HealthCheck))
    @given(damaged())
    def test_damaged_files(self, data: bytes) -> None:
        """A damaged file of any format ends in a picture or a rejection and nothing else."""
        self.hold(data)

    @settings(max_examples=300)
    @given(st.sampled_from([b"", *(data[:12] for data in FILES.values())]), st.binary(max_size=200))
    def test_random_bytes(self, start: bytes, rest: bytes) -> None:
        """Random bytes, with or without a real file's start, end in a rejection or a picture."""
        self.hold(start + rest)

    @pytest.mark.parametrize("error", [RecursionError("too deep"), zlib.error("bad block"), AssertionError()])
    def test_whatever_pillow_raises_is_a_rejection(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        """An exception of any class from a decoder is CORRUPT."""

        def fails(self: Image.Image) -> None:
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", fails)
        assert rejection(FILES["jpeg"]).reason is Reason.CORRUPT

    @pytest.mark.parametrize("error", [MemoryError("no room"), OSError("out of memory error when reading image file")])
    def test_too_little_memory_is_no_fault_of_the_picture(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither Python's error nor that of Pillow's codecs becomes a rejection: with more memory it is a picture."""

        def fails(self: Image.Image) -> None:
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", fails)
        with pytest.raises(MemoryError, match=str(error)):
            decode(FILES["jpeg"], STILL, LIMIT)

    @pytest.mark.parametrize("where", ["open", "getexif"])
    def test_too_little_memory_for_the_header_is_none_either(self, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is told apart from a header that cannot be parsed, and from EXIF that may be passed over."""

        def fails(*args: object, **options: object) -> None:
            raise MemoryError("no room")

        monkeypatch.setattr(*{"open": (Image, "open"), "getexif": (Image.Image, "getexif")}[where], fails)
        with pytest.raises(MemoryError):
            decode(FILES["jpeg"], STILL, LIMIT)
