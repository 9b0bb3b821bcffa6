"""The view of small lakes: what the refit published and what has come since, on the axes of one model."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch import models, view
from batch.publication import published
from batch.refit import use
from batch.rows import changes
from batch.rows.changes import FeedGone
from batch.rows.parts import PartGone
from batch.rows.winners import winners
from batch.view import BATCH, PROVISIONAL, SCHEMA
from conf import upkeep
from conf.deletion import delete_pictures, delete_rows
from conf.errors import LakeError, StorageError
from conf.schemas import COMPONENTS, FEATURES
from conf.tables import open_table
from tests.unit.fields import WIDTH, Field
from tests.unit.lakes import ONE, OTHER, Orchard, seconds

FIRST = [f"a{number}" for number in range(8)]
Row = dict[str, Any]


@pytest.fixture(scope="module")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a refitted lake with eight pictures, of which one has an older version, too."""
    field = Field(tmp_path_factory.mktemp("refitted") / "lake")
    field.grow(*FIRST)
    field.grow("a3", at=30, e_tag="2-2")
    field.refit(components=3)
    return field.root


@pytest.fixture
def field(refitted: Path, tmp_path: Path) -> Field:
    """Return a copy of that lake."""
    return copied(refitted, tmp_path)


def copied(lake: Path, folder: Path) -> Field:
    """Return a copy of a lake."""
    shutil.copytree(lake, folder / "lake")
    return Field(folder / "lake", seed=7)


def place(field: Orchard) -> str:
    """Give where its features lie."""
    return field.paths.table(FEATURES)


