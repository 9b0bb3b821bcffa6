import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Event
from typing import Any, cast

import pyarrow as pa
import pytest

from conf.errors import LeaseLost, StorageError, StreamError
from conf.rejections import Reason
from conf.retrying import Backoff
from streaming.adoption import Gap
from streaming.audit import Audit
from streaming.checkpoints import BrokenCheckpoint
from streaming.crew import Crew
from streaming.keeper import Keeper
from streaming.pipeline import Pipeline
from streaming.progress import METRICS, MicroBatch

LONG = 20.0


class Report:
    """A progress report of one micro-batch of three pictures."""

    def __init__(self, number: int) -> None:
        self.batchId, self.timestamp = number, datetime.fromtimestamp(number, UTC).isoformat()
        metrics = {"pictures": 3, "freshness": [1.0, 2.0], **{reason.value: 0 for reason in Reason}}
        self.json = json.dumps(
            {"batchId": number, "observedMetrics": {METRICS: metrics}, "durationMs": {"triggerExecution": 1000}}
        )


class Query:
    """A query that reports some micro-batches and then runs on, is drained, or fails."""

    def __init__(self, batches: int, end: str | None) -> None:
        self.recentProgress = [Report(number) for number in range(batches)]
        self.status = {"isTriggerActive": False}
        self._end = end
        self.stopped = False

    @property
    def lastProgress(self) -> Report | None:
        return self.recentProgress[-1] if self.recentProgress else None

    @property
    def isActive(self) -> bool:
        return self._end is None and not self.stopped

    def exception(self) -> str | None:
        return self._end or None

    def stop(self) -> None:
        self.stopped = True


class Orders:
    """A pipeline whose parts do as a test says, and which remembers what was asked of it."""

    def __init__(self, *queries: Query | Exception, faults: tuple[str, ...] = ()) -> None:
        self.featurizer = "net"
        self._queries, self._faults = list(queries), list(faults)
        self.calls: list[str] = []
        self.missing = 0
        self.behind: Gap | Exception | None = None
        # How many arrivals too many there are after each drained query, and none after that.
        self.more: list[int] = []
        self.compactions: list[int | Exception] = []
        self.compacts_at_rest = False

    def enter_pool(self) -> None:
        self.calls.append("pool")

    def fault(self) -> str:
        return self._faults.pop(0) if self._faults else ""

    def set_aside(self, why: str) -> None:
        self.calls.append(f"set aside: {why}")

    def gap(self) -> Gap:
        return Gap(7, pa.table({"uri": ["a"] * self.missing}), 0)

    def lacking(self) -> int:
        return self.more.pop(0) if self.more else 0

    def gap_behind(self) -> Gap | None:
        if isinstance(self.behind, Exception):
            raise self.behind
        return self.behind

    def fill(self, rows: pa.Table, took: Callable[[MicroBatch], None], stop: Callable[[], bool]) -> bool:
        self.calls.append(f"fill {rows.num_rows}")
        return not stop()

    def compact(self) -> int:
        self.calls.append("compact")
        done = self.compactions.pop(0)
        if isinstance(done, Exception):
            raise done
        return done

    def version_after(self, version: int) -> int:
        return version + 1

    def start(self, since: int | None) -> Query:
        self.calls.append(f"start since {since}")
        query = self._queries.pop(0)
        if isinstance(query, Exception):
            raise query
        return query


class Wall:
    """A time of day that a test sets, and which remembers what it was at each look."""

    def __init__(self) -> None:
        self.off = 0.0
        self.looks: list[float] = []

    def __call__(self) -> float:
        self.looks.append(self.off)
        return time.monotonic() + self.off


class NoWait(Backoff):
    """Waits that take no time."""

    def next(self) -> float:
        super().next()
        return 0.0


def keeper(orders: Orders, **given: Any) -> Keeper:
    """Return a keeper of `orders` that does not wait between its tries."""
    took = given.pop("took", lambda batch: None)
    pipeline = cast(Pipeline, orders)
    audit = Audit(pipeline, first_in=given.pop("audit_in", None), told=given.pop("audited", lambda: None))
    return Keeper(pipeline, took, backoff=NoWait(), audit=audit, **given)


def ended(kept: Keeper) -> Keeper:
    """Run a keeper to its end."""
    kept.start()
    kept._thread.join(LONG)
    assert not kept.alive
    return kept


@pytest.fixture
def running() -> Iterator[Callable[[Keeper], Keeper]]:
    """Return a function that starts a keeper, halted at the end of the test."""
    started: list[Keeper] = []

    def start(kept: Keeper) -> Keeper:
        started.append(kept)
        kept.start()
        return kept

    yield start
    for each in started:
        each.halt()
        each._thread.join(LONG)
        assert not each.alive


