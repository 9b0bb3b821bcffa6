"""The batch leg's commands, as processes: what they print, what they return, and that a kill loses nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from batch.publication import published
from tests.cli.test_command_line import VERGER, one_line, told
from tests.unit.fields import Field
from tests.unit.lakes import ONE

Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def field(tmp_path: Path) -> Field:
    """Make a lake of thirty pictures that has been refitted, and two that have come since."""
    made = Field(tmp_path / "lake")
    made.grow(*(f"file:///landing/pears/{number}.jpg" for number in range(30)), label="pears")
    made.refit(components=2)
    made.grow("file:///landing/plums/=1+1.jpg", "file:///landing/pears/0.jpg", at=60, label="=plums")
    return made


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Return a function that runs `verger` where no Java is to be found."""
    environment = {"COLUMNS": "200", "PATH": "", "JAVA_HOME": str(tmp_path / "no-java"), "HOME": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*VERGER, *arguments, "--lake", "lake"],
            capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_the_view_shows_both_legs(ask: Ask, field: Field) -> None:
    """A summary and the first rows, or one JSON object a line."""
    shown = ask("view", "--rows", "3")
    assert shown.returncode == 0, shown.stderr
    assert "31 pictures on the axes of" in shown.stdout
    assert "29 as the refit published them, 2 provisional" in shown.stdout
    assert len(shown.stdout.splitlines()) == 5
    rows = [json.loads(line) for line in ask("view", "--rows", "0", "--json").stdout.splitlines()]
    assert sorted(row["uri"] for row in rows if row["source"] == "provisional") == [
        "file:///landing/pears/0.jpg", "file:///landing/plums/=1+1.jpg",
    ]  # fmt: skip
    assert len(rows) == 31


@pytest.mark.parametrize(
    "command", [["view"], ["similar", "x.jpg"], ["export", "components", "--out", "x.csv"], ["models", "show"]]
)
def test_before_the_first_refit_commands_say_so(command: list[str], ask: Ask, tmp_path: Path) -> None:
    """In one line, with the mend."""
    Field(tmp_path / "lake").grow("a1")
    done = ask(*command)
    assert done.returncode == 1
    assert "no components of" in one_line(done.stderr)
    assert "`verger refit --lake" in done.stderr


def test_similar_pictures_are_listed(ask: Ask, field: Field) -> None:
    """By path or URI, nearest first; what is not there is an error that says why."""
    found = [
        json.loads(line) for line in ask("similar", "/landing/pears/1.jpg", "-k", "4", "--json").stdout.splitlines()
    ]
    assert len(found) == 4
    assert [row["distance"] for row in found] == sorted(row["distance"] for row in found)
    table = ask("similar", "file:///landing/pears/1.jpg", "--by", "features")
    assert (table.returncode, len(table.stdout.splitlines())) == (0, 13)
    unknown = ask("similar", "/landing/pears/none.jpg")
    assert (unknown.returncode, "none.jpg" in one_line(unknown.stderr)) == (2, True)
    assert ask("similar", "/landing/pears/1.jpg", "--by", "colour").returncode == 2


def test_components_and_models_are_exported(ask: Ask, field: Field, tmp_path: Path) -> None:
    """In each form; a text that a spreadsheet would compute begins with an apostrophe."""
    field.refit(components=2)
    for form in ("csv", "json", "parquet"):
        done = ask("export", "components", "--format", form, "--out", f"space.{form}")
        assert (done.returncode, done.stdout) == (0, f"31 pictures in space.{form}\n")
    lines = (tmp_path / "space.csv").read_text().splitlines()
    assert lines[0] == '"uri","label","model","c1","c2"'
    assert any('"\'=plums"' in line for line in lines)
    assert len((tmp_path / "space.json").read_text().splitlines()) == 31
    assert ask("export", "model", "--out", "model.npz").returncode == 0
    with np.load(tmp_path / "model.npz", allow_pickle=False) as model:
        assert model["basis"].shape == (2, 6)
    assert ask("export", "components", "--format", "xls", "--out", "x").returncode == 2


