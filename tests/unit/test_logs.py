import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.logs import configure, fields, logger


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give the product's logger back as it was."""
    log = logger()
    before = log.handlers[:], log.propagate, log.level
    yield
    log.handlers[:], log.propagate = before[:2]
    log.setLevel(before[2])


def lines(stream: io.StringIO) -> list[str]:
    """Give what was logged, line by line."""
    return stream.getvalue().splitlines()


def test_off_a_terminal_each_event_is_a_line_of_json() -> None:
    """An event holds its time in UTC, its level, its sentence and its fields."""
    stream = io.StringIO()
    configure(stream)
    logger().info("micro-batch", extra=fields(pictures=512, rejected=3, path=Path("/x")))
    logger().warning("100%% of %s", "it")
    first, second = (json.loads(line) for line in lines(stream))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("at"))
    assert first == {"level": "info", "event": "micro-batch", "pictures": 512, "rejected": 3, "path": "/x"}
    assert (second["level"], second["event"]) == ("warning", "100% of it")


def test_on_a_terminal_lines_are_plain() -> None:
    """A person reads level, sentence and fields; what only informs is left to the live line."""
    terminal = Terminal()
    configure(terminal)
    logger().info("micro-batch", extra=fields(pictures=512))
    logger().warning("discovery failed", extra=fields(error="disk away", tries=2))
    logger().error("stopped")
    assert lines(terminal) == ["warning: discovery failed  error=disk away  tries=2", "error: stopped"]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_the_level_can_be_lowered(stream: type[io.StringIO]) -> None:
    """With the debug level everything is shown, on a terminal as well."""
    target = stream()
    configure(target, level=logging.DEBUG)
    logger().debug("details")
    assert len(lines(target)) == 1
    assert "details" in lines(target)[0]


def test_off_a_terminal_debug_is_left_out() -> None:
    """The usual level is info."""
    stream = io.StringIO()
    configure(stream)
    logger().debug("details")
    assert lines(stream) == []


def test_a_traceback_stays_within_its_line_of_json() -> None:
    """One event is one line, however long its traceback."""
    stream = io.StringIO()
    configure(stream)
    try:
        raise ValueError("wrong")
    except ValueError:
        logger().exception("failed")
    (line,) = lines(stream)
    traceback = json.loads(line)["traceback"]
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert traceback.endswith("\nValueError: wrong")


def test_a_traceback_follows_a_plain_line() -> None:
    """On a terminal it stands below the sentence."""
    terminal = Terminal()
    configure(terminal)
    try:
        raise ValueError("wrong")
    except ValueError:
        logger().exception("failed")
    assert lines(terminal)[:2] == ["error: failed", "Traceback (most recent call last):"]
    assert lines(terminal)[-1] == "ValueError: wrong"


def test_names_keep_their_letters() -> None:
    """Letters beyond ASCII are readable in the log, and line breaks do not break a line."""
    stream = io.StringIO()
    configure(stream)
    logger().info("pêche", extra=fields(uri="苹果\n🍎"))
    (line,) = lines(stream)
    assert "pêche" in line
    assert "苹果\\n🍎" in line


def test_configuring_again_replaces_what_was() -> None:
    """No event is written twice, and the root logger gets none."""
    first, second = io.StringIO(), io.StringIO()
    configure(first)
    configure(second)
    logger().info("once")
    assert (len(lines(first)), len(lines(second))) == (0, 1)
    assert logger().propagate is False


def test_standard_error_is_where_the_log_goes(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output stays free for what a command prints."""
    configure()
    logger().info("event")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "event"


def test_what_a_library_says_of_ctrl_c_is_left_out() -> None:
    """Whoever pressed it knows; py4j tells of each connection that it cut."""
    with io.StringIO() as stream:
        configure(stream)
        logging.getLogger("py4j").error("while sending", exc_info=KeyboardInterrupt())
        assert stream.getvalue() == ""


def test_what_a_library_says_is_one_line() -> None:
    """Its tracebacks are not: of a JVM that dies, py4j tells the same at length for every connection."""
    stream = io.StringIO()
    configure(stream)
    configure(stream)
    try:
        raise ConnectionResetError("the other side is gone")
    except ConnectionResetError:
        logging.getLogger("library.part").exception("sending failed")
    (line,) = lines(stream)
    told = json.loads(line)
    assert (told["event"], told["logger"]) == ("sending failed", "library.part")
    assert told["error"] == "the other side is gone"
    assert "traceback" not in told
