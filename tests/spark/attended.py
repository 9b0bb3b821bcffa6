"""A stream that runs on a thread of its own, while a test lands pictures and asks for things."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Event

from bootstrap import orchard
from conf.lake import LakePaths
from conf.settings import Settings
from streaming import stream
from streaming.commands import errands
from streaming.commands.requests import Answer, Request
from streaming.commands.selection import Selection, select
from streaming.totals import Totals
from tests.spark.conftest import Sessions

_PATIENCE = 120.0
_SEEDS = count(1)


class Attended:
    """A running stream.

    Parameters
    ----------
    settings
        Its own; commands have them, too.
    end
        Set: the stream ends.
    """

    def __init__(self, settings: Settings, end: Event) -> None:
        self.settings = settings
        self.lake = LakePaths(Path(settings.lake))
        self.landing = Path(settings.landing)
        self.totals = Totals()
        self._end = end
        self._running: Future[Totals] | None = None
        self._news = Condition()

    def run(self, sessions: Sessions, thread: ThreadPoolExecutor) -> "Future[Totals]":
        """Start it."""
        self._running = thread.submit(stream.run, self.settings, self._end, report=self._told, sessions=sessions)
        self._running.add_done_callback(lambda _: self._tell())
        return self._running

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._running is not None and self._running.done()

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait, from one report of the stream to the next, until something has happened."""
        with self._news:
            self._news.wait_for(lambda: self.ended or happened(), _PATIENCE)
        if self.ended and self._running is not None:
            self._running.result()
        assert happened(), self.totals

    def ask(self, request: Request) -> Answer:
        """Have a request done, as a command does."""
        return errands.have_done(self.lake, request, self.settings)

    def land(self, folder: str, number: int = 1) -> list[Path]:
        """Land new pictures, each in one step: no poll sees a half of one."""
        drawn = [picture() for _ in range(number)]
        return [place(each, self.landing / folder / f"{next(_SEEDS):04d}.jpg") for each in drawn]

    def _told(self, totals: Totals) -> None:
        self.totals = replace(totals)
        self._tell()

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()


@contextmanager
def attended(settings: Settings, sessions: Sessions) -> Iterator[Attended]:
    """Run a stream for the length of a `with` block, from its first report on; its failure is the test's."""
    end = Event()
    with ThreadPoolExecutor(1) as thread:
        started = Attended(settings, end)
        running = started.run(sessions, thread)
        try:
            # Before its first report another could still take the lease, and execute what is asked in its stead.
            started.until(lambda: bool(started.totals.featurizers))
            yield started
        finally:
            end.set()
        running.result()


def picture() -> bytes:
    """Draw a picture that no other is like."""
    seed = next(_SEEDS)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        orchard.draw(orchard.VARIETIES[seed % len(orchard.VARIETIES)], seed).save(path, "JPEG")
        return path.read_bytes()


def place(data: bytes, path: Path, version: os.stat_result | None = None) -> Path:
    """Put a file in its place in one step; with `version`, of the modification time that tells it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parents[1].parent) as folder:
        new = Path(folder) / path.name
        new.write_bytes(data)
        if version is not None:
            os.utime(new, ns=(version.st_mtime_ns, version.st_mtime_ns))
        new.replace(path)
    return path


def repair(path: Path, data: bytes) -> None:
    """Give a picture other bytes under the size and modification time that it has: the same version."""
    version = path.stat()
    assert version.st_size == len(data)
    place(data, path, version)


def below(folder: Path) -> Selection:
    """Select the pictures of a folder."""
    return select(prefix=f"{folder}/")
