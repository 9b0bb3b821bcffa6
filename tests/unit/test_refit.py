"""The refit of small lakes, in this process: what it reads, what it says, what it publishes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from batch import models, publication, replacement
from batch.algebra.moments import Moments
from batch.publication import published
from batch.refit import Refit, refit, use
from conf import compaction, upkeep
from conf.deletion import delete_pictures
from conf.errors import UsageError
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.settings import Settings
from conf.tables import open_table
from tests.unit.fields import WIDTH, Field
from tests.unit.lakes import ONE, OTHER, seconds


@pytest.fixture
def field(tmp_path: Path) -> Field:
    """Return a lake with thirty pictures."""
    made = Field(tmp_path / "lake")
    made.grow(*(f"a{number}" for number in range(20)), *(f"b{number}" for number in range(10)))
    return made


def expected(field: Field) -> NDArray[np.float64]:
    """Return the eigenvalues that the pictures that count give, in one piece."""
    matrix = np.array(list(field.counting().values()), dtype=np.float64)
    values = np.linalg.eigvalsh(np.corrcoef(matrix, rowvar=False))[::-1]
    return values * len(matrix) / (len(matrix) - 1)


def assert_exact(field: Field, done: Refit) -> None:
    """Check that model and components are those of the pictures that count, taken in one piece."""
    assert done.model is not None
    np.testing.assert_allclose(np.sort(done.model.explained_variance)[::-1], expected(field), rtol=1e-9, atol=1e-12)
    counting = field.counting()
    rows = {row["uri"]: row["components"] for row in field.rows(COMPONENTS) if row["featurizer"] == ONE}
    assert rows.keys() == counting.keys()
    places = done.model.projection.components(np.array(list(counting.values()), np.float32))
    np.testing.assert_allclose([rows[uri] for uri in counting], places, rtol=1e-5, atol=1e-5)


def test_the_first_refit_reads_everything_and_publishes_every_picture(field: Field) -> None:
    """And says so; its model names the version it saw."""
    done = field.refit(components=WIDTH)
    assert_exact(field, done)
    assert done.model is not None
    assert (done.model.n, done.model.k, done.model.features_version) == (30, WIDTH, field.version(FEATURES))
    assert "full pass over 30 pictures: the first refit of this featurizer" in field.said
    assert done.model.drift is None


def test_nothing_new_writes_nothing(field: Field) -> None:
    """Compaction, and rejections of pictures that never had features, are nothing new."""
    field.refit()
    field.reject("corrupt", "c1")
    open_table(field.paths.table(FEATURES)).optimize.compact()
    before = field.version(MODELS), field.version(COMPONENTS)
    done = field.refit()
    assert not done.written
    assert done.sentence.startswith("nothing new")
    assert (field.version(MODELS), field.version(COMPONENTS)) == before


def test_other_settings_are_something_new(field: Field) -> None:
    """The sums are those of the last model, so that nothing is read to fit."""
    field.refit()
    done = field.refit(components=2)
    assert done.written
    assert done.model is not None
    assert done.model.k == 2
    assert done.model.run_card["kind"] == "incremental"
    assert (done.model.run_card["added"], done.model.run_card["removed"]) == (0, 0)


def overwritten(field: Field) -> None:
    field.grow("a1", "a2", at=50)


def late(field: Field) -> None:
    field.grow("a1", at=-50)


def rejected_since(field: Field) -> None:
    field.outcome({"uri": "a1", "rejection": "corrupt", "landed_at": seconds(60), "discovered_at": seconds(60)})


def winner_deleted(field: Field) -> None:
    open_table(field.paths.table(FEATURES)).delete("uri = 'a3' AND e_tag = '2-2'")


def loser_deleted(field: Field) -> None:
    open_table(field.paths.table(FEATURES)).delete("uri = 'a3' AND e_tag = '1-1'")


def forgotten(field: Field) -> None:
    delete_pictures(field.paths.table(FEATURES), ["b1", "b2"])


def grown(field: Field) -> None:
    field.grow("c1", "c2", "b3", at=70)


def compacted(field: Field) -> None:
    field.grow("c1", at=70)
    compaction.compact(field.paths.table(FEATURES), featurizer=ONE)
    open_table(field.paths.table(FEATURES)).optimize.compact()


@pytest.mark.parametrize(
    "change", [overwritten, late, rejected_since, winner_deleted, loser_deleted, forgotten, grown, compacted]
)
def test_a_refit_of_what_changed_is_the_refit_of_everything(change: Callable[[Field], None], field: Field) -> None:
    """Whatever happened to the pictures in between."""
    field.grow("a3", at=30, e_tag="2-2")
    field.refit(components=WIDTH)
    change(field)
    done = field.refit(components=WIDTH)
    if done.written:
        assert done.model is not None
        assert done.model.run_card["kind"] == "incremental"
    assert_exact(field, done)


def test_a_late_version_that_loses_changes_nothing(field: Field) -> None:
    """The newest landed wins, whenever it was featurized."""
    field.refit()
    late(field)
    assert not field.refit().written


def full_because(field: Field, **settings: Any) -> str:
    """Refit, check that it was right, and return why it was a full pass."""
    field.grow("c1", at=70)
    done = field.refit(components=WIDTH, **settings)
    assert_exact(field, done)
    assert done.model is not None
    assert done.model.run_card["kind"] == "full"
    return str(done.model.run_card["why"])


def test_full_means_a_full_pass(field: Field) -> None:
    """Also where the changes would do."""
    field.refit(components=WIDTH)
    assert full_because(field, full=True) == "--full was asked for"


def test_a_trimmed_log_means_a_full_pass(field: Field) -> None:
    """And the output says which version is gone."""
    field.refit(components=WIDTH)
    field.grow("c2", at=60)
    field.grow("c3", at=61)
    upkeep.forget_log(field.paths.table(FEATURES), datetime.now(UTC) + timedelta(days=1))
    assert "cannot be read" in full_because(field)


def test_a_vacuumed_range_means_a_full_pass(field: Field) -> None:
    """The vectors of what was deleted are gone, so they cannot be subtracted."""
    field.refit(components=WIDTH)
    forgotten(field)
    for each in (Path(field.paths.table(FEATURES)) / "_change_data").rglob("*.parquet"):
        each.unlink()
    assert "VACUUM has deleted files" in full_because(field)


def test_most_pictures_changed_means_a_full_pass(field: Field) -> None:
    """Subtracting most of what was added would lose digits, and save nothing."""
    field.refit(components=WIDTH)
    field.grow(*(f"a{number}" for number in range(20)), at=60)
    assert full_because(field) == "most pictures have changed"


def test_damaged_sums_mean_a_full_pass(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read from the table, and carry a checksum."""
    field.refit(components=WIDTH)

    real, damage = Moments.from_bytes, ["the bytes are damaged"]

    def damaged(data: bytes) -> Moments:
        if damage:
            raise ValueError(damage.pop())
        return real(data)

    monkeypatch.setattr(Moments, "from_bytes", damaged)
    assert full_because(field) == "the last model's sums do not fit: the bytes are damaged"


