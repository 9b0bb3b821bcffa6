import itertools
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import LakeError, UsageError
from conf.lake import create_lake, future_lake, keep_apart, newest, open_lake
from conf.schemas import ARRIVALS, FEATURES, SCHEMA_VERSION, TIMESTAMP, VERSION_PROPERTY, Table
from conf.tables import count_rows, dataset_of, ensure, open_table
from tests.places import local

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_a_lake_is_created_and_opened(tmp_path: Path) -> None:
    """Creating makes both tables, empty, with this version's columns and properties; opening finds them."""
    paths = create_lake(str(tmp_path / "deep" / "lake"))
    assert open_lake(str(tmp_path / "deep" / "lake")) == paths
    for table in (ARRIVALS, FEATURES):
        delta = DeltaTable(paths.table(table))
        assert pa.schema(delta.schema().to_arrow()).names == list(table.columns)
        assert delta.metadata().partition_columns == list(table.partition_by)
        configuration = delta.metadata().configuration
        checks = {f"delta.constraints.{name}": check for name, check in table.constraints.items()}
        assert configuration == {**table.properties, **checks, VERSION_PROPERTY: str(SCHEMA_VERSION)}
        assert count_rows(paths.table(table)) == 0


@pytest.mark.parametrize("table", [ARRIVALS, FEATURES], ids=lambda table: table.name)
def test_tables_stay_readable_for_any_reader(table: Table, tmp_path: Path) -> None:
    """Reader version 1: no deletion vectors, no column mapping, so DuckDB, Polars and Athena read them too."""
    assert ensure(table, str(tmp_path / "table")).protocol().min_reader_version == 1


def test_a_lake_is_created_once(tmp_path: Path) -> None:
    """A second start finds the tables as they are and commits nothing."""
    paths = create_lake(str(tmp_path / "lake"))
    assert create_lake(str(tmp_path / "lake")) == paths
    assert [DeltaTable(paths.table(table)).version() for table in (ARRIVALS, FEATURES)] == [0, 0]


