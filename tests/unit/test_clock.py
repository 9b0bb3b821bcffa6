import pytest

from streaming.clock import Clock, SetBack


def test_each_thing_is_due_after_its_own_interval() -> None:
    """Once per interval, however often it is asked, and an interval that was slept through counts once."""
    now = 0.0
    clock = Clock({"poll": 2, "upkeep": 100}, first={"upkeep": 0}, monotonic=lambda: now)
    assert (clock.due("poll"), clock.due("upkeep"), clock.due("upkeep")) == (False, True, False)
    now = 2
    assert (clock.due("poll"), clock.due("poll")) == (True, False)
    now = 50
    assert (clock.due("poll"), clock.due("poll"), clock.due("upkeep")) == (True, False, False)
    now = 100
    assert clock.due("upkeep")


@pytest.mark.parametrize(
    ("steps", "back"),
    [
        ([0.0, 0.0], 0.0),
        ([0.0, -3600.0], 3600.0),
        ([0.0, 86400.0], 0.0),
        ([0.0, 86400.0, 0.0], 86400.0),
        ([0.0, 50.0, 20.0, 30.0], 20.0),
        ([0.0, -50.0, 0.0], 0.0),
    ],
)
def test_the_clock_is_held_against_where_it_was_furthest_ahead(steps: list[float], back: float) -> None:
    """Looked at as time goes by, it may go there and back."""
    now = [0.0, steps[0]]
    clock = SetBack(wall=lambda: 1000.0 + sum(now), monotonic=lambda: 7.0 + now[0])
    found = 0.0
    for passed, off in enumerate(steps):
        now[:] = passed, off
        found = clock.seconds()
    assert found == back


def test_a_time_that_has_been_tells_what_no_look_saw() -> None:
    """Another's report of a time that is still to come."""
    clock = SetBack(wall=lambda: 1000.0, monotonic=lambda: 7.0)
    assert (clock.seconds(999.0), clock.seconds(1060.0), clock.seconds()) == (0.0, 60.0, 0.0)
