"""Where a run of the streaming leg stands, and the file in which it says so to `verger status`."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from conf.files import write_atomically
from conf.logs import fields, logger
from conf.uris import Place
from streaming.progress import MicroBatch, described
from streaming.recent import Recent, recent


@dataclass
class Standing:
    """Where one featurizer stands.

    Attributes
    ----------
    outcomes : int
        Its rows of `features`.
    rate : float
        Pictures per second: measured, or what its compilation predicts.
    last : MicroBatch or None
        Its latest micro-batch.
    state : str
        What its query is doing, in a word or two.
    audited_at : str
        When arrivals were last held against its outcomes; empty for never.
    recent : Recent
        What it has done of late, in this run and before.
    """

    outcomes: int = 0
    rate: float = 0.0
    last: MicroBatch | None = None
    state: str = "starting"
    audited_at: str = ""
    recent: Recent = field(default_factory=Recent)


@dataclass
class Totals:
    """Where a run stands; handed to the `report` of `run` whenever it changed.

    Attributes
    ----------
    landed : int
        Arrivals in the lake: versions of pictures, and attempts at them.
    featurized : int
        Pictures that this run gave features, counted for each featurizer.
    rejections : Counter of str
        Pictures that this run rejected, by reason, counted for each featurizer.
    waiting : int
        Files that may still be growing.
    passed_over : Counter of str
        Files of the landing that do not count, by why.
    batches : int
        Micro-batches of this run.
    last : MicroBatch or None
        The latest micro-batch, whichever featurizer's.
    featurizers : dict of str to Standing
        By id.
    upkeep_at : str
        When the last upkeep was; empty for never.
    """

    landed: int = 0
    featurized: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    last: MicroBatch | None = None
    featurizers: dict[str, Standing] = field(default_factory=dict)
    upkeep_at: str = ""

    @property
    def rejected(self) -> int:
        """Pictures that this run rejected."""
        return self.rejections.total()

    @property
    def backlog(self) -> int:
        """Outcomes that are still to come, of all featurizers."""
        return sum(map(self.backlog_of, self.featurizers))

    @property
    def seconds_left(self) -> float:
        """How long the backlog takes at the measured rates; the slowest featurizer's."""
        rated = {name: each.rate for name, each in self.featurizers.items() if each.rate}
        return max((self.backlog_of(name) / rate for name, rate in rated.items()), default=0.0)

    def backlog_of(self, featurizer: str) -> int:
        """Arrivals without an outcome of one featurizer."""
        return max(0, self.landed - self.featurizers[featurizer].outcomes)

    def add(self, featurizer: str, batch: MicroBatch, telling: int, at: datetime | None = None) -> None:
        """Count a micro-batch that has ended, at a moment or now.

        One of fewer pictures than `telling` is mostly its commit and tells no rate.
        """
        standing = self.featurizers[featurizer]
        standing.outcomes += batch.pictures
        standing.last = self.last = batch
        standing.recent.took(batch, at or datetime.now(UTC))
        if batch.pictures >= telling:
            standing.rate = batch.rate
        self.batches += 1
        self.featurized += batch.pictures - batch.rejected
        self.rejections.update(batch.rejections)

    def remember(self, at: datetime) -> None:
        """Remember how large each backlog is at a moment."""
        for name, standing in self.featurizers.items():
            standing.recent.stands(self.backlog_of(name), at)


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
        self, path: Place, about: Mapping[str, str], every: float = 2.0, monotonic: Callable[[], float] = time.monotonic
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


@dataclass(frozen=True)
class Former:
    """What the report of an earlier run says.

    Attributes
    ----------
    rates : mapping of str to float
        Pictures per second of each featurizer's last micro-batch, where that tells.
    audits : mapping of str to str
        When each featurizer was last audited.
    upkeep_at : str
        When the last upkeep was; empty for never.
    recent : mapping of str to Recent
        What each featurizer had done of late.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    audits: Mapping[str, str] = field(default_factory=dict)
    upkeep_at: str = ""
    recent: Mapping[str, Recent] = field(default_factory=dict)


def former(path: Place, telling: int) -> Former:
    """Return what an earlier run's report at `path` says; nothing where there is none, or an older Verger's.

    The rate of a micro-batch of fewer pictures than `telling` does not count: it is mostly its commit.
    """
    try:
        said = json.loads(path.read_text("utf-8"))
        each = said["featurizers"].items()
        last = {name: one["last_micro_batch"] or {"pictures": 0} for name, one in each}
        return Former(
            rates={
                name: float(batch["pictures_per_second"])
                for name, batch in last.items()
                if batch["pictures"] >= telling
            },
            audits={name: datetime.fromisoformat(one["audited_at"]).isoformat() for name, one in each},
            recent={name: recent(one) for name, one in each},
            upkeep_at=datetime.fromisoformat(said["upkeep_at"]).isoformat() if said["upkeep_at"] else "",
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Former()


def duration(seconds: float) -> str:
    """Return a duration as a person says it: `4.2 s`, `7 min`, `3.1 h`, `12 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.1f} s"


def _plain(totals: Totals) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "upkeep_at": totals.upkeep_at,
        "landed": totals.landed,
        "backlog": totals.backlog,
        "seconds_left": round(totals.seconds_left),
        "waiting": totals.waiting,
        "passed_over": dict(totals.passed_over),
        "featurizers": {
            name: {
                "state": each.state,
                "backlog": totals.backlog_of(name),
                "audited_at": each.audited_at,
                "last_micro_batch": described(each.last) if each.last else None,
                **each.recent.plain(),
            }
            for name, each in totals.featurizers.items()
        },
    }
