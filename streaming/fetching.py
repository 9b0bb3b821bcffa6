"""Fetching ahead: while one picture is decoded and inferred, the next ones are on their way, their order kept."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from types import TracebackType
from typing import NamedTuple

from conf.errors import OutageError, Rejected, StorageError
from conf.rejections import Reason
from conf.retrying import persistently
from conf.storage import Storage

_BYTES_AHEAD = 64 << 20
# With a last wait of 20 seconds and a last try of 30: well within the silence that Spark allows a worker.
_PATIENCE = 45.0
_ANY_NUMBER = 1 << 30


class Wanted(NamedTuple):
    """A version of a picture, as an arrival tells of it."""

    uri: str
    e_tag: str
    size: int


class _Ended(Exception):
    """The task is over; nobody waits for the picture any more."""


@dataclass(frozen=True)
class _OnItsWay:
    wanted: Wanted
    content: "Future[bytes | Rejected]"
    bytes_ahead: int


class Fetcher:
    """Reads pictures from a storage for the length of a `with` block; its threads end with it.

    Parameters
    ----------
    storage
        Where they are. As many are on their way at a time as pays there; where that is one, it is read when its turn
        comes, without a thread.
    byte_limit
        A picture of more bytes is not asked for.
    bytes_ahead
        The most bytes on their way, as announced; a picture that alone has more goes alone.
    patience
        Seconds after which a picture is not tried again; the last try may begin 20 seconds later and last for 30.
    monotonic
        Seconds since any moment.
    """

    def __init__(
        self,
        storage: Storage,
        byte_limit: int,
        *,
        bytes_ahead: int = _BYTES_AHEAD,
        patience: float = _PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage, self._byte_limit = storage, byte_limit
        self._bytes_ahead, self._patience, self._monotonic = bytes_ahead, patience, monotonic
        self._threads = ThreadPoolExecutor(storage.ahead, "fetch") if storage.ahead > 1 else None
        self._ended = Event()

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is still on its way; requests that were sent are waited for, waits between tries are not."""
        self.give_up()
        if self._threads:
            self._threads.shutdown(cancel_futures=True)

    def give_up(self) -> None:
        """End waits between tries, from any thread: nobody wants the pictures any more."""
        self._ended.set()

    def fetched(self, pictures: Iterable[Wanted]) -> Iterator[tuple[Wanted, bytes | Rejected]]:
        """Yield each picture with its bytes, or with what makes it a rejection, in order.

        Raises
        ------
        StorageError
            The world's fault, when its picture's turn comes and trying again has not helped.
        """
        if self._threads is None:
            return ((each, self._read(each)) for each in pictures)
        return self._fetched_ahead(deque(pictures), self._threads)

    def _fetched_ahead(
        self, waiting: deque[Wanted], threads: ThreadPoolExecutor
    ) -> Iterator[tuple[Wanted, bytes | Rejected]]:
        line: deque[_OnItsWay] = deque()
        self._send(waiting, line, threads)
        while line:
            first = line.popleft()
            content = first.content.result()
            self._send(waiting, line, threads)
            yield first.wanted, content

    def _send(self, waiting: deque[Wanted], line: deque[_OnItsWay], threads: ThreadPoolExecutor) -> None:
        """Send for pictures as long as there is room in the line."""
        room = self._bytes_ahead - sum(each.bytes_ahead for each in line)
        while waiting and len(line) < self._storage.ahead:
            size = 0 if waiting[0].size > self._byte_limit else waiting[0].size
            if line and size > room:
                break
            wanted = waiting.popleft()
            line.append(_OnItsWay(wanted, threads.submit(self._read, wanted), size))
            room -= size

    def _read(self, wanted: Wanted) -> bytes | Rejected:
        if wanted.size > self._byte_limit:
            return Rejected(Reason.TOO_MANY_BYTES, f"{wanted.size} bytes, the limit is {self._byte_limit}")
        until = self._monotonic() + self._patience
        try:
            return persistently(
                lambda: self._storage.read(*wanted, self._byte_limit),
                "fetch",
                lambda error: isinstance(error, OutageError) and self._monotonic() < until,
                tries=_ANY_NUMBER,
                sleep=self._pause,
            )
        except Rejected as rejection:
            return rejection
        except OutageError as error:
            raise StorageError(f"{error}; tried for {self._patience:.0f} seconds") from error

    def _pause(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise _Ended
