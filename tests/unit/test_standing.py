import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import verger
from bootstrap import standing
from tests.places import local
from tests.unit.fields import Field
from tests.unit.lakes import ONE


@pytest.fixture
def field(tmp_path: Path) -> Field:
    """Give a refitted lake with a rejection."""
    made = Field(tmp_path / "lake")
    made.arrive(*(f"file:///p/{number}.jpg" for number in range(20)))
    made.grow(*(f"file:///p/{number}.jpg" for number in range(20)))
    made.reject("gone", "file:///gone.jpg")
    made.refit(components=2)
    return made


def shown(field: Field, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Give what the status prints, by its first column; the first where a name comes again."""
    standing.status(verger.open(str(field.root)).status())
    lines = (line.strip().partition("   ") for line in reversed(capsys.readouterr().out.splitlines()))
    return {name.strip(): value.strip() for name, _, value in lines}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a row be a line."""
    monkeypatch.setenv("COLUMNS", "300")


def test_the_status_shows_what_the_tables_hold(field: Field, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts, sizes, the model with its age, and each reason with its sentence."""
    found = shown(field, capsys)
    assert (found["stream"], found["arrivals"], found["backlog"]) == ("not running", "21", "0")
    assert (found["with features"], found["rejected"], found["well"]) == ("20", "1, 4.8%", "yes")
    assert found["made"].startswith("2 components of 20 pictures, ")
    assert found["published"].endswith(" ago; 0 outcomes since")
    assert found["table features"].startswith("2 files, ")
    assert found["last report"] == "never"
    assert found["gone"].startswith("1 ")


def test_the_status_shows_how_fast_and_how_fresh(field: Field, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the last micro-batches, as the driver told them."""
    at = (datetime.now(UTC) - timedelta(minutes=10)).isoformat(timespec="seconds")
    batch = {"at": at, "batch": 1, "pictures": 40, "rejections": {}, "seconds": 2.0, "freshness_p50": 3.0}
    said = {"state": "stopped", "micro_batches": [{**batch, "freshness_p95": 420.0}], "backlog_history": []}
    path = local(field.paths.report("stream"))
    path.parent.mkdir()
    path.write_text(json.dumps({"at": at, "upkeep_at": "soon", "featurizers": {ONE: said}}))
    found = shown(field, capsys)
    assert (found["last micro-batches"], found["freshness"]) == ("20.0 img/s", "p50 3.0 s, p95 7 min")
    assert found["last report"].startswith(f"{at}, 10")
    assert found["last upkeep"] == "soon"


def test_each_reason_is_a_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever stands in it: cron mails it."""
    found: dict[str, Any] = {"unwell": ["one", "two\nlines \x1b[31m"]}
    standing.unwell(found)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "verger: unwell: one\nverger: unwell: two\\nlines \\x1b[31m\n"
