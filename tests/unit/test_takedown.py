import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

import verger
from conf import tables
from conf.errors import LakeError, StorageError
from conf.schemas import ARRIVALS, FEATURES
from streaming.arrivals import Arrivals
from streaming.commands import requests, retries, takedown, tombstones
from streaming.commands.requests import Answer, Request
from streaming.commands.selection import Selection, select
from streaming.discovery.sighting import Found
from tests.places import local
from tests.unit.lakes import MORNING, ONE, OTHER, Orchard, seconds

ANNA, ZOE, OTTO = (f"file:///landing/people/{name}.jpg" for name in ("anna", "zoe", "otto"))
NOON = MORNING + timedelta(hours=4)


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Make a lake with three pictures; one was overwritten, and all have outcomes of two featurizers."""
    orchard = Orchard(tmp_path / "lake")
    orchard.featurize(ANNA, OTTO, ZOE)
    orchard.arrive(ANNA, e_tag="2-2", landed_at=seconds(9))
    orchard.outcome({"uri": ANNA, "e_tag": "2-2", "landed_at": seconds(9), "rejection": "truncated"})
    orchard.outcome(*({"uri": uri, "features": [9.0]} for uri in (ANNA, OTTO, ZOE)), featurizer=OTHER)
    return orchard


def arrivals_of(orchard: Orchard) -> Arrivals:
    """Give a writer of its arrivals."""
    return Arrivals(orchard.paths.table(ARRIVALS))


def forget(orchard: Orchard, request: Request, arrivals: Arrivals | None = None, days: float = 14) -> Answer:
    """Execute a takedown at noon."""
    return takedown.forget(request, orchard.paths, arrivals or arrivals_of(orchard), days, lambda: NOON)


def recall(orchard: Orchard, selection: Selection) -> Answer:
    """Lift a takedown."""
    return takedown.recall(requests.recall(selection), orchard.paths, lambda: NOON)


def of(*uris: str, prefix: str = "") -> Request:
    """Ask for a takedown."""
    return requests.forget(Selection(uris, prefix))


def without_anna(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the rows of the others."""
    return [row for row in rows if row["uri"] != ANNA]


def holding(root: Path, uri: str) -> Iterator[str]:
    """Yield every file below a folder that holds a row of a picture."""
    for path in root.rglob("*.parquet"):
        columns = pq.read_schema(path).names
        if "uri" in columns and uri in pq.read_table(path, columns=["uri"], partitioning=None)["uri"].to_pylist():
            yield str(path.relative_to(root))


def vacuum(orchard: Orchard) -> None:
    """Delete what no table names any more, as upkeep does when the time has come."""
    for table in (ARRIVALS, FEATURES):
        delta = DeltaTable(orchard.paths.table(table))
        delta.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)


def test_a_takedown_removes_every_row_of_a_picture(orchard: Orchard) -> None:
    """Of all its versions and all featurizers; every other row stays as it is."""
    expected = [without_anna(orchard.rows(table)) for table in (ARRIVALS, FEATURES)]
    answer = forget(orchard, of(ANNA))
    assert [orchard.rows(table) for table in (ARRIVALS, FEATURES)] == expected
    assert answer.facts == {
        "pictures": 1,
        "unknown": 0,
        "arrivals": 2,
        "features": 3,
        "executed_at": "2026-03-01T12:00:00+00:00",
        "physical_after": "2026-03-15T12:00:00+00:00",
    }
    assert answer.sentence == (
        "1 picture forgotten: 2 arrivals and 3 outcomes removed; upkeep deletes the files that held them, from "
        "2026-03-15 12:00 UTC on; what is in the landing stays there and does not arrive until `verger forget --recall`"
    )
    assert answer.exit_code == 0
    json.dumps(answer.facts)


def test_a_prefix_takes_down_a_folder(orchard: Orchard) -> None:
    """And no neighbour whose name begins like it."""
    orchard.featurize("file:///landing/people.jpg", "file:///landing/people%20too/1.jpg")
    answer = forget(orchard, of(prefix="file:///landing/people/"))
    assert (answer.facts["pictures"], answer.facts["arrivals"], answer.facts["features"]) == (3, 4, 7)
    left = ["file:///landing/people%20too/1.jpg", "file:///landing/people.jpg"]
    assert orchard.uris(ARRIVALS) == orchard.uris(FEATURES) == left


