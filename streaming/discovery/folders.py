"""Discovery by listing a folder: every settled picture below it, at any depth, each once."""

import heapq
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from conf.errors import LandingError
from conf.logs import fields, logger
from conf.storage import folder_e_tag
from conf.uris import uri_of
from streaming.discovery.sighting import Found, Sighting
from streaming.landing import Kind, NameRule, is_hidden

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


class FolderListing:
    """Lists one landing folder again and again.

    A file has landed when its modification time lies `settle` seconds back, or, whatever the clocks say, when it has
    been seen unchanged for that long.

    Parameters
    ----------
    root
        The landing folder.
    rule
        Which names count.
    settle
        Seconds.
    wall, monotonic
        The clocks, in seconds.
    """

    def __init__(
        self,
        root: Path,
        rule: NameRule,
        settle: float,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._rule = rule
        self._settle = settle
        self._wall = wall
        self._monotonic = monotonic
        self._complained: set[str] = set()
        # Versions that the modification time did not show as settled, and since when each has been seen unchanged.
        self._watched: dict[str, tuple[str, float]] = {}
        self._watching: dict[str, tuple[str, float]] = {}
        self._young = 0
        self._passed_over: Counter[str] = Counter()

    def poll(self) -> Iterator[Found]:
        """Yield what has landed, folder by folder; `sighting` tells the rest afterwards.

        Raises
        ------
        LandingError
            The landing itself cannot be listed.
        """
        self._young, self._watching, self._passed_over = 0, {}, Counter()
        yield from self._walk()
        self._watched = self._watching

    def sighting(self) -> Sighting:
        """Return what the last poll passed over."""
        return Sighting(self._passed_over, self._young)

    def _walk(self) -> Iterator[Found]:
        # Links to folders wait until every real folder is known, so that no picture is met by two names.
        inside = os.path.realpath(self._root)
        visited: set[str] = set()
        folders, links = [str(self._root)], list[str]()
        while folders or links:
            # The first link by name, whatever order the system lists them in: a picture's uri must not wander.
            folder = folders.pop() if folders else heapq.heappop(links)
            for entry in self._entries(folder, visited):
                if self._is_link_inside(entry, inside):
                    self._passed_over["linked_inside"] += 1
                elif not _is_folder(entry):
                    yield from self._file(entry)
                elif is_hidden(entry.name):
                    self._passed_over["hidden"] += 1
                elif entry.is_symlink():
                    heapq.heappush(links, entry.path)
                else:
                    folders.append(entry.path)

    def _entries(self, folder: str, visited: set[str]) -> Iterator[os.DirEntry[str]]:
        real = os.path.realpath(folder)
        if real in visited:
            return
        visited.add(real)
        try:
            with os.scandir(folder) as entries:
                yield from entries
        except OSError as error:
            if folder == str(self._root):
                raise LandingError(f"the landing {folder} cannot be listed: {error.strerror or error}") from error
            if not isinstance(error, FileNotFoundError):
                self._passed_over["unreadable_folder"] += 1
                self._complain(folder, error)

    def _is_link_inside(self, entry: os.DirEntry[str], root: str) -> bool:
        """Whether a link leads to what the listing meets under its own name, which is there and not hidden."""
        if not entry.is_symlink():
            return False
        target = Path(os.path.realpath(entry.path))
        # os.path and not Path: its questions never raise, whatever a link leads to.
        if not target.is_relative_to(root) or not os.path.exists(target):  # noqa: PTH110
            return False
        *folders, name = target.relative_to(root).parts or ("",)
        if any(map(is_hidden, folders)):
            return False
        if os.path.isdir(target):  # noqa: PTH112
            return not is_hidden(name)
        return self._rule.kind(name) is Kind.PICTURE

    def _file(self, entry: os.DirEntry[str]) -> Iterator[Found]:
        kind = self._rule.kind(entry.name)
        if kind is not Kind.PICTURE:
            self._passed_over[kind.value] += 1
            return
        status = _status(entry)
        if status is None:
            return
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            self._passed_over["special"] += 1
            return
        e_tag = folder_e_tag(status)
        if self._settled(entry.path, e_tag, status.st_mtime):
            yield Found(uri_of(entry.path), e_tag, _moment(status.st_mtime_ns), status.st_size)

    def _settled(self, path: str, e_tag: str, modified: float) -> bool:
        if self._wall() - modified >= self._settle:
            return True
        now = self._monotonic()
        seen_as, since = self._watched.get(path, (e_tag, now))
        if seen_as != e_tag:
            since = now
        # Kept even once settled: a time that lies in the future would make it young again at the next poll.
        self._watching[path] = (e_tag, since)
        settled = now - since >= self._settle
        self._young += not settled
        return settled

    def _complain(self, folder: str, error: OSError) -> None:
        if folder not in self._complained:
            self._complained.add(folder)
            logger().warning(
                "a folder of the landing cannot be read; its pictures wait",
                extra=fields(folder=folder, error=str(error)),
            )


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the file's status, a dangling link's own, or None where it has gone in between."""
    with suppress(OSError):
        return entry.stat()
    # No target, a loop of links, or a target that may not be looked at: the fetch says what is wrong.
    with suppress(OSError):
        return entry.stat(follow_symlinks=False)
    return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _moment(nanoseconds: int) -> datetime:
    """Return the UTC time, to the microsecond, within what a timestamp column can hold."""
    try:
        return min(_EPOCH + timedelta(microseconds=nanoseconds // 1000), _LATEST)
    except OverflowError:
        return _LATEST
