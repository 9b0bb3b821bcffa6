"""Calls that the world prevented are made again, not for ever, and counted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from conf.retrying import Tally, persistently


class Flaky:
    """A call that fails some times before it gives its answer."""

    def __init__(self, failures: int, error: Callable[[], BaseException] = lambda: OSError("busy")) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        """Fail, or answer."""
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error()
        return "answer"


def busy(error: BaseException) -> bool:
    """Whether it may pass: what is busy now."""
    return "busy" in str(error)


def called(call: Flaky, tally: Tally, waits: list[float], tries: int = 4) -> str:
    """Make a call, again where it is busy."""
    return persistently(call, "get", busy, tries=tries, tally=tally, sleep=waits.append)


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_what_passes_is_tried_again(failures: int) -> None:
    """Until it is answered; each new try is counted and waited for."""
    tally, waits, call = Tally(), list[float](), Flaky(failures)
    assert called(call, tally, waits) == "answer"
    assert (call.calls, len(waits)) == (failures + 1, failures)
    assert tally.taken() == ({"get": failures} if failures else {})


def test_the_last_try_raises_what_it_met() -> None:
    """Four tries are three waits; nobody waits after the last."""
    tally, waits, call = Tally(), list[float](), Flaky(99)
    with pytest.raises(OSError, match="busy"):
        called(call, tally, waits)
    assert (call.calls, len(waits), tally.taken()) == (4, 3, {"get": 3})


def test_what_lasts_is_raised_at_once() -> None:
    """Also after something that passed."""
    errors = iter([OSError("busy"), OSError("forbidden")])
    tally, waits, call = Tally(), list[float](), Flaky(99, lambda: next(errors))
    with pytest.raises(OSError, match="forbidden"):
        called(call, tally, waits)
    assert (call.calls, tally.taken()) == (2, {"get": 1})


def test_an_interrupt_is_not_repeated() -> None:
    """Whoever wants to stop does not wait for eight tries."""
    waits, call = list[float](), Flaky(99, lambda: KeyboardInterrupt("busy"))
    with pytest.raises(KeyboardInterrupt):
        called(call, Tally(), waits)
    assert (call.calls, waits) == (1, [])


def test_waits_grow_to_a_bound() -> None:
    """From a tenth of a second to twenty, half of each drawn by lot."""
    waits: list[float] = []
    called(Flaky(12), Tally(), waits, tries=13)
    whole = [min(20.0, 0.1 * 2**number) for number in range(12)]
    assert all(least / 2 <= wait <= least for wait, least in zip(waits, whole, strict=True))


def test_a_tally_counts_each_kind_since_it_was_taken() -> None:
    """What was taken is not told again, and what never was retried is not named."""
    tally = Tally()
    tally.add("get")
    tally.add("list", 3)
    tally.add("get")
    assert tally.taken() == {"get": 2, "list": 3}
    assert tally.taken() == {}
    tally.add("get")
    assert tally.taken() == {"get": 1}


def test_no_count_of_any_thread_is_lost() -> None:
    """Whoever counts while another takes is counted then or next time."""
    tally, taken = Tally(), list[int]()
    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(tally.add, "get") for _ in range(2000)]
        while not all(each.done() for each in done):
            taken.append(tally.taken().get("get", 0))
    assert sum(taken) + tally.taken().get("get", 0) == 2000