def test_no_file_holds_the_picture_after_vacuum(orchard: Orchard) -> None:
    """Neither a table's data nor its change data, and nothing but the tables' logs of before names it."""
    root = orchard.root
    assert len(list(holding(root, ANNA))) > 2
    forget(orchard, of(ANNA))
    assert any("_change_data" in name for name in holding(root, ANNA))
    vacuum(orchard)
    assert list(holding(root, ANNA)) == []
    assert list(holding(root, ZOE)) != []
    naming = {path.relative_to(root).parts[:2] for path in root.rglob("*") if path.is_file() and _names_anna(path)}
    assert naming <= {(ARRIVALS.name, "_delta_log"), (FEATURES.name, "_delta_log")}
    logs = [path for path in root.rglob("_delta_log/*.json") if _names_anna(path)]
    assert all('"operation":"DELETE"' not in path.read_text() for path in logs)


def _names_anna(path: Path) -> bool:
    return b"anna" in path.read_bytes()


def test_the_change_feed_tells_of_a_takedown(orchard: Orchard) -> None:
    """The batch leg subtracts what went, from the feed alone."""
    forget(orchard, of(ANNA, ZOE))
    delta = DeltaTable(orchard.paths.table(FEATURES))
    changes = pa.table(delta.load_cdf(starting_version=delta.version()).read_all())
    columns = ("uri", "featurizer", "_change_type")
    found = sorted({tuple(row[name] for name in columns) for row in changes.select(list(columns)).to_pylist()})
    assert found == sorted((uri, featurizer, "delete") for uri in (ANNA, ZOE) for featurizer in (ONE, OTHER))


def test_the_lake_is_read_and_served_after_a_takedown(orchard: Orchard) -> None:
    """Arrow cannot compare texts with the statistics of files that delta-rs wrote anew, and is not asked to."""
    orchard.reject("gone", "file:///landing/people/gone.jpg")
    forget(orchard, of(ANNA))
    lake = verger.open(str(orchard.paths.root))
    assert lake.features(OTHER).num_rows == 2
    assert lake.rejections(ONE, "gone", "/landing/people/")["uri"].to_pylist() == ["file:///landing/people/gone.jpg"]
    request = requests.retry(selection=Selection(prefix="file:///landing/people/"))
    assert retries.retry(request, orchard.paths, arrivals_of(orchard), 9).facts["retried"] == 1
    assert forget(orchard, of(prefix="file:///landing/people/o")).facts["pictures"] == 1


def test_others_read_the_tables_after_a_takedown(orchard: Orchard) -> None:
    """Polars, with a filter on what delta-rs wrote anew, and the table stays at reader version 1."""
    forget(orchard, of(ANNA))
    for table, rows in ((ARRIVALS, 1), (FEATURES, 2)):
        place = orchard.paths.table(table)
        assert DeltaTable(place).protocol().min_reader_version == 1
        assert polars.scan_delta(place).filter(polars.col("uri") == ZOE).collect().height == rows
    orchard.reject("gone", "file:///landing/later.jpg")
    assert len(orchard.uris(FEATURES)) == 5


def test_what_was_forgotten_does_not_arrive_again(orchard: Orchard) -> None:
    """The driver's knowledge follows: the picture is new to it, and held back by its tombstone."""
    arrivals = arrivals_of(orchard)
    assert len(arrivals) == 4
    forget(orchard, of(ANNA), arrivals)
    assert len(arrivals) == 2
    held = tombstones.load(orchard.paths.tombstones).holds
    assert [held(uri) for uri in (ANNA, ZOE, OTTO)] == [True, False, False]
    found = [Found(uri, "1-1", MORNING, 1) for uri in (ANNA, ZOE)]
    assert list(arrivals.append(found, route="listing", rows_per_file=9, unless=held)) == []


