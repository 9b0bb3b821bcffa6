from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streaming.progress import MicroBatch
from streaming.recent import Recent
from streaming.wellbeing import Course, Facts, unwell

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AFTER, SHARE = 900.0, 0.2


def ago(minutes: float) -> datetime:
    """Give a moment before noon."""
    return NOON - timedelta(minutes=minutes)


def lately(
    *batches: tuple[float, int, int], backlogs: Sequence[int] = (), reason: str = "gone", every: float = 1.0
) -> Recent:
    """Give a past: micro-batches as minutes ago, pictures and rejections; backlogs some minutes apart until noon."""
    found = Recent()
    for minutes, pictures, rejected in batches:
        reasons = {reason: rejected} if rejected else {}
        found.took(MicroBatch(1, pictures, reasons, 2.0, 1.0, 2.0), ago(minutes))
    for number, backlog in enumerate(backlogs):
        found.stands(backlog, ago((len(backlogs) - 1 - number) * every))
    return found


def streaming(past: Recent, backlog: int = 0, since: float = 600, said: float = 0.1, **known: Any) -> Facts:
    """Give the facts of a stream that runs, since some minutes, and last said something some minutes ago."""
    course = Course("f", backlog=backlog, state=known.pop("state", "running"), recent=past, **known)
    return Facts(NOON, streamed=True, since=ago(since), reported_at=ago(said), courses=(course,))


def resting(past: Recent, backlog: int = 0, said: float = 60, **known: Any) -> Facts:
    """Give the facts of a lake that nobody streams, with a report of some minutes ago."""
    return Facts(NOON, reported_at=ago(said), courses=(Course("f", backlog=backlog, recent=past, **known),))


def why(facts: Facts) -> str:
    """Give the one reason why a stream is unwell; empty where it is well."""
    found = unwell(facts, AFTER, SHARE)
    assert len(found) <= 1, found
    return "".join(found)


def test_a_lake_of_which_nothing_is_known_is_well() -> None:
    """A new one, before its first stream."""
    assert why(Facts(NOON)) == ""


def test_a_stream_that_works_its_backlog_off_is_well() -> None:
    """However large that is."""
    assert why(streaming(lately((0.1, 500, 3), backlogs=range(90_000, 60_000, -500)), backlog=60_000)) == ""


def test_a_backlog_of_which_nothing_comes_is_unwell() -> None:
    """While a stream runs: no micro-batch has ended for so long."""
    stuck = streaming(lately((16, 500, 0), backlogs=[70] * 60), backlog=70, state="starting")
    assert why(stuck).startswith(
        "f: 70 outcomes are to come and no micro-batch has ended for 16 min; its query is start"
    )
    assert why(streaming(lately((14, 500, 0), backlogs=[70] * 60), backlog=70)) == ""


def test_a_stream_without_a_backlog_may_rest() -> None:
    """Nothing has landed for hours."""
    assert why(streaming(lately((500, 500, 0), backlogs=[0] * 60))) == ""


def test_what_has_just_landed_after_a_long_rest_is_no_backlog_that_stands_still() -> None:
    """The last micro-batch ended hours ago, but there was nothing to do until a minute ago."""
    assert why(streaming(lately((500, 500, 0), backlogs=[0] * 59 + [5]), backlog=5)) == ""
    assert "no micro-batch has ended for 20 min" in why(
        streaming(lately((500, 500, 0), backlogs=[0] * 40 + [5] * 20), backlog=5)
    )


def test_a_stream_that_has_just_started_has_its_time() -> None:
    """Whatever lay there before."""
    past = lately((3000, 500, 0))
    assert why(streaming(past, backlog=70, since=14)) == ""
    assert "for 16 min" in why(streaming(past, backlog=70, since=16))


def test_a_backlog_that_nobody_works_off_is_unwell() -> None:
    """Long after the last report; at once where the clock says so, never without a backlog."""
    past = lately((60, 500, 0))
    assert why(resting(past, backlog=70)).startswith("f: 70 outcomes are to come and nobody has streamed for 60 min")
    assert why(resting(past, backlog=70, said=14)) == ""
    assert why(resting(past)) == ""
    assert why(replace(resting(past, backlog=70), arrived_at=ago(14))) == ""


def test_without_a_report_the_last_outcome_tells() -> None:
    """Or nothing: then it is as long as is known."""
    facts = resting(Recent(), backlog=70, last_outcome_at=ago(20))
    assert "for 20 min" in why(replace(facts, reported_at=None))
    nothing = resting(Recent(), backlog=70)
    assert "for as long as is known" in why(replace(nothing, reported_at=None))


def test_a_driver_that_says_nothing_is_unwell() -> None:
    """It hangs, or was killed while its lease lies in an object store; with or without a backlog, said once."""
    for backlog in (0, 70):
        silent = streaming(lately((500, 500, 0)), backlog=backlog, said=16)
        assert why(silent).startswith("the driver that holds the lease of the stream has said nothing for 16 min")
    assert why(streaming(lately((500, 500, 0)), said=14)) == ""
    assert why(streaming(lately((500, 500, 0)), said=3000, since=1)) == ""


