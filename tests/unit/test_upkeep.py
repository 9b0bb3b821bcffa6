import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from conf import upkeep
from conf.errors import StorageError
from conf.schemas import ARRIVALS
from tests.unit.lakes import Orchard

NOW = datetime.now(UTC)


@pytest.fixture
def place(orchard: Orchard) -> str:
    """Return where its arrivals lie."""
    return orchard.paths.table(ARRIVALS)


def age(place: str, pattern: str, days: float) -> None:
    """Let files of a table be as old as that."""
    stamp = (NOW - timedelta(days=days)).timestamp()
    for path in Path(place).glob(pattern):
        os.utime(path, (stamp, stamp))


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
