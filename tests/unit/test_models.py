"""The table of models: appended, listed, meant and loaded."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from batch import models
from batch.model import Model
from conf.errors import LakeError, StorageError, UsageError
from conf.lake import LakePaths
from conf.schemas import MODELS
from conf.tables import ensure
from tests.unit.lakes import MORNING, ONE, OTHER, Orchard
from tests.unit.test_model import assert_same, model

IDS = ["20260301T080000-aaaaaa", "20260301T080000-bbbbbb", "20260302T080000-aaaaaa"]


@pytest.fixture
def lake(tmp_path: Path) -> LakePaths:
    """Return a lake without models."""
    paths = Orchard(tmp_path / "lake").paths
    ensure(MODELS, paths.table(MODELS))
    return paths


@pytest.fixture
def several(lake: LakePaths) -> LakePaths:
    """Return a lake with three models, appended in another order than they were made, beside another featurizer's."""
    for place in (1, 2, 0):
        models.append(lake, of(place))
    models.append(lake, model("20260309T080000-cccccc", featurizer=OTHER, created_at=MORNING + timedelta(days=9)))
    return lake


def of(place: int) -> Model:
    """Make one of the three."""
    return model(IDS[place], created_at=MORNING + timedelta(minutes=place), moments=bytes([place]))


def test_a_model_is_loaded_as_it_was_appended(several: LakePaths) -> None:
    """With its moments on demand."""
    assert_same(models.load(several, IDS[1], moments=True), of(1))
    assert models.load(several, IDS[1]).moments is None


def test_the_newest_is_the_one_that_was_made_last(several: LakePaths) -> None:
    """However the rows lie; with its moments."""
    found = models.newest(several, ONE)
    assert found is not None
    assert_same(found, of(2))


def test_a_list_is_sorted_by_time(several: LakePaths) -> None:
    """Oldest first, of one featurizer; with the columns that were asked for, in their order."""
    found = models.summaries(several, ONE)
    assert found["model"].to_pylist() == IDS
    assert found.column_names == list(models.SUMMARY)
    assert models.summaries(several, ONE, ["k", "model"]).to_pylist() == [{"k": 2, "model": each} for each in IDS]
    assert models.summaries(several, OTHER, ["model"])["model"].to_pylist() == ["20260309T080000-cccccc"]


def test_without_models_the_list_is_empty(lake: LakePaths, tmp_path: Path) -> None:
    """With the same columns, whether the table is there or not."""
    bare = Orchard(tmp_path / "bare").paths
    for paths in (lake, bare):
        found = models.summaries(paths, ONE)
        assert (found.num_rows, found.column_names) == (0, list(models.SUMMARY))
        assert found.schema.types == [MODELS.schema.field(name).type for name in models.SUMMARY]
        assert models.newest(paths, ONE) is None


class TestMeant:
    """The one model that an id, or the beginning of one, means."""

    @pytest.mark.parametrize(
        ("wish", "place"), [(IDS[0], 0), ("20260301T080000-b", 1), ("20260302", 2)], ids=["whole", "begun", "day"]
    )
    def test_a_beginning_is_enough(self, wish: str, place: int, several: LakePaths) -> None:
        """Where only one model begins so."""
        assert models.meant(several, ONE, wish) == IDS[place]

    def test_an_id_that_others_begin_with(self, several: LakePaths) -> None:
        """A whole id is that model."""
        models.append(several, model(f"{IDS[0]}0"))
        assert models.meant(several, ONE, IDS[0]) == IDS[0]

    @pytest.mark.parametrize(
        ("wish", "how_many"),
        [("2025", "no model"), ("20260309", "no model"), ("20260301", "2 models"), ("", "3 models")],
        ids=["none", "another featurizer's", "several", "empty"],
    )
    def test_what_means_no_single_one(self, wish: str, how_many: str, several: LakePaths) -> None:
        """One line, with the mend."""
        with pytest.raises(UsageError) as raised:
            models.meant(several, ONE, wish)
        assert str(raised.value) == f"model {wish!r}: {how_many} of {ONE} begin so; `verger models list` shows them"

    def test_before_the_first_refit(self, tmp_path: Path) -> None:
        """There is not even a table."""
        with pytest.raises(UsageError, match="no model of"):
            models.meant(Orchard(tmp_path / "bare").paths, ONE, "2026")


@pytest.mark.parametrize("there", [True, False], ids=["a table", "no table"])
def test_a_model_that_is_gone(there: bool, several: LakePaths, tmp_path: Path) -> None:
    """As after its featurizer was dropped."""
    paths = several if there else Orchard(tmp_path / "bare").paths
    with pytest.raises(LakeError, match=r"models holds no model 2026: `verger refit` makes a new one$"):
        models.load(paths, "2026")


def test_a_table_that_cannot_be_written(lake: LakePaths) -> None:
    """One line, with the place."""
    log = Path(lake.table(MODELS)) / "_delta_log"
    shutil.rmtree(log)
    log.write_text("no folder")
    with pytest.raises(StorageError, match=r"^.*/models cannot be written: .*$"):
        models.append(lake, model())