def test_lost_digits_mean_a_full_pass(field: Field) -> None:
    """A column that all but vanishes with what is removed is not told from rounding any more."""
    field.outcome({"uri": "huge", "features": [1e6] * WIDTH, "label": "x"})
    field.refit(components=WIDTH)
    delete_pictures(field.paths.table(FEATURES), ["huge"])
    assert full_because(field) == "what was removed since the last full pass leaves too few digits"


def test_another_featurizer_is_none_of_its_business(field: Field) -> None:
    """Each featurizer has models and components of its own."""
    first = field.refit()
    field.grow("a1", "a2", "a3", featurizer=OTHER)
    assert not field.refit().written
    other = field.refit(OTHER, components=1)
    assert other.model is not None
    assert first.model is not None
    assert (other.model.n, other.model.featurizer) == (3, OTHER)
    assert published(field.paths, ONE).model == first.model.id  # type: ignore[union-attr]


@pytest.mark.parametrize("uris", [[], ["only"]])
def test_fewer_than_two_pictures_are_nothing_to_fit(uris: list[str], tmp_path: Path) -> None:
    """Said, and not a failure: a scheduled refit may come before the pictures."""
    field = Field(tmp_path / "lake")
    field.reject("corrupt", "bad")
    if uris:
        field.grow(*uris)
    done = field.refit()
    assert not done.written
    assert done.sentence == f"nothing to fit: {len(uris)} pictures have features, 2 are needed"


def test_pictures_that_are_all_the_same_are_nothing_to_fit(tmp_path: Path) -> None:
    """No column varies."""
    field = Field(tmp_path / "lake")
    field.outcome(*({"uri": uri, "features": [1.0] * WIDTH} for uri in "abc"))
    done = field.refit()
    assert not done.written
    assert "all the same" in done.sentence
    assert field.rows(MODELS) == []


def test_a_constant_column_takes_no_part(tmp_path: Path) -> None:
    """Its scale is 1, its place in the axes zero, and the notes say so."""
    field = Field(tmp_path / "lake")
    rows = [[*vector[:-1], 7.0] for vector in field.vectors(20).tolist()]
    field.outcome(*({"uri": f"a{number}", "features": row} for number, row in enumerate(rows)))
    done = field.refit(variance=1.0)
    assert done.model is not None
    assert done.model.projection.scale[-1] == 1.0
    assert (done.model.projection.basis[:, -1] == 0).all()
    assert done.model.k == WIDTH - 1
    assert any("1 of 6 columns" in note for note in done.notes)


def test_more_components_than_there_can_be(tmp_path: Path) -> None:
    """Four pictures span three axes; said aloud."""
    field = Field(tmp_path / "lake")
    field.grow("a1", "a2", "a3", "a4")
    done = field.refit(components=5)
    assert done.model is not None
    assert done.model.k == 3
    assert any("5 components were asked for" in note for note in done.notes)