def test_a_recalled_picture_arrives_again(orchard: Orchard) -> None:
    """As the first attempt at a new version; the others stay forgotten."""
    arrivals = arrivals_of(orchard)
    forget(orchard, of(ANNA, ZOE), arrivals)
    answer = recall(orchard, Selection((ANNA, OTTO)))
    assert answer == Answer("1 picture may arrive again; 1 picture had not been forgotten", {"recalled": 1})
    held = tombstones.load(orchard.paths.tombstones).holds
    found = [Found(uri, "1-1", MORNING, 1) for uri in (ANNA, ZOE, OTTO)]
    assert list(arrivals.append(found, route="listing", rows_per_file=9, unless=held)) == [1]
    assert orchard.uris(ARRIVALS) == [ANNA, OTTO]


def test_a_prefix_is_recalled(orchard: Orchard) -> None:
    """It covers what was forgotten by name, too."""
    forget(orchard, of(ANNA))
    answer = recall(orchard, Selection(prefix="file:///landing/"))
    assert answer.sentence == "whatever lies under the prefix may arrive again"
    assert not tombstones.load(orchard.paths.tombstones).holds(ANNA)


def test_a_recall_that_is_executed_twice_answers_alike(orchard: Orchard) -> None:
    """And does not undo a takedown that came after it."""
    forget(orchard, of(ANNA))
    request = requests.recall(Selection((ANNA,)))
    first = takedown.recall(request, orchard.paths, lambda: NOON)
    forget(orchard, of(ANNA))
    assert takedown.recall(request, orchard.paths, lambda: NOON) == first
    assert tombstones.load(orchard.paths.tombstones).holds(ANNA)


def test_a_picture_that_never_arrived_is_forgotten_in_advance(orchard: Orchard) -> None:
    """Nothing is committed, no checkpoint moves, and the answer says that there was nothing."""
    before = [orchard.version(table) for table in (ARRIVALS, FEATURES)]
    orchard.checkpoint(ONE)
    answer = forget(orchard, of("file:///landing/new.jpg"))
    assert [orchard.version(table) for table in (ARRIVALS, FEATURES)] == before
    assert orchard.paths.checkpoint(ONE).exists()
    assert (answer.facts["pictures"], answer.facts["unknown"]) == (0, 1)
    assert "0 pictures forgotten: 0 arrivals and 0 outcomes removed; of 1 named there was nothing" in answer.sentence
    assert tombstones.load(orchard.paths.tombstones).holds("file:///landing/new.jpg")


def test_named_twice_is_forgotten_once(orchard: Orchard) -> None:
    """A picture by its name and its folder counts as one."""
    answer = forget(orchard, of(ANNA, "file:///landing/new.jpg", prefix="file:///landing/people/a"))
    assert (answer.facts["pictures"], answer.facts["unknown"], answer.facts["arrivals"]) == (1, 1, 2)


@pytest.mark.parametrize("name", ["it's.jpg", "100%.jpg", "a\nb.jpg", "\udcff.jpg", "' OR 1=1 --.jpg"])
def test_odd_names_are_taken_down(name: str, orchard: Orchard) -> None:
    """A name is never taken for a piece of SQL, neither a picture's nor a folder's."""
    (odd,), folder = select([f"/landing/{name}"]).uris, select(prefix=f"/landing/x{name}/").prefix
    orchard.featurize(odd, f"{folder}1.jpg")
    assert forget(orchard, of(odd)).facts["pictures"] == 1
    assert forget(orchard, of(prefix=folder)).facts["pictures"] == 1
    assert set(orchard.uris(ARRIVALS)) == set(orchard.uris(FEATURES)) == {ANNA, OTTO, ZOE}


def test_thousands_are_taken_down_at_once(orchard: Orchard) -> None:
    """In a few commits."""
    uris = [f"file:///landing/{number}.jpg" for number in range(12_000)]
    orchard.featurize(*uris)
    before = orchard.version(FEATURES)
    answer = forget(orchard, of(*uris[::2], *uris[1::4]))
    assert (answer.facts["pictures"], answer.facts["features"]) == (9_000, 9_000)
    assert len(orchard.uris(ARRIVALS)) == 3_000 + 4
    assert orchard.version(FEATURES) == before + 1


