import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conf import lease
from conf.schemas import ARRIVALS, COMPONENTS, FEATURES, Table
from streaming.arrivals import Arrivals
from streaming.commands import requests, takedown
from streaming.commands.selection import Selection
from streaming.upkeeping import keep_up, needs_pause, prepare
from tests.unit.fields import Field
from tests.unit.lakes import ONE, OTHER, Orchard

NOW = datetime.now(UTC)
LATER = NOW + timedelta(seconds=1)
ANNA, OTTO = "file:///landing/anna.jpg", "file:///landing/otto.jpg"


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Return a lake in which two pictures were featurized and the files of both tables were written anew."""
    orchard = Orchard(tmp_path / "lake")
    orchard.featurize(ANNA, OTTO)
    for table in (ARRIVALS, FEATURES):
        DeltaTable(orchard.paths.table(table)).delete(f"uri = '{OTTO}'")
    return orchard


def files(orchard: Orchard, table: Table) -> int:
    """Count a table's files, and those of its change feed, on disk."""
    return len(list(Path(orchard.paths.table(table)).rglob("[!.]*.parquet"))) - len(
        list(Path(orchard.paths.table(table), "_delta_log").glob("*.parquet"))
    )


def reads_from(orchard: Orchard, version: int, days: float) -> None:
    """Leave the checkpoint of a query that goes on from a version of arrivals, which is so many days old."""
    folder = orchard.checkpoint(ONE)
    (folder / "offsets").mkdir()
    (folder / "commits").mkdir()
    source = {"reservoirId": "x", "reservoirVersion": version, "index": -1, "isStartingVersion": False}
    (folder / "metadata").write_text(json.dumps({"id": "q"}))
    (folder / "offsets" / "0").write_text("v1\n{}\n" + json.dumps(source))
    (folder / "commits" / "0").write_text("v1\n{}")
    for each in (version - 1, version):
        aged(orchard, ARRIVALS, each, days)


def aged(orchard: Orchard, table: Table, version: int, days: float) -> None:
    """Let a version of a table be as old as that."""
    stamp = (NOW - timedelta(days=days)).timestamp()
    path = Path(orchard.paths.table(table), "_delta_log", f"{version:020}.json")
    if path.exists():
        os.utime(path, (stamp, stamp))


def test_files_that_nobody_needs_go(orchard: Orchard) -> None:
    """The first file of each table, and what the change feed held."""
    assert (files(orchard, ARRIVALS), files(orchard, FEATURES)) == (2, 3)
    answer = keep_up(orchard.paths, 0, 5000, LATER, queries_run=False)
    assert (files(orchard, ARRIVALS), files(orchard, FEATURES)) == (1, 1)
    assert answer.facts == {"merged": 0, "deleted": 3, "log_entries": 0}
    assert "3 files deleted" in answer.sentence
    assert orchard.uris(ARRIVALS) == orchard.uris(FEATURES) == [ANNA]


@pytest.mark.parametrize(("days", "running"), [(0, True), (1, False)])
def test_files_stay_that_readers_or_micro_batches_may_hold(orchard: Orchard, days: float, running: bool) -> None:
    """For the days that were asked for, and for one where a query runs."""
    assert keep_up(orchard.paths, days, 5000, LATER, queries_run=running).facts["deleted"] == 0


def test_a_clock_set_forward_takes_no_file_from_a_running_micro_batch(orchard: Orchard) -> None:
    """What no commit has named yet goes only while no query runs, however old the clock makes it."""
    under_way = Path(orchard.paths.table(FEATURES)) / "part-under-way.parquet"
    under_way.write_bytes(b"rows")
    days_later = LATER + timedelta(days=3)
    keep_up(orchard.paths, 0, 5000, days_later, queries_run=True)
    assert under_way.exists()
    keep_up(orchard.paths, 0, 5000, days_later, queries_run=False)
    assert not under_way.exists()


@pytest.mark.parametrize(("version", "deleted"), [(1, 2), (2, 3), (3, 3)])
def test_the_oldest_checkpoint_keeps_arrivals(orchard: Orchard, version: int, deleted: int) -> None:
    """As long as it is to read what was removed since; a version that is still to come keeps nothing."""
    reads_from(orchard, version, 3 if version == 1 else -1)
    assert keep_up(orchard.paths, 0, 5000, LATER, queries_run=False).facts["deleted"] == deleted