def test_a_lake_may_be_a_uri_or_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every spelling of the place is the same lake."""
    monkeypatch.chdir(tmp_path)
    paths = create_lake("my lake")
    assert paths.root == tmp_path / "my lake"
    assert open_lake(f"file://{tmp_path}/my%20lake") == paths
    assert open_lake(str(tmp_path / "other" / ".." / "my lake")) == paths


def test_an_empty_folder_becomes_a_lake(tmp_path: Path) -> None:
    """A folder made beforehand, also with hidden files in it, is taken."""
    (tmp_path / ".keep").write_text("")
    assert create_lake(str(tmp_path)).exists


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """Tables are not scattered among somebody's files, and nothing is written there."""
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(LakeError, match="is not empty and is not a lake: give --lake a new or empty folder"):
        create_lake(str(tmp_path))
    with pytest.raises(LakeError, match="is not a lake: it holds no table named arrivals"):
        open_lake(str(tmp_path))
    assert [each.name for each in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_missing_lake_says_how_to_make_one(tmp_path: Path) -> None:
    """Readers never create: they name the command that does."""
    with pytest.raises(
        LakeError, match=r"no lake at .*absent: `verger stream --landing PLACE --lake .*absent` makes one"
    ):
        open_lake(str(tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_in_the_lakes_place_is_refused(below: str, tmp_path: Path) -> None:
    """A file holds no tables, neither at the lake's root nor above it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeError, match=r"--lake .*file.*: Not a directory"):
        create_lake(str(tmp_path / "file" / below))
    with pytest.raises(LakeError, match=r"no(t a)? lake"):
        open_lake(str(tmp_path / "file" / below))


@pytest.mark.parametrize(
    ("place", "said"), [("", "--lake is missing"), ("ftp://host/x", "ftp:// is not supported yet")]
)
def test_a_place_that_cannot_be_reached_is_a_usage_error(place: str, said: str) -> None:
    """No place, or a scheme that Verger does not speak, is told before anything is touched."""
    for function in (create_lake, open_lake):
        with pytest.raises(UsageError, match=said):
            function(place)


def test_a_half_made_lake_is_completed(tmp_path: Path) -> None:
    """A crash between the two tables leaves no lake, and the next start makes it one."""
    root = tmp_path / "lake"
    ensure(FEATURES, str(root / "features"))
    with pytest.raises(LakeError, match="is not a lake"):
        open_lake(str(root))
    paths = create_lake(str(root))
    assert open_lake(str(root)) == paths
    assert DeltaTable(paths.table(FEATURES)).version() == 0


def test_a_damaged_table_is_a_lake_error(tmp_path: Path) -> None:
    """A log that cannot be read is told in one line that names the table, not as a traceback of the reader."""
    paths = create_lake(str(tmp_path))
    log = next(Path(paths.table(ARRIVALS), "_delta_log").glob("*.json"))
    log.write_text("garbage")
    with pytest.raises(LakeError, match="arrivals"):
        create_lake(str(tmp_path))


@pytest.mark.parametrize(
    ("landing", "lake"),
    [("x", "x"), ("x", "x/lake"), ("x/pictures", "x"), ("x/../x", "x/lake"), ("alias", "x/lake"), ("x/lake", "alias")],
)
def test_landing_and_lake_do_not_contain_one_another(landing: str, lake: str, tmp_path: Path) -> None:
    """Tables inside the landing would be taken for pictures, and the reverse; links do not hide it."""
    (tmp_path / "x").mkdir()
    (tmp_path / "alias").symlink_to("x")
    with pytest.raises(UsageError, match="contain one another: put them side by side"):
        keep_apart(str(tmp_path / landing), str(tmp_path / lake))


def test_neighbours_are_apart(tmp_path: Path) -> None:
    """Side by side is fine, also where one name begins with the other."""
    keep_apart(str(tmp_path / "lake"), str(tmp_path / "lake-2"))
    keep_apart(str(tmp_path / "lake-2"), str(tmp_path / "lake"))


def without(table: Table, name: str) -> pa.Schema:
    """Give the table's schema without one column."""
    return pa.schema([each for each in table.schema if each.name != name])


@pytest.mark.parametrize(("table", "name"), [(ARRIVALS, "version"), (FEATURES, "label"), (FEATURES, "features")])
def test_a_column_that_an_older_version_lacked_is_added(table: Table, name: str, tmp_path: Path) -> None:
    """Migration only adds: rows written before keep their values and read null in the new column."""
    place = str(tmp_path / "table")
    older = without(table, name)
    row = {each.name: value_of(each) for each in older}
    write_deltalake(place, pa.Table.from_pylist([row], schema=older), partition_by=list(table.partition_by) or None)
    ensure(table, place)
    (read,) = DeltaTable(place).to_pyarrow_table().to_pylist()
    assert read == {**row, name: None}
    added = pa.field(DeltaTable(place).schema().to_arrow().field(name))
    assert added.nullable
    assert added.type == table.schema.field(name).type


def value_of(column: pa.Field) -> Any:
    """Give some value of a column's type."""
    if column.type == TIMESTAMP:
        return MORNING
    if pa.types.is_list(column.type):
        return [0.5]
    return "text" if column.type == pa.string() else 1


def test_a_column_that_must_be_there_is_never_made_up(tmp_path: Path) -> None:
    """A table without a required column is none of Verger's."""
    place = str(tmp_path / "arrivals")
    DeltaTable.create(place, without(ARRIVALS, "e_tag"))
    with pytest.raises(LakeError, match="column e_tag is missing"):
        ensure(ARRIVALS, place)


@pytest.mark.parametrize(
    ("table", "name", "kind"),
    [
        (ARRIVALS, "size", pa.string()),
        (FEATURES, "features", pa.list_(pa.float64())),
        (FEATURES, "features", pa.string()),
    ],
)
def test_a_column_of_another_type_is_refused(table: Table, name: str, kind: pa.DataType, tmp_path: Path) -> None:
    """The message names the place, the column and both types; the table is left alone."""
    place = str(tmp_path / "table")
    position = table.schema.get_field_index(name)
    DeltaTable.create(place, table.schema.set(position, pa.field(name, kind)))
    with pytest.raises(LakeError, match=rf"{place}: column {name} is .*, not "):
        ensure(table, place)
    assert DeltaTable(place).version() == 0


def test_a_table_of_a_newer_verger_is_refused(tmp_path: Path) -> None:
    """An older program never writes into a newer lake: it says which versions meet and what to do."""
    place = str(tmp_path / "arrivals")
    newer = str(SCHEMA_VERSION + 1)
    DeltaTable.create(place, ARRIVALS.schema, configuration={VERSION_PROPERTY: newer}, raise_if_key_not_exists=False)
    with pytest.raises(LakeError, match=f"schema version {newer}, this Verger knows {SCHEMA_VERSION}: upgrade Verger"):
        ensure(ARRIVALS, place)


def test_rows_are_counted_by_partition(tmp_path: Path) -> None:
    """Counts come from the log, for the whole table or one featurizer; one that never wrote counts zero."""
    place = str(tmp_path / "features")
    ensure(FEATURES, place)
    assert count_rows(place, featurizer="a") == 0
    for featurizer, rows in (("a", 2), ("b", 3), ("a", 1)):
        row = {**{each.name: value_of(each) for each in FEATURES.schema}, "featurizer": featurizer, "rejection": None}
        write_deltalake(place, pa.Table.from_pylist([row] * rows, schema=FEATURES.schema), mode="append")
    assert [count_rows(place), *(count_rows(place, featurizer=each) for each in "abc")] == [6, 3, 3, 0]
    shutil.rmtree(place + "/featurizer=a")
    assert count_rows(place, featurizer="a") == 3


KEY = pa.schema(
    [
        ("row", pa.int64()),
        ("uri", pa.string()),
        ("landed_at", TIMESTAMP),
        ("discovered_at", TIMESTAMP),
        ("e_tag", pa.string()),
        ("attempt", pa.int32()),
    ]
)


def moments() -> st.SearchStrategy[datetime]:
    """Give one of few moments, so that ties are common."""
    return st.integers(0, 2).map(lambda seconds: MORNING + timedelta(seconds=seconds))


texts = st.sampled_from(["", "9-1", "10-1", "é", "\U0001f34e", "\uffee"])


@given(
    st.lists(st.tuples(texts, moments(), moments(), texts, st.integers(1, 12)), max_size=30, unique=True),
    st.integers(1, 7),
)
def test_the_newest_row_wins(rows: list[tuple[str, datetime, datetime, str, int]], chunk: int) -> None:
    """For each uri the greatest (landed_at, discovered_at, e_tag, attempt) stays, in the given order, in any chunks."""
    given_ = [dict(zip(KEY.names, (number, *row), strict=True)) for number, row in enumerate(rows)]
    winners = {
        max(same, key=lambda row: row[1:]) for _, same in itertools.groupby(sorted(rows), key=lambda row: row[0])
    }
    batches = [pa.RecordBatch.from_pylist(given_[start : start + chunk], KEY) for start in range(0, len(rows), chunk)]
    kept = newest(pa.Table.from_batches(batches, KEY))
    assert kept.schema == KEY
    assert kept["row"].to_pylist() == [number for number, row in enumerate(rows) if row in winners]


def test_the_report_and_the_leases_lie_under_the_lake(tmp_path: Path) -> None:
    """What else lies in a lake has one place each."""
    paths = create_lake(str(tmp_path))
    places = [paths.lease("stream"), paths.report("stream"), paths.backbones, paths.checkpoint("f")]
    shown = [str(local(each).relative_to(tmp_path)) for each in places]
    assert json.dumps(shown) == '["leases/stream", "reports/stream.json", "backbones", "checkpoints/f"]'


def test_a_future_lake_is_only_looked_at(tmp_path: Path) -> None:
    """Who compiles a backbone for it need not be who may make its tables."""
    place = tmp_path / "lake"
    assert not future_lake(str(place)).exists
    assert not place.exists()
    (place / "backbones").mkdir(parents=True)
    assert not future_lake(str(place)).exists
    assert create_lake(str(place)).exists
    assert future_lake(str(place)).exists


def test_what_holds_something_else_is_no_future_lake(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").touch()
    with pytest.raises(LakeError, match="is not empty and is not a lake"):
        future_lake(str(tmp_path))


def test_a_time_beyond_2262_is_read_as_spark_wrote_it(tmp_path: Path) -> None:
    """Of a file that claims to be of another century; Arrow would take Spark's form for nanoseconds."""
    place = str(tmp_path / "arrivals")
    table = ensure(ARRIVALS, place)
    far = [datetime(2400, 5, 5, tzinfo=UTC), datetime(1601, 1, 1, tzinfo=UTC)]
    rows = [
        {"uri": f"file:///{at:%Y}", "e_tag": "1", "landed_at": at, "size": 1, "version": None, "discovered_at": at}
        | {"attempt": 1, "route": "listing"}
        for at in far
    ]
    pq.write_table(
        pa.Table.from_pylist(rows, ARRIVALS.schema), tmp_path / "far.parquet", use_deprecated_int96_timestamps=True
    )
    (tmp_path / "far.parquet").rename(tmp_path / "arrivals" / "far.parquet")
    size = (tmp_path / "arrivals" / "far.parquet").stat().st_size
    action = AddAction("far.parquet", size, {}, 0, True, json.dumps({"numRecords": 2}))
    table.create_write_transaction([action], "append", table.schema())
    assert dataset_of(open_table(place)).to_table()["landed_at"].to_pylist() == far
