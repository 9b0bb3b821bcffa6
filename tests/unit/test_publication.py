"""The commit that replaces components: what it changes, what it leaves, who can read it."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from batch.publication import Publication, folder, open_components, publish, published
from batch.tasks.projecting import SCHEMA, Written
from conf import upkeep
from conf.deletion import delete_pictures
from conf.errors import StorageError
from conf.lake import LakePaths
from conf.schemas import COMPONENTS, FEATURES
from conf.tables import ensure, files_of, open_table
from tests.unit.fields import Field
from tests.unit.lakes import MORNING, ONE, OTHER, Orchard

Rows = list[tuple[str, str]]


@pytest.fixture
def lake(tmp_path: Path) -> LakePaths:
    """Return a lake that has a table of components, and nothing in it."""
    paths = Orchard(tmp_path / "lake").paths
    ensure(COMPONENTS, paths.table(COMPONENTS))
    return paths


def write(lake: LakePaths, name: str, *uris: str, model: str, featurizer: str = ONE) -> Written:
    """Write a file of components that no commit names."""
    rows = [
        {
            "uri": uri,
            "e_tag": "1-1",
            "landed_at": MORNING,
            "model": model,
            "features_version": 3,
            "components": [1.0, 2.0],
        }
        for uri in uris
    ]
    path = folder(lake, featurizer) / name
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return Written(name, path.stat().st_size, len(rows))


def put(lake: LakePaths, model: str, *uris: str, featurizer: str = ONE, knows: datetime = MORNING) -> bool:
    """Publish a model for some pictures, each in a file of its own."""
    files = [write(lake, f"{model}-{uri}.parquet", uri, model=model, featurizer=featurizer) for uri in uris]
    return publish(lake, featurizer, model, 3, files, knows)


def rows(lake: LakePaths, version: int | None = None) -> Rows:
    """Read uris and models of a version, sorted."""
    table = DeltaTable(lake.table(COMPONENTS), version=version).to_pyarrow_table(columns=["uri", "model"])
    return sorted((row["uri"], row["model"]) for row in table.to_pylist())


class TestPublish:
    """One commit, or none."""

    def test_all_rows_are_replaced_in_one_commit(self, lake: LakePaths) -> None:
        """Pictures that are no more among the new ones go, too; the commit says what it publishes."""
        assert put(lake, "m1", "a", "b")
        assert put(lake, "m2", "b", "c", "d")
        assert rows(lake) == [("b", "m2"), ("c", "m2"), ("d", "m2")]
        assert rows(lake, 1) == [("a", "m1"), ("b", "m1")]
        assert open_table(lake.table(COMPONENTS)).version() == 2
        commit = open_table(lake.table(COMPONENTS)).history(1)[0]
        assert (commit["verger.model"], commit["verger.features_version"]) == ("m2", "3")

    def test_who_holds_an_older_version_reads_it_whole(self, lake: LakePaths) -> None:
        """Its files stay until VACUUM; whether it was opened before the commit, or is asked for after it."""
        put(lake, "m1", "a", "b")
        before = open_components(lake, 1)
        put(lake, "m2", "b")
        for held in (before, open_components(lake, 1)):
            assert sorted(held.to_table()["uri"].to_pylist()) == ["a", "b"]
            assert set(held.to_table()["model"].to_pylist()) == {"m1"}

    def test_other_featurizers_are_left_alone(self, lake: LakePaths) -> None:
        """Their files are the same as before."""
        put(lake, "m1", "a", "b", featurizer=OTHER)
        theirs = files_of(open_table(lake.table(COMPONENTS)), featurizer=OTHER)
        put(lake, "m2", "a")
        put(lake, "m3", "a")
        assert files_of(open_table(lake.table(COMPONENTS)), featurizer=OTHER).equals(theirs)
        assert rows(lake) == [("a", "m1"), ("a", "m3"), ("b", "m1")]

    def test_files_are_listed_with_their_rows_bytes_and_partition(self, lake: LakePaths) -> None:
        """So that readers prune by it, and count without reading."""
        file = write(lake, "x.parquet", "a", "b", model="m1")
        publish(lake, ONE, "m1", 3, [file], MORNING)
        (listed,) = files_of(open_table(lake.table(COMPONENTS))).to_pylist()
        assert (listed["path"], listed["partition.featurizer"]) == (f"featurizer={ONE}/x.parquet", ONE)
        assert (listed["num_records"], listed["size_bytes"]) == (2, file.size)
        assert rows(lake) == [("a", "m1"), ("b", "m1")]

    def test_no_files_leave_no_rows(self, lake: LakePaths) -> None:
        """As where no picture is left that counts."""
        put(lake, "m1", "a")
        assert put(lake, "m2")
        assert rows(lake) == []
        assert published(lake, ONE) is None

    @pytest.mark.parametrize("other", ["a takedown", "another publication"])
    def test_a_commit_of_somebody_else_meanwhile_is_not_undone(
        self, other: str, lake: LakePaths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is committed, and that is said."""
        put(lake, "m1", "a", "b")

        def then(*given: Any, **named: Any) -> pa.Table:
            found = files_of(*given, **named)
            monkeypatch.setattr("batch.publication.files_of", files_of)
            if other == "a takedown":
                delete_pictures(lake.table(COMPONENTS), ["a"])
            else:
                put(lake, "m2", "c")
            return found

        monkeypatch.setattr("batch.publication.files_of", then)
        assert not put(lake, "m3", "a", "b")
        assert rows(lake) == ([("b", "m1")] if other == "a takedown" else [("c", "m2")])
        assert open_table(lake.table(COMPONENTS)).version() == 2
        assert put(lake, "m3", "b")

    def test_a_table_that_cannot_be_written(self, lake: LakePaths) -> None:
        """One line, with the place."""
        shutil.rmtree(Path(lake.table(COMPONENTS)) / "_delta_log")
        with pytest.raises(StorageError, match=r"^.*components cannot be written: .*$"):
            put(lake, "m1", "a")