def test_checkpoints_are_set_aside(orchard: Orchard) -> None:
    """Of every featurizer: they would bring rows back from files that the table no longer names."""
    for featurizer in (ONE, OTHER):
        orchard.checkpoint(featurizer)
    forget(orchard, of(ANNA))
    assert list(orchard.paths.checkpoints.iterdir()) == []
    aside = sorted(path.name.rpartition("-")[0] for path in orchard.paths.quarantine.iterdir())
    assert aside == [ONE, OTHER]


def test_a_table_of_components_is_cleaned_too(orchard: Orchard) -> None:
    """As soon as there is one."""
    place = str(orchard.paths.root / "components")
    DeltaTable.create(place, FEATURES.schema)
    write_deltalake(place, DeltaTable(orchard.paths.table(FEATURES)).to_pyarrow_table(), mode="append")
    assert forget(orchard, of(ANNA)).facts["components"] == 3
    assert ANNA not in DeltaTable(place).to_pyarrow_table()["uri"].to_pylist()


def test_a_takedown_that_is_executed_twice_changes_nothing_more(orchard: Orchard) -> None:
    """It answers alike, and leaves alone what was recalled and arrived since."""
    request = of(ANNA)
    first = forget(orchard, request)
    recall(orchard, Selection((ANNA,)))
    orchard.featurize(ANNA)
    before = [orchard.version(table) for table in (ARRIVALS, FEATURES)]
    orchard.checkpoint(ONE)
    assert forget(orchard, request) == first
    assert [orchard.version(table) for table in (ARRIVALS, FEATURES)] == before
    assert orchard.paths.checkpoint(ONE).exists()


class Crash(BaseException):
    """The end of the process."""


STEPS = [
    ("streaming.commands.takedown._counted", 0),
    ("streaming.commands.tombstones.save", 0),
    ("streaming.commands.takedown.set_aside", 0),
    ("streaming.commands.takedown.set_aside", 1),
    ("streaming.commands.takedown.delete_pictures", 0),
    ("streaming.commands.takedown.delete_pictures", 1),
    ("streaming.arrivals.Arrivals.reload", 1),
    ("streaming.commands.tombstones.save", 1),
]


