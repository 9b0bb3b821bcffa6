"""What commands ask of a lake while a stream runs: it does it, and goes on."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

import verger
from conf import lease
from conf.lake import LakePaths, create_lake
from conf.schemas import ARRIVALS, FEATURES, Table
from conf.settings import Settings
from conf.uris import uri_of
from streaming.backbones.shelf import Compiled, save
from streaming.commands import errands, inbox, requests
from streaming.commands.selection import select
from tests.conftest import TINY
from tests.places import local
from tests.spark.attended import Attended, attended, below, picture, place, repair
from tests.spark.ledger import arrivals, outcomes


@pytest.fixture(scope="module")
def running(spark: SparkSession, embedded: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attended]:
    """Run one stream for all tests, each of which has a folder of the landing to itself."""
    root = tmp_path_factory.mktemp("asked")
    (root / "landing").mkdir()
    save(embedded, create_lake(str(root / "lake")).backbones)

    @contextmanager
    def sessions(name: str, **_: Any) -> Iterator[SparkSession]:
        yield spark

    settings = Settings(
        landing=str(root / "landing"),
        lake=str(root / "lake"),
        backbone=(TINY,),
        settle=0.0,
        poll=0.2,
        trigger=0.2,
        batch_pictures=2,
    )
    with attended(settings, sessions) as started:
        yield started


def rows(lake: LakePaths, table: Table, *places: Path) -> list[dict[str, Any]]:
    """Read the rows of some pictures, or of all below folders, by uri and attempt."""
    starts = tuple(uri_of(place) if place.suffix else f"{uri_of(place)}/" for place in places)
    found = DeltaTable(lake.table(table)).to_pyarrow_table().to_pylist()
    return sorted((row for row in found if row["uri"].startswith(starts)), key=lambda row: (row["uri"], row["attempt"]))


def have_outcomes(lake: LakePaths, folder: Path, number: int) -> Callable[[], bool]:
    """Give the question whether so many outcomes of a folder's pictures are there."""
    return lambda: len(rows(lake, FEATURES, folder)) == number


@pytest.mark.long
def test_a_picture_repaired_in_place_gets_features_by_a_retry(running: Attended) -> None:
    """Its version arrives once more, as attempt 2, whose outcome wins; what is bad still is rejected again."""
    folder = running.landing / "repaired"
    good = picture()
    running.land("repaired")
    mended, left = (place(bytes(len(good)), folder / name) for name in ("mended.jpg", "left.jpg"))
    running.until(have_outcomes(running.lake, folder, 3))
    repair(mended, good)
    answer = running.ask(requests.retry(["not-a-picture"], below(folder)))
    assert (answer.exit_code, answer.facts) == (0, {"retried": 2, "waiting": 0, "left_out": {}})
    running.until(have_outcomes(running.lake, folder, 5))

    opened = verger.open(running.settings.lake)
    (rejected,) = opened.rejections(prefix=f"{folder}/").to_pylist()
    assert (rejected["uri"], rejected["attempt"]) == (uri_of(left), 2)
    featurized = {row["uri"]: row for row in opened.features().to_pylist()}
    first, second = rows(running.lake, FEATURES, mended)
    assert (first["attempt"], first["rejection"]) == (1, "not_a_picture")
    assert featurized[uri_of(mended)]["features"] == second["features"] != first["features"]
    assert (second["e_tag"], second["attempt"]) == (first["e_tag"], 2)

    again = running.ask(requests.retry(selection=below(folder)))
    assert again.facts == {"retried": 0, "waiting": 0, "left_out": {"not_a_picture": 1}}


def test_a_forgotten_picture_leaves_alone_and_returns_when_recalled(running: Attended) -> None:
    """It lies in the landing all the while; its neighbours' rows stay as they are, and what lands is featurized."""
    folder = running.landing / "taken"
    gone, *others = running.land("taken", 3)
    running.until(have_outcomes(running.lake, folder, 3))
    expected = [rows(running.lake, table, *others) for table in (ARRIVALS, FEATURES)]
    answer = running.ask(requests.forget(select([str(gone)])))
    assert answer.exit_code == 0
    assert {name: answer.facts[name] for name in ("pictures", "unknown", "arrivals", "features")} == {
        "pictures": 1,
        "unknown": 0,
        "arrivals": 1,
        "features": 1,
    }
    assert [rows(running.lake, table, folder) for table in (ARRIVALS, FEATURES)] == expected

    (later,) = running.land("taken")
    running.until(have_outcomes(running.lake, later, 1))
    assert [row["uri"] for row in rows(running.lake, ARRIVALS, folder)] == sorted(map(uri_of, [*others, later]))
    assert running.totals.passed_over["forgotten"] >= 1

    assert running.ask(requests.recall(select([str(gone)]))).facts == {"recalled": 1}
    running.until(have_outcomes(running.lake, gone, 1))
    assert rows(running.lake, FEATURES, gone)[0]["features"] is not None
    assert rows(running.lake, FEATURES, *others) == expected[1]