def test_models_are_listed_shown_and_used_again(ask: Ask, field: Field) -> None:
    """The published one is marked; going back takes no JVM."""
    field.refit(components=3)
    first, second = [json.loads(line) for line in ask("models", "list", "--json").stdout.splitlines()]
    assert (first["published"], second["published"]) == (False, True)
    assert first["model"] in ask("models", "list").stdout
    shown = json.loads(ask("models", "show", "--json").stdout)
    assert (shown["model"], shown["parent"], shown["drift"]["new"]) == (second["model"], first["model"], 2)
    assert "half of the axes turned by less than" in ask("models", "show").stdout
    used = ask("models", "use", first["model"])
    assert used.stdout.splitlines()[-1] == f"{first['model']} published again, for 31 pictures"
    assert published(field.paths, ONE).model == first["model"]  # type: ignore[union-attr]
    wrong = ask("models", "use", "1999")
    assert (wrong.returncode, "models list" in one_line(wrong.stderr)) == (2, True)


# Sends itself the signal that its first argument names when it comes to the point that the second one names.
STRUCK = """
import os, signal, sys
from bootstrap.entry import main
from conf import points
number, wanted = signal.Signals[sys.argv.pop(1)], sys.argv.pop(1)
points.listen(lambda point: point == wanted and os.kill(os.getpid(), number))
main()
"""


STRIKING = [sys.executable, "-c", STRUCK]


def refitting(folder: Path, *arguments: str, command: Sequence[str] = VERGER) -> "subprocess.Popen[str]":
    """Start a refit as a process."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERGER_")}
    return subprocess.Popen(
        [*command, "refit", "--lake", "lake", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("moment", ["sums-taken", "components-written"])
def test_a_refit_that_is_killed_leaves_the_former_publication(moment: str, field: Field, tmp_path: Path) -> None:
    """Whole; the next refit goes on as if nothing had been."""
    before = published(field.paths, ONE)
    process = refitting(tmp_path, "--full", command=[*STRIKING, "SIGKILL", moment])
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    field.check()
    assert published(field.paths, ONE) == before
    process = refitting(tmp_path, "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    said = json.loads(out)
    assert (said["written"], said["model"]["n"], said["model"]["run_card"]["kind"]) == (True, 31, "incremental")
    field.check()
    assert published(field.paths, ONE).model == said["model"]["model"]  # type: ignore[union-attr]


def test_ctrl_c_ends_with_one_line(field: Field, tmp_path: Path) -> None:
    """And 130; what was published stays."""
    before = published(field.paths, ONE)
    assert before is not None
    command = [*STRIKING, "SIGINT", "components-written", "models", "use", before.model, "--lake", "lake"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert "interrupted; nothing is lost" in one_line(done.stderr.strip("\n") + "\n")
    assert (done.returncode, done.stdout) == (130, "")
    field.check()
    assert published(field.paths, ONE) == before


def test_a_refit_that_is_asked_wrongly_says_so(ask: Ask, field: Field) -> None:
    """Exit code 2 and one line; no lake, exit code 1."""
    for arguments in (["--variance", "2"], ["--solver", "magic"], ["--components", "-1"], ["--featurizer", "nobody"]):
        done = ask("refit", *arguments)
        assert done.returncode == 2, done.stderr
        one_line(done.stderr)
    assert "Java 17 is needed" in one_line(ask("refit").stderr)


def test_labels_of_ones_own_are_shown(ask: Ask, field: Field, tmp_path: Path) -> None:
    """In the view and beside similar pictures; how many have none is said beside the result, and errors in one line."""
    (tmp_path / "labels.csv").write_text("uri,label\nlanding/none.jpg,x\n/landing/pears/2.jpg,mine\n")
    shown = ask("view", "--rows", "0", "--json", "--labels", "labels.csv")
    assert told(shown.stderr) == "30 of 31 pictures have no label in labels.csv\n"
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {row["uri"]: row["label"] for row in rows if row["label"]} == {"file:///landing/pears/2.jpg": "mine"}
    found = ask("similar", "/landing/pears/1.jpg", "-k", "99", "--json", "--labels", "labels.csv")
    assert {json.loads(line)["label"] for line in found.stdout.splitlines()} == {None, "mine"}
    failed = ask("view", "--labels", "none.csv")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "--labels none.csv: there is no such file" in one_line(failed.stderr)
