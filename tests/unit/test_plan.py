"""What a refit finds out before it starts: what has changed, and why it reads the whole table where it does."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batch import models
from batch.model import Model
from batch.plan import Plan, plan
from batch.rows.parts import read
from conf import upkeep
from conf.deletion import delete_pictures
from conf.schemas import FEATURES
from conf.tables import open_table
from tests.unit.fields import WIDTH, Field
from tests.unit.lakes import ONE, OTHER, seconds

PICTURES = [f"a{number}" for number in range(12)]
NOT_USABLE = [float("nan")] * WIDTH


@pytest.fixture(scope="module")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a refitted lake of twelve pictures, and one whose features are not usable."""
    field = Field(tmp_path_factory.mktemp("refitted") / "lake")
    field.grow(*PICTURES)
    field.outcome({"uri": "odd", "features": NOT_USABLE}, {"uri": "bad", "rejection": "corrupt"})
    field.refit(components=2)
    return field.root


@pytest.fixture
def field(refitted: Path, tmp_path: Path) -> Field:
    """Return a copy of that lake."""
    shutil.copytree(refitted, tmp_path / "lake")
    return Field(tmp_path / "lake", seed=1)


def last(field: Field) -> Model:
    """Return the last model."""
    found = models.newest(field.paths, ONE)
    assert found is not None
    return found


def planned(field: Field, before: Model | None = None, solver: str = "covariance", full: bool = False) -> Plan:
    """Plan the refit after the last model, or after another."""
    return plan(field.paths, ONE, before or last(field), solver, full=full)


def why(field: Field, before: Model | None = None, **given: Any) -> str:
    """Say why the whole table is read."""
    return planned(field, before, **given).why_full


def uris(parts: list[Any]) -> list[str]:
    """Read the uris of some parts, sorted."""
    return sorted(uri for part in parts for batch in read(part, ["uri"]) for uri in batch["uri"].to_pylist())


def test_the_first_refit_reads_everything(field: Field) -> None:
    """What has changed is not known, and it is not asked."""
    found = plan(field.paths, ONE, None, "covariance", full=False)
    assert (found.why_full, found.difference, found.last) == ("the first refit of this featurizer", None, None)
    assert (found.winners.n, found.winners.rejected, found.version) == (13, 1, field.version(FEATURES))
    assert not found.unchanged


def test_what_changed_is_added_and_removed(field: Field) -> None:
    """One new picture, one overwritten, one forgotten, one rejected since."""
    field.grow("new", "a1", at=50)
    field.outcome({"uri": "a2", "rejection": "corrupt", "landed_at": seconds(60)})
    delete_pictures(field.paths.table(FEATURES), ["a3"])
    found = planned(field)
    assert found.why_full == ""
    assert found.difference is not None
    assert uris(found.difference.added) == ["a1", "new"]
    assert uris(found.difference.removed) == ["a1", "a2", "a3"]
    assert (found.winners.n, found.winners.rejected, found.version) == (12, 2, field.version(FEATURES))
    assert not found.unchanged


def nothing(field: Field) -> None:
    pass


def late(field: Field) -> None:
    field.grow("a1", at=-50)


def compacted(field: Field) -> None:
    open_table(field.paths.table(FEATURES)).optimize.compact()


def of_another(field: Field) -> None:
    field.grow("a1", "new", at=50, featurizer=OTHER)


def another_rejection(field: Field) -> None:
    field.reject("corrupt", "worse")


def come_and_gone(field: Field) -> None:
    field.grow("new")
    delete_pictures(field.paths.table(FEATURES), ["new"])


@pytest.mark.parametrize("event", [nothing, late, compacted, of_another, another_rejection, come_and_gone])
def test_what_changes_no_picture_is_no_change(event: Callable[[Field], None], field: Field) -> None:
    """Though the table has newer versions."""
    event(field)
    found = planned(field)
    assert found.unchanged
    assert found.why_full == ""