def test_features_that_are_not_finite_take_no_part(field: Field) -> None:
    """Nor do those of another length; both are counted aloud, in refits of everything and of what changed."""
    field.outcome({"uri": "bad", "features": [float("nan")] * WIDTH}, {"uri": "short", "features": [1.0]})
    done = field.refit()
    assert done.model is not None
    assert (done.model.n, done.model.run_card["unusable"]) == (30, 2)
    assert any("2 pictures left out" in note for note in done.notes)
    field.grow("bad", at=60)
    again = field.refit()
    assert again.model is not None
    assert (again.model.n, again.model.run_card["unusable"]) == (31, 1)
    assert again.model.run_card["kind"] == "incremental"


def test_a_stray_vector_does_not_decide_what_is_usual(tmp_path: Path) -> None:
    """Whichever file comes first, the length that most have is the length of the features."""
    for number in range(4):
        field = Field(tmp_path / f"lake{number}")
        field.outcome({"uri": "stray", "features": [1.0]})
        field.grow(*(f"a{place}" for place in range(12)))
        done = field.refit()
        assert done.model is not None
        assert (done.model.width, done.model.n) == (WIDTH, 12)


def test_a_refit_keeps_the_axes_of_the_one_before(field: Field) -> None:
    """A chart does not flip: each axis has the sign of the one before."""
    first = field.refit(components=3)
    grown(field)
    second = field.refit(components=3)
    assert first.model is not None
    assert second.model is not None
    cosines = np.sum(first.model.projection.basis * second.model.projection.basis, axis=1)
    assert (cosines > 0.7).all()
    assert second.model.parent == first.model.id


def test_the_drift_tells_new_rows_from_old_ones(field: Field) -> None:
    """And each label's part in it."""
    first = field.refit(components=3)
    shifted = (field.vectors(5) + 40).tolist()
    field.outcome(*({"uri": f"z{n}", "features": row, "label": "z"} for n, row in enumerate(shifted)))
    done = field.refit(components=3)
    assert first.model is not None
    assert done.model is not None
    drift = done.model.drift
    assert drift is not None
    assert (drift["since"], drift["old"], drift["new"]) == (first.model.id, 30, 5)
    assert len(drift["principal_angles"]) == 3
    assert drift["mean_shift_max"] >= drift["mean_shift"] > 0.1
    by_label = {each["label"]: each for each in drift["labels"]}
    assert (by_label["z"]["n"], by_label["z"]["new"], by_label["z"]["mean_shift"]) == (5, 5, None)
    assert by_label["a"]["mean_shift"] == pytest.approx(0, abs=1e-12)
    stored = models.load(field.paths, done.model.id).drift
    assert stored is not None
    assert stored["new"] == 5


@pytest.mark.parametrize("step", ["project", "append", "publish"])
def test_a_refit_that_was_cut_off_leaves_the_former_publication(
    step: str, field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole; and the next one repairs what is left."""
    field.refit(components=WIDTH)
    shown = published(field.paths, ONE)
    grown(field)

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        target = {"project": replacement, "append": models, "publish": publication}[step]
        patch.setattr(target, step, cut)
        with pytest.raises(KeyboardInterrupt):
            refit(field.paths, ONE, Settings(components=WIDTH))
    assert published(field.paths, ONE) == shown
    done = field.refit(components=WIDTH)
    assert done.written
    assert_exact(field, done)
    assert len(field.rows(MODELS)) == 2


@pytest.mark.parametrize("step", ["before the commit", "in the instant of it"])
def test_a_takedown_meanwhile_is_not_undone(step: str, field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it came before the publication, the refit begins again; else the refit takes the picture out itself."""
    target, name = {"before the commit": (replacement, "project"), "in the instant of it": (publication, "publish")}[
        step
    ]
    real = getattr(target, name)
    forgot: list[str] = []

    def with_takedown(*given: Any, **named: Any) -> Any:
        made = real(*given, **named) if name == "project" else None
        if not forgot:
            forgot.append("b1")
            delete_pictures(field.paths.table(FEATURES), forgot)
        return made or real(*given, **named)

    monkeypatch.setattr(target, name, with_takedown)
    field.refit()
    uris = {row["uri"] for row in field.rows(COMPONENTS)}
    assert uris == field.counting().keys()
    assert "b1" not in uris
    field.grow("c1", at=70)
    assert_exact(field, field.refit(components=WIDTH))


def test_an_older_model_is_published_again(field: Field) -> None:
    """For every picture that counts now; a refit with nothing new leaves it so, the next with something does not."""
    first = field.refit(components=2)
    grown(field)
    second = field.refit(components=2)
    assert first.model is not None
    assert second.model is not None
    back = use(field.paths, ONE, first.model.id[:-2])
    field.check()
    assert back.sentence == f"{first.model.id} published again, for 32 pictures"
    assert published(field.paths, ONE).model == first.model.id  # type: ignore[union-attr]
    assert not field.refit(components=2).written
    field.grow("d1", at=80)
    third = field.refit(components=2)
    assert third.model is not None
    assert third.model.parent == first.model.id
    assert third.model.run_card["continues"] == second.model.id


def test_a_model_that_nobody_made_cannot_be_used(field: Field) -> None:
    """With the mend."""
    field.refit()
    with pytest.raises(UsageError, match=r"no model of .* begin so; `verger models list` shows them"):
        use(field.paths, ONE, "1999")