def seen(field: Field) -> dict[str, Row]:
    """Read the view, by uri, and check that it is what it must be."""
    table = view.view(field.paths, ONE).table()
    assert table.schema == SCHEMA
    rows = {row["uri"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows, "a picture is there twice"
    return rows


def sources(field: Field) -> dict[str, str]:
    """Read where each row of the view comes from, by uri."""
    return {uri: row["source"] for uri, row in seen(field).items()}


def assert_placed(field: Field, rows: dict[str, Row]) -> None:
    """Check that the rows are those pictures that count now, each where the published model places it."""
    shown = published(field.paths, ONE)
    assert shown is not None
    assert {row["model"] for row in rows.values()} <= {shown.model}
    counting = field.counting()
    assert rows.keys() == counting.keys()
    vectors = np.array(list(counting.values()), np.float32).reshape(-1, WIDTH)
    places = models.load(field.paths, shown.model).projection.components(vectors)
    found = np.array([rows[uri]["components"] for uri in counting]).reshape(places.shape)
    np.testing.assert_allclose(found, places, rtol=1e-6, atol=1e-6)


def without_feed(patch: pytest.MonkeyPatch) -> None:
    """Let the change feed be gone."""

    def gone(*_: object) -> None:
        raise FeedGone("as if it were")

    patch.setattr(changes, "read_changes", gone)


def overwritten(field: Field) -> None:
    field.grow("a1", at=50)


def rejected(field: Field) -> None:
    field.outcome({"uri": "a1", "rejection": "corrupt", "landed_at": seconds(60), "discovered_at": seconds(60)})


def forgotten(field: Field) -> None:
    delete_pictures(place(field), ["a1"])


def taken_down(field: Field) -> None:
    for table in (FEATURES, COMPONENTS):
        delete_pictures(field.paths.table(table), ["a1"])


def late(field: Field) -> None:
    field.grow("a1", at=-50)


def winner_deleted(field: Field) -> None:
    delete_rows(place(field), "uri = 'a3' AND e_tag = '2-2'")


def not_usable(field: Field) -> None:
    field.outcome({"uri": "a1", "features": [float("nan")] * WIDTH, "landed_at": seconds(60)})
    field.outcome({"uri": "new", "features": [1.0]})


def new(field: Field) -> None:
    field.grow("new", at=50)


def of_another(field: Field) -> None:
    field.grow("new", "a1", at=50, featurizer=OTHER)


ALL_BATCH = dict.fromkeys(FIRST, BATCH)
WITHOUT_A1 = {uri: BATCH for uri in FIRST if uri != "a1"}
EVENTS: dict[Callable[[Field], None], dict[str, str]] = {
    new: ALL_BATCH | {"new": PROVISIONAL},
    overwritten: ALL_BATCH | {"a1": PROVISIONAL},
    rejected: WITHOUT_A1,
    forgotten: WITHOUT_A1,
    taken_down: WITHOUT_A1,
    late: ALL_BATCH,
    winner_deleted: ALL_BATCH | {"a3": PROVISIONAL},
    not_usable: WITHOUT_A1,
    of_another: ALL_BATCH,
}


@pytest.mark.parametrize("feed", [True, False], ids=["by the change feed", "by comparing"])
@pytest.mark.parametrize("event", EVENTS)
def test_what_has_come_since_the_refit(
    event: Callable[[Field], None], feed: bool, field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row for each picture that counts now and can be placed; it says whether the refit published it."""
    event(field)
    if not feed:
        without_feed(monkeypatch)
    assert sources(field) == EVENTS[event]


def test_without_a_refit_there_is_one_clear_message(tmp_path: Path) -> None:
    """Before the table of components is there, and after; another featurizer's components do not count."""
    lake = Orchard(tmp_path / "lake")
    lake.featurize("a")
    message = f"{lake.paths.root} has no components of {ONE} yet: `verger refit --lake {lake.paths.root}` makes them"
    for _ in range(2):
        with pytest.raises(LakeError) as raised:
            view.view(lake.paths, ONE)
        assert str(raised.value) == message
        field = Field(tmp_path / "lake")
        field.grow(*FIRST, featurizer=OTHER)
        field.refit(OTHER)


def test_right_after_a_refit_the_view_is_what_it_published(field: Field) -> None:
    """The columns of the table, and where the rows come from."""
    rows = list(seen(field).values())
    assert [{**row, "source": BATCH} for row in field.rows(COMPONENTS)] == sorted(rows, key=lambda row: str(row["uri"]))
    assert view.view(field.paths, ONE).settled().num_rows == len(FIRST)


def test_some_columns_of_the_view(field: Field) -> None:
    """They are those of the whole view, row by row; overwritten rows are left out, whatever is asked for."""
    overwritten(field)
    found = view.view(field.paths, ONE)
    for columns in (["label", "source"], ["components"], ["source"]):
        some = pa.Table.from_batches(found.batches(columns))
        assert some.equals(found.table().select(columns))


def test_provisional_rows_lie_where_the_next_publication_of_the_model_puts_them(field: Field) -> None:
    """With the label, the version of the picture and that of features."""
    field.grow("new", at=50, label=None)
    overwritten(field)
    before = seen(field)
    assert_placed(field, before)
    assert {row["features_version"] for row in before.values()} == {2, 4}
    assert before["new"]["label"] is None
    assert before["a1"]["landed_at"] == seconds(50)
    shown = published(field.paths, ONE)
    assert shown is not None
    use(field.paths, ONE, shown.model)
    after = seen(field)
    for uri, row in after.items():
        np.testing.assert_allclose(before[uri].pop("components"), row.pop("components"), rtol=1e-6)
        assert before[uri] | {"source": BATCH, "features_version": 4} == row


def test_after_an_older_model_was_published_again(field: Field) -> None:
    """Its axes are the ones that everything is placed on."""
    first = published(field.paths, ONE)
    assert first is not None
    new(field)
    field.refit(components=2)
    use(field.paths, ONE, first.model)
    overwritten(field)
    rows = seen(field)
    assert_placed(field, rows)
    assert {len(row["components"]) for row in rows.values()} == {3}
    assert [uri for uri, row in rows.items() if row["source"] == PROVISIONAL] == ["a1"]


def trimmed(field: Field) -> None:
    upkeep.forget_log(place(field), datetime.now(UTC) + timedelta(days=1))


def vacuumed(field: Field) -> None:
    for each in (Path(place(field)) / "_change_data").rglob("*.parquet"):
        each.unlink()


@pytest.mark.parametrize("loss", [trimmed, vacuumed])
def test_without_the_change_feed_the_view_is_the_same(loss: Callable[[Field], None], field: Field) -> None:
    """Though the log is trimmed, or VACUUM took the change files."""
    for event in (new, forgotten, winner_deleted):
        event(field)
    field.grow("newer", at=51)
    before = view.view(field.paths, ONE).table()
    loss(field)
    shown = published(field.paths, ONE)
    assert shown is not None
    with pytest.raises(FeedGone):
        changes.read_changes(place(field), ONE, shown.features_version, field.version(FEATURES))
    after = view.view(field.paths, ONE).table()
    assert after.sort_by("uri").equals(before.sort_by("uri"))


@pytest.mark.parametrize("feed", [True, False], ids=["by the change feed", "by comparing"])
def test_where_no_picture_is_left_the_view_is_empty(feed: bool, field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the next refit the publication still stands."""
    delete_pictures(place(field), FIRST)
    if not feed:
        without_feed(monkeypatch)
    assert seen(field) == {}


class TestPinned:
    """A view is of one moment, whatever happens to the lake while it is made and read."""

    def test_a_refit_between_opening_and_reading(self, field: Field) -> None:
        """All rows stay those of the model that was published."""
        new(field)
        opened = view.view(field.paths, ONE)
        expected = opened.table()
        field.refit(components=1)
        assert opened.table().equals(expected)
        assert len(set(expected["model"].to_pylist())) == 1

    def test_a_takedown_between_opening_and_reading(self, field: Field) -> None:
        """The next view is without the picture."""
        new(field)
        opened = view.view(field.paths, ONE)
        expected = opened.table()
        taken_down(field)
        assert opened.table().equals(expected)
        assert_placed(field, seen(field))

    @pytest.mark.parametrize("event", [lambda field: field.refit(components=1), taken_down], ids=["refit", "takedown"])
    @pytest.mark.parametrize("step", ["snapshot", "winners"])
    def test_something_happens_while_it_is_made(
        self, step: str, event: Callable[[Field], None], field: Field, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its rows are of one model, and are those of before, or of after."""
        new(field)
        before = seen(field)
        real = getattr(view, step)

        def afterwards(*given: Any) -> Any:
            with monkeypatch.context() as patch:
                patch.setattr(view, step, real)
                event(field)
            return real(*given)

        monkeypatch.setattr(view, step, afterwards)
        made = seen(field)
        monkeypatch.setattr(view, step, real)
        assert made.keys() in (before.keys(), field.counting().keys())
        assert all(row["components"] == before[uri]["components"] for uri, row in made.items())
        assert {row["model"] for row in made.values()} == {before["a1"]["model"]}

    def test_a_file_that_vanishes_means_to_look_again(self, field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
        """A few times; then it is said."""
        new(field)
        expected = seen(field)
        vanishing = [PartGone("gone")] * 4

        def without_file(*given: Any) -> Any:
            if vanishing:
                raise vanishing.pop()
            return winners(*given)

        monkeypatch.setattr(view, "winners", without_file)
        assert seen(field) == expected
        vanishing += [PartGone("gone")] * 5
        with pytest.raises(StorageError, match="vanish while they are read: read again later"):
            view.view(field.paths, ONE)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a refitted lake of pictures with newer and older versions, to be copied."""
    field = Field(tmp_path_factory.mktemp("planted") / "lake")
    for at, uris in ((0, "abcd"), (20, "bce"), (10, "de")):
        field.grow(*uris, at=at, e_tag=str(at))
    field.outcome({"uri": "c", "rejection": "corrupt", "landed_at": seconds(25)}, {"uri": "f", "rejection": "gone"})
    field.refit(components=2)
    return field.root


URIS = st.sampled_from("abcdefg")
# Even seconds were there before.
LAND = st.tuples(st.just("land"), URIS, st.integers(-5, 35).map(lambda at: 2 * at + 1), st.booleans())
EVENT = st.one_of(
    LAND, LAND, LAND,
    st.tuples(st.just("forget"), URIS),
    st.tuples(st.just("undo"), URIS),
    st.tuples(st.just("compact")),
)  # fmt: skip


class History:
    """What happens to a lake, version by version; no version of a picture comes twice, but as a retry."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.landed: set[tuple[str, int]] = set()

    def do(self, what: str, uri: str = "", at: int = 0, usable: bool = True) -> None:
        """Let one thing happen."""
        if what == "land" and (uri, at) not in self.landed:
            self.landed.add((uri, at))
            if not usable:
                row = {"uri": uri, "e_tag": str(at), "landed_at": seconds(at), "rejection": "corrupt"}
                self.field.outcome(row | {"discovered_at": seconds(at)})
            else:
                self.field.grow(uri, at=at, e_tag=str(at))
        elif what == "forget":
            delete_pictures(place(self.field), [uri])
        elif what == "undo":
            newest = max((row["landed_at"] for row in self.field.rows(FEATURES) if row["uri"] == uri), default=None)
            if newest:
                delete_rows(place(self.field), f"uri = '{uri}' AND landed_at = '{newest.isoformat()}'")
        elif what == "compact":
            open_table(place(self.field)).optimize.compact()


@settings(max_examples=12)
@given(events=st.lists(EVENT, min_size=1, max_size=7))
def test_whatever_happened_the_view_is_of_the_pictures_that_count(
    events: list[tuple[Any, ...]], planted: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With the change feed and without it."""
    field = copied(planted, tmp_path_factory.mktemp("history"))
    were = field.counting()
    history = History(field)
    for event in events:
        history.do(*event)
    rows = seen(field)
    assert_placed(field, rows)
    now = field.counting()
    assert {uri: row["source"] for uri, row in rows.items()} == {
        uri: BATCH if were.get(uri) == features else PROVISIONAL for uri, features in now.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        without_feed(patch)
        assert seen(field) == rows
