import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conf.errors import LakeError
from conf.lease import hold, holder


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests the pauses between tries."""
    monkeypatch.setattr("conf.lease.folder.time.sleep", lambda seconds: None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the place of a lease whose folder does not exist yet."""
    return tmp_path / "leases" / "stream"


@contextmanager
def other_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lease in another process while the block runs."""
    program = """
        import sys
        from pathlib import Path
        from conf.lease import hold
        with hold(Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_the_holder_is_known_while_it_holds(path: Path) -> None:
    """Process, host and the time since when can be read by anyone; before and after, nobody holds it."""
    assert holder(path) is None
    with hold(path):
        found = holder(path)
        assert found is not None
        assert (found["pid"], found["host"]) == (os.getpid(), socket.gethostname())
        since = datetime.strptime(str(found["since"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert abs(datetime.now(UTC) - since) < timedelta(minutes=1)
    assert holder(path) is None


def test_a_second_process_is_refused(path: Path) -> None:
    """The message names the other process, its host and since when, and what to do."""
    with other_process(path) as process:
        found = holder(path)
        assert found is not None
        described = f"process {process.pid} on {socket.gethostname()} since {found['since']}"
        said = f"another process writes this lake as its `verger stream`: {described}; let a command end"
        with pytest.raises(LakeError, match=re.escape(said)), hold(path):
            pytest.fail("held twice")
        assert holder(path) == found


def test_a_killed_holder_releases_it(path: Path) -> None:
    """The system releases the lock of a process that could not; what it left in the file is harmless."""
    with other_process(path) as process:
        process.kill()
        process.wait()
    assert json.loads(path.read_text())["pid"] == process.pid
    assert holder(path) is None
    with hold(path):
        found = holder(path)
        assert found is not None
        assert found["pid"] == os.getpid()


def test_it_is_released_where_the_block_fails(path: Path) -> None:
    """An error inside the block passes through and leaves the lease free."""
    with pytest.raises(ZeroDivisionError), hold(path):
        raise ZeroDivisionError
    assert holder(path) is None
    with hold(path):
        assert holder(path) is not None


def test_two_legs_are_held_side_by_side(path: Path) -> None:
    """Each leg has a lease of its own."""
    with hold(path), hold(path.with_name("refit")):
        assert holder(path) is not None
        assert holder(path.with_name("refit")) is not None


def test_longer_content_of_an_earlier_holder_does_not_show(path: Path) -> None:
    """The file is emptied before it is written."""
    path.parent.mkdir()
    path.write_text(json.dumps({"pid": 1, "host": "x" * 1000, "since": "long ago"}))
    with hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", ["", "no json", '{"pid":'])
def test_a_holder_that_has_not_written_yet_is_still_a_holder(content: str, path: Path) -> None:
    """Between lock and content the file says nothing of use: it is held all the same, by a process unknown."""
    path.parent.mkdir()
    path.write_text(content)
    with path.open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert holder(path) == {}
        with pytest.raises(LakeError, match=re.escape("process ? on ? since ?")), hold(path):
            pytest.fail("held twice")


def test_readers_do_not_take_one_another_for_a_holder(path: Path) -> None:
    """Two readers may look at the same moment; neither drives the leg."""
    path.parent.mkdir()
    path.write_text("")
    with path.open("r") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        assert holder(path) is None


def test_a_reader_that_looks_for_an_instant_does_not_refuse_a_holder(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verger status` takes the lock shared for a moment; a driver that starts just then waits it out."""
    path.parent.mkdir()
    path.write_text("")
    with path.open("r") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        pauses: list[float] = []

        def release(seconds: float) -> None:
            pauses.append(seconds)
            fcntl.flock(reader, fcntl.LOCK_UN)

        monkeypatch.setattr("conf.lease.folder.time.sleep", release)
        with hold(path):
            assert pauses == [0.1]