def test_a_new_version_of_what_was_not_usable_is_a_change_like_any_other(field: Field) -> None:
    """A picture that took no part is among those that count, and the fit leaves it out again."""
    field.grow("odd", at=50)
    found = planned(field)
    assert found.why_full == ""
    assert found.difference is not None
    assert (uris(found.difference.removed), uris(found.difference.added)) == (["odd"], ["odd"])


class TestFullPass:
    """Each reason to read the whole table."""

    def test_the_log_is_trimmed(self, field: Field) -> None:
        """What changed since is not known then."""
        for number in range(3):
            field.grow(f"b{number}")
        upkeep.forget_log(field.paths.table(FEATURES), datetime.now(UTC) + timedelta(days=1))
        found = planned(field)
        assert found.why_full.startswith("what changed since the last model cannot be read: the log no longer holds ")
        assert found.difference is None
        assert (found.winners.n, found.unchanged) == (16, False)

    def test_files_with_changes_are_gone(self, field: Field) -> None:
        """VACUUM took them."""
        delete_pictures(field.paths.table(FEATURES), ["a1"])
        for each in (Path(field.paths.table(FEATURES)) / "_change_data").rglob("*.parquet"):
            each.unlink()
        assert why(field) == (
            "what changed since the last model cannot be read: VACUUM has deleted files that held changes since then"
        )

    def test_the_table_was_made_anew(self, field: Field) -> None:
        """It has fewer versions than the model saw."""
        assert "the table was made anew" in why(field, replace(last(field), features_version=99))

    @pytest.mark.parametrize(("overwritten", "full"), [(6, False), (7, True)])
    def test_most_pictures_have_changed(self, overwritten: int, full: bool, field: Field) -> None:
        """More than half of thirteen: to go on from the sums would save little, and cost digits."""
        field.grow(*PICTURES[:overwritten], at=50)
        assert why(field) == ("most pictures have changed" if full else "")

    def test_the_counts_differ(self, field: Field) -> None:
        """The moments are of other pictures than those that changed."""
        before = last(field)
        assert why(field, replace(before, n=before.n - 1)) == (
            "12 pictures by the changes since the last model, and 13 in the table"
        )
        assert why(field, replace(before, run_card={**before.run_card, "unusable": 3})) == (
            "15 pictures by the changes since the last model, and 13 in the table"
        )

    def test_counts_that_differ_are_a_change(self, field: Field) -> None:
        """Though the log tells of none: the table was made anew, and has as many versions as before."""
        before = last(field)
        assert not planned(field, replace(before, n=before.n - 1)).unchanged

    @pytest.mark.parametrize(("increments", "full"), [(0, False), (49, False), (50, True)])
    def test_fifty_refits_built_on_one_another(self, increments: int, full: bool, field: Field) -> None:
        """Rounding adds up."""
        before = last(field)
        changed = replace(before, run_card={**before.run_card, "increments": increments})
        assert why(field, changed) == ("the last 50 refits built on one another" if full else "")

    def test_another_solver_is_to_be_used(self, field: Field) -> None:
        """It has no use for moments."""
        assert why(field, solver="randomized") == "the randomized solver reads the whole table"

    def test_another_solver_was_used(self, field: Field) -> None:
        """It left no moments."""
        before = replace(last(field), moments=None, solver="randomized")
        assert why(field, before) == "the last model was made by the randomized solver, which leaves no moments"

    def test_it_was_asked_for(self, field: Field) -> None:
        """Whatever other reasons there are; what changed is told all the same, for the report."""
        field.grow("new")
        found = planned(field, full=True, solver="randomized")
        assert found.why_full == "--full was asked for"
        assert found.difference is not None
        assert uris(found.difference.added) == ["new"]

    def test_it_was_asked_for_and_what_changed_cannot_be_read(self, field: Field) -> None:
        """The wish is the reason."""
        assert why(field, replace(last(field), features_version=99), full=True) == "--full was asked for"
