"""Decoding in a process of its own."""

import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from conf.errors import IsolationError, Rejected
from conf.rejections import Reason
from streaming.decode import Picture, decode
from streaming.isolate import IsolatedDecoder, bounded
from tests.unit.hostile import endless_jpeg, harmful, telling, vulnerable
from tests.unit.pictures import FILES, LIMIT, STILL

ROOM = 1 << 29
# Seconds for what is decoded after a limit was the matter, by a process that has to start first.
PATIENCE = 30.0
PNG = FILES["png"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds and binds a process so")


@pytest.fixture
def isolated() -> Iterator[IsolatedDecoder]:
    """Give a decoder that some pictures harm, in a process of its own."""
    with IsolatedDecoder(vulnerable, seconds=30, room=ROOM) as decoder:
        yield decoder


@pytest.fixture
def witness() -> Iterator[IsolatedDecoder]:
    """Give a decoder that tells about its process."""
    with IsolatedDecoder(telling, seconds=30, room=ROOM) as decoder:
        yield decoder


def rejection(decoder: IsolatedDecoder, data: bytes) -> tuple[Reason, str]:
    """Decode a picture that is rejected; give the reason and the detail."""
    with pytest.raises(Rejected) as caught:
        decoder(data, STILL, LIMIT)
    return caught.value.reason, caught.value.detail


def pid(witness: IsolatedDecoder) -> int:
    """Give the id of the process that decodes."""
    return witness(PNG, STILL, LIMIT).width


class TestPictures:
    """What goes in and comes out."""

    def test_a_picture_is_the_same_as_without_isolation(self, isolated: IsolatedDecoder) -> None:
        """Pixels, format and size of every format pass through unchanged."""
        for data in FILES.values():
            expected, found = decode(data, STILL, LIMIT), isolated(data, STILL, LIMIT)
            np.testing.assert_array_equal(found.pixels, expected.pixels)
            assert (found.format, found.width, found.height) == (expected.format, expected.width, expected.height)

    def test_a_rejection_is_the_same_as_without_isolation(self, isolated: IsolatedDecoder) -> None:
        """Reason and detail pass through, whatever stands in them."""
        assert rejection(isolated, harmful(PNG, "reject")) == (Reason.CORRUPT, "no 'picture'\n")
        assert rejection(isolated, b"") == (Reason.EMPTY, "0 bytes")

    def test_a_large_file_passes(self) -> None:
        """A file larger than every buffer on its way arrives whole, and does not count against the room."""
        with IsolatedDecoder(decode, seconds=30, room=1 << 25) as isolated:
            assert isolated(PNG + bytes(1 << 26), STILL, LIMIT).width == 40

    def test_one_process_serves_many_pictures(self, witness: IsolatedDecoder) -> None:
        """It is another process than this one, and a child of it."""
        told = witness(PNG, STILL, LIMIT)
        assert told.width != os.getpid()
        assert told.height == os.getpid()
        assert pid(witness) == told.width


class TestHarm:
    """A picture that harms its process is rejected by name, and the next one is decoded."""

    @pytest.mark.parametrize(
        ("harm", "detail"),
        [
            ("segfault", "the decoder was ended by SIGSEGV"),
            ("signal", "the decoder was ended by SIGABRT"),
            ("leave", "the decoder exited with status 3"),
            ("babble", "the decoder gave no sense: pickle data was truncated"),
        ],
    )
    def test_a_crash_is_the_pictures_rejection(self, harm: str, detail: str, isolated: IsolatedDecoder) -> None:
        """The detail says how the process ended."""
        assert rejection(isolated, harmful(PNG, harm)) == (Reason.CRASHED, detail)
        assert isolated(PNG, STILL, LIMIT).width == 40

    @pytest.mark.parametrize("harm", ["sleep", "spin"])
    def test_a_hang_is_the_pictures_rejection(self, harm: str) -> None:
        """A decoder that waits, and one that computes without end, are killed at the limit."""
        with IsolatedDecoder(vulnerable, seconds=0.3, room=ROOM) as isolated:
            assert rejection(isolated, harmful(PNG, harm)) == (Reason.TIMED_OUT, "not decoded after 0.3 s")
            isolated._seconds = PATIENCE
            assert isolated(PNG, STILL, LIMIT).width == 40

    def test_a_real_picture_that_never_ends_is_rejected(self) -> None:
        """A valid JPEG of a megabyte keeps Pillow busy for minutes."""
        with IsolatedDecoder(decode, seconds=0.5, room=4 << 30) as isolated:
            with pytest.raises(Rejected) as caught:
                isolated(endless_jpeg(), STILL, 80_000_000)
            assert caught.value.reason is Reason.TIMED_OUT
            isolated._seconds = PATIENCE
            assert isolated(PNG, STILL, LIMIT).width == 40

    @linux
    def test_a_picture_that_needs_too_much_memory_is_rejected(self, isolated: IsolatedDecoder) -> None:
        """The detail says how much it may have; the process lives on."""
        reason, detail = rejection(isolated, harmful(PNG, "devour"))
        assert reason is Reason.CRASHED
        assert detail.startswith("it needs more than 0.5 GiB: ")
        assert isolated(PNG, STILL, LIMIT).width == 40

    def test_a_fault_of_the_program_is_no_rejection(self, isolated: IsolatedDecoder) -> None:
        """What a decoder raises beside rejections would meet every picture: the task fails instead."""
        with pytest.raises(IsolationError, match=r"own: KeyError: 'a fault of the program'"):
            isolated(harmful(PNG, "fail"), STILL, LIMIT)


class TestProcess:
    """What the process has, and when it ends."""

    @linux
    def test_it_holds_nothing_of_its_parent(self, witness: IsolatedDecoder, tmp_path: Path) -> None:
        """Even a file made to be handed down stays with the parent; it has a socket, and nothing to print on."""
        with (tmp_path / "open").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            files = witness(PNG, STILL, LIMIT).format.split()
        assert sorted(files) == ["/dev/null", "/dev/null", "/dev/null", "socket"]

    def test_what_a_decoder_prints_goes_nowhere(
        self, isolated: IsolatedDecoder, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Spark reads a worker's output."""
        isolated(harmful(PNG, "print"), STILL, LIMIT)
        assert capfd.readouterr() == ("", "")

    def test_no_picture_is_blamed_for_a_process_that_died_before_it(self, witness: IsolatedDecoder) -> None:
        """The system may kill it at any time; the next picture starts another."""
        first = pid(witness)
        os.kill(first, signal.SIGKILL)
        assert pid(witness) != first

    def test_it_ends_when_it_is_closed(self, witness: IsolatedDecoder) -> None:
        """Nothing of it is left."""
        process = pid(witness)
        witness.close()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)

    @linux
    def test_it_dies_with_its_parent_in_the_middle_of_a_picture(self) -> None:
        """Spark kills a worker that hangs, and no process stays behind it."""
        program = (
            "from streaming.isolate import IsolatedDecoder\n"
            "from tests.unit.hostile import harmful, telling, vulnerable\n"
            "from tests.unit.pictures import FILES, LIMIT, STILL\n"
            "isolated = IsolatedDecoder(telling, 600, 1 << 30)\n"
            "print(isolated(b'', STILL, LIMIT).width, flush=True)\n"
            "isolated._decode = vulnerable\n"
            "isolated(harmful(FILES['png'], 'spin'), STILL, LIMIT)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as parent:
            assert parent.stdout is not None
            child = os.pidfd_open(int(parent.stdout.readline()))
            parent.kill()
        try:
            assert select.select([child], [], [], 10)[0] == [child]
        finally:
            os.close(child)

    @linux
    def test_it_leaves_no_core_dump(self) -> None:
        """A crash that is expected fills no disk."""
        with IsolatedDecoder(core_limit, seconds=30, room=ROOM) as isolated:
            assert isolated(PNG, STILL, LIMIT).width == 0


def core_limit(data: bytes, preparation: object, pixel_limit: int) -> Picture:
    """Tell how large a core dump may be."""
    return Picture(np.zeros((1, 1, 3), np.uint8), "", resource.getrlimit(resource.RLIMIT_CORE)[0], 0)


class TestStart:
    """A process that cannot be had is the world's fault."""

    @pytest.mark.parametrize(
        ("program", "told"),
        [("/bin/false", "it exited with status 1"), ("/nowhere/python", "/nowhere/python.*it did not start")],
    )
    def test_no_process_is_no_rejection(self, program: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message says how it ended and what may be short."""
        monkeypatch.setattr(sys, "executable", program)
        with (
            IsolatedDecoder(decode, seconds=30, room=ROOM) as isolated,
            pytest.raises(IsolationError, match=rf"{told}.*is memory or the number of processes short"),
        ):
            isolated(PNG, STILL, LIMIT)

    def test_a_decoder_that_cannot_be_imported_is_no_rejection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message names what is missing."""
        module = ModuleType("nowhere")
        exec("def decode(data, preparation, pixel_limit): ...", vars(module))
        monkeypatch.setitem(sys.modules, "nowhere", module)
        with (
            IsolatedDecoder(module.decode, seconds=30, room=ROOM) as isolated,
            pytest.raises(IsolationError, match=r"ModuleNotFoundError: No module named 'nowhere'"),
        ):
            isolated(PNG, STILL, LIMIT)


@linux
class TestBounds:
    """A decoder that may not take all memory, without a process of its own."""

    def test_more_than_the_room_is_a_memory_error(self) -> None:
        """The task fails, and not the machine."""
        with pytest.raises(MemoryError):
            bounded(vulnerable, ROOM)(harmful(PNG, "devour"), STILL, LIMIT)

    def test_the_bound_is_gone_afterwards(self) -> None:
        """After a picture and after a failure the process may grow as before."""
        before = resource.getrlimit(resource.RLIMIT_AS)
        decoder = bounded(vulnerable, ROOM)
        np.testing.assert_array_equal(decoder(PNG, STILL, LIMIT).pixels, decode(PNG, STILL, LIMIT).pixels)
        with pytest.raises(MemoryError):
            decoder(harmful(PNG, "devour"), STILL, LIMIT)
        assert resource.getrlimit(resource.RLIMIT_AS) == before
