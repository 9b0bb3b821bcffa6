from streaming.clock import Clock


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
