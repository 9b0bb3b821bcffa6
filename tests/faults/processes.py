"""The commands as processes of sessions of their own, and what can be done to them."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_TICK = 0.02
# A look may be a reading of tables on S3.
_LOOK_EVERY = 0.2
_LINES = 3


class Process:
    """A running command, with the JVM and the Python workers that it starts.

    Parameters
    ----------
    command
        What to run.
    folder
        Where.
    environment
        Its environment.
    log
        Gets what it prints.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.started = time.monotonic()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its first process still runs."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit status, None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait for its end; None where it did not come."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def until(self, happened: Callable[[], bool], seconds: float) -> None:
        """Wait until something has happened while it runs; fail with what it said last."""
        end = time.monotonic() + seconds
        while not happened():
            assert self.alive, self.last_lines()
            assert time.monotonic() < end, self.last_lines()
            time.sleep(_LOOK_EVERY)

    def signal(self, number: int) -> None:
        """Send a signal to its first process."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self, whom: str = "all") -> None:
        """End it at once: all of it, only its Python (the JVM finds out by itself), or only its JVM."""
        pids = family(self.pid)
        if whom == "python":
            pids = [self.pid]
        elif whom == "jvm":
            pids = [pid for pid in pids if name_of(pid) == "java"]
        for pid in pids:
            _send(pid, signal.SIGKILL)
        if whom == "all":
            self._process.wait()

    def stop(self) -> None:
        """Hold all of it."""
        for pid in family(self.pid):
            _send(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let all of it go on."""
        for pid in family(self.pid):
            _send(pid, signal.SIGCONT)

    def workers(self) -> list[int]:
        """Return the Python workers, without the daemon that starts them."""
        found = [pid for pid in family(self.pid) if b"pyspark.daemon" in _arguments(pid)]
        return [pid for pid in found if _parent(pid) in found]

    def remains(self, seconds: float) -> list[str]:
        """Wait until none of its processes is left; return the names of those that are nevertheless."""
        end = time.monotonic() + seconds
        while family(self.pid) and time.monotonic() < end:
            time.sleep(_TICK)
        return [name_of(pid) for pid in family(self.pid)]

    def last_lines(self) -> str:
        """Return the end of what it printed."""
        return " / ".join(self.log.read_text("utf-8", "replace").splitlines()[-_LINES:])[-900:]


def family(session: int) -> list[int]:
    """Return the processes of a session that are not dead yet."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            fields = _status(int(entry.name))
            if fields and int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def name_of(pid: int) -> str:
    """Return the name of a process's program."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _status(pid: int) -> list[str]:
    """Return state, parent, group, session and so on; nothing of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    fields = _status(pid)
    return int(fields[1]) if fields else 0


def _arguments(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