@pytest.mark.parametrize(("newest", "deleted"), [(1, 1), (2, 3)])
def test_the_oldest_of_the_newest_models_keeps_features(orchard: Orchard, newest: int, deleted: int) -> None:
    """A refit reads what changed since it."""
    models = [(ONE, 0), (ONE, newest), (OTHER, 2)]
    rows = [{"featurizer": each, "features_version": version, "created_at": NOW} for each, version in models]
    write_deltalake(str(orchard.paths.root / "models"), pa.Table.from_pylist(rows))
    aged(orchard, FEATURES, 1, 3)
    aged(orchard, FEATURES, 2, -1)
    assert keep_up(orchard.paths, 0, 5000, LATER, queries_run=False).facts["deleted"] == deleted


def test_a_model_that_is_long_without_a_successor_keeps_nothing(orchard: Orchard) -> None:
    """Else the last refit of a featurizer that nobody streams any more would keep features for ever."""
    row = {"featurizer": ONE, "features_version": 1, "created_at": NOW - timedelta(days=31)}
    write_deltalake(str(orchard.paths.root / "models"), pa.Table.from_pylist([row]))
    aged(orchard, FEATURES, 1, 31)
    aged(orchard, FEATURES, 2, -1)
    assert keep_up(orchard.paths, 0, 5000, LATER, queries_run=False).facts["deleted"] == 3


def test_a_due_takedown_leaves_no_component_either(tmp_path: Path) -> None:
    """Those that a refit published before are gone, with their files; while one runs, the next round sees to it."""
    field = Field(tmp_path / "lake")
    uris = [f"file:///landing/{name}.jpg" for name in ("anna", "otto", "zoe", "max")]
    field.arrive(*uris)
    field.grow(*uris)
    field.refit()
    request = requests.forget(Selection((ANNA,)))
    takedown.forget(request, field.paths, Arrivals(field.paths.table(ARRIVALS)), 0, lambda: datetime.now(UTC))
    assert field.uris(COMPONENTS) == sorted(uris[1:])
    with lease.hold(field.paths.lease("refit")):
        keep_up(field.paths, 14, 5000, datetime.now(UTC), queries_run=False)
    assert naming(field) == {"components"}
    keep_up(field.paths, 14, 5000, datetime.now(UTC), queries_run=False)
    assert naming(field) == set()
    assert field.refit().written
    assert field.uris(COMPONENTS) == sorted(uris[1:])


def naming(orchard: Orchard) -> set[str]:
    """Give the tables of which a file names the picture."""
    root = orchard.root
    found = [path for path in root.rglob("*") if path.is_file() and b"anna" in path.read_bytes()]
    return {path.relative_to(root).parts[0] for path in found}


def test_a_due_takedown_comes_first(orchard: Orchard) -> None:
    """Whatever checkpoint or model would have needed the files."""
    paths = orchard.paths
    request = requests.forget(Selection((ANNA,)))
    takedown.forget(request, paths, Arrivals(paths.table(ARRIVALS)), 0, lambda: datetime.now(UTC))
    reads_from(orchard, 1, 3)
    now = datetime.now(UTC)
    assert needs_pause(paths, now)
    assert not needs_pause(paths, now + timedelta(days=2))
    keep_up(paths, 14, 5000, now, queries_run=False)
    assert (files(orchard, ARRIVALS), files(orchard, FEATURES)) == (0, 0)
    assert naming(orchard) == set()
    assert keep_up(paths, 14, 5000, now, queries_run=False).facts["deleted"] == 0
    orchard.featurize(OTTO)
    assert orchard.uris(ARRIVALS) == orchard.uris(FEATURES) == [OTTO]


def test_small_files_are_merged(orchard: Orchard) -> None:
    """And the answer says how many."""
    for number in range(120):
        orchard.arrive(f"file:///{number}")
    assert keep_up(orchard.paths, 14, 5000, LATER, queries_run=True).facts["merged"] == 121
    assert len(orchard.uris(ARRIVALS)) == 121


def test_the_tables_remember_for_as_long_as_files_are_kept(orchard: Orchard) -> None:
    """Both of them; said twice, it is set once."""
    for _ in range(2):
        prepare(orchard.paths, 40)
    for table in (ARRIVALS, FEATURES):
        said = DeltaTable(orchard.paths.table(table)).metadata().configuration
        assert said["delta.deletedFileRetentionDuration"] == "interval 41 days"
    assert orchard.version(ARRIVALS) == 3
