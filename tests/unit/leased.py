"""An object store and a clock in memory, for leases, and what goes wrong with a call."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

from conf.lease import record
from conf.lease.expiry import Watch


@dataclass(eq=False)
class Clock:
    """Seconds that pass when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let them pass."""
        self.now += seconds


@dataclass(eq=False)
class Store:
    """One object in memory, whose version is made of its content, as S3 makes it.

    What `faults` holds is called before the next calls, one each, with what the call does; it may do it, or not.
    """

    content: bytes | None = None
    name: str = "stream"
    faults: list[Callable[[Callable[[], Any]], Any]] = field(default_factory=list)

    def __str__(self) -> str:
        return "s3://bucket/lake/leases/stream"

    def put(self, content: bytes, over: str = "") -> str:
        """Put it, on its conditions."""
        return str(self._called(lambda: self._put(content, over)))

    def read_version(self) -> tuple[bytes, str]:
        """Read it."""
        found: tuple[bytes, str] = self._called(self._read)
        return found

    def _called(self, call: Callable[[], Any]) -> Any:
        return self.faults.pop(0)(call) if self.faults else call()

    def _put(self, content: bytes, over: str) -> str:
        if over and self.content is None:
            raise FileNotFoundError(f"{self} is not there")
        if over != (md5(self.content).hexdigest() if self.content is not None else ""):
            raise FileExistsError(f"{self} is another version, or there already")
        self.content = content
        return md5(content).hexdigest()

    def _read(self) -> tuple[bytes, str]:
        if self.content is None:
            raise FileNotFoundError(f"{self} is not there")
        return self.content, md5(self.content).hexdigest()


def watch(store: Store, clock: Clock) -> Watch:
    """Begin to watch the lease."""
    return Watch(lambda: record.read(store), clock)


def unanswered(call: Callable[[], Any]) -> None:
    """Do nothing, and give no answer."""
    raise OSError("s3://bucket/lake/leases/stream does not answer")


def answer_lost(call: Callable[[], Any]) -> None:
    """Do it; asked again, as obstore's caller does, the store refuses."""
    call()
    call()


def effect_unknown(call: Callable[[], Any]) -> None:
    """Do it, and give no answer."""
    call()
    raise OSError("reset")


def slow(clock: Clock, before: float = 0, after: float = 0) -> Callable[[Callable[[], Any]], Any]:
    """Do it, and take some time for it."""

    def call_slowly(call: Callable[[], Any]) -> Any:
        clock.sleep(before)
        done = call()
        clock.sleep(after)
        return done

    return call_slowly
