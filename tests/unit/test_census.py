import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from batch import census as census_module
from batch.census import Outcomes, Size, census, outcomes_at, size
from batch.rows import parts
from conf.errors import StorageError
from conf.featurizers import featurized
from conf.schemas import ARRIVALS, FEATURES
from conf.tables import open_table
from tests.unit.lakes import MORNING, ONE, OTHER, Orchard, seconds


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    """Make an empty lake."""
    return Orchard(tmp_path / "lake")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list of columns that are read of data files."""
    found: list[str] = []

    def noted(path: str, name: str) -> Any:
        found.append(name)
        return parts.read_column(path, name)

    monkeypatch.setattr(census_module, "read_column", noted)
    return found


def place(orchard: Orchard) -> str:
    """Give the place of the features."""
    return orchard.paths.table(FEATURES)


def counted(orchard: Orchard) -> tuple[Outcomes, ...]:
    """Count the outcomes."""
    return census(place(orchard)).featurizers


def put(orchard: Orchard, name: str, rows: list[dict[str, Any]], statistics: str | None) -> None:
    """Let a foreign writer add a file of one featurizer, with whatever statistics."""
    usual = {"e_tag": "1", "landed_at": MORNING, "discovered_at": MORNING, "attempt": 1, "featurized_at": MORNING}
    schema = FEATURES.schema.remove(FEATURES.schema.get_field_index("featurizer"))
    folder = Path(place(orchard)) / f"featurizer={ONE}"
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist([usual | row for row in rows], schema), folder / name)
    table = DeltaTable(place(orchard))
    added = AddAction(
        f"featurizer={ONE}/{name}", (folder / name).stat().st_size, {"featurizer": ONE}, 0, True, statistics or ""
    )
    table.create_write_transaction([added], "append", table.schema(), ["featurizer"])


def test_an_empty_table_has_no_outcomes(orchard: Orchard) -> None:
    """Nor files, nor bytes."""
    found = census(place(orchard))
    assert (found.size, found.featurizers) == (Size(0, 0), ())


def test_files_of_one_reason_are_counted_from_the_log_alone(orchard: Orchard, reads: list[str]) -> None:
    """No data file is opened, whichever rows have features and which do not."""
    orchard.featurize("a", "b", "c")
    orchard.outcome({"uri": "d"}, {"uri": "e", "rejection": "empty"}, {"uri": "f", "rejection": "empty"})
    orchard.reject("gone", "g")
    (found,) = counted(orchard)
    assert (found.total, found.rejections, found.rejected) == (7, {"empty": 2, "gone": 1}, 3)
    assert reads == []


def test_of_files_of_several_reasons_the_one_column_is_read(orchard: Orchard, reads: list[str]) -> None:
    """And of no other file."""
    orchard.reject("gone", "a", "b")
    orchard.outcome(
        {"uri": "c"},
        {"uri": "d", "rejection": "corrupt"},
        {"uri": "e", "rejection": "empty"},
        {"uri": "f", "rejection": "empty"},
    )
    (found,) = counted(orchard)
    assert (found.total, found.rejections) == (6, {"corrupt": 1, "empty": 2, "gone": 2})
    assert reads == ["rejection"]


def test_every_version_and_attempt_counts(orchard: Orchard) -> None:
    """Outcomes are counted, not pictures: only these can be held against arrivals without a scan."""
    orchard.outcome({"uri": "a", "rejection": "gone"})
    orchard.outcome({"uri": "a", "attempt": 2})
    (found,) = counted(orchard)
    assert (found.total, found.rejections) == (2, {"gone": 1})


def test_featurizers_are_counted_apart_the_last_streamed_at_the_end(orchard: Orchard) -> None:
    """In the order in which `featurized` names them, by the newest outcome, which is told to the millisecond."""
    orchard.outcome({"uri": "a", "featurized_at": seconds(60)}, featurizer=OTHER)
    orchard.outcome({"uri": "a", "featurized_at": seconds(90), "rejection": "gone"})
    orchard.outcome({"uri": "b", "featurized_at": seconds(30)}, featurizer=OTHER)
    found = counted(orchard)
    assert [each.featurizer for each in found] == featurized(orchard.paths) == [OTHER, ONE]
    assert [(each.total, each.rejected, each.last_at) for each in found] == [(2, 0, seconds(60)), (1, 1, seconds(90))]


@pytest.mark.parametrize(
    "statistics",
    [
        "",
        "{}",
        '{"numRecords": 3}',
        '{"numRecords": 3, "nullCount": {"rejection": 1}}',
        '{"numRecords": 3, "nullCount": {"rejection": 1}, "minValues": {"rejection": "empty"}, '
        '"maxValues": {"rejection": "gone"}}',
    ],
    ids=["none", "empty", "rows only", "no first and last", "no times"],
)
def test_a_file_whose_statistics_are_missing_is_read(orchard: Orchard, statistics: str) -> None:
    """As older and foreign writers leave them out; beside files that have them."""
    orchard.reject("gone", "z")
    rows: list[dict[str, Any]] = [
        {"uri": "a", "features": [1.0], "featurized_at": seconds(5)},
        {"uri": "b", "rejection": "empty"},
        {"uri": "c", "rejection": "gone"},
    ]
    put(orchard, "foreign.parquet", rows, statistics)
    (found,) = counted(orchard)
    assert (found.total, found.rejections, found.last_at) == (4, {"empty": 1, "gone": 2}, seconds(5))


def test_where_only_the_times_are_missing_these_are_read(orchard: Orchard) -> None:
    """The last outcome is told all the same."""
    told = '{"numRecords": 1, "nullCount": {"rejection": 1}}'
    put(orchard, "timeless.parquet", [{"uri": "a", "features": [1.0], "featurized_at": seconds(5)}], told)
    (found,) = counted(orchard)
    assert (found.total, found.rejections, found.last_at) == (1, {}, seconds(5))


def test_long_reasons_that_the_log_may_have_cut_are_read(orchard: Orchard) -> None:
    """Equal beginnings do not make them one reason."""
    long = ["x" * 32 + "one", "x" * 32 + "two"]
    cut = {"rejection": "x" * 32}
    told = {
        "numRecords": 2,
        "nullCount": {"rejection": 0},
        "minValues": {**cut, "featurized_at": "2026-03-01T08:00:00.000Z"},
        "maxValues": {**cut, "featurized_at": "2026-03-01T08:00:00.000Z"},
    }
    put(orchard, "long.parquet", [{"uri": reason, "rejection": reason} for reason in long], json.dumps(told))
    assert counted(orchard)[0].rejections == dict.fromkeys(long, 1)


def test_a_file_that_goes_meanwhile_is_looked_for_in_a_newer_version(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the log goes on naming it, that is an error which names it."""
    orchard.outcome({"uri": "a", "rejection": "empty"}, {"uri": "b", "rejection": "gone"})
    (path,) = Path(place(orchard)).glob("*/*.parquet")
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(StorageError, match="is gone"):
        census(place(orchard))
    opened: list[int] = []

    def restored(place: str) -> DeltaTable:
        if opened:
            path.write_bytes(content)
        opened.append(1)
        return open_table(place)

    monkeypatch.setattr(census_module, "open_table", restored)
    assert counted(orchard)[0].rejections == {"empty": 1, "gone": 1}
    assert len(opened) == 2


def test_sizes_are_those_of_the_current_version(orchard: Orchard) -> None:
    """A file that the table no longer names does not count."""
    orchard.arrive("a")
    orchard.arrive("b")
    arrivals = Path(orchard.paths.table(ARRIVALS))
    assert size(str(arrivals)) == Size(2, sum(path.stat().st_size for path in arrivals.glob("*.parquet")))
    DeltaTable(str(arrivals)).delete("uri = 'a'")
    assert size(str(arrivals)).files == 1
    orchard.featurize("c")
    (stored,) = Path(place(orchard)).glob("*/*.parquet")
    assert census(place(orchard)).size == Size(1, stored.stat().st_size)


def test_outcomes_are_counted_in_a_version(orchard: Orchard) -> None:
    """Of one featurizer; a version that the log has lost says nothing."""
    orchard.featurize("a", "b")
    version = orchard.version(FEATURES)
    orchard.featurize("c")
    orchard.featurize("d", featurizer=OTHER)
    assert outcomes_at(place(orchard), version, ONE) == 2
    assert outcomes_at(place(orchard), version, OTHER) == 0
    assert outcomes_at(place(orchard), version + 1, ONE) == 3
    assert outcomes_at(place(orchard), 99, ONE) is None