class TestPublished:
    """What is published, by the table itself."""

    def test_nothing_before_the_first_refit(self, tmp_path: Path) -> None:
        """With a table or without one; another featurizer's does not count."""
        paths = Orchard(tmp_path / "lake").paths
        assert published(paths, ONE) is None
        ensure(COMPONENTS, paths.table(COMPONENTS))
        assert published(paths, ONE) is None
        put(paths, "m1", "a", featurizer=OTHER)
        assert published(paths, ONE) is None

    def test_model_and_version_of_what_is_published(self, lake: LakePaths) -> None:
        """Of one featurizer."""
        put(lake, "m1", "a")
        put(lake, "m2", "a", featurizer=OTHER, knows=MORNING + timedelta(days=1))
        start = datetime.now(UTC)
        shown = published(lake, ONE)
        assert shown is not None
        assert shown == Publication(2, "m1", 3, shown.at, MORNING)
        assert start - timedelta(minutes=1) < shown.at <= start

    def test_which_models_there_were_is_not_forgotten(self, lake: LakePaths) -> None:
        """To the microsecond; though a takedown rewrites the files, and the log is trimmed to a checkpoint."""
        newest = MORNING + timedelta(microseconds=123_457)
        put(lake, "m1", "a", "b", knows=newest)
        delete_pictures(lake.table(COMPONENTS), ["a"])
        upkeep.forget_log(lake.table(COMPONENTS), datetime.now(UTC) + timedelta(days=1))
        shown = published(lake, ONE)
        assert shown is not None
        assert shown.knows == newest

    @pytest.mark.parametrize("later", [0, 1, -1])
    def test_a_model_is_published_again(self, later: int, lake: LakePaths) -> None:
        """With no newer model than before, with one, or with older ones only, as where the table was made anew."""
        put(lake, "m1", "a")
        put(lake, "m2", "a")
        assert put(lake, "m1", "a", knows=MORNING + timedelta(seconds=later))
        shown = published(lake, ONE)
        assert shown is not None
        assert (shown.model, shown.knows) == ("m1", MORNING + timedelta(seconds=later))

    def test_a_takedown_of_the_first_rows_leaves_the_publication(self, lake: LakePaths) -> None:
        """What is published is told by any row that is left; none is left of the whole file here."""
        put(lake, "m1", "a", "b")
        delete_pictures(lake.table(COMPONENTS), ["a"])
        shown = published(lake, ONE)
        assert shown is not None
        assert (shown.model, shown.features_version, shown.version) == ("m1", 3, 2)
        delete_pictures(lake.table(COMPONENTS), ["b"])
        assert published(lake, ONE) is None


def test_a_commit_whose_answer_was_lost_is_published(lake: LakePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused when it is put again, though it stands: its files must not be deleted."""
    commit = DeltaTable.create_write_transaction

    def lost(*given: Any, **named: Any) -> None:
        commit(*given, **named)
        raise CommitFailedError("another commit was first")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", lost)
    assert put(lake, "m1", "a", "b")
    monkeypatch.setattr(DeltaTable, "create_write_transaction", refused)
    assert not put(lake, "m2", "c")
    assert rows(lake) == [("a", "m1"), ("b", "m1")]


def refused(*_: Any, **__: Any) -> None:
    raise CommitFailedError("another commit was first")


@pytest.fixture(scope="module")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> Field:
    """Return a refitted lake of three labels, one picture rejected since."""
    field = Field(tmp_path_factory.mktemp("refitted") / "lake")
    field.grow(*(f"{label}{number}" for label in "abc" for number in range(4)))
    field.refit(components=2)
    field.reject("corrupt", "bad")
    return field


def test_polars_reads_components_and_features(refitted: Field) -> None:
    """By itself: the tables are plain Delta tables."""
    read = polars.read_delta(refitted.paths.table(COMPONENTS))
    assert (read.height, read["components"].list.len().unique().to_list()) == (12, [2])
    features = polars.read_delta(refitted.paths.table(FEATURES))
    assert features.filter(polars.col("rejection").is_null()).height == 12


def test_duckdb_reads_components_and_features_over_arrow(refitted: Field) -> None:
    """As the README shows: it finds datasets of Arrow by the names of variables."""
    placed = DeltaTable(refitted.paths.table(COMPONENTS)).to_pyarrow_dataset()
    described = DeltaTable(refitted.paths.table(FEATURES)).to_pyarrow_dataset()
    assert placed.count_rows() < described.count_rows()
    with duckdb.connect() as connection:
        found = connection.sql(
            "SELECT placed.label, count(*), avg(components[1]) FROM placed "
            "JOIN described USING (uri, e_tag, landed_at, featurizer) "
            "WHERE rejection IS NULL AND len(features) = 6 GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    expected = [row["components"][0] for row in refitted.rows(COMPONENTS)]
    assert [(label, count) for label, count, _ in found] == [("a", 4), ("b", 4), ("c", 4)]
    assert [mean for *_, mean in found] == pytest.approx([sum(expected[n : n + 4]) / 4 for n in (0, 4, 8)])
