import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from conf.errors import LeaseLost, StorageError
from conf.lease.objects import ObjectLease, attempt
from tests.unit.leased import Clock, Store, effect_unknown, slow, unanswered, watch


class Rivals(RuleBasedStateMachine):
    """Three processes that stop and wake, on one store that loses answers and takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.store = Clock(), Store()
        self.watches = [watch(self.store, self.clock) for _ in range(3)]
        self.leases: list[ObjectLease | None] = [None] * 3

    @rule(seconds=st.sampled_from([1, 10, 25, 45, 70]))
    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @rule(one=st.integers(0, 2), fault=st.sampled_from(["", "", "before", "after", "lost", "unanswered"]))
    def step(self, one: int, fault: str) -> None:
        lease = self.leases[one]
        self.store.faults = [self._fault(fault)] if lease else [lambda call: call(), self._fault(fault)]
        with contextlib.suppress(StorageError):
            if lease:
                lease.renew()
            else:
                self.leases[one] = attempt(self.store, self.watches[one], 60, lambda: None, self.clock)
        self.store.faults = []

    @rule(one=st.integers(0, 2))
    def check(self, one: int) -> None:
        lease = self.leases[one]
        if lease:
            with contextlib.suppress(LeaseLost):
                lease.check()
                others = [each for each in self.leases if each and each is not lease]
                assert not any(each.sure for each in others)

    @rule(one=st.integers(0, 2))
    def end(self, one: int) -> None:
        lease = self.leases[one]
        if lease:
            lease.release()
        self._begin(one)

    @rule(one=st.integers(0, 2))
    def kill(self, one: int) -> None:
        self._begin(one)

    @precondition(lambda self: self.store.content)
    @rule()
    def tidy(self) -> None:
        """Find the lease free in the end, whatever happened to it."""
        watching = watch(self.store, self.clock)
        if not watching.free():
            self.clock.sleep(60)
            assert watching.free()

    @invariant()
    def one_at_most_is_sure(self) -> None:
        assert sum(each.sure for each in self.leases if each) <= 1

    def _begin(self, one: int) -> None:
        self.leases[one], self.watches[one] = None, watch(self.store, self.clock)

    def _fault(self, kind: str) -> Callable[[Callable[[], Any]], Any]:
        kinds = {"before": slow(self.clock, before=19), "after": slow(self.clock, after=19)}
        kinds |= {"lost": effect_unknown, "unanswered": unanswered, "": lambda call: call()}
        return kinds[kind]


TestRivals = Rivals.TestCase
TestRivals.settings = settings(max_examples=150, stateful_step_count=40)
