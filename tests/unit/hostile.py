"""Pictures that harm their decoder, for the tests of isolation.

A decoder goes to other processes by its name, so these are functions of a module.
"""

import ctypes
import os
import signal
import struct
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from conf.errors import Rejected
from conf.rejections import Reason
from streaming.backbones.backbone import Preparation
from streaming.decode import Picture, decode

MARK = b"|harm:"


def harmful(picture: bytes, harm: str) -> bytes:
    """Mark a picture with the harm that `vulnerable` does to its process when it meets it."""
    return picture + MARK + harm.encode()


def vulnerable(data: bytes, preparation: Preparation, pixel_limit: int) -> Picture:
    """Decode, but for the pictures that `harmful` has marked."""
    picture, marked, harm = data.partition(MARK)
    if marked:
        HARMS[harm.decode()]()
    return decode(picture, preparation, pixel_limit)


def telling(data: bytes, preparation: Preparation, pixel_limit: int) -> Picture:
    """Give, in place of a picture, what the process says of itself: a text, its id and its parent's."""
    pixels = np.zeros((preparation.size, preparation.size, 3), np.uint8)
    return Picture(pixels, " ".join(open_files().values()), os.getpid(), os.getppid())


def open_files() -> dict[int, str]:
    """Give what this process has open, by descriptor."""
    listed = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return {int(each.name): str(each.readlink()).partition(":")[0] for each in listed if each.is_symlink()}


def _segfault() -> None:
    ctypes.string_at(0)


def _signal() -> None:
    os.kill(os.getpid(), signal.SIGABRT)


def _leave() -> None:
    os._exit(3)


def _sleep() -> None:
    time.sleep(3600)


def _spin() -> None:
    sum(iter(int, 1))  # endless, in C, and deaf to whatever Python would do on a signal


def _devour() -> None:
    bytearray(1 << 40)


def _reject() -> None:
    raise Rejected(Reason.CORRUPT, "no 'picture'\n")


def _fail() -> None:
    raise KeyError("a fault of the program")


def _dawdle() -> None:
    time.sleep(1)


def _print() -> None:
    for descriptor in (1, 2):
        os.write(descriptor, b"a warning of a library\n")


def _babble() -> None:
    """Say what no process in good health says, where its parent listens, and end."""
    (parent,) = [descriptor for descriptor, file in open_files().items() if file == "socket"]
    os.write(parent, struct.pack("!i", 4) + b"junk")
    os._exit(0)


HARMS: dict[str, Callable[[], None]] = {
    "segfault": _segfault,
    "signal": _signal,
    "leave": _leave,
    "sleep": _sleep,
    "spin": _spin,
    "devour": _devour,
    "reject": _reject,
    "fail": _fail,
    "dawdle": _dawdle,
    "print": _print,
    "babble": _babble,
}


def endless_jpeg(scans: int = 100_000, side: int = 8000) -> bytes:
    """Give a progressive JPEG, 10 bytes a scan, of which each scan makes the decoder walk through all its blocks.

    It is a valid file of a picture within the pixel limit. A core needs some 5 ms for a scan, so minutes for the file.
    """
    buffer = BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    frame, scan = data.index(b"\xff\xc2"), data.index(b"\xff\xda")
    size = struct.pack(">HH", side, side)
    first = data[scan : scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")]
    return data[: frame + 5] + size + data[frame + 9 : scan] + first * scans + b"\xff\xd9"
