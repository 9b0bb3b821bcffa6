"""A model as a value: what it does with features, and its way to a row of the table and back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from batch.model import Model, Projection, from_row, id_of
from conf.schemas import MODELS
from tests.unit.lakes import MORNING, ONE

WIDTH, K = 5, 2


def projection(seed: int = 0) -> Projection:
    """Draw one."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(WIDTH, K)))[0].T
    return Projection(rng.normal(size=WIDTH), rng.uniform(0.1, 3, WIDTH), basis)


def model(name: str = "20260301T080000-aaaaaa", **changed: Any) -> Model:
    """Make one of numbers that no shorter form keeps."""
    made = Model(
        id=name,
        featurizer=ONE,
        created_at=datetime(2026, 3, 1, 8, 0, 0, 123_457, tzinfo=UTC),
        features_version=12,
        n=34,
        rejected=5,
        solver="covariance",
        projection=projection(),
        explained_variance=np.array([2 / 3, 1e-300]),
        explained_variance_ratio=np.array([0.1, np.nextafter(0.2, 1)]),
        labels=b"\x00labels\xff",
    )
    return replace(made, **changed)


DRIFT = {
    "since": "m0",
    "old": None,
    "new": 3,
    "principal_angles": [1 / 3, 45.0],
    "eigenvalue_change": [-0.5],
    "mean_shift": 0.1,
    "mean_shift_max": 0.2,
    "error_old": None,
    "error_new": 1 / 7,
    "labels": [
        {"label": None, "n": 1, "new": 0, "mean_shift": None, "error_old": 0.5, "error_new": None},
    ],
}


def arrays(model: Model) -> list[NDArray[np.float64]]:
    """Return all of a model that is an array."""
    place = model.projection
    return [place.mean, place.scale, place.basis, model.explained_variance, model.explained_variance_ratio]


def assert_same(one: Model, other: Model) -> None:
    """Check that two models are the same to the last bit."""
    scalars = "id featurizer created_at features_version n rejected solver labels moments drift parent run_card k width"
    for name in scalars.split():
        assert getattr(one, name) == getattr(other, name), name
    for mine, theirs in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(mine, theirs, strict=True)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"moments": b"\x01", "parent": "m0", "drift": DRIFT, "run_card": {"why": None, "seconds": {"sums": 0.5}}},
    ],
    ids=["a first one", "a later one"],
)
def test_a_row_of_the_table_gives_the_model_back(changed: dict[str, Any]) -> None:
    """To the last bit, by way of the table's own types."""
    made = model(**changed)
    [row] = pa.Table.from_pylist([made.row()], MODELS.schema).to_pylist()
    assert_same(made, from_row(row))


def test_a_row_without_moments_gives_a_model_without() -> None:
    """They are megabytes, which only a refit reads."""
    row = model(moments=b"\x01").row()
    del row["moments"]
    assert from_row(row).moments is None


def test_what_json_does_not_know_stands_in_the_run_card_as_text() -> None:
    """Better than a model that cannot be kept."""
    assert from_row(model(run_card={"at": MORNING}).row()).run_card == {"at": str(MORNING)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_components_are_standardised_features_on_the_axes(dtype: type[np.float32 | np.float64]) -> None:
    """Reckoned in float64, whatever comes; what comes stays as it was."""
    place = projection()
    vectors = (np.random.default_rng(1).normal(size=(7, WIDTH)) * 10 + 100).astype(dtype)
    vectors.flags.writeable = False
    standard: NDArray[np.float64] = (vectors.astype(np.float64) - place.mean) / place.scale
    np.testing.assert_array_equal(place.standardised(vectors), standard)
    found = place.components(vectors)
    assert found.dtype == np.float32
    assert found.shape == (7, K)
    np.testing.assert_allclose(found, standard @ place.basis.T, rtol=1e-6)
    assert place.components(vectors[:0]).shape == (0, K)


class TestId:
    """Sorts by time, and tells models apart."""

    def test_it_is_the_second_and_a_hash(self) -> None:
        """The same for the same; readable."""
        name = id_of(MORNING, projection())
        assert name.startswith("20260301T080000-")
        assert len(name) == 22
        assert name == id_of(MORNING, projection())

    def test_ids_sort_by_time(self) -> None:
        """As a list of models is read."""
        names = [id_of(MORNING + timedelta(hours=hours), projection(hours)) for hours in range(48)]
        assert names == sorted(names)

    def test_other_axes_or_means_are_another_model(self) -> None:
        """Within one second."""
        one = projection()
        others = [replace(one, basis=-one.basis), replace(one, mean=one.mean + 1), one]
        assert len({id_of(MORNING, each) for each in others}) == 3

    def test_the_same_axes_found_again_are_another_model(self) -> None:
        """As of two full passes within a second."""
        assert id_of(MORNING, projection()) != id_of(MORNING + timedelta(milliseconds=200), projection())
