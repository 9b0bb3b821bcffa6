"""`docs/status.md` and what the program prints name the same things."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import verger
from conf import lease
from conf.lease import record
from conf.schemas import ARRIVALS
from conf.settings import FIELDS, flag
from streaming.arrivals import Arrivals
from streaming.commands import requests, takedown
from streaming.commands.selection import Selection
from streaming.progress import MicroBatch
from streaming.totals import ReportFile, Standing, Totals
from tests.places import local
from tests.unit.fields import Field
from tests.unit.lakes import MORNING, ONE
from tests.unit.leased import Store

DOCUMENT = (Path(__file__).parents[2] / "docs" / "status.md").read_text("utf-8")
DOCUMENTED = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", DOCUMENT, re.MULTILINE))
# Below these the names are a lake's own.
_FREE = re.compile(r"(\.rejections|\.passed_over|^tables|^last_report\.featurizers)$")
# The document says in one row what they are.
_WHOLE = ("backlog_history[]", "last_micro_batch")
_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str, "time": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict,
    "[time, integer]": list,
}  # fmt: skip


def named(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give what a value holds, each by its name as the document spells it."""
    if path.endswith(_WHOLE):
        yield path, value
    elif isinstance(value, dict):
        if path:
            yield path, value
        for name, each in value.items():
            step = "NAME" if _FREE.search(path) else name
            yield from named(each, f"{path}.{step}" if path else step)
    elif isinstance(value, list):
        for each in value:
            yield from named(each, f"{path}[]")
    else:
        yield path, value


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> verger.Lake:
    """Give a lake of which there is something to say of everything."""
    field = Field(tmp_path_factory.mktemp("documented") / "lake")
    field.featurize("file:///anna.jpg")
    field.reject("gone", "file:///gone.jpg")
    field.grow(*(f"file:///p/{number}.jpg" for number in range(20)))
    field.checkpoint(ONE)
    arrivals = Arrivals(field.paths.table(ARRIVALS))
    takedown.forget(requests.forget(Selection(("file:///anna.jpg",))), field.paths, arrivals, 3, lambda: MORNING)
    field.refit(components=2)
    totals = Totals(landed=20, featurizers={ONE: Standing(state="running", audited_at="2026-03-01T08:00:00+00:00")})
    totals.passed_over["hidden"] = 1
    totals.add(ONE, MicroBatch(3, 40, {"gone": 10}, 2.0, 0.5, 0.9), telling=1, at=MORNING)
    totals.remember(MORNING)
    ReportFile(local(field.paths.report("stream")), {"landing": "file:///p"}).write(totals, now=True)
    return verger.open(str(field.root))


@pytest.fixture(scope="module")
def status(lake: verger.Lake) -> dict[str, Any]:
    """Give its status while both legs run, as it is printed; and who would hold the leases on S3."""
    with ExitStack() as legs:
        for leg in ("stream", "refit"):
            legs.enter_context(lease.hold(lake.paths.lease(leg)))
        found = lake.status()
    store = Store()
    record.write(store, record.new("stream", 60.0))
    held = lease.holder(store)
    return dict(json.loads(json.dumps({**found, "stream": held, "refit": held})))


def test_the_document_names_what_a_status_has_and_nothing_else(status: dict[str, Any]) -> None:
    """In both directions; what the document calls an object needs no row where it is never null."""
    found = {name for name, value in named(status) if not isinstance(value, dict) or name in DOCUMENTED}
    assert sorted(found - set(DOCUMENTED)) == []
    assert sorted(set(DOCUMENTED) - found) == []
    (report,) = status["last_report"]["featurizers"].values()
    assert report["last_micro_batch"].keys() | {"at"} == report["micro_batches"][-1].keys()


def test_every_value_is_of_the_type_that_the_document_says(status: dict[str, Any]) -> None:
    """Times parse, and have a zone; null is where the document allows for it."""
    for name, value in named(status):
        kind = DOCUMENTED.get(name, "object").strip()
        if value is None:
            assert kind.endswith("?"), name
            continue
        assert isinstance(value, _KINDS[kind.rstrip("?")]), (name, value)
        if kind.startswith("time"):
            assert datetime.fromisoformat(str(value)).utcoffset() == timedelta(0), name


def test_what_may_be_null_is_null_in_an_empty_lake(tmp_path: Path) -> None:
    """And in one of outcomes that no driver has told of."""
    field = Field(tmp_path / "lake")
    found = dict(named(verger.open(str(field.root)).status()))
    field.featurize("a")
    found |= dict(named(verger.open(str(field.root)).status()))
    nulls = {name for name, value in found.items() if value is None}
    assert {name for name in nulls if not DOCUMENTED[name].strip().endswith("?")} == set()
    assert nulls >= {"stream", "refit", "last_report", "featurizers[].state", "featurizers[].model"}


def test_the_document_names_settings_that_there_are() -> None:
    """With their defaults."""
    defaults = {flag(name): f"{FIELDS[name].default:g}" for name in ("unwell_after", "unwell_rejected")}
    assert set(re.findall(r"`(--unwell-[a-z-]+)`", DOCUMENT)) == set(defaults)
    for name, default in defaults.items():
        assert re.search(rf"`{name}`[^(`]* ?\({re.escape(default)}\)", DOCUMENT), name
