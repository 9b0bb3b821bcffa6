"""What a refit says of the change since the model before: held against plain numpy on small data."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from batch.algebra.alignment import in_new_units
from batch.algebra.labels import LabelMeans
from batch.drift import drift
from batch.model import Model, Projection
from batch.refit import use
from batch.tasks.projecting import Losses, Projected
from tests.unit.fields import Field
from tests.unit.lakes import ONE
from tests.unit.test_model import model

WIDTH = 5
Doubles = NDArray[np.float64]
BEFORE, AFTER = (np.random.default_rng(seed).normal(size=(40, WIDTH)) * 2 + seed for seed in (1, 2))
NAMES = ["a", "b", "c", None]
LABELS_BEFORE, LABELS_AFTER = ["a", "b", None, "gone"] * 10, [*NAMES] * 10


def fitted(values: Doubles, components: int) -> tuple[Projection, Doubles]:
    """Fit in one piece."""
    scale = values.std(axis=0)
    variances, axes = np.linalg.eigh(np.corrcoef(values, rowvar=False))
    found = axes.T[::-1][:components]
    return Projection(values.mean(axis=0), scale, found), variances[::-1][:components] * len(values) / (len(values) - 1)


def means(values: Doubles, labels: list[str | None], kept: set[str | None]) -> LabelMeans:
    """Return the means by label."""
    return LabelMeans.of(pa.array(labels), values, frozenset(kept))


def losses(old: tuple[int, float, float], new: tuple[int, float, float]) -> Losses:
    """Give rows, lengths and losses of old and new rows."""
    return Losses(*(list(pair) for pair in zip(old, new, strict=True)))  # type: ignore[arg-type]


PROJECTED = Projected(
    labels={"a": losses((9, 4.0, 1.0), (1, 2.0, 1.0)), "b": losses((10, 8.0, 2.0), (0, 0.0, 0.0))},
    others=losses((16, 4.0, 1.0), (4, 6.0, 3.0)),
)


def report(components: tuple[int, int] = (3, 2), told_apart: bool = True) -> tuple[dict[str, Any], Model]:
    """Report on a fit of other rows than the model before was of, with its numbers of components."""
    projection, variances = fitted(BEFORE, components[0])
    before = model(
        "m0",
        projection=projection,
        explained_variance=variances,
        labels=means(BEFORE, LABELS_BEFORE, {"a", None, "gone"}).to_bytes(),
    )
    after, now = fitted(AFTER, components[1])
    former = in_new_units(projection.basis, projection.scale, after.scale, np.ones(WIDTH, bool))
    labels = means(AFTER, LABELS_AFTER, {"a", "b", None})
    return drift(before, former, after, now, labels, PROJECTED, told_apart=told_apart), before


def test_what_it_is_measured_against() -> None:
    """The model before, and how many rows are old and new."""
    found, _ = report()
    assert (found["since"], found["old"], found["new"]) == ("m0", 35, 5)


@pytest.mark.parametrize("components", [(3, 2), (2, 3), (1, 1)], ids=str)
def test_principal_angles_are_those_between_the_subspaces(components: tuple[int, int]) -> None:
    """In degrees, least first: singular values of the product of orthonormal bases are their cosines."""
    found, before = report(components)
    after = fitted(AFTER, components[1])[0]
    former, _ = np.linalg.qr((before.projection.basis / before.projection.scale * after.scale).T)
    cosines = np.linalg.svd(after.basis @ former, compute_uv=False)
    assert found["principal_angles"] == pytest.approx(np.degrees(np.arccos(cosines)))


@pytest.mark.parametrize("components", [(3, 2), (2, 3)], ids=str)
def test_the_change_of_eigenvalues_is_relative(components: tuple[int, int]) -> None:
    """Of those places that both models have."""
    found, before = report(components)
    now = fitted(AFTER, components[1])[1]
    assert found["eigenvalue_change"] == pytest.approx(
        (now[:2] - before.explained_variance[:2]) / before.explained_variance[:2]
    )


def test_an_eigenvalue_that_was_zero() -> None:
    """A number, however large: the table keeps no infinity."""
    _, before = report()
    projection, variances = fitted(AFTER, 2)
    zero = model("m0", projection=before.projection, explained_variance=np.zeros(2), labels=before.labels)
    found = drift(
        zero,
        before.projection.basis,
        projection,
        variances,
        means(AFTER, LABELS_AFTER, set()),
        PROJECTED,
        told_apart=True,
    )
    assert np.isfinite(found["eigenvalue_change"]).all()


def test_the_mean_shifts_in_standard_deviations_of_the_model_before() -> None:
    """Root mean square over the columns, and the greatest."""
    found, _ = report()
    shift = (AFTER.mean(axis=0) - BEFORE.mean(axis=0)) / BEFORE.std(axis=0)
    assert found["mean_shift"] == pytest.approx(np.sqrt((shift**2).sum() / WIDTH))
    assert found["mean_shift_max"] == pytest.approx(max(abs(shift)))


def test_the_errors_are_of_all_rows_old_and_new() -> None:
    """What lies off the axes by what there is: labels with losses of their own, and the others."""
    found, _ = report()
    assert (found["error_old"], found["error_new"]) == (4 / 16, 4 / 8)


def test_each_label_by_itself() -> None:
    """Its shift where it had a mean before; its errors where rows of it were read."""
    found, _ = report()
    by_label = {each["label"]: each for each in found["labels"]}
    assert [each["label"] for each in found["labels"]] == [None, "a", "b"]
    assert {name: (each["n"], each["new"]) for name, each in by_label.items()} == {
        None: (10, None), "a": (10, 1), "b": (10, 0),
    }  # fmt: skip
    assert [(by_label[name]["error_old"], by_label[name]["error_new"]) for name in ("a", "b", None)] == [
        (0.25, 0.5), (0.25, None), (None, None),
    ]  # fmt: skip
    assert by_label["b"]["mean_shift"] is None
    for name in ("a", None):
        was, now = (
            values[np.array([each == name for each in labels])].mean(axis=0)
            for values, labels in ((BEFORE, LABELS_BEFORE), (AFTER, LABELS_AFTER))
        )
        shift = (now - was) / BEFORE.std(axis=0)
        assert by_label[name]["mean_shift"] == pytest.approx(np.sqrt((shift**2).mean()))


def test_where_old_and_new_are_not_told_apart() -> None:
    """No number is given out for what is not known."""
    found, _ = report(told_apart=False)
    assert (found["old"], found["new"]) == (None, None)
    assert {each["new"] for each in found["labels"]} == {None}


def test_the_same_fit_again_has_not_drifted() -> None:
    """All is zero, whatever the order of the columns' scales."""
    projection, variances = fitted(BEFORE, 3)
    labels = means(BEFORE, LABELS_BEFORE, {"a", "gone"})
    before = model("m0", projection=projection, explained_variance=variances, labels=labels.to_bytes())
    found = drift(before, projection.basis, projection, variances, labels, PROJECTED, told_apart=True)
    assert found["principal_angles"] == pytest.approx([0] * 3, abs=1e-6)
    assert found["eigenvalue_change"] == [0, 0, 0]
    assert (found["mean_shift"], found["mean_shift_max"]) == (0, 0)
    assert [each["mean_shift"] for each in found["labels"]] == [0, 0]


def test_after_an_older_model_was_published_again_old_and_new_are_not_told_apart(tmp_path: Path) -> None:
    """What is known is what came since the last model, and drift is measured against the published one."""
    field = Field(tmp_path / "lake")
    field.grow(*(f"a{number}" for number in range(20)))
    first = field.refit(components=2).model
    field.grow("b1", "b2", at=50)
    field.refit(components=2)
    assert first is not None
    use(field.paths, ONE, first.id)
    field.grow("c1", at=60)
    third = field.refit(components=2).model
    assert third is not None
    assert third.drift is not None
    assert (third.drift["since"], third.drift["old"], third.drift["new"]) == (first.id, None, None)
