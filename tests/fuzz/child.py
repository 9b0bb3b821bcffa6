"""Child: the process in which hostile bytes are decoded, as its parent sees it and from within."""

import faulthandler
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from streaming.isolate import Decoder
from tests.fuzz.witness import Observation, Task, Witness

_SERVE = "import sys; from tests.fuzz.child import serve; serve(int(sys.argv[1]))"
_START_SECONDS = 60.0


class Ended(Exception):
    """The process died in the middle of a picture; the message says how, and where it was."""


class Child:
    """A process that decodes under observation, started when it is needed and again after it has ended.

    Parameters
    ----------
    decode : Decoder
        A function of a module.
    seconds : float
        The longest that one picture may take, in wall time.

    Attributes
    ----------
    starts : int
        Processes started so far.
    pictures : int
        Given to the present one.
    """

    def __init__(self, decode: Decoder, seconds: float) -> None:
        self._decode, self._seconds = decode, seconds
        self._process: _Process | None = None
        self.starts = 0
        self.pictures = 0

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def observe(self, task: Task) -> Observation:
        """Have a picture decoded.

        Raises
        ------
        TimeoutError
            It took too long; the process has been killed.
        Ended
            The process died of it.
        """
        if self._process is None:
            self._process = _Process(self._decode)
            self.starts, self.pictures = self.starts + 1, 0
        self.pictures += 1
        try:
            return self._process.observe(task, self._seconds)
        except TimeoutError:
            self.close()
            raise
        except Exception as error:  # whatever reading the words of a broken process runs into
            raise Ended(f"{type(error).__name__}; {self.close()}") from None

    def close(self) -> str:
        """End the process, if there is one, and say how it ended."""
        process, self._process = self._process, None
        return process.end() if process else "did not start"


class _Process:
    def __init__(self, decode: Decoder) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="verger-fuzz-")
        self._output = Path(self._folder.name) / "output"
        (Path(self._folder.name) / "tmp").mkdir()
        self._connection, theirs = Pipe()
        with theirs, self._output.open("a+b") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-P", "-c", _SERVE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                cwd=self._folder.name,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": f"{self._folder.name}/tmp"},
            )
        self._connection.send_bytes(pickle.dumps(decode))
        if not self._connection.poll(_START_SECONDS) or self._connection.recv() != "ready":
            raise RuntimeError(f"no process to decode in: {self.end()}")

    def observe(self, task: Task, seconds: float) -> Observation:
        self._connection.send(task)
        if not self._connection.poll(seconds):
            raise TimeoutError(f"silent for {seconds:g} s")
        seen: Observation = self._connection.recv()
        return seen

    def end(self) -> str:
        self._connection.close()
        self._process.kill()
        status = self._process.wait()
        said = self._output.read_text(errors="replace")[-1000:].strip()
        self._folder.cleanup()
        how = f"status {status}" if status >= 0 else signal.Signals(-status).name
        return f"{how}; {said}" if said else how


def serve(descriptor: int) -> None:
    """Be the process: observe what comes through the socket `descriptor` until the other side closes it."""
    faulthandler.enable()
    with Connection(descriptor) as parent:
        witness = Witness(pickle.loads(parent.recv_bytes()))
        parent.send("ready")
        while True:
            try:
                task = parent.recv()
            except EOFError:
                return
            parent.send(witness.observe(task))
