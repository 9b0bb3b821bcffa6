"""A compiled backbone run over many pictures, on every core at once, by the clock."""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from conf.saying import Say, silent
from streaming.backbones.runtime import Runtime
from streaming.backbones.shelf import Manifest

# Pictures by which one core alone is measured.
_ALONE = 32
_TELL_SECONDS = 0.5
Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Measured:
    """What came out, and what it took.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n, width)
    alone : float
        Seconds that one core takes for a picture while the others rest: the median of a few.
    together : float
        Seconds that all cores took, divided by the number of pictures.
    had : float
        Share of the cores' time that this took; the rest went to other programs.
    """

    vectors: Vectors
    alone: float
    together: float
    had: float


def measure(model: Path, manifest: Manifest, pixels: NDArray[np.uint8], cores: int, say: Say = silent) -> Measured:
    """Run a LiteRT model over prepared pictures, uint8 of shape (n, size, size, 3), one or more.

    Raises
    ------
    BackboneError
        The file is not what the manifest says.
    """
    text = f"running {manifest.backbone.featurizer}"
    say(text, 0, len(pixels))
    with _hushed():
        runtimes = [Runtime(model, manifest.backbone, manifest.width) for _ in range(cores)]
        for each in runtimes:
            each(pixels[0])
    alone = statistics.median(_seconds(runtimes[0], each) for each in pixels[:_ALONE])
    vectors = np.empty((len(pixels), manifest.width), np.float32)
    start, used = time.perf_counter(), time.process_time()
    _fill(vectors, pixels, runtimes, text, say)
    took, used = time.perf_counter() - start, time.process_time() - used
    return Measured(vectors, alone, took / len(pixels), min(1.0, used / cores / took))


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep from standard error the line that LiteRT prints in C++ with its first model, and has no switch for."""
    try:
        kept = os.dup(2)
    except OSError:  # closed: nobody would see it
        yield
        return
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (for its descriptor)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _seconds(runtime: Runtime, pixels: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    runtime(pixels)
    return time.perf_counter() - start


def _fill(vectors: Vectors, pixels: NDArray[np.uint8], runtimes: Sequence[Runtime], text: str, say: Say) -> None:
    """Give each runtime a share of the pictures, on its thread: LiteRT lets the others go on while it computes."""
    done, ended = [0] * len(runtimes), Event()

    def share(at: int) -> None:
        for place in range(at, len(vectors), len(runtimes)):
            if ended.is_set():
                return
            vectors[place] = runtimes[at](pixels[place])
            done[at] += 1

    with ThreadPoolExecutor(len(runtimes), "run") as threads:
        running = [threads.submit(share, at) for at in range(len(runtimes))]
        try:
            while wait(running, _TELL_SECONDS, FIRST_EXCEPTION).not_done and not any(map(_failed, running)):
                say(text, sum(done), len(vectors))
        finally:
            ended.set()
    for each in running:
        each.result()


def _failed(running: Future[None]) -> bool:
    return running.done() and running.exception() is not None
