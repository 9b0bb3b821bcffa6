"""The commands that ask something of a lake, as processes: what they print, change and return."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import verger
from bootstrap import orchard as drawing
from conf.lake import LakePaths
from conf.schemas import ARRIVALS, FEATURES
from streaming.commands import inbox
from tests.cli.test_command_line import VERGER, eventually, one_line, told
from tests.conftest import TINY
from tests.unit.lakes import ONE, OTHER, Orchard, seconds

SIMILAR = "efficientnet-lite0-224-max-cccccccc"
ANNA, OTTO, ZOE = (f"file:///landing/people/{name}.jpg" for name in ("anna", "otto", "zoe"))
CUT, GONE = "file:///landing/bad/cut.jpg", "file:///landing/bad/gone.jpg"

Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Make a lake with three pictures and two rejected ones, and three featurizers; the first was streamed last."""
    orchard = Orchard(tmp_path / "lake")
    orchard.featurize(ANNA, OTTO, ZOE)
    orchard.reject("truncated", CUT)
    orchard.reject("gone", GONE)
    for featurizer in (OTHER, SIMILAR):
        orchard.outcome({"uri": ANNA, "featurized_at": seconds(-9)}, featurizer=featurizer)
    return orchard


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Return a function that runs `verger` in a folder that holds the lake, away from any settings of this machine."""
    return lambda *arguments: _verger(tmp_path, *arguments, "--lake", "lake")


def _verger(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VERGER, *arguments], capture_output=True, text=True, cwd=folder, env=_environment(), timeout=240, check=False
    )


def _environment() -> dict[str, str]:
    # So wide that no table breaks a line.
    return {name: value for name, value in os.environ.items() if not name.startswith("VERGER_")} | {"COLUMNS": "200"}


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Give the one line that a command printed when it had done what was asked."""
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout.strip()


def facts(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Give what a command printed as JSON."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["sentence"]
    return found


def test_rejected_pictures_are_listed(ask: Ask, orchard: Orchard) -> None:
    """All of the featurizer that was streamed last, or by reason and prefix; a table, or one JSON object a line."""
    listed = ask("rejects", "list")
    assert (listed.returncode, told(listed.stderr)) == (0, "")
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:]] == [["gone", GONE], ["truncated", CUT]]
    by_reason = ask("rejects", "list", "--reason", "gone", "--json")
    assert [json.loads(line)["uri"] for line in by_reason.stdout.splitlines()] == [GONE]
    assert ask("rejects", "list", "--prefix", "/landing/people/", "--json").stdout == ""
    assert ask("rejects", "list", "--featurizer", "mobilenet", "--json").stdout == ""


def test_rejected_pictures_are_tried_again(ask: Ask, orchard: Orchard) -> None:
    """What another attempt can help, or what --reason insists on, once; each arrives as a second attempt."""
    tried = said(ask("rejects", "retry"))
    assert tried.startswith("1 rejected picture will be tried again; 1 left out")
    insisted = facts(ask("rejects", "retry", "--reason", "gone", "--reason", "Truncated", "--json"))
    assert (insisted["retried"], insisted["waiting"]) == (1, 1)
    again = [(row["uri"], row["attempt"]) for row in orchard.rows(ARRIVALS) if row["route"] == "retry"]
    assert again == [(CUT, 2), (GONE, 2)]


def test_pictures_are_forgotten_and_recalled(ask: Ask, orchard: Orchard) -> None:
    """By URI, path and prefix; one that nobody knows is told, and does not arrive either."""
    forgotten = said(ask("forget", ANNA, "/landing/people/nobody.jpg"))
    assert forgotten.startswith("1 picture forgotten: 1 arrival and 3 outcomes removed; ")
    assert "of 1 named there was nothing" in forgotten
    assert ANNA not in orchard.uris(ARRIVALS) + orchard.uris(FEATURES)
    assert said(ask("forget", "--recall", ANNA, OTTO)).startswith("1 picture may arrive again; 1 picture had not been")
    by_prefix = facts(ask("forget", "--prefix", "/landing/people/", "--json"))
    assert (by_prefix["pictures"], by_prefix["features"]) == (2, 2)
    assert orchard.uris(ARRIVALS) == orchard.uris(FEATURES) == [CUT, GONE]
    assert said(ask("forget", "--recall", "--prefix", "/landing/people/")) == (
        "whatever lies under the prefix may arrive again"
    )


def test_upkeep_and_stop_without_a_stream(ask: Ask, orchard: Orchard) -> None:
    """What a takedown removed goes when its time has come; nobody is there to be stopped."""
    said(ask("forget", ANNA, "--vacuum-days", "0"))
    before = set(orchard.root.rglob("part-*.parquet"))
    assert len(facts(ask("upkeep", "--vacuum-days", "0", "--json"))) > 1
    assert set(orchard.root.rglob("part-*.parquet")) < before
    assert said(ask("stop")) == f"no stream runs on {orchard.paths.root}"