GROWING = list(range(1000, 16000, 1000))


def test_a_backlog_that_grows_all_the_time_is_unwell() -> None:
    """With where it came from and where it is, and the rate that is not enough."""
    growing = streaming(lately((0.1, 60, 0), backlogs=GROWING), backlog=16_000)
    assert why(growing).startswith(
        "f: the backlog has grown from 1,000 to 15,000 in 15 min, as more lands than is featurized (30 img/s)"
    )


@pytest.mark.parametrize(
    "backlogs",
    [
        pytest.param(list(reversed(GROWING)), id="shrinking"),
        pytest.param([5000] * 15, id="the same"),
        pytest.param([0] * 5 + list(range(90_000, 80_000, -1000)), id="a dump that is worked off"),
        pytest.param([9000] * 5 + [1000] * 5 + [5000] * 5, id="a dip"),
        pytest.param([0] * 13 + [50_000, 49_000], id="a dump just now"),
        pytest.param([0, 4000, 2000] * 5, id="bursts"),
        pytest.param([0] * 5 + [20] * 5 + [50] * 5, id="less than a micro-batch"),
        pytest.param(GROWING[-6:], id="too short a time"),
    ],
)
def test_a_backlog_that_does_not_grow_all_the_time_is_well(backlogs: list[int]) -> None:
    """Growth is seen in every third of the time, and by more than the next micro-batch takes."""
    assert why(streaming(lately((0.1, 60, 0), backlogs=backlogs), backlog=backlogs[-1])) == ""


def test_growth_of_long_ago_does_not_count() -> None:
    """A report of yesterday says nothing of now."""
    facts = streaming(lately((0.1, 60, 0), backlogs=GROWING), backlog=100)
    late = replace(facts, now=NOON + timedelta(minutes=20), reported_at=NOON + timedelta(minutes=20))
    late.courses[0].recent.took(MicroBatch(2, 60, {}, 2.0, 1.0, 2.0), late.now)
    assert why(late) == ""


def test_growth_over_a_time_longer_than_the_history_is_that_of_the_history() -> None:
    """The report remembers an hour."""
    facts = streaming(lately((0.1, 60, 0), backlogs=range(1000, 61_000, 1000)), backlog=60_000)
    (reason,) = unwell(facts, 86_400.0, SHARE)
    assert "in 55 min" in reason


def test_rejections_above_a_share_of_the_last_outcomes_are_unwell() -> None:
    """With the reason that most have; at the share itself they are not."""
    assert why(resting(lately((5, 50, 6), (4, 50, 15), reason="forbidden"))).startswith(
        "f: 21% of the last 100 outcomes are rejections, above all forbidden: `verger rejects list`"
    )
    assert why(resting(lately((5, 50, 5), (4, 50, 15)))) == ""


def test_a_few_outcomes_tell_no_share() -> None:
    """A bad picture alone is a bad picture."""
    assert why(resting(lately((5, 19, 19)))) == ""
    assert "100%" in why(resting(lately((5, 20, 20))))


def test_where_no_micro_batch_is_known_all_outcomes_count() -> None:
    """And only there: what was rejected long ago is no news."""
    bad = Course("f", outcomes=1000, rejected=300)
    assert why(Facts(NOON, courses=(bad,))).startswith("f: 30% of the last 1,000 outcomes are rejections: ")
    assert why(Facts(NOON, courses=(replace(bad, rejected=200),))) == ""
    assert why(Facts(NOON, courses=(replace(bad, recent=lately((5, 50, 0))),))) == ""


def test_a_query_that_waits_after_a_failure_is_unwell() -> None:
    """By what the driver says of it, as long as there is one."""
    state = "waiting after: StorageError: the landing does not answer"
    assert why(streaming(lately((0.1, 60, 0)), state=state)) == (
        f"f: its query is {state}; it goes on by itself once that is mended"
    )
    assert why(resting(lately((60, 60, 0)), state=state)) == ""
    for usual in ("starting", "running", "paused", "adopting", "stopped", ""):
        assert why(streaming(lately((0.1, 60, 0)), state=usual)) == ""


def test_a_query_that_ended_the_stream_is_unwell_until_the_next_run() -> None:
    """At once, and without a backlog."""
    failed = resting(lately((0.1, 60, 0)), said=0.1, state="failed")
    assert why(failed).startswith("f: its query failed and ended the stream")
    assert why(resting(lately((0.1, 60, 0)), said=0.1, state="stopped")) == ""
    assert why(streaming(lately((0.1, 60, 0)), state="failed")) == ""


def test_each_featurizer_has_reasons_of_its_own() -> None:
    """One that is well beside one that is not, and several reasons at once."""
    bad = Course("bad", backlog=5, recent=lately((60, 100, 90)))
    facts = Facts(NOON, reported_at=ago(60), courses=(Course("good", recent=lately((60, 100, 0))), bad))
    assert [each.partition(":")[0] for each in unwell(facts, AFTER, SHARE)] == ["bad", "bad"]
