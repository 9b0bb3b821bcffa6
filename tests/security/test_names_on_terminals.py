"""Labels and names are anybody's: shown, they are what can be seen, on the line where they belong, and do nothing."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from batch.refit import refit
from bootstrap import cli, terminal
from bootstrap.commands.asking import tell
from bootstrap.live import Live
from conf import logs
from conf.printable import printable
from conf.schemas import COMPONENTS, MODELS
from conf.settings import Settings
from conf.tables import ensure
from streaming.commands import inbox
from streaming.commands.requests import Answer, upkeep
from tests.security.names import FORGED, HOSTILE, unseen
from tests.unit.lakes import ONE, Orchard

Says = Callable[..., str]
NAMES = list(HOSTILE.values())
ASKED = "s3://bucket/asked.jpg"
by_name = pytest.mark.parametrize("name", NAMES, ids=list(HOSTILE))


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Orchard:
    """Return a lake whose uris, labels, details and featurizer are hostile, refitted."""
    made = Orchard(tmp_path_factory.mktemp("hostile") / "lake")
    vectors = np.random.default_rng(0).normal(size=(len(NAMES), 4)).tolist()
    pictures = [
        {"uri": f"s3://bucket/{name}.jpg", "label": name, "features": vector}
        for name, vector in zip(NAMES, vectors, strict=True)
    ]
    made.outcome(*pictures, {"uri": ASKED, "features": [1.0, 2.0, 3.0, 4.0]})
    made.outcome(*({"uri": f"s3://bad/{name}", "rejection": "changed", "detail": name} for name in NAMES))
    for table in (MODELS, COMPONENTS):
        ensure(table, made.paths.table(table))
    refit(made.paths, ONE, Settings(components=2))
    return made


@pytest.fixture
def says(orchard: Orchard, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Says:
    """Return a function that runs a command on the lake, in this process, and gives all that it printed."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(logs, "configure", lambda: None)

    def run(*arguments: str, lake: str = str(orchard.root)) -> str:
        monkeypatch.setattr(sys, "argv", ["verger", *arguments, "--lake", lake])
        with pytest.raises(SystemExit):
            cli.main()
        return "".join(capsys.readouterr())

    return run


SHOWING = {
    "view": ("view", "--rows", "0"),
    "similar": ("similar", ASKED, "-k", "99"),
    "rejects list": ("rejects", "list"),
}


@pytest.mark.parametrize("command", SHOWING.values(), ids=list(SHOWING))
def test_a_table_shows_what_can_be_seen_and_does_nothing(says: Says, command: tuple[str, ...]) -> None:
    """No control reaches the terminal, no name breaks out of its row, and markup and emoji codes stay letters."""
    shown = says(*command)
    assert unseen(shown) == []
    assert not any(line.startswith(FORGED) for line in shown.splitlines())
    assert printable(HOSTILE["title of the window"]) in shown
    assert "\N{RED APPLE}" not in shown
    assert HOSTILE["markup"] in shown


@pytest.mark.parametrize("command", SHOWING.values(), ids=list(SHOWING))
def test_json_is_an_object_a_line(says: Says, command: tuple[str, ...]) -> None:
    """Whatever breaks lines elsewhere; and the names come back as they are."""
    shown = says(*command, "--json")
    assert unseen(shown) == []
    rows = [json.loads(line) for line in shown.splitlines()]
    assert {row.get("label") or row.get("detail") for row in rows} >= set(NAMES)


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("models", "list"),
        ("models", "show"),
        ("rejects", "retry", "--prefix", "s3://bad/\x1b[31m\n"),
        ("forget", "s3://bucket/nobody\x1b[31m\n.jpg"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_what_commands_answer_can_be_seen(says: Says, command: tuple[str, ...]) -> None:
    """Whatever was asked."""
    assert unseen(says(*command)) == []


@pytest.mark.parametrize("name", [name for name in NAMES if "\0" not in name])
def test_an_error_is_one_line_that_can_be_seen(says: Says, name: str) -> None:
    """The picture is named by its URI or as it was given."""
    shown = says("forget", f"ftp://{name}")
    assert unseen(shown) == []
    assert shown.startswith("verger: ")
    assert len(shown.splitlines()) == 1


def test_a_traceback_can_be_seen(says: Says) -> None:
    """It has lines of its own, and nothing that is unseen."""
    shown = says("forget", f"ftp://{HOSTILE['escape sequence']}", "--debug")
    assert "Traceback" in shown
    assert unseen(shown) == []


def test_an_answer_that_somebody_forged_can_be_seen(says: Says, tmp_path: Path) -> None:
    """Whoever may write requests may write answers, too."""
    request = upkeep()
    lake = Orchard(tmp_path / "lake")
    inbox.answer(lake.paths.requests, request, Answer(HOSTILE["escape sequence"] + HOSTILE["line break"]))
    found = inbox.answer_of(lake.paths.requests, request.id)
    assert found is not None
    with io.StringIO() as stream, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        tell(found, as_json=False)
        assert unseen(stream.getvalue()) == []
        assert stream.getvalue().count("\n") == 1


@by_name
def test_the_live_line_shows_what_can_be_seen(name: str) -> None:
    """A step names places; only what Rich itself sends to the terminal is more than letters."""
    plain, hostile = (io.StringIO() for _ in range(2))
    for stream, text in ((plain, "reading"), (hostile, name)):
        live = Live(Console(file=stream, force_terminal=True, width=200))
        with live.running():
            live.say(f"reading {text}")
    own = set(unseen(plain.getvalue()))
    assert set(unseen(hostile.getvalue())) <= own
    assert "\x1b]" not in hostile.getvalue()


def test_a_line_is_one_line() -> None:
    """Whatever stands in it."""
    stream = io.StringIO()
    for name in NAMES:
        terminal.plain(name, stream)
    assert len(stream.getvalue().splitlines()) == len(NAMES)
    assert unseen(stream.getvalue()) == []
