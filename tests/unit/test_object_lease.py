import contextlib
import json
import logging
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conf.errors import LakeError, LeaseLost, LeaseUnsure, StorageError
from conf.lease import holder, record
from conf.lease.objects import ObjectLease, attempt, hold
from tests.unit.leased import Clock, Store, answer_lost, effect_unknown, slow, unanswered, watch


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


def taken(store: Store, clock: Clock, lost: list[str] | None = None) -> ObjectLease:
    """Take the lease without a thread that renews it."""
    lease = attempt(store, watch(store, clock), 60, lambda: (lost if lost is not None else []).append("lost"), clock)
    assert lease is not None
    return lease


@contextmanager
def held(store: Store, clock: Clock, beat: Callable[[], None] = lambda: None, **more: Any) -> Iterator[ObjectLease]:
    """Hold the lease as another process would; `beat` is what happens at each wait."""

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        beat()

    with hold(store, clock=clock, sleep=sleep, **more) as lease:
        yield lease


def taken_over(store: Store, clock: Clock) -> ObjectLease:
    """Watch the lease until it has run out, and take it."""
    watching = watch(store, clock)
    assert not watching.free()
    clock.sleep(60)
    lease = attempt(store, watching, 60, lambda: None, clock)
    assert lease is not None
    return lease


def test_the_holder_is_known_while_it_holds(store: Store, clock: Clock) -> None:
    """Process, host, since when, when it was last renewed and how long that holds; before and after nobody holds it."""
    assert holder(store) is None
    with held(store, clock):
        found = holder(store)
        assert found is not None
        assert set(found) == {"pid", "host", "since", "renewed", "seconds"}
        assert json.loads(store.content or b"")["leg"] == "stream"
    assert holder(store) is None
    assert store.content is not None


def test_a_second_one_is_refused_at_the_first_sign_of_life(store: Store, clock: Clock) -> None:
    """The message says who holds it, since when, when it was last renewed, and how to break it."""
    first = taken(store, clock)
    found = holder(store)
    assert found is not None
    who = f"process {found['pid']} on {found['host']} since {found['since']}"
    said: list[str] = []
    refusal = (
        f"another process writes this lake as its `verger stream`: {who}, last renewed {found['renewed']}; let a "
        "command end, or end that process; if it is gone for good, the lease frees itself 60 s after its last renewal, "
        f"or delete {store}"
    )
    with pytest.raises(LakeError, match=re.escape(refusal)), held(store, clock, first.renew, say=said.append):
        pytest.fail("held twice")
    assert clock.now < 1060
    assert said == [f"{store} is held by {who}; waiting up to 60 s to see whether it still lives"]
    first.check()


