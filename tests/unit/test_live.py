"""How far a command is: a bar on a terminal, lines of the log elsewhere."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from bootstrap.live import Live
from conf import logs
from streaming.totals import Standing, Totals


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Send the log to a text, for one test."""
    with io.StringIO() as stream:
        logs.configure(stream)
        yield stream
    logging.getLogger(logs.NAME).handlers[:] = []


def progress(log: io.StringIO) -> list[dict[str, object]]:
    """Return what the log says of progress."""
    return [
        {name: value for name, value in each.items() if name in ("step", "done", "total")}
        for each in map(json.loads, log.getvalue().splitlines())
        if each["event"] == "progress"
    ]


def test_a_step_that_takes_long_is_logged_and_again_as_it_gets_on(log: io.StringIO) -> None:
    """After two seconds, then every ten; what is over in less is not worth a line."""
    clock = Clock()
    live = Live(Console(file=io.StringIO()), clock)
    for now, text, done in ((0, "planning", 0), (1, "reading", 0), (2.9, "reading", 10), (3, "reading", 20)):
        clock.now = now
        live.say(text, done, 100 if done else 0)
        live.look()
    clock.now = 12.9
    live.look()
    assert progress(log) == [{"step": "reading", "done": 20, "total": 100}]
    clock.now = 13
    live.say("reading", 90, 100)
    live.look()
    assert progress(log)[1:] == [{"step": "reading", "done": 90, "total": 100}]


def test_nothing_is_logged_of_a_stream_at_work(log: io.StringIO) -> None:
    """Its micro-batches are in the log anyway; the step before them is over."""
    clock = Clock()
    live = Live(Console(file=io.StringIO()), clock)
    live.say("starting Spark")
    live.totals(Totals())
    clock.now = 60
    live.look()
    assert progress(log) == []


def test_a_terminal_has_a_bar_with_share_and_rate(log: io.StringIO) -> None:
    """It is rewritten in place, on the terminal alone."""
    stream = io.StringIO()
    live = Live(Console(file=stream, force_terminal=True, width=120))
    with live.running():
        live.say("starting Spark")
        live.say("placing 200 pictures", 50, 200)
        live._bar.progress.refresh()  # type: ignore[union-attr]
        live.say("placing 200 pictures", 150, 200)
        live._bar.progress.refresh()  # type: ignore[union-attr]
    assert "25 %" in stream.getvalue()
    assert "75 %" in stream.getvalue()
    assert progress(log) == []


def test_a_stream_that_is_to_end_shows_how_much_is_left(log: io.StringIO) -> None:
    """Outcomes made, of all that there are to be, by all featurizers."""
    stream = io.StringIO()
    live = Live(Console(file=stream, force_terminal=True, width=200))
    totals = Totals(landed=100, featurizers={"one": Standing(outcomes=90), "other": Standing(outcomes=60)})
    with live.running():
        live.draining(totals)
        live._bar.progress.refresh()  # type: ignore[union-attr]
    assert "75 %" in stream.getvalue()
    assert "backlog 50" in stream.getvalue()
