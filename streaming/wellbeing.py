"""Whether a lake is well: what is known of the stream at a moment, held against what a healthy one shows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from streaming.recent import Recent
from streaming.totals import duration

# Of fewer outcomes a share says nothing.
_TELLING_OUTCOMES = 20
# The history goes back an hour: growth over more cannot be seen.
_LONGEST_GROWTH = timedelta(minutes=55)
# It has a point each minute or two: over less there is none in each third.
_SHORTEST_GROWTH = timedelta(minutes=6)


@dataclass(frozen=True)
class Course:
    """What is known of one featurizer.

    Attributes
    ----------
    featurizer : str
        Its id.
    backlog : int
        Arrivals without an outcome, as the tables have it now.
    outcomes, rejected : int
        Its outcomes, and how many of them are rejections.
    last_outcome_at : datetime or None
        When the newest was made.
    state : str
        What the driver last said that its query is doing; empty where it never said.
    recent : Recent
        What it has done of late.
    """

    featurizer: str
    backlog: int = 0
    outcomes: int = 0
    rejected: int = 0
    last_outcome_at: datetime | None = None
    state: str = ""
    recent: Recent = field(default_factory=Recent)

    @property
    def last_moved(self) -> datetime | None:
        """When it last made outcomes, or had none to make."""
        batches = [each.at for each in self.recent.micro_batches]
        idle = [each.at for each in self.recent.backlog if not each.backlog]
        return _latest(*batches, *idle, self.last_outcome_at)


@dataclass(frozen=True)
class Facts:
    """What is known of the stream.

    Attributes
    ----------
    now : datetime
        When the tables were looked at.
    streamed : bool
        Whether a driver holds the lease.
    since : datetime or None
        Since when it does, where that is known.
    reported_at : datetime or None
        When a driver last said how it stands.
    arrived_at : datetime or None
        When the newest picture was discovered.
    courses : tuple of Course
        Of the featurizers that were streamed last.
    """

    now: datetime
    streamed: bool = False
    since: datetime | None = None
    reported_at: datetime | None = None
    arrived_at: datetime | None = None
    courses: tuple[Course, ...] = ()

    def silence(self, *moments: datetime | None) -> float:
        """Return the seconds since the last of some moments; endless where none is known."""
        last = _latest(*moments)
        return (self.now - last).total_seconds() if last else float("inf")


def unwell(facts: Facts, after: float, rejected: float) -> tuple[str, ...]:
    """Return why the stream is not well, a sentence each that says what to do; nothing where it is.

    Parameters
    ----------
    facts
        What is known of it.
    after
        Seconds for which a backlog may stand still, or grow.
    rejected
        The share of the last outcomes up to which rejections are nothing unusual.
    """
    return tuple(_reasons(facts, after, rejected))


def _reasons(facts: Facts, after: float, rejected: float) -> Iterator[str]:
    silent = facts.streamed and facts.silence(facts.since, facts.reported_at) > after
    if silent:
        yield (
            f"the driver that holds the lease of the stream has said nothing for {_span(facts, facts.reported_at)}: "
            "it hangs or is gone; end its process and start `verger stream` again"
        )
    for course in facts.courses:
        found = [_failing(facts, course), *([] if silent else [_still(facts, course, after)])]
        found += [_growing(facts, course, after), _rejecting(course, rejected)]
        yield from (f"{course.featurizer}: {each}" for each in found if each)


def _failing(facts: Facts, course: Course) -> str:
    if facts.streamed and course.state.startswith("waiting"):
        return f"its query is {course.state}; it goes on by itself once that is mended"
    if not facts.streamed and course.state == "failed":
        return "its query failed and ended the stream; the log says why, and `verger stream` goes on where it was"
    return ""


def _still(facts: Facts, course: Course, after: float) -> str:
    """Return what stands still: a backlog that nobody works off, or of which nothing comes."""
    if not course.backlog:
        return ""
    moved = course.last_moved
    if not facts.streamed and facts.silence(moved, facts.reported_at, facts.arrived_at) > after:
        since = _span(facts, moved, facts.reported_at)
        return f"{course.backlog:,} outcomes are to come and nobody has streamed for {since}: start `verger stream`"
    if facts.streamed and facts.silence(moved, facts.since) > after:
        since = _span(facts, moved, facts.since)
        return (
            f"{course.backlog:,} outcomes are to come and no micro-batch has ended for {since}; its query is "
            f"{course.state or 'silent'}: the log of `verger stream` says what it waits for"
        )
    return ""


def _growing(facts: Facts, course: Course, after: float) -> str:
    """Return how a backlog grows: through all of the time, and by more than the next micro-batch takes."""
    span = min(max(timedelta(seconds=after), _SHORTEST_GROWTH), _LONGEST_GROWTH)
    begin = facts.now - span
    thirds = [_backlogs(course, begin + span * part / 3, begin + span * (part + 1) / 3) for part in range(3)]
    if not all(thirds):
        return ""
    (_, high), (low, higher), (lowest, _) = ((min(each), max(each)) for each in thirds)
    if not (high < low and higher < lowest and lowest > _most(course)):
        return ""
    return (
        f"the backlog has grown from {thirds[0][0]:,} to {thirds[-1][-1]:,} in {duration(span.total_seconds())}, as "
        f"more lands than is featurized ({course.recent.rate or 0:,.0f} img/s): give the stream more cores"
    )


def _backlogs(course: Course, begin: datetime, end: datetime) -> list[int]:
    return [each.backlog for each in course.recent.backlog if begin < each.at <= end]


def _most(course: Course) -> int:
    return max((each.batch.pictures for each in course.recent.micro_batches), default=0)


def _rejecting(course: Course, share: float) -> str:
    """Return how many rejections there are, of the last micro-batches or, where none is known, of all outcomes."""
    reasons = Counter[str]()
    for each in course.recent.micro_batches:
        reasons.update(each.batch.rejections)
    known = bool(course.recent.micro_batches)
    outcomes, rejected = (course.recent.pictures, reasons.total()) if known else (course.outcomes, course.rejected)
    if outcomes < _TELLING_OUTCOMES or rejected <= share * outcomes:
        return ""
    mostly = f", above all {reasons.most_common(1)[0][0]}" if known else ""
    return (
        f"{rejected / outcomes:.0%} of the last {outcomes:,} outcomes are rejections{mostly}: "
        "`verger rejects list` shows them, `verger rejects retry` tries again what can be mended"
    )


def _span(facts: Facts, *moments: datetime | None) -> str:
    seconds = facts.silence(*moments)
    return duration(seconds) if seconds < float("inf") else "as long as is known"


def _latest(*moments: datetime | None) -> datetime | None:
    return max((each for each in moments if each), default=None)
