import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conf import upkeep
from conf.errors import StorageError
from conf.tables import ARRIVALS
from tests.unit.lakes import Orchard

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


class TestCompact:
    """Small files become few, none with more rows than the bound."""

    def test_no_file_holds_more_rows_than_the_bound(self, orchard: Orchard, place: str) -> None:
        """Also beside large files, which hold more rows per byte; again and again until nothing is small."""
        orchard.arrive(*(f"file:///large/{number:06}" for number in range(2000)))
        for number in range(120):
            orchard.arrive(f"file:///small/{number}")
        before = orchard.uris(ARRIVALS)
        assert upkeep.compact(place, 50) == 120
        assert max(sizes(place)[:-1]) <= 50
        assert sizes(place)[-1] == 2000
        assert len(sizes(place)) < 60
        assert sorted(orchard.uris(ARRIVALS)) == sorted(before)

    def test_a_few_small_files_are_left(self, orchard: Orchard, place: str) -> None:
        """They are not worth a commit."""
        for number in range(20):
            orchard.arrive(f"file:///{number}")
        version = DeltaTable(place).version()
        assert upkeep.compact(place, 50) == 0
        assert DeltaTable(place).version() == version

    def test_an_empty_table_is_left(self, place: str) -> None:
        """There is nothing to merge."""
        assert upkeep.compact(place, 50) == 0

    def test_it_is_no_change_of_data(self, orchard: Orchard, place: str) -> None:
        """What reads the table as a stream sees nothing."""
        for number in range(100):
            orchard.arrive(f"file:///{number}")
        upkeep.compact(place, 5000)
        (log,) = Path(place, "_delta_log").glob(f"{DeltaTable(place).version():020}.json")
        assert '"operation":"OPTIMIZE"' in log.read_text()
        assert '"dataChange":true' not in log.read_text()

    def test_an_append_meanwhile_stays(self, orchard: Orchard, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The writer's handle may be older than the compaction, too."""
        writer = DeltaTable(place)
        for number in range(100):
            orchard.arrive(f"file:///{number}")
        opened = DeltaTable(place)
        row = opened.to_pyarrow_table().slice(0, 1)
        write_deltalake(place, row, mode="append")
        monkeypatch.setattr(upkeep, "open_table", lambda place: opened)
        assert upkeep.compact(place, 5000) == 100
        write_deltalake(writer, row, mode="append")
        assert DeltaTable(place).to_pyarrow_table().num_rows == 102

    def test_a_delete_meanwhile_wins(self, orchard: Orchard, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing that was deleted comes back."""
        for number in range(100):
            orchard.arrive(f"file:///{number}")
        opened = DeltaTable(place)
        opened.to_pyarrow_table()
        DeltaTable(place).delete("uri = 'file:///7'")
        monkeypatch.setattr(upkeep, "open_table", lambda place: opened)
        assert upkeep.compact(place, 5000) == 0
        assert "file:///7" not in orchard.uris(ARRIVALS)
        assert len(orchard.uris(ARRIVALS)) == 99


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
        upkeep.remember_removed(place, days)
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
        upkeep.remember_removed(place, 14)
        assert DeltaTable(place).version() == version


class TestLog:
    """Old entries of the log go as far as nobody needs them."""

    @pytest.fixture
    def aged(self, orchard: Orchard, place: str) -> str:
        """Return a table of eleven versions, of which all but the last two are 40 days old."""
        for number in range(10):
            orchard.arrive(f"file:///{number}")
            if number == 7:
                DeltaTable(place).create_checkpoint()
        for version in range(9):
            age(place, f"_delta_log/{version:020}.*", 40)
        return place

    @pytest.mark.parametrize(("needed", "gone"), [(None, 8), (10, 8), (11, 8), (9, 8), (8, 0), (3, 0)])
    def test_entries_go_that_nobody_needs(self, orchard: Orchard, aged: str, needed: int | None, gone: int) -> None:
        """None of them where a checkpoint needs an old one."""
        rows = sorted(orchard.uris(ARRIVALS))
        assert upkeep.trim_log(aged, needed, NOW) == gone
        assert sorted(orchard.uris(ARRIVALS)) == rows
        orchard.arrive("file:///more")
        assert len(orchard.uris(ARRIVALS)) == 11
        assert upkeep.trim_log(aged, needed, NOW) == 0

    def test_a_young_log_stays(self, orchard: Orchard, place: str) -> None:
        """And no checkpoint is written for it."""
        orchard.arrive("file:///a")
        assert upkeep.trim_log(place, None, NOW) == 0
        assert not list(Path(place, "_delta_log").glob("*.checkpoint.parquet"))


@pytest.mark.parametrize(
    ("work", "word"),
    [
        (lambda place: upkeep.compact(place, 5), "compacted"),
        (lambda place: upkeep.vacuum(place, NOW, NOW), "vacuumed"),
        (lambda place: upkeep.remember_removed(place, 3), "configured"),
    ],
)
def test_a_table_that_cannot_be_read_is_the_worlds_fault(place: str, work: Callable[[str], object], word: str) -> None:
    """The next round tries again."""
    for path in Path(place, "_delta_log").glob("*.json"):
        path.write_text("{")
    with pytest.raises(StorageError, match=f"arrivals cannot be {word}"):
        work(place)