def test_a_featurizer_is_dropped(ask: Ask, orchard: Orchard) -> None:
    """Named by the beginning of its id; the others keep their rows."""
    dropped = facts(ask("backbone", "drop", "mobilenet", "--json"))
    assert (dropped["featurizer"], dropped["outcomes"]) == (OTHER, 1)
    assert verger.open(str(orchard.paths.root)).featurizers() == [SIMILAR, ONE]
    assert said(ask("backbone", "drop", SIMILAR)).startswith(f"{SIMILAR} dropped, with 1 outcome; ")
    assert len(orchard.rows(FEATURES)) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rejects", "list", "--reason", "rotten"), "--reason rotten: no such reason; there are empty, "),
        (("rejects", "retry", "--reason", "gone", "--reason", "rotten"), "--reason rotten: no such reason"),
        (("rejects", "list", "--featurizer", "vgg16"), "'vgg16': no featurizer begins so; the lake has "),
        (("rejects", "retry", "--featurizer", "vgg16"), "'vgg16': no featurizer begins so; the lake has "),
        (("forget",), "which pictures? Give their paths or URIs, or --prefix"),
        (("forget", ""), "a picture's place is empty"),
        (("forget", "ftp://bucket/me.jpg"), "ftp:// is not supported yet"),
        (("forget", ANNA, "--vacuum-days", "soon"), "vacuum_days must be a number"),
        (("backbone", "drop"), "Missing argument"),
        (("backbone", "drop", ""), "which featurizer is to be dropped?"),
        (("backbone", "drop", "vgg16"), "'vgg16': no featurizer begins so; the lake has "),
        (("backbone", "drop", "efficientnet"), "'efficientnet': more than one featurizer begins so"),
        (("stop", "now"), "Got unexpected extra argument"),
    ],
)
def test_bad_input_gets_one_clear_line_and_changes_nothing(
    ask: Ask, orchard: Orchard, arguments: tuple[str, ...], message: str
) -> None:
    """Exit code 2, the line names what was given, and no request is left for a driver."""
    before = [orchard.version(table) for table in (ARRIVALS, FEATURES)]
    done = ask(*arguments)
    assert message in one_line(done.stderr)
    assert (done.returncode, done.stdout) == (2, "")
    assert [orchard.version(table) for table in (ARRIVALS, FEATURES)] == before
    assert inbox.pending(orchard.paths.requests) == []


@pytest.mark.parametrize("arguments", [("rejects", "list"), ("forget", ANNA), ("stop",)])
def test_where_there_is_no_lake_none_is_made(ask: Ask, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Exit code 1, and the line says how one is made."""
    done = ask(*arguments)
    assert "no lake at" in one_line(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert not (tmp_path / "lake").exists()


def test_a_running_stream_does_what_commands_ask_and_ends_when_told(landing: Path, lake: LakePaths, ask: Ask) -> None:
    """Each command waits for its answer; a picture forgotten meanwhile stays away, and both processes end with 0."""
    bad, gone = landing / "Pear" / "bad.jpg", landing / "Pear" / "0000.jpg"
    bad.write_bytes(b"no picture")
    arguments = ["--landing", str(landing), "--lake", str(lake.root), "--backbone", TINY, "--settle", "0"]
    process = subprocess.Popen(
        [*VERGER, "stream", *arguments, "--poll", "0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    opened = verger.open(str(lake.root))

    def outcomes(number: int) -> Callable[[], bool]:
        return lambda: sum(each["outcomes"] for each in opened.status()["featurizers"]) == number

    try:
        eventually(outcomes(25), process)
        assert facts(ask("rejects", "retry", "--reason", "not_a_picture", "--json"))["retried"] == 1
        eventually(outcomes(26), process)
        refused = ask("backbone", "drop", opened.featurizer())
        assert "is being streamed: stop the stream" in one_line(refused.stderr)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert facts(ask("forget", str(gone), "--json"))["features"] == 1
        assert facts(ask("upkeep", "--json"))["sentence"]
        drawing.draw("Pear", 99).save(landing.parent / "later.jpg")
        (landing.parent / "later.jpg").replace(landing / "later.jpg")
        eventually(outcomes(26), process)
        assert said(ask("stop")) == f"the stream on {lake.root} has ended"
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "25 featurized, 2 rejected (not_a_picture 2), 0 left" in output
    assert "passed over: 1 forgotten" in output
    assert opened.arrivals().num_rows == 26