@pytest.mark.long
def test_a_forgotten_prefix_takes_what_lands_there_later_too(running: Attended) -> None:
    """Down to the slash: the folder whose name begins like it is nobody's business."""
    folder, neighbour = running.landing / "people", running.landing / "people too"
    running.land("people", 2)
    running.land("people too", 1)
    running.until(lambda: len(rows(running.lake, FEATURES, folder, neighbour)) == 3)
    assert running.ask(requests.forget(below(folder))).facts["pictures"] == 2
    running.land("people", 1)
    running.land("people too", 1)
    running.until(have_outcomes(running.lake, neighbour, 2))
    assert rows(running.lake, ARRIVALS, folder) == rows(running.lake, FEATURES, folder) == []
    running.ask(requests.recall(below(folder)))
    running.until(have_outcomes(running.lake, folder, 3))
    assert len(rows(running.lake, ARRIVALS, folder)) == 3


@pytest.mark.long
def test_requests_of_several_commands_at_once_are_all_executed(running: Attended) -> None:
    """Each command gets its own answer, and the pictures that nobody spoke of have their one outcome."""
    folder = running.landing / "several"
    one, other, left = running.land("several", 3)
    bad = place(b"nothing to see", folder / "bad.jpg")
    running.until(have_outcomes(running.lake, folder, 4))
    asked = [
        requests.forget(select([str(one)])),
        requests.retry(["not_a_picture"], below(folder)),
        requests.forget(select([str(other)])),
        requests.upkeep(),
    ]
    with ThreadPoolExecutor(len(asked)) as commands:
        answers = list(commands.map(running.ask, asked))
    assert [answer.exit_code for answer in answers] == [0, 0, 0, 0]
    assert [answer.facts.get("pictures") for answer in answers] == [1, None, 1, None]
    running.until(have_outcomes(running.lake, folder, 3))
    found = [(row["uri"], row["attempt"]) for row in rows(running.lake, FEATURES, folder)]
    assert found == sorted([(uri_of(left), 1), (uri_of(bad), 1), (uri_of(bad), 2)])
    assert inbox.pending(running.lake.requests) == []


@pytest.mark.long
def test_what_is_asked_wrongly_is_answered_and_the_stream_goes_on(running: Attended) -> None:
    """With the exit code that the command returns; a request that nobody can read is one of them."""
    (featurizer,) = running.totals.featurizers
    refused = running.ask(requests.drop(featurizer))
    assert (refused.exit_code, "is being streamed" in refused.sentence) == (2, True)
    unknown = running.ask(requests.retry(featurizer="vgg16"))
    assert (unknown.exit_code, "no featurizer begins so" in unknown.sentence) == (2, True)
    local(running.lake.requests / "20260101T000000-cut.json").write_text("{")
    nothing = running.ask(requests.forget(select([str(running.landing / "nobody.jpg")])))
    assert (nothing.exit_code, nothing.facts["unknown"]) == (0, 1)
    told = inbox.answer_of(running.lake.requests, "20260101T000000-cut")
    assert told is not None
    assert told.exit_code == 1
    (landed,) = running.land("onwards")
    running.until(have_outcomes(running.lake, landed, 1))


def test_after_all_requests_each_arrival_has_one_outcome(running: Attended) -> None:
    """Each takedown set the checkpoint aside: nothing was lost on the way, nothing doubled."""
    (landed,) = running.land("last")
    running.until(have_outcomes(running.lake, landed, 1))
    arrived = arrivals(running.lake)
    assert set(arrived.values()) == {1}
    assert outcomes(running.lake) == arrived


def test_a_stop_request_ends_the_stream_between_micro_batches(running: Attended) -> None:
    """The command waits for the end; what was committed stands, and a second command finds nobody."""
    running.land("many", 60)
    running.until(lambda: running.totals.backlog >= 48)
    answer = errands.have_stopped(running.lake)
    assert (answer.exit_code, answer.sentence) == (0, f"the stream on {running.lake.root} has ended")
    assert lease.holder(running.lake.lease("stream")) is None
    running.until(lambda: running.ended)
    arrived, done = arrivals(running.lake), outcomes(running.lake)
    assert 0 < running.totals.backlog == len(arrived) - len(done)
    assert set(done.values()) == {1}
    assert done.keys() <= arrived.keys()
    assert errands.have_stopped(running.lake).sentence == f"no stream runs on {running.lake.root}"
