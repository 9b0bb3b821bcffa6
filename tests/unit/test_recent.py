import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streaming.progress import MicroBatch
from streaming.recent import Point, Recent, recent

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def batch(number: int = 1, pictures: int = 10, seconds: float = 2.0, p50: float = 1.0, p95: float = 2.0) -> MicroBatch:
    """Give a micro-batch."""
    return MicroBatch(number, pictures, {"gone": 1}, seconds, p50, p95)


def took(*batches: MicroBatch) -> Recent:
    """Give what is known after some micro-batches."""
    found = Recent()
    for number, each in enumerate(batches):
        found.took(each, NOON + timedelta(seconds=number))
    return found


def test_nothing_is_known_at_first() -> None:
    """Neither a rate nor a freshness: null in the report."""
    found = Recent()
    assert (found.rate, found.freshness_p50, found.freshness_p95) == (None, None, None)
    assert found.plain() == {"pictures_per_second": None, "micro_batches": [], "backlog_history": []}


def test_the_last_ten_micro_batches_are_remembered() -> None:
    """The oldest goes first, so that the report stays small."""
    found = took(*(batch(number) for number in range(14)))
    assert [each.batch.number for each in found.micro_batches] == list(range(4, 14))


def test_the_rate_is_pictures_by_the_seconds_of_their_micro_batches() -> None:
    """Large micro-batches count for more than small ones, and pauses for nothing."""
    assert took(batch(pictures=10, seconds=5.0), batch(pictures=290, seconds=10.0)).rate == 20.0
    assert took(batch(seconds=0.0)).rate is None


def test_freshness_is_that_of_the_pictures_not_of_the_micro_batches() -> None:
    """The median picture's own micro-batch tells the median; over the greatest 95th percentile nothing can be."""
    found = took(batch(pictures=1, p50=9.0, p95=9.5), batch(pictures=5, p50=2.0, p95=4.0), batch(pictures=3, p50=1.0))
    assert (found.freshness_p50, found.freshness_p95) == (2.0, 9.5)


def test_the_backlog_has_a_point_a_minute_for_an_hour() -> None:
    """However often it is told."""
    found = Recent()
    for second in range(0, 7200, 20):
        found.stands(second, NOON + timedelta(seconds=second))
    assert len(found.backlog) == 60
    assert found.backlog[-1] == Point(NOON + timedelta(seconds=7140), 7140)
    assert {later.at - sooner.at for sooner, later in zip(found.backlog, list(found.backlog)[1:], strict=False)} == {
        timedelta(minutes=1)
    }


def test_a_clock_that_is_set_back_takes_the_points_after_it_along() -> None:
    """Else nothing would be remembered until that time came again."""
    found = Recent()
    for minutes in (0, 60, 120, 1):
        found.stands(minutes, NOON + timedelta(minutes=minutes))
    assert [each.backlog for each in found.backlog] == [0, 1]


def test_a_report_gives_back_what_it_was_given() -> None:
    """In JSON, and of a size that does not matter."""
    found = took(*(batch(number, pictures=10_000 + number) for number in range(12)))
    for minute in range(90):
        found.stands(1_000_000 + minute, NOON + timedelta(minutes=minute))
    text = json.dumps(found.plain(), indent=2)
    assert recent(json.loads(text)) == found
    assert len(text) < 12_000


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda said: {key: value for key, value in said.items() if key != name}


@pytest.mark.parametrize(
    "damage",
    [
        lambda said: None,
        lambda said: [],
        lambda said: "text",
        _without("micro_batches"),
        _without("backlog_history"),
        lambda said: {**said, "micro_batches": [{}]},
        lambda said: {**said, "micro_batches": [{**said["micro_batches"][0], "at": "soon"}]},
        lambda said: {**said, "micro_batches": [{**said["micro_batches"][0], "rejections": []}]},
        lambda said: {**said, "backlog_history": [["2026-03-01T12:00:00+00:00"]]},
        lambda said: {**said, "backlog_history": [["2026-03-01T12:00:00+00:00", float("inf")]]},
        lambda said: {**said, "backlog_history": 5},
    ],
)
def test_a_damaged_report_or_an_older_ones_says_nothing(damage: Callable[[dict[str, Any]], Any]) -> None:
    """The run, and the status, begin with nothing known."""
    whole = took(batch())
    whole.stands(1, NOON)
    assert recent(whole.plain()) == whole
    assert recent(damage(whole.plain())) == Recent()
