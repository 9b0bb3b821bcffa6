import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conf import lease
from conf.errors import UsageError
from conf.lake import create_lake
from conf.rejections import Reason
from streaming.commands import requests
from streaming.commands.requests import Kind, Request
from streaming.commands.selection import Selection, select
from tests.places import local

PICTURES = Selection(("file:///a/1.jpg", "file:///a/p%C3%AAche.jpg"), "file:///b/")


@pytest.mark.parametrize(
    "request_",
    [
        requests.retry(),
        requests.retry(["gone"], Selection(prefix="file:///b"), "mobilenet"),
        requests.forget(PICTURES),
        requests.recall(PICTURES),
        requests.drop("mobilenet"),
        requests.upkeep(),
        Request(Kind.STOP, "1", datetime(2026, 1, 1, tzinfo=UTC), driver="1 host since"),
    ],
    ids=lambda request: request.kind,
)
def test_a_request_survives_its_file(request_: Request) -> None:
    """Everything comes back, to the microsecond; the id is the file's name."""
    assert Request.from_json(request_.id, request_.to_json()) == request_


def test_ids_give_the_order() -> None:
    """They begin with the time and never repeat."""
    made = [requests.upkeep() for _ in range(50)]
    assert sorted(made, key=lambda each: each.id[:22]) == sorted(made, key=lambda each: each.requested_at)
    assert len({each.id for each in made}) == 50
    assert made[0].id.startswith(f"{made[0].requested_at:%Y%m%dT%H%M%S}")


@pytest.mark.parametrize("make", [requests.forget, requests.recall])
def test_a_takedown_of_nothing_is_refused(make: Callable[[Selection], Request]) -> None:
    """It asks for what is missing, rather than take nothing for everything."""
    with pytest.raises(UsageError, match="which pictures"):
        make(select())


def test_dropping_needs_a_name() -> None:
    """The beginning of every id is no name."""
    with pytest.raises(UsageError, match="which featurizer"):
        requests.drop("")


def test_a_reason_must_be_one(tmp_path: Path) -> None:
    """It is taken in any spelling of the command line; another one is refused with the list."""
    assert requests.retry(["Timed-Out", "timed_out", " gone "]).reasons == ("timed_out", "gone")
    with pytest.raises(UsageError, match=r"--reason late: no such reason; there are empty, not_a_picture.*non_finite"):
        requests.retry(["gone", "late"])
    assert requests.known_reasons([each.value for each in Reason]) == tuple(each.value for each in Reason)


def test_a_stop_means_the_driver_of_its_moment(tmp_path: Path) -> None:
    """A driver that started later goes on; so does one that nobody meant."""
    lake = create_lake(str(tmp_path / "lake"))
    unmeant = requests.stop(lake)
    with lease.hold(lake.lease("stream")):
        meant = requests.stop(lake)
        assert requests.stops(meant, lake)
        assert requests.stops(Request.from_json(meant.id, meant.to_json()), lake)
        assert not requests.stops(unmeant, lake)
        assert not requests.stops(requests.upkeep(), lake)
        local(lake.lease("stream")).write_text('{"pid": 1, "host": "a later one", "since": "later"}')
        assert not requests.stops(meant, lake)
    assert not requests.stops(meant, lake)
    assert not requests.stops(unmeant, lake)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "conquer"},
        {"kind": None},
        {"requested_at": "yesterday"},
        {"requested_at": "2026-01-01T00:00:00"},
        {"requested_at": 5},
        {"uris": "file:///a"},
        {"uris": [5]},
        {"prefix": None},
        {"reasons": {"gone": 1}},
        {"featurizer": ["a"]},
    ],
    ids=str,
)
def test_what_is_no_request_is_not_taken_for_one(change: dict[str, Any]) -> None:
    """Every field has its type: a text of uris is no list of letters."""
    text = json.dumps(json.loads(requests.forget(PICTURES).to_json()) | change)
    with pytest.raises((ValueError, TypeError)):
        Request.from_json("1", text)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '"text"', "{}", "[" * 100_000], ids=lambda text: text[:8])
def test_damaged_files_are_told_by_the_promised_errors(text: str) -> None:
    """Whatever a crash or a hand left there."""
    with pytest.raises((ValueError, KeyError, TypeError, RecursionError)):
        Request.from_json("1", text)


@pytest.mark.parametrize(("number", "said"), [(0, "0 pictures"), (1, "1 picture"), (1200, "1,200 pictures")])
def test_amounts_are_said_as_people_do(number: int, said: str) -> None:
    """One is singular."""
    assert requests.amount(number, "picture") == said
