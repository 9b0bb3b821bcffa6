import os
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread, stack_size
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.deletion import delete_pictures, delete_rows, quoted
from conf.errors import StorageError
from conf.schemas import FEATURES
from streaming.commands.selection import select
from tests.unit.lakes import ONE, OTHER, Orchard

NAMES = ["plain.jpg", "it's.jpg", "100%.jpg", "line\nbreak.jpg", "\N{PEACH}.jpg", "_.jpg", "a\\b.jpg", "';--.jpg"]


def table(place: Path, uris: list[str]) -> str:
    """Write uris as a table."""
    write_deltalake(str(place), pa.table({"uri": pa.array(uris, pa.string())}), mode="overwrite")
    return str(place)


def left(place: str) -> list[str]:
    """Give the uris of a table, sorted."""
    return sorted(DeltaTable(place).to_pyarrow_table()["uri"].to_pylist())


@pytest.fixture(params=["by condition", "by merging"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delete few pictures as few, and as if they were many."""
    if request.param == "by merging":
        monkeypatch.setattr("conf.deletion._FEW", 0)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_deleted_by_name(name: str, tmp_path: Path) -> None:
    """Any name that a file can have; what is named alike stays."""
    mine = select([f"/landing/{name}"])
    uris = [uri for each in (*NAMES, f"x{name}", f"{name}x") for uri in select([f"/landing/{each}"]).uris]
    place = table(tmp_path / "table", uris)
    delete_pictures(place, mine.uris)
    assert left(place) == sorted({*uris} - {*mine.uris})


@pytest.mark.usefixtures("either_way")
def test_a_picture_that_is_named_twice_is_deleted(tmp_path: Path) -> None:
    """With all of its rows."""
    place = table(tmp_path / "table", ["file:///a", "file:///a", "file:///b"])
    delete_pictures(place, ["file:///a", "file:///a"])
    assert left(place) == ["file:///b"]


# Neighbours in the order of texts, around the characters that begin and end what URIs are made of.
texts = st.text(st.sampled_from("!%-./09AZ_az~"), max_size=4).map(lambda text: f"file:///{text}")


@settings(max_examples=30)
@given(st.lists(texts, max_size=12, unique=True), texts, st.lists(texts, max_size=3))
def test_what_is_deleted_is_what_is_selected(uris: list[str], prefix: str, named: list[str]) -> None:
    """The conditions mean what the selection means: the named ones, and those that begin with the prefix."""
    with TemporaryDirectory() as folder:
        place = table(Path(folder, "table"), uris)
        delete_pictures(place, tuple(named), prefix)
        assert left(place) == sorted(uri for uri in uris if uri not in named and not uri.startswith(prefix))


@pytest.mark.parametrize("count", [1000, 30_000])
def test_thousands_are_deleted_in_one_commit(count: int, tmp_path: Path) -> None:
    """Also on a thread with the small stack that some systems give: a longer condition would end the process."""
    uris = [f"file:///landing/{number}.jpg" for number in range(2 * count)]
    place = table(tmp_path / "table", uris)
    before = stack_size(512 << 10)
    try:
        thread = Thread(target=delete_pictures, args=(place, uris[::2]))
        thread.start()
        thread.join()
    finally:
        stack_size(before)
    assert left(place) == sorted(uris[1::2])
    assert DeltaTable(place).version() == 1


@pytest.mark.usefixtures("either_way")
def test_the_log_does_not_name_pictures(tmp_path: Path) -> None:
    """It is kept for long: a takedown must not leave the names that it removes there."""
    place = table(tmp_path / "table", ["file:///landing/anna.jpg", "file:///landing/zoe.jpg"])
    delete_pictures(place, ["file:///landing/anna.jpg"])
    last = max((tmp_path / "table" / "_delta_log").glob("*.json")).read_text()
    assert '"commitInfo"' in last
    assert "anna" not in last


@pytest.mark.usefixtures("either_way")
def test_nothing_to_delete_is_no_commit(tmp_path: Path) -> None:
    """Neither of a table without those pictures, nor of an empty one, nor for an empty selection."""
    place = table(tmp_path / "table", ["file:///a"])
    delete_pictures(place, ["file:///b"], "file:///c/")
    delete_pictures(place, ())
    assert DeltaTable(place).version() == 0
    orchard = Orchard(tmp_path / "lake")
    delete_pictures(orchard.paths.table(FEATURES), ["file:///b"], "file:///c/")
    assert orchard.version(FEATURES) == 0


@pytest.mark.usefixtures("either_way")
def test_other_rows_stay_as_they_are(tmp_path: Path) -> None:
    """Vectors, nulls and times, in every partition; the change feed tells of the deleted ones alone."""
    orchard = Orchard(tmp_path / "lake")
    for featurizer in (ONE, OTHER):
        orchard.outcome({"uri": "a"}, {"uri": "b", "features": [0.1, -0.0]}, featurizer=featurizer)
        orchard.outcome({"uri": "c", "rejection": "gone", "detail": "why"}, featurizer=featurizer)
    expected = [row for row in orchard.rows(FEATURES) if row["uri"] != "a"]
    delete_pictures(orchard.paths.table(FEATURES), ["a"])
    assert orchard.rows(FEATURES) == expected
    delta = DeltaTable(orchard.paths.table(FEATURES))
    changes = pa.table(delta.load_cdf(starting_version=delta.version()).read_all())
    assert sorted(zip(*[changes[name].to_pylist() for name in ("uri", "_change_type")], strict=True)) == [
        ("a", "delete"),
        ("a", "delete"),
    ]


def test_a_conflict_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the table as it is then; a table that somebody keeps writing is given up, for now."""
    place = table(tmp_path / "table", ["file:///a", "file:///b"])
    delete, conflicts = DeltaTable.delete, iter([None] * 4)

    def contested(table: DeltaTable, predicate: str) -> Any:
        next(conflicts)
        raise CommitFailedError("Transaction failed")

    def sometimes(table: DeltaTable, predicate: str) -> Any:
        try:
            return contested(table, predicate)
        except StopIteration:
            return delete(table, predicate)

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "delete", sometimes)
        delete_rows(place, "uri = 'file:///a'")
    assert left(place) == ["file:///b"]
    conflicts = iter([None] * 5)
    monkeypatch.setattr(DeltaTable, "delete", contested)
    with pytest.raises(StorageError, match="another writer was first, 5 times in a row"):
        delete_rows(place, "uri = 'file:///b'")


@pytest.mark.usefixtures("either_way")
def test_what_was_appended_meanwhile_is_deleted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit between reading and deleting is noticed by the table's format itself."""
    place = table(tmp_path / "table", ["file:///a", "file:///b"])
    opened: list[DeltaTable] = []

    def open_early(place: str) -> DeltaTable:
        opened.append(DeltaTable(place))
        if len(opened) == 1:
            write_deltalake(place, pa.table({"uri": ["file:///a"]}), mode="append")
        return opened[-1]

    monkeypatch.setattr("conf.deletion.open_table", open_early)
    delete_pictures(place, ["file:///a"])
    assert left(place) == ["file:///b"]
    assert len(opened) == 2


@pytest.mark.parametrize("error", [DeltaError("broken"), OSError(28, os.strerror(28))])
def test_a_failing_write_is_a_storage_error(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the table."""
    place = table(tmp_path / "table", ["file:///a"])

    def fail(table: DeltaTable, predicate: str) -> None:
        raise error

    monkeypatch.setattr(DeltaTable, "delete", fail)
    with pytest.raises(StorageError, match=rf"rows of {place} cannot be deleted: "):
        delete_rows(place, "true")


def test_quotes_are_doubled() -> None:
    """So that a text never ends early."""
    assert quoted("it's '") == "'it''s '''"
