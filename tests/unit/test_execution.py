import itertools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conf import lease
from conf.errors import LakeError, LeaseLost, StorageError
from conf.lake import LakePaths
from conf.lease import folder, objects, record
from conf.schemas import ARRIVALS, FEATURES
from streaming.arrivals import Arrivals
from streaming.commands import execution, inbox, requests
from streaming.commands.requests import Answer, Kind, Request
from streaming.commands.selection import Selection
from tests.unit.lakes import ONE, Orchard
from tests.unit.leased import Store


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Make a lake with one picture that has features and one that was rejected."""
    orchard = Orchard(tmp_path / "lake")
    orchard.featurize("file:///good.jpg")
    orchard.reject("gone", "file:///gone.jpg")
    return orchard


def execute(orchard: Orchard, request: Request, **others: Any) -> Answer:
    """Execute a request as a driver does."""
    arrivals = Arrivals(orchard.paths.table(ARRIVALS))
    upkeep = others.pop("upkeep", lambda: Answer("kept up"))
    return execution.execute(request, orchard.paths, arrivals, 100, 14, upkeep=upkeep, **others)


def here(orchard: Orchard) -> Callable[[Request], Answer]:
    """Give what a command executes requests with."""
    return lambda request: execute(orchard, request)


def carry_out(orchard: Orchard, request: Request, beat: Callable[[], None] = lambda: None) -> Answer | None:
    """Have a request carried out, within three looks; `beat` is what happens between them."""
    clock = iter(range(100))

    def sleep(seconds: float) -> None:
        beat()

    return execution.carry_out(request, orchard.paths, here(orchard), 2, sleep=sleep, monotonic=lambda: next(clock))


GOOD = Selection(("file:///good.jpg",))


def test_each_kind_is_executed(orchard: Orchard) -> None:
    """And answered with what it did."""
    assert execute(orchard, requests.retry()).facts["retried"] == 1
    assert execute(orchard, requests.forget(GOOD)).facts["pictures"] == 1
    assert execute(orchard, requests.recall(GOOD)).facts == {"recalled": 1}
    assert execute(orchard, requests.upkeep()) == Answer("kept up")
    assert execute(orchard, requests.drop("efficientnet")).facts["outcomes"] == 1
    assert "or the one that was meant has ended" in execute(orchard, requests.stop(orchard.paths)).sentence


def test_what_rewrites_the_tables_needs_a_pause() -> None:
    """A running query would bring rows back, collide, or have files that nobody else names yet."""
    pausing = {kind for kind in Kind if execution.needs_pause(Request(kind, "1", requests.upkeep().requested_at))}
    assert pausing == {Kind.FORGET, Kind.DROP, Kind.UPKEEP}


def test_a_wrong_request_is_answered_as_the_command_would_fail(orchard: Orchard) -> None:
    """With the message and the exit code; a driver goes on."""
    answer = execute(orchard, requests.drop("vgg"))
    assert (answer.exit_code, answer.facts) == (2, {})
    assert "no featurizer begins so" in answer.sentence
    streamed = execute(orchard, requests.drop(ONE), streamed=[ONE])
    assert (streamed.exit_code, "is being streamed" in streamed.sentence) == (2, True)
    orchard.paths.tombstones.mkdir()
    (orchard.paths.tombstones / "x.json").write_bytes(b"{")
    assert execute(orchard, requests.forget(GOOD)).exit_code == 1


@pytest.mark.parametrize("error", [StorageError("the disk is away"), OSError(5, "the disk is away")])
def test_the_worlds_fault_leaves_a_request_pending(error: Exception, orchard: Orchard) -> None:
    """It is no answer: later it works."""

    def fail() -> Answer:
        raise error

    with pytest.raises(StorageError, match="the disk is away"):
        execute(orchard, requests.upkeep(), upkeep=fail)


def test_a_request_that_breaks_the_program_is_answered(orchard: Orchard, caplog: pytest.LogCaptureFixture) -> None:
    """Pending for ever it would end each driver that tries; the log keeps the traceback."""
    caplog.set_level(logging.ERROR, "verger")

    def fail() -> Answer:
        raise KeyError("a bug")

    answer = execute(orchard, requests.upkeep(), upkeep=fail)
    assert answer == Answer("the request failed: KeyError: 'a bug'", exit_code=1)
    assert caplog.records[0].exc_info is not None


def test_without_a_driver_the_command_executes(orchard: Orchard) -> None:
    """Holding the lease meanwhile; nothing is left pending."""
    held: list[bool] = []

    def execute_here(request: Request) -> Answer:
        held.append(lease.holder(orchard.paths.lease("stream")) is not None)
        return Answer("done")

    answer = execution.carry_out(requests.upkeep(), orchard.paths, execute_here, 0)
    assert (answer, held) == (Answer("done"), [True])
    assert lease.holder(orchard.paths.lease("stream")) is None
    assert inbox.pending(orchard.paths.requests) == []


def test_what_others_left_is_executed_first(orchard: Orchard) -> None:
    """In the order in which it was asked: a recall after the takedown that it lifts."""
    takedown = requests.forget(GOOD)
    inbox.submit(orchard.paths.requests, takedown)
    answer = carry_out(orchard, requests.recall(GOOD))
    assert answer is not None
    assert answer.facts == {"recalled": 1}
    earlier = inbox.answer_of(orchard.paths.requests, takedown.id)
    assert earlier is not None
    assert earlier.facts["pictures"] == 1


def test_a_driver_that_runs_is_asked(orchard: Orchard) -> None:
    """Its answer comes back; the command touches no table."""
    versions = [orchard.version(table) for table in (ARRIVALS, FEATURES)]

    def drive() -> None:
        for request in inbox.pending(orchard.paths.requests):
            inbox.answer(orchard.paths.requests, request, Answer("by the driver", {"pictures": 1}))

    with lease.hold(orchard.paths.lease("stream")):
        assert carry_out(orchard, requests.forget(GOOD), drive) == Answer("by the driver", {"pictures": 1})
    assert [orchard.version(table) for table in (ARRIVALS, FEATURES)] == versions


def test_a_driver_that_is_busy_keeps_the_request(orchard: Orchard) -> None:
    """The command stops waiting; the request stays for the driver."""
    request = requests.forget(GOOD)
    with lease.hold(orchard.paths.lease("stream")):
        assert carry_out(orchard, request) is None
    assert inbox.pending(orchard.paths.requests) == [request]


def test_a_driver_that_ends_meanwhile_is_stepped_in_for(orchard: Orchard) -> None:
    """Without an answer from it the command executes the request itself."""
    driver = lease.hold(orchard.paths.lease("stream"))
    driver.__enter__()

    def end() -> None:
        if lease.holder(orchard.paths.lease("stream")) is not None:
            driver.__exit__(None, None, None)

    answer = carry_out(orchard, requests.forget(GOOD), end)
    assert answer is not None
    assert answer.facts["pictures"] == 1


def test_a_driver_that_is_quicker_to_the_lease_is_waited_for(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and taking somebody else may take it."""
    looks = iter([None])
    holder = folder.holder
    monkeypatch.setattr("conf.lease.folder.holder", lambda path: next(looks, holder(path)))
    with lease.hold(orchard.paths.lease("stream")):
        assert carry_out(orchard, requests.upkeep()) is None


