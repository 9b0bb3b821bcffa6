import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from conf.errors import DeniedError, OutageError, Rejected, StorageError
from conf.rejections import Reason
from conf.retrying import RETRIED
from streaming.fetching import Fetcher, Wanted

LIMIT = 1000
_PATIENCE = 10.0


def pictures(*sizes: int) -> list[Wanted]:
    """Give pictures of these sizes, named by their places."""
    return [Wanted(f"s3://b/{number}", "tag", size) for number, size in enumerate(sizes)]


def content_of(uri: str) -> bytes:
    """Give what a picture holds: its own name."""
    return uri.encode()


@dataclass
class Harbour:
    """A storage whose pictures wait until they are let go; it knows how many are on their way.

    Attributes
    ----------
    ahead : int
        As a storage says.
    answer : Callable
        What a picture holds.
    """

    ahead: int = 4
    answer: Callable[[str], bytes] = content_of
    started: list[str] = field(default_factory=list)
    most: int = 0
    _under_way: int = 0
    _free: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
        """Wait, then answer."""
        with self._changed:
            self.started.append(uri)
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._free, _PATIENCE)
            self._under_way -= 1
        return self.answer(uri)

    def let_go(self) -> None:
        """Let all go, and those that come."""
        with self._changed:
            self._free = True
            self._changed.notify_all()

    def await_started(self, count: int) -> None:
        """Wait until so many have been asked for."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.started) >= count, _PATIENCE)


def open_harbour(ahead: int = 4, answer: Callable[[str], bytes] = content_of) -> Harbour:
    """Give a storage that answers at once."""
    harbour = Harbour(ahead, answer)
    harbour.let_go()
    return harbour


def threads() -> list[str]:
    """Name the threads that fetch."""
    return [each.name for each in threading.enumerate() if each.name.startswith("fetch")]


def names(got: Iterator[tuple[Wanted, bytes | Rejected]]) -> Sequence[str]:
    """Give the names in the order in which pictures came, each with its own bytes."""
    come = list(got)
    assert [content for _, content in come] == [content_of(wanted.uri) for wanted, _ in come]
    return [wanted.uri for wanted, _ in come]


@pytest.mark.parametrize("ahead", [1, 2, 4, 16])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_every_picture_comes_in_its_order(ahead: int, count: int) -> None:
    """However many are on their way."""
    wanted = pictures(*[10] * count)
    with Fetcher(open_harbour(ahead), LIMIT) as fetcher:
        assert names(fetcher.fetched(wanted)) == [each.uri for each in wanted]
        assert names(fetcher.fetched(wanted)) == [each.uri for each in wanted]


def test_a_picture_that_is_slow_holds_up_none_behind_it() -> None:
    """The others are fetched meanwhile, and wait for their turn."""
    first = threading.Event()

    def answer(uri: str) -> bytes:
        if uri.endswith("/3"):
            first.set()
        elif uri.endswith("/0"):
            assert first.wait(_PATIENCE)
        return content_of(uri)

    wanted = pictures(*[10] * 8)
    with Fetcher(open_harbour(4, answer), LIMIT) as fetcher:
        assert names(fetcher.fetched(wanted)) == [each.uri for each in wanted]


def test_the_next_ones_are_on_their_way_while_one_is_worked_on() -> None:
    """As many as the storage says, besides the one that is out."""
    harbour = open_harbour(4)
    with Fetcher(harbour, LIMIT) as fetcher:
        next(fetcher.fetched(pictures(*[10] * 20)))
        harbour.await_started(5)
        assert sorted(harbour.started) == [f"s3://b/{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("sizes", "most"), [([10] * 9, 4), ([40] * 9, 2), ([300] * 3, 1), ([300, 10, 10, 10], 1), ([0] * 9, 4)]
)
def test_no_more_are_on_their_way_than_number_and_bytes_allow(sizes: list[int], most: int) -> None:
    """Of 100 bytes and four pictures at a time; one that has more than all may have goes alone."""
    harbour = Harbour(4)
    with Fetcher(harbour, LIMIT, bytes_ahead=100) as fetcher:
        got = fetcher.fetched(pictures(*sizes))
        taker = threading.Thread(target=lambda: next(got))
        taker.start()
        harbour.await_started(most)
        assert harbour.most == most
        harbour.let_go()
        taker.join()
        list(got)


def test_a_picture_over_the_limit_is_not_asked_for_and_takes_no_room() -> None:
    """Its announced size rejects it in its turn, and its neighbours go on beside it."""
    harbour = open_harbour(4)
    with Fetcher(harbour, LIMIT, bytes_ahead=100) as fetcher:
        got = dict(fetcher.fetched(pictures(10, LIMIT + 1, 10)))
    rejection = got[Wanted("s3://b/1", "tag", LIMIT + 1)]
    assert isinstance(rejection, Rejected)
    assert (rejection.reason, rejection.detail) == (Reason.TOO_MANY_BYTES, "1001 bytes, the limit is 1000")
    assert sorted(harbour.started) == ["s3://b/0", "s3://b/2"]


def test_a_pictures_own_fault_is_its_outcome() -> None:
    """It comes in its turn, in the place of bytes."""

    def answer(uri: str) -> bytes:
        if uri.endswith("/1"):
            raise Rejected(Reason.GONE, "not there")
        return b""

    with Fetcher(open_harbour(4, answer), LIMIT) as fetcher:
        come = [content for _, content in fetcher.fetched(pictures(1, 1, 1))]
    assert come[0] == come[2] == b""
    assert isinstance(come[1], Rejected)


@pytest.mark.parametrize("ahead", [1, 4])
@pytest.mark.parametrize("error", [StorageError("expired"), DeniedError("closed"), ValueError("a defect")])
def test_an_error_surfaces_when_its_turn_comes(ahead: int, error: Exception) -> None:
    """Pictures before it have been given out."""

    def answer(uri: str) -> bytes:
        if uri.endswith("/2"):
            raise error
        return content_of(uri)

    out: list[str] = []
    with Fetcher(open_harbour(ahead, answer), LIMIT) as fetcher, pytest.raises(type(error), match=str(error)):
        out.extend(wanted.uri for wanted, _ in fetcher.fetched(pictures(*[1] * 9)))
    assert out == ["s3://b/0", "s3://b/1"]


class TestPatience:
    """What the next try need not meet is tried again, for a while."""

    def test_an_outage_that_passes_leaves_no_trace_but_a_count(self) -> None:
        """The picture comes, and the retries are counted."""
        tries: list[str] = []

        def answer(uri: str) -> bytes:
            tries.append(uri)
            if len(tries) < 3:
                raise OutageError("slow down")
            return content_of(uri)

        RETRIED.taken()
        with Fetcher(open_harbour(2, answer), LIMIT) as fetcher:
            assert names(fetcher.fetched(pictures(10))) == ["s3://b/0"]
        assert RETRIED.taken() == {"fetch": 2}

    def test_an_outage_that_lasts_fails_the_task(self) -> None:
        """After the patience; the error is one that the driver waits for, and tells what was tried."""
        now = iter(range(0, 1000, 20))
        tries: list[str] = []

        def answer(uri: str) -> bytes:
            tries.append(uri)
            raise OutageError(f"{uri}: SlowDown")

        fetcher = Fetcher(open_harbour(2, answer), LIMIT, patience=45, monotonic=lambda: next(now))
        with fetcher, pytest.raises(StorageError, match="s3://b/0: SlowDown; tried for 45 seconds") as caught:
            list(fetcher.fetched(pictures(10)))
        assert not isinstance(caught.value, OutageError)
        assert len(tries) == 3

    @pytest.mark.parametrize("error", [StorageError("expired"), DeniedError("closed"), Rejected(Reason.GONE, "")])
    def test_what_lasts_is_tried_once(self, error: Exception) -> None:
        """Neither a missing permission nor a missing picture comes back within a minute."""
        tries: list[str] = []

        def answer(uri: str) -> bytes:
            tries.append(uri)
            raise error

        fetcher = Fetcher(open_harbour(1, answer), LIMIT)
        with fetcher:
            if isinstance(error, Rejected):
                list(fetcher.fetched(pictures(10)))
            else:
                with pytest.raises(StorageError):
                    list(fetcher.fetched(pictures(10)))
        assert len(tries) == 1


class TestEnd:
    """No thread outlives the task."""

    def test_threads_end_with_the_block(self) -> None:
        """What has not been asked for is not asked for any more."""
        harbour = open_harbour(4)
        with Fetcher(harbour, LIMIT) as fetcher:
            next(fetcher.fetched(pictures(*[10] * 1000)))
        assert threads() == []
        assert len(harbour.started) <= 5

    def test_a_wait_between_two_tries_ends_at_once(self) -> None:
        """Nobody sits out a back-off of seconds for a picture that nobody wants any more."""
        tried = threading.Semaphore(0)

        def answer(uri: str) -> bytes:
            if uri.endswith("/0"):
                return b""
            tried.release()
            raise OutageError("slow down")

        with Fetcher(open_harbour(2, answer), LIMIT, patience=1e9) as fetcher:
            next(fetcher.fetched(pictures(1, 1)))
            # By the sixth try the next wait is over a second, and soon for twenty.
            assert all(tried.acquire(timeout=_PATIENCE) for _ in range(4))
        assert threads() == []

    def test_an_error_of_the_task_ends_them_too(self) -> None:
        """Whatever raised it."""

        def task() -> None:
            with Fetcher(open_harbour(4), LIMIT) as fetcher:
                next(fetcher.fetched(pictures(*[10] * 100)))
                raise KeyError

        with pytest.raises(KeyError):
            task()
        assert threads() == []

    def test_a_storage_that_is_read_at_once_has_no_threads(self) -> None:
        """Each picture is read when its turn comes, by the task itself."""
        harbour = open_harbour(1)
        with Fetcher(harbour, LIMIT) as fetcher:
            got = fetcher.fetched(pictures(*[10] * 9))
            next(got)
            assert (harbour.started, threads()) == (["s3://b/0"], [])
