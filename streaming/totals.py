"""Where a run of the streaming leg stands, and the file in which it says so to `verger status`."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conf.files import write_atomically
from conf.logs import fields, logger
from streaming.progress import MicroBatch, described


@dataclass
class Totals:
    """Where a run stands; handed to the `report` of `run` whenever it changed.

    Attributes
    ----------
    landed : int
        Arrivals since the lake began.
    featurized : int
        Pictures that this run gave features.
    rejections : Counter of str
        Pictures that this run rejected, by reason.
    backlog : int
        Arrivals without an outcome of this featurizer.
    waiting : int
        Files that may still be growing.
    passed_over : Counter of str
        Files of the landing that do not count, by why.
    last : MicroBatch or None
        The latest micro-batch.
    """

    landed: int = 0
    featurized: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    backlog: int = 0
    waiting: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    last: MicroBatch | None = None

    @property
    def rejected(self) -> int:
        """Pictures that this run rejected."""
        return self.rejections.total()


class ReportFile:
    """Writes the totals under the lake, at most once in `every` seconds.

    Parameters
    ----------
    path
        The file.
    about
        What does not change during the run.
    every
        Seconds.
    monotonic
        The clock, in seconds.
    """

    def __init__(
        self, path: Path, about: Mapping[str, str], every: float = 2.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._about = dict(about)
        self._every = every
        self._monotonic = monotonic
        self._due = monotonic()

    def write(self, totals: Totals, *, now: bool = False) -> None:
        """Write the totals if it is time, or `now` in any case."""
        if now or self._monotonic() >= self._due:
            self._due = self._monotonic() + self._every
            try:
                write_atomically(self._path, json.dumps({**self._about, **_plain(totals)}, indent=2).encode())
            except OSError as error:
                # The pictures matter, not what is said about them.
                logger().warning("the report cannot be written", extra=fields(error=str(error)))


def last_rate(path: Path, featurizer: str, at_least: int) -> float:
    """Return the pictures per second of the micro-batch that a report ends with, or 0 where it tells none.

    Parameters
    ----------
    path
        The report of an earlier run.
    featurizer
        The rate of another one does not count.
    at_least
        Nor does that of a micro-batch of fewer pictures, which is mostly its commit.
    """
    try:
        report = json.loads(path.read_text("utf-8"))
        last = report["last_micro_batch"]
        telling = report["featurizer"] == featurizer and last["pictures"] >= at_least
        return float(last["pictures_per_second"]) if telling else 0.0
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _plain(totals: Totals) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "landed": totals.landed,
        "backlog": totals.backlog,
        "waiting": totals.waiting,
        "passed_over": dict(totals.passed_over),
        "last_micro_batch": described(totals.last) if totals.last else None,
    }