def test_what_has_run_out_is_taken_over(store: Store, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Unchanged for its own seconds on the watcher's clock; the log names the former holder."""
    caplog.set_level(logging.WARNING, "verger")
    taken(store, clock)
    former = record.read(store)
    assert former is not None
    with held(store, clock, seconds=6) as lease:
        assert 1060 <= clock.now < 1061
        lease.check()
    assert caplog.messages == ["the lease had run out and is taken over"]
    assert vars(caplog.records[0])["fields"]["former"] == str(former.record)


def test_what_is_released_is_taken_at_once(store: Store, clock: Clock) -> None:
    """Also where that happens while somebody waits."""
    first = taken(store, clock)
    with held(store, clock, first.release) as lease:
        assert clock.now == 1002
        lease.check()
    with held(store, clock):
        assert clock.now == 1002


def test_it_is_released_where_the_block_fails(store: Store, clock: Clock) -> None:
    """The error passes through."""
    with pytest.raises(ZeroDivisionError), held(store, clock):
        raise ZeroDivisionError
    assert holder(store) is None


def test_of_two_that_see_a_free_lease_one_gets_it(store: Store, clock: Clock) -> None:
    """Whoever comes second puts over a version that is no more, and sees so."""
    rivals: list[ObjectLease] = []

    def quicker(call: Callable[[], Any]) -> Any:
        rivals.append(taken(store, clock))
        return call()

    store.faults = [lambda call: call(), quicker]
    with pytest.raises(LakeError, match="another process writes this lake"), held(store, clock):
        pytest.fail("held twice")
    rivals[0].check()


def test_of_two_that_wait_for_a_dead_ones_lease_one_gets_it(store: Store, clock: Clock) -> None:
    """The other takes the new holder's put for the sign of life that it is."""
    taken(store, clock)
    other = watch(store, clock)
    assert not other.free()
    taken_over(store, clock)
    assert attempt(store, other, 60, lambda: None, clock) is None
    assert other.moved


def test_the_holder_is_sure_for_two_thirds_of_the_time_since_a_renewal_began(store: Store, clock: Clock) -> None:
    """Counted from before the put, as nobody knows when it took effect; others wait for the whole time."""
    lease = taken(store, clock)
    store.faults = [slow(clock, before=30)]
    lease.renew()
    clock.sleep(9)
    assert lease.sure
    clock.sleep(1)
    assert not lease.sure


def test_a_check_renews_where_only_the_thread_was_late(store: Store, clock: Clock) -> None:
    """A process that was stopped, and that nobody has replaced, goes on."""
    lease = taken(store, clock)
    clock.sleep(10_000)
    lease.check()
    assert lease.sure


def test_a_check_refuses_while_the_store_does_not_answer(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else may have it by then; once a renewal succeeds it is held again."""
    caplog.set_level(logging.WARNING, "verger")
    lease = taken(store, clock)
    clock.sleep(50)
    store.faults = [unanswered]
    with pytest.raises(LeaseUnsure, match=r"may be another's by now: the lease s3://.* does not answer"):
        lease.check()
    assert caplog.messages == ["the lease was not renewed and will be"]
    lease.check()


def test_a_renewal_that_takes_too_long_is_none(store: Store, clock: Clock) -> None:
    """By the time of its answer the lease may have been taken over."""
    lease = taken(store, clock)
    clock.sleep(50)
    store.faults = [slow(clock, after=50)]
    with pytest.raises(LeaseUnsure, match="the last renewal began 50 s ago"):
        lease.check()


def test_a_zombie_stops_itself(store: Store, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """It wakes after somebody took over: its renewal is refused, and its checks and its workers' say who holds it."""
    caplog.set_level(logging.ERROR, "verger")
    lost: list[str] = []
    zombie = taken(store, clock, lost)
    zombie.fence.check()
    successor = taken_over(store, clock)
    for check in (zombie.check, zombie.fence.check):
        with pytest.raises(
            LeaseLost, match=r"no longer writes this lake as its `verger stream`: .* is held by process"
        ):
            check()
    assert (lost, caplog.messages) == (["lost"], ["the lease is lost"])
    zombie.release()
    successor.check()
    successor.fence.check()


def test_a_zombies_block_ends_with_the_loss(store: Store, clock: Clock) -> None:
    """Whoever ran it must not report a success."""

    def block() -> None:
        with held(store, clock) as zombie:
            taken_over(store, clock)
            zombie.renew()

    with pytest.raises(LeaseLost, match="is held by process"):
        block()


def test_a_deleted_lease_is_lost(store: Store, clock: Clock) -> None:
    """Deleting it is how a person breaks it: the holder, if it lives after all, stops; another may take it at once."""
    lease = taken(store, clock)
    store.content = None
    lease.renew()
    for check in (lease.check, lease.fence.check):
        with pytest.raises(LeaseLost, match=r"leases/stream was deleted"):
            check()
    taken(store, clock)


def test_a_fence_holds_until_the_release(store: Store, clock: Clock) -> None:
    """A task that outlives its driver writes no more; the fence travels to it."""
    lease = taken(store, clock)
    fence = pickle.loads(pickle.dumps(lease.fence))
    assert fence.token == lease.fence.token
    lease.fence.check()
    lease.release()
    with pytest.raises(LeaseLost, match="was released by process"):
        lease.fence.check()


def test_a_fence_tells_the_worlds_fault_from_a_loss(store: Store, clock: Clock) -> None:
    """The task is tried again."""
    lease = taken(store, clock)
    store.faults = [unanswered]
    with pytest.raises(StorageError, match="does not answer"):
        lease.fence.check()


@pytest.mark.parametrize("later", [False, True])
def test_a_lost_answer_is_no_loss(later: bool, store: Store, clock: Clock) -> None:
    """Neither for the put itself, refused when it is repeated, nor for one that took effect after all."""
    lease = taken(store, clock)
    store.faults = [effect_unknown if later else answer_lost]
    clock.sleep(30)
    with contextlib.suppress(StorageError):
        lease.renew()
    clock.sleep(15)
    lease.check()
    lease.fence.check()


def test_an_older_renewal_that_took_effect_late_does_not_count_as_this_one(store: Store, clock: Clock) -> None:
    """Others have counted from it: only a put of its own renews the lease."""
    lease = taken(store, clock)
    before = record.read(store)
    assert before is not None
    store.content = before.record.renew().to_bytes()
    lease.renew()
    after = record.read(store)
    assert after is not None
    assert after.record.renewals > before.record.renewals
    lease.fence.check()


def test_no_record_comes_twice(store: Store, clock: Clock) -> None:
    """A put without an answer may take effect at any time, and must not be taken for a later one."""
    lease = taken(store, clock)
    store.faults = [unanswered]
    with contextlib.suppress(StorageError):
        lease.renew()
    lease.renew()
    found = record.read(store)
    assert found is not None
    assert found.record.renewals == 2


def test_a_lost_answer_to_the_first_put_is_no_refusal(store: Store, clock: Clock) -> None:
    """Ones own token tells."""
    store.faults = [lambda call: call(), answer_lost]
    with held(store, clock) as lease:
        assert clock.now == 1000
        lease.check()


def test_a_release_that_fails_is_left_to_run_out(store: Store, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """What the block did stands; the log says so."""
    caplog.set_level(logging.WARNING, "verger")
    with held(store, clock):
        store.faults = [unanswered]
    assert caplog.messages == ["the lease is left to run out"]
    assert holder(store) is not None


def test_a_renewal_after_the_release_does_nothing(store: Store, clock: Clock) -> None:
    """The thread may be just about to: it would take back what was let go."""
    lease = taken(store, clock)
    lease.release()
    lease.renew()
    assert holder(store) is None


def test_a_denied_lease_says_what_is_missing(store: Store, clock: Clock) -> None:
    """Without the right to list, S3 denies what is absent."""

    def denied(call: Callable[[], Any]) -> None:
        raise PermissionError(f"{store}: access is denied: AccessDenied")

    store.faults = [denied]
    with (
        pytest.raises(StorageError, match=r"s3:GetObject and s3:PutObject on it, and s3:ListBucket"),
        held(store, clock),
    ):
        pytest.fail("held")


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b'{"seconds": "long", "pid": null}', b'{"seconds": -1}'])
def test_an_object_that_says_nothing_of_use_is_held_until_it_runs_out(
    content: bytes, store: Store, clock: Clock
) -> None:
    """By a process unknown, for the usual time."""
    store.content = content
    assert holder(store) is not None
    with held(store, clock):
        assert clock.now >= 1060


def test_the_thread_renews_until_the_release(store: Store) -> None:
    """Without anybody checking; it ends with the block."""
    with hold(store, seconds=0.06) as lease:
        versions = {store.read_version()[1]}
        while len(versions) < 3:
            versions.add(store.read_version()[1])
        lease.check()
    released = store.content
    for thread in threading.enumerate():
        if thread.name == "lease stream":
            thread.join()
    assert store.content == released
    assert holder(store) is None
