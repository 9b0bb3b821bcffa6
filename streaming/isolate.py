"""Isolation: a decoder in a process of its own, where a picture that crashes it or never ends is only a rejection.

The process gets a socket and nothing else: no open file, no thread, nothing to print on. It takes one picture after
the other until one of them ends it, and dies with the process that started it.
"""

import ctypes
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, Any

from conf.errors import IsolationError, Rejected, first_line
from conf.rejections import Reason

if TYPE_CHECKING:  # the process imports what its decoder needs, and no more
    from streaming.backbones.backbone import Preparation
    from streaming.decode import Picture

Decoder = Callable[[bytes, "Preparation", int], "Picture"]

_SERVE = "import sys; from streaming.isolate import serve; serve(int(sys.argv[1]))"
_START_SECONDS = 60.0
_KEYS = ("AWS_", "AZURE_", "GOOGLE_")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class IsolatedDecoder:
    """A decoder that runs in a process of its own, started with the first picture; to be closed at the end.

    Parameters
    ----------
    decode : Decoder
        A function of a module; it raises Rejected for what is a picture's own fault.
    seconds : float
        The longest that one picture may take.
    room : int
        Bytes of address space that one picture may take, its file left out.
    """

    def __init__(self, decode: Decoder, seconds: float, room: int) -> None:
        self._decode, self._seconds, self._room = decode, seconds, room
        self._child: _Child | None = None

    def __enter__(self) -> "IsolatedDecoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, data: bytes, preparation: "Preparation", pixel_limit: int) -> "Picture":
        """Decode a picture as `streaming.decode.decode` does.

        Raises
        ------
        Rejected
            As the decoder raised it; CRASHED, when the process died or had no room; TIMED_OUT.
        IsolationError
            The process cannot be started, or the decoder fails in a way that is no picture's fault.
        """
        child = self._child_with((self._decode, self._room, preparation, pixel_limit), data)
        try:
            kind, said = child.hear(self._seconds)
        except TimeoutError:
            self.close()
            raise Rejected(Reason.TIMED_OUT, f"not decoded after {self._seconds:g} s") from None
        except (EOFError, OSError):
            raise Rejected(Reason.CRASHED, f"the decoder {self.close()}") from None
        except Exception as error:  # whatever reading the words of a broken process runs into
            self.close()
            raise Rejected(Reason.CRASHED, f"the decoder gave no sense: {first_line(error)}") from None
        if kind == "rejected":
            raise Rejected(*said)
        if kind == "no room":
            raise Rejected(Reason.CRASHED, f"it needs more than {self._room / 2**30:.3g} GiB: {said}")
        if kind == "failed":
            raise IsolationError(f"the decoder fails in a process of its own: {said}")
        picture: Picture = said
        return picture

    def close(self) -> str:
        """End the process, if there is one, and say how it ended."""
        child, self._child = self._child, None
        return child.end() if child else "did not start"

    def _child_with(self, job: tuple[Any, ...], data: bytes) -> "_Child":
        """Hand a picture over. No picture is to blame for a process that dies before: another one is tried."""
        try:
            return self._handed_over(job, data)
        except (OSError, EOFError):
            self.close()
        try:
            return self._handed_over(job, data)
        except (OSError, EOFError) as error:
            raise IsolationError(
                f"no process to decode in: {first_line(error)}, it {self.close()}; is memory or the number of "
                "processes short on the worker's machine?"
            ) from error

    def _handed_over(self, job: tuple[Any, ...], data: bytes) -> "_Child":
        self._child = self._child or _Child()
        self._child.take(job, data)
        return self._child


class _Child:
    """The process, as the one that started it sees it."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**_harmless(os.environ), "PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def take(self, job: tuple[Any, ...], data: bytes) -> None:
        """Return when the process has the picture, and has imported what it needs."""
        self._connection.send(job)
        self._connection.send_bytes(data)
        kind, said = self.hear(_START_SECONDS)
        if kind == "failed":
            raise IsolationError(f"the process to decode in cannot begin: {said}")

    def hear(self, seconds: float) -> tuple[str, Any]:
        """Return the next thing that the process says; raises TimeoutError or, when it is dead, EOFError or OSError."""
        if not self._connection.poll(seconds):
            raise TimeoutError(f"silent for {seconds:g} s")
        kind, said = self._connection.recv()
        return kind, said

    def end(self) -> str:
        """Kill the process and return how it had ended by then."""
        self._connection.close()
        self._process.kill()
        status = self._process.wait()
        return f"exited with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"


def _harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the keys to object stores: whoever takes a decoder over finds none."""
    return {name: value for name, value in environment.items() if not name.startswith(_KEYS)}


def serve(descriptor: int) -> None:
    """Be the process: decode what comes through the socket `descriptor` until the other side closes it."""
    _bind_to_parent()
    with Connection(descriptor) as parent, suppress(EOFError):
        while True:
            _serve_one(parent)


def _serve_one(parent: Connection) -> None:
    job, data = parent.recv_bytes(), parent.recv_bytes()
    try:
        decode, room, preparation, pixel_limit = pickle.loads(job)
    except Exception as error:  # whatever an import runs into
        parent.send(("failed", f"{type(error).__name__}: {first_line(error)}"))
        return
    parent.send(("taken", None))
    try:
        answer: tuple[str, Any] = "picture", bounded(decode, room)(data, preparation, pixel_limit)
    except Rejected as rejected:
        answer = "rejected", (rejected.reason, rejected.detail)
    except MemoryError as error:
        answer = "no room", first_line(error)
    except Exception as error:  # not a picture's fault: a decoder turns those into rejections
        answer = "failed", f"{type(error).__name__}: {first_line(error)}"
    parent.send(answer)


def _bind_to_parent() -> None:
    """Die with the parent, also in the middle of a picture, and leave no core dump behind."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the end of the socket has to do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def bounded(decode: Decoder, room: int) -> Decoder:
    """Return a decoder that fails with MemoryError where it wants more than `room` bytes of address space.

    A picture that asks for all memory then ends one task, and not the machine. Only Linux tells a process its size;
    elsewhere nothing is bounded.
    """
    if sys.platform != "linux":
        return decode

    def within(data: bytes, preparation: "Preparation", pixel_limit: int) -> "Picture":
        with _room_for(room):
            return decode(data, preparation, pixel_limit)

    return within


@contextmanager
def _room_for(more: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 (half the time of a Path's)
        used = int(file.read(64).split()[0]) * resource.getpagesize()
    if soft == resource.RLIM_INFINITY or used + more < soft:
        resource.setrlimit(resource.RLIMIT_AS, (used + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
