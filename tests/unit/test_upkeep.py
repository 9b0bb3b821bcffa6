import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conf import upkeep
from conf.errors import StorageError
from conf.tables import ARRIVALS, FEATURES
from tests.unit.lakes import ONE, OTHER, Orchard

NOW = datetime.now(UTC)


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Return an empty lake."""
    return Orchard(tmp_path / "lake")


@pytest.fixture
def place(orchard: Orchard) -> str:
    """Return where its arrivals lie."""
    return orchard.paths.table(ARRIVALS)


def sizes(place: str) -> list[int]:
    """Return the rows of each file of a table, sorted."""
    return sorted(pa.table(DeltaTable(place).get_add_actions(flatten=True))["num_records"].to_pylist())


def age(place: str, pattern: str, days: float) -> None:
    """Let files of a table be as old as that."""
    stamp = (NOW - timedelta(days=days)).timestamp()
    for path in Path(place).glob(pattern):
        os.utime(path, (stamp, stamp))


@pytest.fixture(autouse=True)
def _ten_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten files be worth a commit: a hundred take seconds to write."""
    monkeypatch.setattr(upkeep, "_FEW_FILES", 10)


class TestCompact:
    """Small files become few, none with more rows than the bound."""

    def test_no_file_holds_more_rows_than_the_bound(self, orchard: Orchard, place: str) -> None:
        """Also beside large files, which hold more rows per byte; again and again until nothing is small."""
        orchard.arrive(*(f"file:///large/{number:06}" for number in range(2000)))
        for number in range(12):
            orchard.arrive(f"file:///small/{number}")
        before = orchard.uris(ARRIVALS)
        assert upkeep.compact_rows(place, 5) == 12
        assert sizes(place) == [2, 5, 5, 2000]
        assert sorted(orchard.uris(ARRIVALS)) == sorted(before)

    def test_a_few_small_files_are_left(self, orchard: Orchard, place: str) -> None:
        """They are not worth a commit."""
        for number in range(4):
            orchard.arrive(f"file:///{number}")
        version = DeltaTable(place).version()
        assert upkeep.compact_rows(place, 50) == 0
        assert DeltaTable(place).version() == version

    def test_an_empty_table_is_left(self, place: str) -> None:
        """There is nothing to merge."""
        assert upkeep.compact_rows(place, 50) == 0

    def test_it_is_no_change_of_data(self, orchard: Orchard, place: str) -> None:
        """What reads the table as a stream sees nothing."""
        for number in range(10):
            orchard.arrive(f"file:///{number}")
        upkeep.compact_rows(place, 5000)
        (log,) = Path(place, "_delta_log").glob(f"{DeltaTable(place).version():020}.json")
        assert '"remove"' in log.read_text()
        assert '"dataChange":true' not in log.read_text()

    def test_an_append_meanwhile_stays(self, orchard: Orchard, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The writer's handle may be older than the compaction, too."""
        writer = DeltaTable(place)
        for number in range(10):
            orchard.arrive(f"file:///{number}")
        opened = DeltaTable(place)
        row = opened.to_pyarrow_table().slice(0, 1)
        write_deltalake(place, row, mode="append")
        monkeypatch.setattr(upkeep, "open_table", lambda place: opened)
        assert upkeep.compact_rows(place, 5000) == 10
        write_deltalake(writer, row, mode="append")
        assert DeltaTable(place).to_pyarrow_table().num_rows == 12

    def test_a_delete_meanwhile_wins(self, orchard: Orchard, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing that was deleted comes back."""
        for number in range(10):
            orchard.arrive(f"file:///{number}")
        opened = DeltaTable(place)
        opened.to_pyarrow_table()
        DeltaTable(place).delete("uri = 'file:///7'")
        monkeypatch.setattr(upkeep, "open_table", lambda place: opened)
        assert upkeep.compact_rows(place, 5000) == 0
        assert "file:///7" not in orchard.uris(ARRIVALS)
        assert len(orchard.uris(ARRIVALS)) == 9


class TestVacuum:
    """Files that the table does not name any more go when their time has come."""

    @pytest.mark.parametrize(("hours", "gone"), [(2, 0), (0, 1)])
    def test_by_when_they_were_removed(self, orchard: Orchard, place: str, hours: float, gone: int) -> None:
        """Not by when they were written."""
        orchard.arrive("file:///a")
        age(place, "*.parquet", 40)
        DeltaTable(place).delete("uri = 'file:///a'")
        now = datetime.now(UTC)
        assert upkeep.vacuum(place, now - timedelta(hours=hours), now) == gone
        assert len(list(Path(place).glob("*.parquet"))) == 1 - gone

    def test_what_was_never_committed_goes_by_its_age(self, place: str) -> None:
        """As a micro-batch leaves that was killed."""
        for name, days in (("old", 3), ("new", 0)):
            Path(place, f"{name}.parquet").touch()
            age(place, f"{name}.parquet", days)
        assert upkeep.vacuum(place, NOW - timedelta(days=1), NOW) == 1
        assert [path.name for path in Path(place).glob("*.parquet")] == ["new.parquet"]

    @pytest.mark.parametrize(("days", "gone"), [(14, 0), (20, 0)])
    def test_the_log_remembers_what_was_removed(self, orchard: Orchard, place: str, days: float, gone: int) -> None:
        """As long as VACUUM is to keep it: a checkpoint forgets older removals."""
        upkeep.configure(place, upkeep.remembering(days))
        orchard.arrive("file:///a")
        age(place, "*.parquet", 40)
        table = DeltaTable(place)
        table.delete("uri = 'file:///a'")
        table.create_checkpoint()
        assert upkeep.vacuum(place, NOW - timedelta(days=1), NOW) == gone
        assert DeltaTable(place).metadata().configuration["delta.deletedFileRetentionDuration"] == (
            f"interval {days + 1} days"
        )

    def test_nothing_to_do_is_no_commit(self, orchard: Orchard, place: str) -> None:
        """Though the log still remembers what went in an earlier round."""
        orchard.arrive("file:///a b%20c/🍑")
        DeltaTable(place).delete("true")
        now = datetime.now(UTC)
        assert upkeep.vacuum(place, now, now) == 1
        version = DeltaTable(place).version()
        assert upkeep.vacuum(place, now, now) == 0
        assert DeltaTable(place).version() == version

    def test_what_is_set_already_is_not_set_again(self, place: str) -> None:
        """Each change of a table's properties is a commit."""
        version = DeltaTable(place).version()
        upkeep.configure(place, upkeep.remembering(14))
        assert DeltaTable(place).version() == version


class TestCompactOfAPartition:
    """Small files of one featurizer become one."""

    def test_only_its_own_are_merged(self, orchard: Orchard, place: str) -> None:
        """When they are many; vectors, rows and the change feed stay as they are."""
        features = orchard.paths.table(FEATURES)
        for number in range(10):
            orchard.outcome({"uri": f"file:///{number}"}, featurizer=ONE)
        orchard.outcome({"uri": "file:///a"}, {"uri": "file:///b", "rejection": "empty"}, featurizer=OTHER)
        rows, version = orchard.rows(FEATURES), DeltaTable(features).version()
        assert upkeep.compact(features, featurizer=OTHER) == 0
        assert upkeep.compact(features, featurizer=ONE) == 10
        assert (sum(sizes(features)), len(sizes(features)) < 5) == (12, True)
        assert orchard.rows(FEATURES) == rows
        assert DeltaTable(features).version() == version + 1
        changes = DeltaTable(features).load_cdf(starting_version=1)
        assert sum(batch.num_rows for batch in changes) == 12
        assert upkeep.compact(features, featurizer=ONE) == 0


class TestLog:
    """Old entries of the log go where there are many, as far as nobody needs them."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take three versions for the most."""
        monkeypatch.setattr(upkeep, "_MOST_VERSIONS", 3)

    @pytest.fixture
    def long(self, orchard: Orchard, place: str) -> str:
        """Return a table of eleven versions with checkpoints of the fifth and the ninth, and Spark's checksums."""
        for number in range(1, 11):
            orchard.arrive(f"file:///{number:02}")
            Path(place, "_delta_log", f"{number:020}.crc").touch()
            Path(place, "_delta_log", f".{number:020}.json.crc").touch()
            if number in (4, 8):
                DeltaTable(place).create_checkpoint()
        return place

    @pytest.mark.parametrize(("needed", "gone"), [(None, 4), (7, 4), (8, 4), (11, 4), (4, 4), (3, 0)])
    def test_entries_go_that_nobody_needs(self, orchard: Orchard, long: str, needed: int | None, gone: int) -> None:
        """Up to a checkpoint, with everything that belongs to them; the table can be read and written as before."""
        rows = orchard.uris(ARRIVALS)
        assert upkeep.trim_log(long, needed) == gone
        assert orchard.uris(ARRIVALS) == rows
        names = [
            path.name.lstrip(".") for path in Path(long, "_delta_log").iterdir() if path.name != "_last_checkpoint"
        ]
        assert min(int(name[:20]) for name in names) == gone
        orchard.arrive("file:///more")
        assert orchard.uris(ARRIVALS) == [*rows, "file:///more"]

    def test_a_second_checkpoint_lets_more_go(self, orchard: Orchard, long: str) -> None:
        """As time goes on."""
        assert upkeep.trim_log(long, None) == 4
        orchard.arrive("file:///a")
        assert upkeep.trim_log(long, None) == 4
        assert upkeep.trim_log(long, None) == 0

    def test_a_short_log_stays(self, orchard: Orchard, place: str) -> None:
        """So does one without a checkpoint."""
        for number in range(6):
            orchard.arrive(f"file:///{number}")
        assert upkeep.trim_log(place, None) == 0


@pytest.mark.parametrize(
    ("work", "word"),
    [
        (lambda place: upkeep.compact_rows(place, 5), "compacted"),
        (lambda place: upkeep.compact(place), "compacted"),
        (lambda place: upkeep.vacuum(place, NOW, NOW), "vacuumed"),
        (lambda place: upkeep.configure(place, {"a": "b"}), "configured"),
    ],
)
def test_a_table_that_cannot_be_read_is_the_worlds_fault(place: str, work: Callable[[str], object], word: str) -> None:
    """The next round tries again."""
    for path in Path(place, "_delta_log").glob("*.json"):
        path.write_text("{")
    with pytest.raises(StorageError, match=f"arrivals cannot be {word}"):
        work(place)
