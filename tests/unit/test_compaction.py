from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from conf import compaction
from conf.errors import StorageError
from conf.schemas import ARRIVALS, FEATURES
from conf.tables import open_table
from tests.unit.lakes import ONE, OTHER, Orchard


@pytest.fixture
def place(orchard: Orchard) -> str:
    """Return where its arrivals lie."""
    return orchard.paths.table(ARRIVALS)


@pytest.fixture
def features(orchard: Orchard) -> str:
    """Return where its features lie, ten small files of them."""
    for number in range(10):
        rejected = {"rejection": "empty", "label": None} if number % 2 else {}
        orchard.outcome({"uri": f"file:///{number}", **rejected}, featurizer=ONE)
    return orchard.paths.table(FEATURES)


def sizes(place: str) -> list[int]:
    """Return the rows of each file of a table, sorted."""
    return sorted(pa.table(DeltaTable(place).get_add_actions(flatten=True))["num_records"].to_pylist())


@pytest.fixture(autouse=True)
def _ten_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten files be worth a commit: a hundred take seconds to write."""
    monkeypatch.setattr(compaction, "_FEW_FILES", 10)


class TestCompact:
    """Small files become few, none with more rows than the bound."""

    def test_no_file_holds_more_rows_than_the_bound(self, orchard: Orchard, place: str) -> None:
        """Also beside large files, which hold more rows per byte; again and again until nothing is small."""
        orchard.arrive(*(f"file:///large/{number:06}" for number in range(2000)))
        for number in range(12):
            orchard.arrive(f"file:///small/{number}")
        before = orchard.uris(ARRIVALS)
        assert compaction.compact_rows(place, 5) == 12
        assert sizes(place) == [2, 5, 5, 2000]
        assert sorted(orchard.uris(ARRIVALS)) == sorted(before)

    def test_a_few_small_files_are_left(self, orchard: Orchard, place: str) -> None:
        """They are not worth a commit."""
        for number in range(4):
            orchard.arrive(f"file:///{number}")
        version = DeltaTable(place).version()
        assert compaction.compact_rows(place, 50) == 0
        assert DeltaTable(place).version() == version

    def test_an_empty_table_is_left(self, place: str) -> None:
        """There is nothing to merge."""
        assert compaction.compact_rows(place, 50) == 0

    def test_it_is_no_change_of_data(self, orchard: Orchard, place: str) -> None:
        """What reads the table as a stream sees nothing."""
        for number in range(10):
            orchard.arrive(f"file:///{number}")
        compaction.compact_rows(place, 5000)
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
        monkeypatch.setattr(compaction, "open_table", lambda place: opened)
        assert compaction.compact_rows(place, 5000) == 10
        write_deltalake(writer, row, mode="append")
        assert DeltaTable(place).to_pyarrow_table().num_rows == 12

    def test_a_delete_meanwhile_wins(self, orchard: Orchard, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing that was deleted comes back."""
        for number in range(10):
            orchard.arrive(f"file:///{number}")
        opened = DeltaTable(place)
        opened.to_pyarrow_table()
        DeltaTable(place).delete("uri = 'file:///7'")
        monkeypatch.setattr(compaction, "open_table", lambda place: opened)
        assert compaction.compact_rows(place, 5000) == 0
        assert "file:///7" not in orchard.uris(ARRIVALS)
        assert len(orchard.uris(ARRIVALS)) == 9


class TestCompactOfAPartition:
    """Small files of one featurizer become one."""

    def test_only_its_own_are_merged(self, orchard: Orchard, features: str) -> None:
        """When they are many; vectors, rows and the change feed stay as they are."""
        orchard.outcome({"uri": "file:///a"}, {"uri": "file:///b", "rejection": "empty"}, featurizer=OTHER)
        rows, version = orchard.rows(FEATURES), DeltaTable(features).version()
        assert compaction.compact(features, featurizer=OTHER) == 0
        assert compaction.compact(features, featurizer=ONE) == 10
        assert (sum(sizes(features)), len(sizes(features)) < 5) == (12, True)
        assert orchard.rows(FEATURES) == rows
        assert DeltaTable(features).version() == version + 1
        changes = DeltaTable(features).load_cdf(starting_version=1)
        assert sum(batch.num_rows for batch in changes) == 12
        assert compaction.compact(features, featurizer=ONE) == 0

    def test_the_log_says_of_the_new_file_what_it_said_of_the_old_ones(self, features: str) -> None:
        """The least, the greatest and how many nulls, of each column that it knew them of."""
        before = pa.table(DeltaTable(features).get_add_actions(flatten=True))
        compaction.compact(features, featurizer=ONE)
        (after,) = pa.table(DeltaTable(features).get_add_actions(flatten=True)).to_pylist()
        for name in before.schema.names:
            kind = name.partition(".")[0]
            known = [value for value in before[name].to_pylist() if value is not None]
            if kind in ("min", "max", "null_count"):
                extreme: Any = {"min": min, "max": max, "null_count": sum}[kind]
                assert after[name] == (extreme(known) if known else None), name
        assert after["num_records"] == 10
        assert after["null_count.rejection"] == 5

    def test_of_two_at_a_time_one_is_refused(
        self, orchard: Orchard, features: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows that both have merged would stand twice: of another thread, or of a driver that was stopped and woke."""
        rows, opened = orchard.rows(FEATURES), open_table(features)
        assert compaction.compact(features, featurizer=ONE) == 10
        files = set(Path(features).rglob("*.parquet"))
        answers = iter([opened])
        monkeypatch.setattr(compaction, "open_table", lambda place: next(answers, None) or open_table(place))
        assert compaction.compact(features, featurizer=ONE) == 0
        assert orchard.rows(FEATURES) == rows
        assert set(Path(features).rglob("*.parquet")) == files

    def test_a_commit_whose_answer_was_lost_keeps_its_files(
        self, orchard: Orchard, features: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is refused when it is put again, though it stands."""
        rows, commit = orchard.rows(FEATURES), DeltaTable.create_write_transaction

        def lost(*given: Any, **named: Any) -> None:
            commit(*given, **named)
            raise CommitFailedError("Concurrent transaction failed")

        monkeypatch.setattr(DeltaTable, "create_write_transaction", lost)
        assert compaction.compact(features, featurizer=ONE) == 10
        assert orchard.rows(FEATURES) == rows

    def test_times_beyond_what_nanoseconds_hold_stay(self, orchard: Orchard, features: str) -> None:
        """A file may be of the year 9999, and Spark writes times in a form that is read as nanoseconds."""
        far = datetime(9999, 12, 31, tzinfo=UTC)
        orchard.outcome({"uri": "file:///far", "landed_at": far}, featurizer=ONE)
        assert compaction.compact(features, featurizer=ONE) == 11
        assert max(row["landed_at"] for row in orchard.rows(FEATURES)) == far

    def test_a_table_of_partitions_is_merged_one_by_one(self, features: str) -> None:
        """A file holds rows of one of them."""
        with pytest.raises(ValueError, match="partitioned by"):
            compaction.compact(features)


@pytest.mark.parametrize("by", ["rows", "bytes"])
def test_a_table_that_cannot_be_read_is_the_worlds_fault(place: str, by: str) -> None:
    """The next round tries again."""
    for path in Path(place, "_delta_log").glob("*.json"):
        path.write_text("{")
    with pytest.raises(StorageError, match="arrivals cannot be compacted"):
        compaction.compact_rows(place, 5) if by == "rows" else compaction.compact(place)
