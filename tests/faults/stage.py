"""Where a schedule is played: a landing, a lake, and the real commands, started anew whenever they end."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from conf import access
from conf.access import Access
from conf.lake import create_lake
from streaming.backbones.shelf import Compiled, save
from tests.faults import reading
from tests.faults.ledger import BucketZone, FolderZone, Ledger
from tests.faults.processes import Process
from tests.faults.schedule import Schedule
from tests.storage.cloud import Cloud
from tests.storage.proxy import FaultProxy

TREE = Path(__file__).parents[2]
BACKBONE = "efficientnet-lite0@64"
# Builds the false clock; without it schedules that step the clock cannot be played.
COMPILER = shutil.which("cc")
_TICK = 0.2
_MOST_LIVES = 25
# A service manager waits longer than this between two starts.
_PAUSE = 0.5
_LEASE = 6
IDLE_SECONDS = 10
_OPTIONS = {
    "backbone": BACKBONE,
    "poll": "0.3",
    "settle": "0.2",
    "trigger": "0.2",
    "decode-seconds": "2",
    "idle-timeout": str(IDLE_SECONDS),
    "cores": "2",
    "lease": str(_LEASE),
}


class Violation(Exception):
    """A rule was broken; the message says which and how."""


@dataclass(frozen=True)
class Backend:
    """The services that a stage on object storage needs."""

    cloud: Cloud
    proxy: FaultProxy


@dataclass
class Stage:
    """One lake and its landing, and what runs on them.

    Attributes
    ----------
    folder : Path
        Of its own; everything lies below.
    schedule : Schedule
        Its seed, store and options.
    tree : Path
        The program that is run.
    stream : Process or None
        The streaming leg, which `tend` keeps running.
    notes : list of str
        What happened, for a person.
    kills : Counter
        How often something was killed, by the point or the kind.
    retried : bool
        Whether attempts beyond the first are to be expected.
    """

    folder: Path
    schedule: Schedule
    compiled: Compiled
    backend: Backend | None = None
    tree: Path = TREE
    stream: Process | None = None
    notes: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    retried: bool = False
    _launched: list[Process] = field(default_factory=list)
    _lives: int = 0
    _logs: int = 0
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir()
        self.random = Random(self.schedule.seed)
        if self.backend is None:
            (self.folder / "landing").mkdir()
            self.landing, self.lake = str(self.folder / "landing"), str(self.folder / "disk" / "lake")
            (self.folder / "disk").mkdir()
            self.ledger = Ledger(FolderZone(self.folder / "landing"), self.random)
        else:
            bucket = self.backend.cloud.bucket("landing")
            self.landing = f"s3://{bucket}/in"
            self.lake = f"s3://{self.backend.cloud.bucket('lake')}/lake"
            self.ledger = Ledger(BucketZone(self.backend.cloud, bucket, "in"), self.random)
        self.tables = reading.Tables(self.lake, self.backend.cloud.environment() if self.backend else {})

    def prepare(self) -> None:
        """Make the lake, with the compiled backbone in it."""
        if self.backend is not None:
            os.environ.update(self.backend.cloud.environment())
        access.use(Access())
        save(self.compiled, create_lake(self.lake).backbones)

    def note(self, text: str) -> None:
        """Write down what happens, with the time."""
        self.notes.append(f"{time.monotonic() - self._began:6.1f}  {text}")

    def start(self) -> None:
        """Start the streaming leg."""
        self._lives += 1
        if self._lives > _MOST_LIVES:
            raise Violation(f"I7: the stream ended {_MOST_LIVES} times")
        self.stream = self.second()

    def launch(self, command: str, *arguments: str) -> Process:
        """Start a command of Verger on the lake."""
        self._logs += 1
        log = self.folder / f"{self._logs:03d}-{command}.log"
        words = [sys.executable, "-m", "tests.faults.driver", *command.split(), "--lake", self.lake, *arguments]
        process = Process(words, self.tree, self.environment(), log)
        self._launched.append(process)
        return process

    def second(self) -> Process:
        """Start another streaming leg on the same lake."""
        return self.launch("stream", "--landing", self.landing, *self._options())

    def tend(self) -> None:
        """Start the streaming leg where it does not run, as a service manager does."""
        if self.stream is not None and self.stream.alive:
            return
        if self.stream is not None:
            self._ended(self.stream)
            if time.monotonic() - self.stream.started < _PAUSE:
                time.sleep(_PAUSE)
        self.start()

    def until(self, condition: Callable[[], bool], seconds: float, *, tended: bool = True) -> bool:
        """Wait until something is so, keeping the stream up; whether it came."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            if tended:
                self.tend()
            time.sleep(_TICK)
        return True

    def wait(self, seconds: float) -> None:
        """Let time pass, keeping the stream up."""
        self.until(lambda: False, seconds)

    def streaming(self) -> None:
        """Wait until the stream makes outcomes: a micro-batch of this life is planned or drained."""
        self.tend()
        stream = self.stream
        assert stream is not None
        self.until(lambda: not stream.alive or "stream started" in stream.log.read_text("utf-8", "replace"), 60)

    def featurizing(self) -> None:
        """Wait until there are outcomes."""
        self.until(lambda: self.tables.rows("features") > 0, 60)

    def end(self) -> int:
        """Ask the stream to end; its exit status."""
        stream, self.stream = self.stream, None
        if stream is None:
            return 0
        stream.signal(signal.SIGTERM)
        code = stream.wait(90)
        if code is None:
            raise Violation(f"a stream that was asked to end still ran after 90 s: {stream.last_lines()}")
        self._left_behind(stream)
        return code

    def drop(self, whom: str = "all") -> None:
        """Kill the stream, if it runs."""
        if self.stream is not None:
            self.stream.kill(whom)
            self.stream.wait(30)
            if whom == "all":
                self._left_behind(self.stream)

    def run(self, command: str, *arguments: str, seconds: float = 120) -> tuple[int, str]:
        """Run a command to its end, keeping the stream up; its exit status and what it said last."""
        process = self.launch(command, *arguments)
        if not self.until(lambda: not process.alive, seconds, tended=self.stream is not None):
            said = process.last_lines()
            process.kill()
            raise Violation(f"`verger {command}` did not end within {seconds:g} s: {said}")
        self._check_said(process)
        return process.code or 0, process.last_lines()

    def arm(self, point: str, nth: int = 1, whom: str = "all") -> None:
        """Let the next process that reaches a point for the nth time be killed there."""
        beside = self._armed.with_suffix(".new")
        beside.write_text(json.dumps({"point": point, "nth": nth, "whom": whom}))
        beside.replace(self._armed)

    def struck(self) -> bool:
        """Whether the armed point has struck."""
        return not self._armed.exists()

    def disarm(self, point: str) -> None:
        """Let nothing be armed any more, and count what has struck."""
        if self.struck():
            self.kills[point] += 1
        else:
            self._armed.unlink()
            self.note(f"{point} was not reached")

    def reached(self) -> Counter[str]:
        """Count the points that the processes have come to."""
        try:
            return Counter(self._reached.read_text().split())
        except FileNotFoundError:
            return Counter()

    def turn_clock(self, seconds: float) -> None:
        """Set the clock of all processes of Verger off by some seconds."""
        with self._clock.open("r+b" if self._clock.exists() else "xb") as file:
            file.write(struct.pack("=q", round(seconds)))

    def environment(self) -> dict[str, str]:
        """Return the environment of the processes."""
        usual = {name: value for name, value in os.environ.items() if not name.startswith(("VERGER_", "PYTEST_"))}
        own = {
            "PYTHONPATH": str(self.tree),
            "TMPDIR": str(self.folder / "tmp"),
            "FAULTS_ARMED": str(self._armed),
            "FAULTS_REACHED": str(self._reached),
        }
        if "step_clock" in self.schedule.acts:
            own |= {"LD_PRELOAD": str(self._false_clock()), "FAULTS_CLOCK": str(self._clock)}
        if self.backend is not None:
            own |= {**self.backend.cloud.environment(), "AWS_ENDPOINT_URL": self.backend.proxy.endpoint}
        return usual | own

    def clear(self) -> None:
        """Kill whatever still runs."""
        for process in self._launched:
            process.go_on()
            process.kill()

    def _options(self) -> list[str]:
        return [word for name, value in {**_OPTIONS, **self.schedule.options}.items() for word in (f"--{name}", value)]

    def _ended(self, process: Process) -> None:
        self.note(f"the stream ended with {process.code}: {process.last_lines()[-300:]}")
        self._check_said(process)

    def _check_said(self, process: Process) -> None:
        """Hold a process to its word: the last line of one that failed says why."""
        said = process.log.read_text("utf-8", "replace")
        last = (said.splitlines() or [""])[-1]
        if process.code is not None and process.code > 0 and not last.startswith("verger: "):
            raise Violation(f"a command ended with {process.code} and no clear line: {said[-1500:]}")

    def _left_behind(self, process: Process) -> None:
        left = process.remains(30)
        if left:
            raise Violation(f"processes outlived their command by 30 s: {left}")

    def _false_clock(self) -> Path:
        """Return the library that adds to the time what stands in the file of the clock."""
        library = self.folder / "clock.so"
        if not library.exists():
            self.turn_clock(0)
            source = Path(__file__).with_name("clock.c")
            subprocess.run([COMPILER or "cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        return library

    @property
    def _armed(self) -> Path:
        return self.folder / "armed"

    @property
    def _reached(self) -> Path:
        return self.folder / "reached"

    @property
    def _clock(self) -> Path:
        return self.folder / "clock"