def eventually(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    waited = Event()
    for _ in range(int(LONG / 0.01)):
        if happened():
            return
        waited.wait(0.01)
    raise AssertionError("it did not happen")


def test_a_sound_checkpoint_is_gone_on_from_and_each_micro_batch_told_once() -> None:
    """Once drained it ends; nothing was set aside or filled."""
    told: list[MicroBatch] = []
    orders = Orders(Query(2, end=""))
    kept = ended(keeper(orders, took=told.append, once=True))
    assert kept.error is None
    assert [batch.number for batch in told] == [0, 1]
    assert orders.calls == ["pool", "start since None"]


def test_a_checkpoint_that_does_not_match_is_replaced_with_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """Set aside, the gap filled, a new query from the next version; the line says why and how many were missing."""
    orders = Orders(Query(1, end=""), faults=("it reads another lake's arrivals",))
    orders.missing = 5
    with caplog.at_level(logging.WARNING, "verger"):
        assert ended(keeper(orders, once=True)).error is None
    assert orders.calls == ["pool", "set aside: it reads another lake's arrivals", "fill 5", "start since 8"]
    (line,) = caplog.records
    assert (line.fields["why"], line.fields["missing"]) == ("it reads another lake's arrivals", 5)  # type: ignore[attr-defined]


def test_what_a_drained_query_leaves_without_an_outcome_is_made_before_the_end() -> None:
    """A drain on a schedule lives too briefly for the daily audit; where rows are as many as arrivals none is made."""
    orders = Orders(Query(1, end=""), Query(1, end=""))
    orders.more, orders.missing = [2], 2
    orders.behind = Gap(3, pa.table({"uri": ["a", "b"]}), 0)
    assert ended(keeper(orders, once=True)).error is None
    found = "the audit found 2 arrivals without an outcome"
    assert orders.calls == ["pool", "start since None", f"set aside: {found}", "fill 2", "start since 8"]


def test_a_drain_ends_where_counts_differ_and_nothing_is_missing() -> None:
    """Outcomes that stand twice are said, and no query mends them; nor does one mend what arrived after it."""
    for behind in (Gap(3, pa.table({"uri": pa.array([], pa.string())}), 1), None):
        orders = Orders(Query(1, end=""))
        orders.more, orders.behind = [1], behind
        assert ended(keeper(orders, once=True)).error is None
        assert orders.calls == ["pool", "start since None"]


def test_a_drain_makes_what_is_missing_once() -> None:
    """What is missing then can not be made so, and nobody pays for a third try."""
    orders = Orders(*(Query(1, end="") for _ in range(3)))
    orders.more, orders.missing = [2, 2, 2], 2
    orders.behind = Gap(3, pa.table({"uri": ["a", "b"]}), 0)
    failed = ended(keeper(orders, once=True)).error
    assert isinstance(failed, StreamError)
    assert str(failed).startswith("the audit found 2 arrivals without an outcome, though it was made before")
    assert orders.calls.count("fill 2") == 1


def test_a_drain_that_cannot_be_held_against_its_arrivals_is_tried_again_and_fails() -> None:
    """It must not end as if nothing was missing."""
    orders = Orders(*(Query(0, end="") for _ in range(9)))
    orders.more, orders.behind = [1] * 9, OSError(5, "Input/output error")
    kept = ended(keeper(orders, once=True))
    assert isinstance(kept.error, StreamError)
    assert "Input/output error" in str(kept.error)
    assert orders.calls.count("start since None") == 3


def test_a_failed_query_is_started_again_until_it_succeeds() -> None:
    """An outage is waited out for as long as it takes, where the stream is to go on."""
    outage = [Query(0, end="conf.errors.StorageError: the network is down") for _ in range(20)]
    orders = Orders(*outage, Query(1, end=None))
    told: list[MicroBatch] = []
    kept = keeper(orders, took=told.append)
    kept.start()
    eventually(lambda: bool(told))
    kept.halt()
    kept.join()
    assert kept.error is None
    assert orders.calls.count("start since None") == 21


@pytest.mark.parametrize("end", ["java.io.IOException: No space left on device", "x.DeniedError: forbidden"])
def test_what_cannot_heal_ends_the_run_with_the_reason(end: str) -> None:
    """At once, without another try."""
    orders = Orders(Query(0, end=end))
    kept = ended(keeper(orders))
    assert isinstance(kept.error, StreamError)
    assert end in str(kept.error)
    assert (orders.calls.count("start since None"), kept.state) == (1, "failed")


def test_with_no_reason_known_the_checkpoint_is_distrusted_and_then_the_run_ends() -> None:
    """After three failures the tables are asked instead of the checkpoint; after eight it is enough."""
    orders = Orders(*[Query(0, end="java.lang.IllegalStateException: batch 5 doesn't exist") for _ in range(9)])
    kept = ended(keeper(orders))
    assert isinstance(kept.error, StreamError)
    assert "failed 8 times" in str(kept.error)
    starts = [call for call in orders.calls if call.startswith("start")]
    assert starts == ["start since None"] * 3 + ["start since 8"] + ["start since None"] * 4


def test_progress_makes_the_count_of_tries_begin_anew() -> None:
    """A query that fails once a day is not given up on the ninth day."""
    orders = Orders(*[Query(1, end="unknown") for _ in range(20)], Query(0, end="No space left on device"))
    ended(keeper(orders))
    assert orders.calls.count("start since None") == 21


def test_drained_once_an_outage_ends_after_a_few_tries() -> None:
    """A scheduled job comes again by itself."""
    orders = Orders(*[StorageError("the network is down") for _ in range(9)])
    kept = ended(keeper(orders, once=True))
    assert isinstance(kept.error, StreamError)
    assert orders.calls.count("start since None") == 3


def test_a_pause_stops_the_query_and_a_new_one_goes_on_after_it(running: Callable[[Keeper], Keeper]) -> None:
    """At rest no query runs; afterwards the checkpoint is compared anew."""
    first, second = Query(1, end=None), Query(0, end=None)
    orders = Orders(first, second, faults=("", "the takedown set it aside"))
    kept = running(keeper(orders))
    eventually(lambda: kept.state == "running")
    with Crew([kept]).paused(lambda: None):
        assert kept.at_rest
        assert first.stopped
        assert kept.state == "paused"
    eventually(lambda: kept.state == "running")
    assert not second.stopped
    assert orders.calls[-1] == "start since 8"


def test_however_close_pauses_follow_one_another_each_query_comes_to_its_micro_batch(
    running: Callable[[Keeper], Keeper],
) -> None:
    """One that was started and has not yet looked for anything to do is let, before it rests."""
    queries = [Query(0, end=None) for _ in range(3)]
    kept = running(keeper(Orders(*queries)))
    crew = Crew([kept])
    for query in queries[:2]:
        eventually(lambda: kept.state == "running")
        waited: list[bool] = []

        def beat(query: Query = query, waited: list[bool] = waited) -> None:
            waited.append(query.stopped)
            if len(waited) == 5:
                query.recentProgress.append(Report(0))

        with crew.paused(beat):
            assert query.stopped
        assert len(waited) >= 5
        assert not any(waited[:5])
    eventually(lambda: kept.state == "running")
    assert not queries[2].stopped


def test_a_query_that_fails_does_not_put_a_pause_off(running: Callable[[Keeper], Keeper]) -> None:
    """It may fail for as long as an outage lasts."""
    kept = running(keeper(Orders(*(OSError("the store is silent") for _ in range(100)), Query(0, end=None))))
    with Crew([kept]).paused(lambda: None):
        assert kept.at_rest


def test_an_audit_that_finds_arrivals_without_outcome_has_them_adopted(
    running: Callable[[Keeper], Keeper], caplog: pytest.LogCaptureFixture
) -> None:
    """The query is stopped, the gap filled, and an error in the log says so."""
    audits: list[int] = []
    orders = Orders(Query(0, end=None), Query(0, end=None))
    orders.behind, orders.missing = Gap(3, pa.table({"uri": ["a", "b"]}), 0), 2
    running(keeper(orders, audit_in=0.0, audited=lambda: audits.append(1)))
    eventually(lambda: "start since 8" in orders.calls)
    assert audits == [1]
    assert "set aside: the audit found 2 arrivals without an outcome" in orders.calls
    assert [record.levelname for record in caplog.records if "audit" in record.message] == ["ERROR"]


def test_an_audit_that_finds_nothing_leaves_the_query_alone(running: Callable[[Keeper], Keeper]) -> None:
    """It says when it was, and comes again after its interval."""
    audits: list[int] = []
    query = Query(0, end=None)
    orders = Orders(query)
    orders.behind = Gap(3, pa.table({"uri": pa.array([], pa.string())}), 0)
    kept = running(keeper(orders, audit_in=0.0, audited=lambda: audits.append(1)))
    eventually(lambda: bool(audits))
    assert kept.state == "running"
    assert not query.stopped


def test_an_audit_that_cannot_read_the_tables_leaves_the_query_alone(
    running: Callable[[Keeper], Keeper], caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and tried again later."""
    query = Query(0, end=None)
    orders = Orders(query)
    orders.behind = OSError(5, "Input/output error")
    kept = running(keeper(orders, audit_in=0.0))
    eventually(lambda: any("the audit failed" in record.message for record in caplog.records))
    assert kept.state == "running"
    assert not query.stopped


@pytest.mark.parametrize("done", [120, 0, StorageError("the disk is away")])
def test_small_files_are_merged_beside_the_query(
    done: int | Exception, running: Callable[[Keeper], Keeper], caplog: pytest.LogCaptureFixture
) -> None:
    """After a number of micro-batches, once; a failure is told and leaves the query alone."""
    query = Query(25, end=None)
    orders = Orders(query)
    orders.compactions = [done]
    caplog.set_level("INFO")
    kept = running(keeper(orders))
    expected = {120: ["INFO"], 0: []}.get(done if isinstance(done, int) else -1, ["WARNING"])
    eventually(lambda: not orders.compactions)
    eventually(lambda: [each.levelname for each in caplog.records if "compaction" in each.message] == expected)
    query.recentProgress.append(Report(25))
    assert kept.state == "running"
    assert not query.stopped
    assert orders.calls.count("compact") == 1


def test_where_only_one_may_write_files_are_merged_between_two_queries(running: Callable[[Keeper], Keeper]) -> None:
    """The query has ended before, and another goes on after it, also where the run ends once all is drained."""
    first, second = Query(25, end=None), Query(0, end="")
    orders = Orders(first, second)
    orders.compactions, orders.compacts_at_rest = [120], True
    kept = running(keeper(orders, once=True))
    eventually(lambda: not kept.alive)
    assert first.stopped
    assert orders.calls == ["pool", "start since None", "compact", "start since None"]


def test_a_clock_that_is_set_back_starts_the_query_again(
    running: Callable[[Keeper], Keeper], caplog: pytest.LogCaptureFixture
) -> None:
    """Spark would wait for the time of day at which the next micro-batch was due."""
    first, second = Query(1, end=None), Query(0, end=None)
    orders, wall = Orders(first, second), Wall()
    running(keeper(orders, wall=wall))
    eventually(lambda: len(wall.looks) > 1)
    wall.off = -86400.0
    eventually(lambda: orders.calls.count("start since None") == 2)
    assert first.stopped
    assert not second.stopped
    assert "the clock was set back: the query is started again" in caplog.messages


def test_a_clock_that_went_ahead_and_back_starts_the_query_again(running: Callable[[Keeper], Keeper]) -> None:
    """It is where it was at the start, but the next micro-batch is due when it was ahead."""
    first, second = Query(1, end=None), Query(0, end=None)
    orders, wall = Orders(first, second), Wall()
    running(keeper(orders, wall=wall))
    eventually(lambda: len(wall.looks) > 1)
    wall.off = 86400.0
    eventually(lambda: 86400.0 in wall.looks)
    wall.off = 0.0
    eventually(lambda: orders.calls.count("start since None") == 2)
    assert first.stopped
    assert not second.stopped


def test_a_report_from_the_future_starts_the_query_again(running: Callable[[Keeper], Keeper]) -> None:
    """The clock went ahead and back between two looks; Spark has seen it."""
    first, second = Query(1, end=None), Query(0, end=None)
    orders = Orders(first, second)
    running(keeper(orders, wall=time.monotonic))
    eventually(lambda: "start since None" in orders.calls)
    first.recentProgress.append(Report(int(time.monotonic()) + 86400))
    eventually(lambda: orders.calls.count("start since None") == 2)
    assert first.stopped
    assert not second.stopped


def test_a_process_that_may_no_longer_write_starts_no_query() -> None:
    """What the check raises ends the keeper."""

    def check() -> None:
        raise LeaseLost("somebody else holds it")

    orders = Orders(Query(0, end=""))
    assert isinstance(ended(keeper(orders, check=check)).error, StreamError)
    assert orders.calls == ["pool"]


def test_a_checkpoint_that_breaks_under_a_running_query_is_replaced(running: Callable[[Keeper], Keeper]) -> None:
    """The audit reads it, too."""
    orders = Orders(Query(0, end=None), Query(0, end=None))
    orders.behind = BrokenCheckpoint("metadata is cut")
    running(keeper(orders, audit_in=0.0))
    eventually(lambda: "set aside: metadata is cut" in orders.calls)


def test_one_keeper_that_fails_ends_the_crew_and_its_error_is_raised() -> None:
    """The others let their micro-batch commit first."""
    well, ill = Query(0, end=None), Query(0, end="No space left on device")
    crew = Crew([keeper(Orders(well)), keeper(Orders(ill))])

    def work() -> None:
        with crew.working():
            eventually(lambda: not crew.at_work)

    with pytest.raises(StreamError, match="No space left"):
        work()
    assert well.stopped