def test_a_killed_drivers_lease_in_a_store_is_taken_once_it_has_run_out(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a lease is not released with its process: the command watches it while it waits for an answer."""
    place = Store()
    record.write(place, record.new("stream", seconds=0.05))
    monkeypatch.setattr(LakePaths, "lease", lambda paths, leg: place)
    looks = itertools.count()
    answer = execution.carry_out(
        requests.upkeep(),
        orchard.paths,
        here(orchard),
        math.inf,
        sleep=lambda seconds: None,
        monotonic=lambda: next(looks),
    )
    assert answer == Answer("kept up")
    assert next(looks) > 1
    assert lease.holder(place) is None


def test_a_live_drivers_lease_in_a_store_is_left_to_it(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is renewed between any two looks."""
    place = Store()
    monkeypatch.setattr(LakePaths, "lease", lambda paths, leg: place)
    with objects.hold(place) as driver:
        assert carry_out(orchard, requests.upkeep(), driver.renew) is None


def test_a_command_that_was_replaced_executes_no_more(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been stopped for a while between two requests: it looks at its lease before each."""
    place = Store()
    monkeypatch.setattr(LakePaths, "lease", lambda paths, leg: place)
    inbox.submit(orchard.paths.requests, requests.upkeep())
    executed: list[Request] = []

    def execute_and_sleep(request: Request) -> Answer:
        executed.append(request)
        # Somebody has broken the lease, and the thread that would notice is as stopped as the rest.
        place.content = None
        monkeypatch.setattr("conf.lease.objects.ObjectLease.sure", False)
        return Answer("done")

    with pytest.raises(LeaseLost, match="was deleted"):
        execution.carry_out(requests.upkeep(), orchard.paths, execute_and_sleep, 0)
    assert len(executed) == 1


def test_a_lease_that_cannot_be_taken_is_told(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds it, and still it cannot be had: that is no reason to wait."""

    def hold(path: Path, watch: lease.Watch) -> None:
        raise LakeError("the lake cannot be written")

    monkeypatch.setattr("conf.lease.hold", hold)
    with pytest.raises(LakeError, match="the lake cannot be written"):
        carry_out(orchard, requests.upkeep())


def test_a_request_that_cannot_be_executed_now_stays(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command fails and says why; the next driver or command completes it."""
    request = requests.forget(GOOD)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("deltalake.DeltaTable.delete", full)
        with pytest.raises(StorageError, match="No space left on device"):
            carry_out(orchard, request)
    assert inbox.pending(orchard.paths.requests) == [request]
    assert carry_out(orchard, requests.upkeep()) == Answer("kept up")
    assert orchard.uris(FEATURES) == ["file:///gone.jpg"]
    completed = inbox.answer_of(orchard.paths.requests, request.id)
    assert completed is not None
    assert completed.facts["pictures"] == 1


def test_anothers_failing_request_does_not_stand_in_the_way(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits on, and the command's own is executed."""
    takedown = requests.forget(GOOD)
    inbox.submit(orchard.paths.requests, takedown)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deltalake.DeltaTable.delete", full)
    assert carry_out(orchard, requests.upkeep()) == Answer("kept up")
    assert inbox.pending(orchard.paths.requests) == [takedown]


def test_an_unreadable_request_of_ones_own_is_answered(orchard: Orchard) -> None:
    """A command never waits in vain for what nobody can read."""
    request = requests.upkeep()
    inbox.submit(orchard.paths.requests, request)
    (orchard.paths.requests / f"{request.id}.json").write_bytes(b"{")
    carry_out(orchard, requests.upkeep())
    answer = inbox.answer_of(orchard.paths.requests, request.id)
    assert answer is not None
    assert answer.exit_code == 1
