"""Witness: one decoding watched from within its process, and held to everything that `decode` promises."""

import ctypes
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from conf.errors import Rejected
from streaming.backbones.backbone import Preparation
from streaming.decode import Picture
from streaming.isolate import Decoder, bounded
from tests.fuzz.outcome import FORMATS, LISTED, Outcome, of_error, of_picture
from tests.fuzz.reach import Reach

_M_PERTURB = -6  # mallopt(3): fill what is allocated, so that it shows where nobody writes
_PATTERNS = (0x55, 0xAA)
_RESET_PEAK = b"5"  # proc_pid_clear_refs(5)
_OUT = 1


@dataclass(frozen=True)
class Task:
    """One decoding to be done.

    Attributes
    ----------
    data : bytes
    preparation : Preparation
    pixel_limit : int
    room : int
        Bytes of address space it may take, as `streaming.isolate.bounded` counts.
    again : bool
        Whether to decode a picture twice more, with other bytes in the memory that it is given.
    """

    data: bytes
    preparation: Preparation
    pixel_limit: int
    room: int
    again: bool = False


@dataclass(frozen=True)
class Observation:
    """What was seen of a decoding.

    Attributes
    ----------
    outcome : Outcome
    faults : tuple of str
        Broken promises, each with what was seen.
    seconds : float
        CPU time of the first decoding, which watching makes some four times as long; in isolation, wall time.
    peak, resident : int
        Bytes of memory: the most it took beyond what the process had, and what the process has afterwards.
    lines : tuple of str
        Those of Pillow and the decoder that this process had not run before.
    """

    outcome: Outcome
    faults: tuple[str, ...] = ()
    seconds: float = 0.0
    peak: int = 0
    resident: int = 0
    lines: tuple[str, ...] = field(default=(), repr=False)


class Witness:
    """A decoder under observation, alone in its process, whose standard output and error are one file."""

    def __init__(self, decode: Decoder) -> None:
        self._decode, self._reach, self._heard = decode, Reach(), 0
        Image.init()  # imports every plugin, whose lines then are none that a picture has reached

    def observe(self, task: Task) -> Observation:
        """Decode and tell."""
        decoder, faults = bounded(self._decode, task.room), list[str]()
        with _peak() as peak, _surroundings_kept(faults), self._reach.watching():
            began = time.process_time()
            result = _result(decoder, task)
            seconds = time.process_time() - began
        outcome = self._judged(task, result, faults)
        if peak[0] > task.room:
            faults.append(f"memory: {peak[0]:,} bytes of {task.room:,}")
        if task.again and isinstance(result, Picture):
            faults += _differences(decoder, task, result)
            self._noise()  # what it says again is not the next picture's
        lines = tuple(self._reach.taken())
        return Observation(outcome, tuple(faults), seconds, peak[0], _resident(), lines)

    def _judged(self, task: Task, result: Picture | Exception, faults: list[str]) -> Outcome:
        faults += self._noise()
        if isinstance(result, Picture):
            faults += _faults_of_picture(task, result)
            return of_picture(task.data, result)
        if isinstance(result, Rejected):
            faults += _faults_of_rejection(result)
        elif not isinstance(result, MemoryError):
            faults.append(f"raised {type(result).__name__}: {result}")
        return of_error(task.data, result)

    def _noise(self) -> list[str]:
        before, self._heard = self._heard, os.fstat(_OUT).st_size
        if self._heard == before:
            return []
        return [f"printed {os.pread(_OUT, 200, before).decode(errors='replace').splitlines()[0]}"]


def _result(decoder: Decoder, task: Task) -> Picture | Exception:
    try:
        return decoder(task.data, task.preparation, task.pixel_limit)
    except Exception as error:  # all of it is judged
        return error


def _faults_of_picture(task: Task, picture: Picture) -> list[str]:
    pixels, side = picture.pixels, task.preparation.size
    kept = {
        "shape": pixels.shape == (side, side, 3),
        "type": pixels.dtype == np.uint8,
        "order": pixels.flags.c_contiguous and not pixels.flags.writeable,
        "format": picture.format in FORMATS,
        "size": 0 < picture.width * picture.height <= task.pixel_limit and min(picture.width, picture.height) > 0,
    }
    seen = f"{picture.format}, {picture.width} x {picture.height}, {pixels.dtype} of {pixels.shape}"
    return [f"picture of wrong {name}: {seen}" for name, right in kept.items() if not right]


def _faults_of_rejection(rejected: Rejected) -> list[str]:
    faults = [] if rejected.reason in LISTED else [f"reason {rejected.reason} is not listed"]
    if not (0 < len(rejected.detail) <= 200 and rejected.detail.isprintable()):
        faults.append(f"detail {rejected.detail!r}")
    return faults


@contextmanager
def _surroundings_kept(faults: list[str]) -> Iterator[None]:
    """Note what a decoding changes around itself, and the warnings that leave it."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        before = _surroundings()
        yield
        after = _surroundings()
    faults += [f"{name} was {was!r}, is {after[name]!r}" for name, was in before.items() if was != after[name]]
    faults += [f"warned {each.message}" for each in warned]


def _surroundings() -> dict[str, object]:
    free = os.dup(0)  # the lowest descriptor that is free
    os.close(free)
    return {
        "the lowest free descriptor": free,
        "temporary files": list(Path(tempfile.gettempdir()).iterdir()),
        "Pillow's limit": Image.MAX_IMAGE_PIXELS,
        "the warnings' filters": len(warnings.filters),
    }


def _differences(decoder: Decoder, task: Task, first: Picture) -> list[str]:
    """Decode again on memory full of one byte, then of another: pixels that nobody wrote would follow it."""
    try:
        for pattern in _PATTERNS:
            _perturb(pattern)
            again = _result(decoder, task)
            if not isinstance(again, Picture):
                return [f"a picture, then {type(again).__name__}: {again}"]
            if not np.array_equal(again.pixels, first.pixels):
                return [f"pixels from memory that nobody wrote, {np.mean(again.pixels != first.pixels):.1%} of them"]
        return []
    finally:
        _perturb(0)


def _perturb(pattern: int) -> None:
    ctypes.CDLL(None).mallopt(_M_PERTURB, pattern)


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Give a list that in the end holds the greatest number of bytes taken beyond those at the beginning."""
    Path("/proc/self/clear_refs").write_bytes(_RESET_PEAK)  # not that of getrusage(2), which remembers the parent's
    before, grown = _resident(), list[int]()
    yield grown
    status = Path("/proc/self/status").read_bytes()
    grown.append(max(0, int(status.partition(b"VmHWM:")[2].split()[0]) * 1024 - before))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
