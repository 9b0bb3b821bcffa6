"""What commands ask of a lake while nobody streams: they do it themselves, and the next run finds it done."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest

import verger
from bootstrap import orchard
from conf import lease
from conf.lake import LakePaths
from conf.schemas import ARRIVALS, FEATURES
from conf.settings import Settings
from conf.uris import uri_of
from streaming.commands import errands, inbox, requests
from streaming.commands.selection import select
from tests.places import local
from tests.spark.attended import below, picture, place, repair
from tests.spark.conftest import Run
from tests.spark.ledger import arrivals, assert_complete, outcomes, uris


@pytest.fixture
def short() -> Iterator[Path]:
    """Give a landing with a short name: statistics in a table's log cut longer uris, and would hide a picture's."""
    with TemporaryDirectory(prefix="v") as root:
        yield Path(root) / "l"


def holding(root: Path) -> set[str]:
    """Tell where below a lake a person is named: by a file's name, its bytes or its rows."""
    naming = [path.relative_to(root) for path in root.rglob("*") if path.is_file() and b"person-" in _content(path)]
    return {"_change_data" if "_change_data" in path.parts else path.parts[0] for path in naming}


def _content(path: Path) -> bytes:
    """Give a file's path and bytes, and what a Parquet file holds, whose pages are compressed."""
    told = os.fsencode(path) + path.read_bytes()
    rows = pq.ParquetFile(path).read().to_pylist() if path.suffix == ".parquet" else []
    return told + json.dumps(rows, default=str).encode()


def test_without_a_driver_the_command_does_it_itself(run: Run, landing: Path, lake: LakePaths) -> None:
    """And the next run finds it done: a repaired picture to try again, forgotten ones to leave alone."""
    settings = Settings(lake=str(lake.root))
    good = picture()
    mended = place(bytes(len(good)), landing / "Pear" / "mended.jpg")
    assert run().rejected == 1
    repair(mended, good)
    tried = errands.have_done(lake, requests.retry(["not_a_picture"]), settings)
    assert (tried.exit_code, tried.facts["retried"]) == (0, 1)
    assert run().featurized == 1
    opened = verger.open(str(lake.root))
    assert uri_of(mended) in uris(opened.features())
    assert opened.rejections().num_rows == 0

    pears = errands.have_done(lake, requests.forget(below(landing / "Pear")), settings)
    assert (pears.exit_code, pears.facts["pictures"], pears.facts["features"]) == (0, 3, 4)
    assert (len(arrivals(lake)), len(outcomes(lake))) == (22, 22)
    totals = run()
    assert (totals.featurized, totals.landed, totals.passed_over["forgotten"]) == (0, 22, 3)
    assert errands.have_done(lake, requests.recall(below(landing / "Pear")), settings).exit_code == 0
    assert run().featurized == 3
    assert_complete(lake, landing)
    assert lease.holder(lake.lease("stream")) is None


def test_what_was_left_for_the_driver_is_done_before_it_looks_at_the_landing(
    run: Run, landing: Path, lake: LakePaths
) -> None:
    """A picture that is forgotten before it was ever seen does not arrive."""
    picture_in = min(landing.rglob("*.jpg"))
    request = requests.forget(select([str(picture_in)]))
    inbox.submit(lake.requests, request)
    totals = run()
    assert (totals.landed, totals.passed_over["forgotten"]) == (23, 1)
    assert uri_of(picture_in) not in uris(verger.open(str(lake.root)).features())
    answer = inbox.answer_of(lake.requests, request.id)
    assert answer is not None
    assert (answer.exit_code, answer.facts["pictures"], answer.facts["unknown"]) == (0, 0, 1)


def test_nothing_names_forgotten_pictures_once_they_are_vacuumed(run: Run, lake: LakePaths, short: Path) -> None:
    """Neither data nor change data, logs, checkpoints, reports, answers, tombstones; not under their label either."""
    for name in ("A", "M", "Z"):
        place(picture(), short / f"person-{name}" / f"person-{name}.jpg")
    people = [*short.rglob("*.jpg"), place(b"no picture", short / "person-M" / "person-M2.jpg")]
    others = orchard.plant(short, 6, seed=1)
    settings = Settings(lake=str(lake.root), vacuum_days=0.0)
    run(landing=str(short))
    assert holding(local(lake.root)) == {ARRIVALS.name, FEATURES.name}
    assert errands.have_done(lake, requests.forget(select(list(map(str, people)))), settings).facts["features"] == 4
    assert holding(local(lake.root)) == {ARRIVALS.name, FEATURES.name, "_change_data"}
    assert errands.have_done(lake, requests.upkeep(), settings).exit_code == 0
    assert holding(local(lake.root)) == set()
    run(landing=str(short))
    assert uris(verger.open(str(lake.root)).features()) == sorted(map(uri_of, others))
    assert holding(local(lake.root)) == set()