@pytest.mark.parametrize(("step", "times"), STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_a_takedown_that_crashes_is_completed(
    step: str, times: int, after: bool, orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after any of its steps: executed again it ends as if nothing had happened, with the same answer."""
    for featurizer in (ONE, OTHER):
        orchard.checkpoint(featurizer)
    expected = [without_anna(orchard.rows(table)) for table in (ARRIVALS, FEATURES)]
    request = of(ANNA)
    with monkeypatch.context() as patch:
        patch.setattr(step, _crashing(resolve_name(step), times, after))
        with pytest.raises(Crash):
            forget(orchard, request)
    answer = forget(orchard, request)
    assert [orchard.rows(table) for table in (ARRIVALS, FEATURES)] == expected
    assert {name: answer.facts[name] for name in ("pictures", "arrivals", "features")} == {
        "pictures": 1,
        "arrivals": 2,
        "features": 3,
    }
    assert tombstones.load(orchard.paths.tombstones).holds(ANNA)
    assert not any(orchard.paths.checkpoints.iterdir())
    assert answer == forget(orchard, request)


def _crashing(step: Callable[..., Any], times: int, after: bool) -> Callable[..., Any]:
    """Give a step that ends the process at its call after `times`, before or after its work."""
    calls = iter(range(100))

    def run(*args: Any, **kwargs: Any) -> Any:
        if next(calls) < times:
            return step(*args, **kwargs)
        if after:
            step(*args, **kwargs)
        raise Crash

    return run


def test_tombstones_come_first(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first change to the tables on the picture cannot arrive, even if nobody completes the takedown."""

    def crash(*args: Any) -> None:
        raise Crash

    monkeypatch.setattr("streaming.commands.takedown.delete_pictures", crash)
    with pytest.raises(Crash):
        forget(orchard, of(ANNA))
    assert tombstones.load(orchard.paths.tombstones).holds(ANNA)


def test_a_concurrent_append_is_taken_down_too(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit between reading and deleting makes the deletion look again."""
    opened: list[str] = []

    def open_late(place: str) -> DeltaTable:
        table = tables.open_table(place)
        opened.append(Path(place).name)
        if opened == [FEATURES.name]:
            orchard.outcome({"uri": ANNA, "attempt": 2})
        if opened == [FEATURES.name, FEATURES.name, ARRIVALS.name]:
            orchard.arrive(ANNA, attempt=2)
        return table

    monkeypatch.setattr("conf.deletion.open_table", open_late)
    forget(orchard, of(ANNA))
    assert opened == [FEATURES.name] * 2 + [ARRIVALS.name] * 2
    assert ANNA not in orchard.uris(ARRIVALS) + orchard.uris(FEATURES)


def test_losing_every_race_leaves_the_takedown_to_be_completed(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that somebody else keeps writing is the world's fault: later it works."""

    def open_late(place: str) -> DeltaTable:
        table = tables.open_table(place)
        orchard.outcome({"uri": ANNA, "attempt": 2})
        return table

    request = of(ANNA)
    with monkeypatch.context() as patch:
        patch.setattr("conf.deletion.open_table", open_late)
        with pytest.raises(StorageError, match=r"rows of .* cannot be deleted: another writer was first, 5 times"):
            forget(orchard, request)
    forget(orchard, request)
    assert ANNA not in orchard.uris(ARRIVALS) + orchard.uris(FEATURES)


def test_a_full_disk_leaves_the_takedown_to_be_completed(orchard: Orchard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it could not be written: a tombstone, a table, or a checkpoint set aside."""
    orchard.checkpoint(ONE)
    request = of(ANNA)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    for step in (
        "streaming.commands.tombstones.write_atomically",
        "pathlib.Path.rename",
        "deltalake.DeltaTable.delete",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(step, full)
            with pytest.raises(StorageError, match="No space left on device"):
                forget(orchard, request)
    assert forget(orchard, request).facts["pictures"] == 1


def test_a_damaged_tombstone_stops_takedowns(orchard: Orchard) -> None:
    """Their order would be lost with it; the message says which file."""
    orchard.paths.tombstones.mkdir()
    local(orchard.paths.tombstones / "x.json").write_text("{}")
    with pytest.raises(LakeError, match=r"the tombstone .*x\.json is damaged"):
        forget(orchard, of(ANNA))
    with pytest.raises(LakeError, match=r"the tombstone .*x\.json is damaged"):
        recall(orchard, Selection((ANNA,)))
    assert ANNA in orchard.uris(ARRIVALS)


def test_upkeep_learns_when_files_must_go(orchard: Orchard) -> None:
    """From the takedowns whose time has come: the moment of the latest; recalls and unfinished ones do not count."""
    paths = orchard.paths
    assert takedown.must_go_before(paths, NOON) is None
    for hours, uri in ((0, ANNA), (5, ZOE)):
        clock = iter([NOON + timedelta(hours=hours)])
        takedown.forget(of(uri), paths, arrivals_of(orchard), 2, clock.__next__)
    recall(orchard, Selection((ANNA,)))
    tombstones.save(paths.tombstones, tombstones.tombstone("x", 9, Selection((OTTO,)), forgotten=True))
    due = NOON + timedelta(days=2)
    assert takedown.must_go_before(paths, due - timedelta(seconds=1)) is None
    assert takedown.must_go_before(paths, due) == NOON
    assert takedown.must_go_before(paths, due + timedelta(hours=5)) == NOON + timedelta(hours=5)


def test_what_was_removed_is_older_than_the_takedown(orchard: Orchard) -> None:
    """Files are marked as removed before the moment that upkeep is told, by the same clock."""
    answer = takedown.forget(of(ANNA), orchard.paths, arrivals_of(orchard), 0, lambda: datetime.now(UTC))
    executed_at = datetime.fromisoformat(answer.facts["executed_at"])
    removed = [
        json.loads(line)["remove"]["deletionTimestamp"]
        for path in orchard.root.rglob("_delta_log/*.json")
        for line in path.read_text().splitlines()
        if '"remove"' in line
    ]
    assert removed
    assert max(removed) <= executed_at.timestamp() * 1000
    assert answer.facts["physical_after"] == answer.facts["executed_at"]
