"""The view as a DataFrame: the same rows as without Spark."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from batch import view
from batch.publication import published
from batch.view import SCHEMA
from conf.deletion import delete_pictures
from conf.errors import LakeError
from conf.schemas import COMPONENTS, FEATURES
from tests.unit.fields import Field
from tests.unit.lakes import ONE, OTHER, seconds


@pytest.fixture
def field(tmp_path: Path) -> Field:
    """Return a refitted lake with eight pictures, beside those of another featurizer."""
    made = Field(tmp_path / "lake")
    made.grow(*(f"a{number}" for number in range(8)))
    made.grow("a1", "other", "others", featurizer=OTHER)
    for featurizer in (ONE, OTHER):
        made.refit(featurizer, components=2)
    return made


def rows(table: pa.Table) -> list[dict[str, object]]:
    """Read rows by uri, in the columns' order."""
    found: list[dict[str, object]] = table.cast(SCHEMA).sort_by("uri").to_pylist()
    return found


def test_the_frame_has_the_rows_of_the_view(spark: SparkSession, field: Field) -> None:
    """Right after a refit, and with new, overwritten, rejected and forgotten pictures."""
    for number in range(2):
        frame = view.frame(spark, field.paths, ONE)
        assert frame.columns == SCHEMA.names
        found = rows(frame.toArrow())
        assert found == rows(view.view(field.paths, ONE).table())
        assert len(found) == (8, 7)[number]
        field.grow("new", "a1", at=50, label=None)
        field.outcome({"uri": "a2", "rejection": "corrupt", "landed_at": seconds(60)})
        delete_pictures(field.paths.table(FEATURES), ["a3"])


def test_superseded_rows_with_none_in_their_place(spark: SparkSession, field: Field) -> None:
    """There is nothing provisional to join."""
    delete_pictures(field.paths.table(FEATURES), ["a3", "a4"])
    frame = view.frame(spark, field.paths, ONE)
    assert rows(frame.toArrow()) == rows(view.view(field.paths, ONE).table())
    assert frame.where("source = 'batch'").count() == 6


def test_a_frame_stays_of_one_model(spark: SparkSession, field: Field) -> None:
    """Though a refit and a takedown come before it is read."""
    field.grow("new", at=50)
    shown = published(field.paths, ONE)
    frame = view.frame(spark, field.paths, ONE)
    expected = rows(view.view(field.paths, ONE).table())
    field.refit(components=1)
    delete_pictures(field.paths.table(COMPONENTS), ["a1"])
    found = rows(frame.toArrow())
    assert found == expected
    assert shown is not None
    assert {row["model"] for row in found} == {shown.model}


def test_without_a_refit_there_is_one_clear_message(spark: SparkSession, tmp_path: Path) -> None:
    """As without Spark."""
    field = Field(tmp_path / "lake")
    field.grow("a")
    with pytest.raises(LakeError, match=r"has no components of .* yet: `verger refit --lake "):
        view.frame(spark, field.paths, ONE)
