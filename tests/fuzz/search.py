"""Search: mutate, decode, keep what reaches further, and write down every broken promise."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from streaming.backbones.backbone import Preparation
from streaming.backbones.request import parse_backbone
from streaming.isolate import Decoder
from streaming.worker import Work
from tests.fuzz.mutations import mutated
from tests.fuzz.outcome import Outcome, general
from tests.fuzz.report import Extreme, Report, Violation
from tests.fuzz.smaller import smaller
from tests.fuzz.trial import Trial
from tests.fuzz.witness import Observation, Task
from tests.unit.pictures import LIMIT, STILL

USUAL_LIMIT = 80_000_000
_OTHER_PREPARATIONS = (
    Preparation(24, fit="crop", filter="bicubic"),
    Preparation(48, fit="pad", filter="lanczos"),
    Preparation(224),
)
_NEWEST = 64  # of the pool: what reached further lately is tried more
_LONGEST_KEPT = 1 << 15
_QUICK = 0.1  # seconds
_SECONDS_TO_SHORTEN = 60.0
_WARM = 1000  # pictures after which a process has all that it will need


def room(pixel_limit: int) -> int:
    """Give the bytes that a worker allows a picture under a pixel limit."""
    unread = parse_backbone("efficientnet-lite0@64")
    return Work(unread, 1, "", None, "", "none", pixel_limit, 0).decode_bytes  # type: ignore[arg-type]


class Search:
    """A search through hostile files.

    Parameters
    ----------
    decode : Decoder
        A function of a module.
    files : sequence of bytes
        Where it begins.
    slow : sequence of bytes
        Files that take so long that they are tried less.
    seed : int
        Decides what is tried; where time has a say (pictures that take too long), two runs may part.
    patience : float
        Seconds that a picture may take.
    """

    def __init__(
        self, decode: Decoder, files: Sequence[bytes], slow: Sequence[bytes], seed: int, patience: float
    ) -> None:
        self._trial = Trial(decode, patience)
        self._unread = [*files, *slow]
        self._pool, self._slow = list(files), list(slow)
        self._rng = random.Random(seed)
        self._rooms = {limit: room(limit) for limit in (LIMIT, USUAL_LIMIT)}
        self._grows = self._pool
        self._warm = (0, 0)
        self.report = Report(seed)
        self.shortest: dict[Outcome, bytes] = {}

    def run(self, ended: Callable[[Report], bool], tell: Callable[[Report], None] = lambda report: None) -> Report:
        """Try the files as they are, then mutations of them, until `ended`; `tell` hears of every execution."""
        began = time.monotonic()
        with self._trial:
            while not ended(self.report):
                self._step(self._next())
                self.report.seconds = time.monotonic() - began
                tell(self.report)
            self.report.starts = self._trial.child.starts
        return self.report

    def _next(self) -> Task:
        self._grows = self._slow if self._slow and self._rng.random() < 0.02 else self._pool
        if self._unread:
            return self._task(self._unread.pop(0), STILL, LIMIT, again=True)
        newest = self._rng.random() < 0.4
        data = mutated(self._rng.choice(self._grows[-_NEWEST:] if newest else self._grows), self._rng, self._pool)
        preparation = self._rng.choice((STILL, STILL, STILL, *_OTHER_PREPARATIONS))
        limit = LIMIT if self._rng.random() < 0.97 else USUAL_LIMIT
        return self._task(data, preparation, limit, again=self._rng.random() < 0.1)

    def _task(self, data: bytes, preparation: Preparation, limit: int, again: bool) -> Task:
        return Task(data, preparation, limit, self._rooms[limit], again)

    def _step(self, task: Task) -> None:
        seen = self._trial.of(task)
        self.report.executions += 1
        self._learn(task, seen)
        self._measure(task, seen)
        for fault in seen.faults:
            self._accuse(task, fault)

    def _learn(self, task: Task, seen: Observation) -> None:
        new = seen.outcome not in self.report.outcomes or not self.report.lines.issuperset(seen.lines)
        self.report.outcomes[seen.outcome] += 1
        self.report.lines.update(seen.lines)
        self.shortest[seen.outcome] = min(self.shortest.get(seen.outcome, task.data), task.data, key=len)
        if new and len(task.data) <= _LONGEST_KEPT and (seen.seconds <= _QUICK or self._grows is self._slow):
            self._grows.append(task.data)

    def _measure(self, task: Task, seen: Observation) -> None:
        about = f"{seen.outcome.kind}, {seen.outcome.result}, {len(task.data):,} bytes, limit {task.pixel_limit:,}"
        self.report.peak = max(self.report.peak, Extreme(seen.peak, task.data, about))
        self.report.slowest = max(self.report.slowest, Extreme(seen.seconds, task.data, about))
        self._measure_growth(seen)

    def _measure_growth(self, seen: Observation) -> None:
        """Hold what the process has now against what it had when it was warm."""
        pictures = self._trial.child.pictures
        if pictures == _WARM:
            self._warm = (self._trial.child.starts, seen.resident)
        elif self._warm[0] == self._trial.child.starts and pictures % _WARM == 0 and seen.resident:
            grown = Extreme(seen.resident - self._warm[1], b"", f"over {pictures:,} pictures")
            self.report.grown = max(self.report.grown, grown)

    def _accuse(self, task: Task, fault: str) -> None:
        kind = general(fault)
        self.report.faults[kind] += 1
        if self.report.faults[kind] == 1:
            until = time.monotonic() + _SECONDS_TO_SHORTEN
            data = smaller(task.data, lambda data: time.monotonic() < until and self._faulty(task, data, kind))
            about = f"{task.preparation}, limit {task.pixel_limit:,}"
            self.report.violations.append(Violation(fault, self.report.executions, about, data))

    def _faulty(self, task: Task, data: bytes, kind: str) -> bool:
        return kind in map(general, self._trial.of(replace(task, data=data)).faults)
