"""The `verger` command with somebody listening at its named points: `python -m tests.faults.driver stream …`.

Everything else is the command that users have. The file that `FAULTS_ARMED` names says, as JSON, at which point, at
the how many-th time, and what is to be killed; it is read whenever a point is reached, so it can be written at any
time. Each point that is reached adds a line to the file that `FAULTS_REACHED` names.
"""

import json
import os
import signal
from collections import Counter
from pathlib import Path

from bootstrap import entry
from conf import compaction, points
from streaming import keeper
from tests.faults.processes import family


class Listener:
    """Ends the process where it is told to.

    Parameters
    ----------
    armed, reached
        The two files.
    """

    def __init__(self, armed: Path, reached: Path) -> None:
        self._armed, self._reached = armed, reached
        self._times: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        """Note that a point is reached, and kill what is armed for it."""
        self._times[point] += 1
        with self._reached.open("a") as file:
            file.write(f"{point}\n")
        try:
            wanted = json.loads(self._armed.read_text())
        except (OSError, ValueError):
            return
        if wanted["point"] == point and self._times[point] >= wanted["nth"]:
            self._armed.unlink()
            _kill(wanted["whom"])


def _kill(whom: str) -> None:
    """Kill this process; with `all` its JVM and workers first, which else have a moment left."""
    others = [pid for pid in family(os.getsid(0)) if pid != os.getpid()] if whom == "all" else []
    for pid in (*others, os.getpid()):
        os.kill(pid, signal.SIGKILL)


def _hasten() -> None:
    """Let compaction find enough to do in a run of a minute."""
    compaction._FEW_FILES = 4
    keeper._COMPACT_EVERY = 3


if __name__ == "__main__":
    points.listen(Listener(Path(os.environ["FAULTS_ARMED"]), Path(os.environ["FAULTS_REACHED"])))
    _hasten()
    entry.main()
