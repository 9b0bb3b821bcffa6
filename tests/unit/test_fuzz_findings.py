"""What the fuzzer has found in the decoder, each as a test."""

import struct

import pytest

from conf.errors import Rejected
from conf.rejections import Reason
from streaming.decode import decode
from streaming.isolate import bounded
from tests.unit.pictures import LIMIT, STILL, tiff

LONG = 4


def rejection(data: bytes) -> Rejected:
    """Decode bytes that must be rejected, in the room that they have in production."""
    with pytest.raises(Rejected) as caught:
        bounded(decode, 1 << 29)(data, STILL, LIMIT)
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        tiff({256: 4, 257: 4, 258: 8, 259: 5}, b"\xff" * 30),  # "Using code not yet in table"
        tiff({256: 4, 257: 4, 258: 8, 259: 8}, b"\xff" * 30),  # "ZLib error"
        tiff({256: 4, 257: 4, 258: 8, 259: 7}, b"\xff" * 30),  # "Not a JPEG file"
        tiff({256: 4, 257: 4, 258: 8, 277: 3328}, b"\xff" * 30),  # a log record of Pillow's
    ],
)
def test_nothing_is_said_about_a_damaged_tiff(
    data: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither libtiff, from C, nor Pillow's log writes to standard error, where each line is a record of Verger's."""
    assert rejection(data).reason in (Reason.CORRUPT, Reason.TRUNCATED)
    assert (*capfd.readouterr(), caplog.records) == ("", "", [])


@pytest.mark.parametrize("swapped", [False, True])
def test_a_tile_as_long_as_a_text_takes_no_memory(swapped: bool) -> None:
    """A TIFF whose tiles are a text wide and 2**32 - 1 high is corrupt: the product would be a text of terabytes."""
    text, number = struct.pack("<HII", 2, 30, 8), struct.pack("<HII", LONG, 1, 2**32 - 1)
    width, length = (number, text) if swapped else (text, number)
    data = bytearray(tiff({256: 4, 257: 4, 258: 8, 259: 5, 322: 1, 323: 1}, bytes(30)))
    for tag, value in ((322, width), (323, length)):
        at = data.index(struct.pack("<HHI", tag, 3, 1)) + 2
        data[at : at + len(value)] = value
    assert rejection(bytes(data)).reason is Reason.CORRUPT
