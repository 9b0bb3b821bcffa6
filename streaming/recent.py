"""What a featurizer has done of late: its last micro-batches, and how its backlog went. Kept from run to run."""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from streaming.progress import MicroBatch, described

_MICRO_BATCHES = 10
# An hour of the backlog, a point a minute.
_POINTS = 60
_BETWEEN_POINTS = timedelta(minutes=1)


@dataclass(frozen=True)
class Ended:
    """A micro-batch and when it ended."""

    at: datetime
    batch: MicroBatch


@dataclass(frozen=True)
class Point:
    """A backlog and when it was so."""

    at: datetime
    backlog: int


@dataclass
class Recent:
    """What one featurizer has done of late.

    Attributes
    ----------
    micro_batches : deque of Ended
        The last ones, oldest first.
    backlog : deque of Point
        Of the last hour that was streamed, a point a minute, oldest first.
    """

    micro_batches: deque[Ended] = field(default_factory=lambda: deque(maxlen=_MICRO_BATCHES))
    backlog: deque[Point] = field(default_factory=lambda: deque(maxlen=_POINTS))

    def took(self, batch: MicroBatch, at: datetime) -> None:
        """Remember a micro-batch that has ended."""
        self.micro_batches.append(Ended(at, batch))

    def stands(self, backlog: int, at: datetime) -> None:
        """Remember a backlog, unless one is known of the minute before."""
        while self.backlog and self.backlog[-1].at > at:
            # The clock was set back.
            self.backlog.pop()
        if not self.backlog or at - self.backlog[-1].at >= _BETWEEN_POINTS:
            self.backlog.append(Point(at, backlog))

    @property
    def pictures(self) -> int:
        """Pictures of the last micro-batches."""
        return sum(each.batch.pictures for each in self.micro_batches)

    @property
    def rate(self) -> float | None:
        """Pictures per second of the last micro-batches, the pauses between them left out; None where none is known."""
        seconds = sum(each.batch.seconds for each in self.micro_batches)
        return self.pictures / seconds if seconds else None

    @property
    def freshness_p50(self) -> float | None:
        """Median freshness: of the last micro-batches' medians that of the picture in the middle; None where none."""
        passed, half = 0, self.pictures / 2
        for batch in sorted((each.batch for each in self.micro_batches), key=lambda each: each.freshness_p50):
            passed += batch.pictures
            if passed >= half:
                return batch.freshness_p50
        return None

    @property
    def freshness_p95(self) -> float | None:
        """The greatest 95th percentile of the last micro-batches, over which that of all of them cannot be."""
        return max((each.batch.freshness_p95 for each in self.micro_batches), default=None)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, for the report."""
        return {
            "pictures_per_second": self.rate and round(self.rate, 1),
            "micro_batches": [{"at": _spelled(each.at), **described(each.batch)} for each in self.micro_batches],
            "backlog_history": [[_spelled(each.at), each.backlog] for each in self.backlog],
        }


def recent(said: Any) -> Recent:
    """Return what a report says of one featurizer's past; nothing where it is damaged, or an older Verger's."""
    found = Recent()
    try:
        for each in said["micro_batches"]:
            found.took(_batch(each), _moment(each["at"]))
        for at, backlog in said["backlog_history"]:
            found.backlog.append(Point(_moment(at), int(backlog)))
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError):
        return Recent()
    return found


def _batch(said: Any) -> MicroBatch:
    return MicroBatch(
        number=int(said["batch"]),
        pictures=int(said["pictures"]),
        rejections={str(reason): int(count) for reason, count in said["rejections"].items()},
        seconds=float(said["seconds"]),
        freshness_p50=float(said["freshness_p50"]),
        freshness_p95=float(said["freshness_p95"]),
    )


def _spelled(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
