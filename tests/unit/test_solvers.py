"""The exact solver against scikit-learn and at the edges, and the rules that every solver shares."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import svd_flip

from batch.algebra import solvers
from batch.algebra.solvers import Array, Solution, Wanted, covariance


def drawn(n: int, width: int, seed: int = 0) -> Array:
    """Draw rows whose columns are correlated, of different means and scales."""
    random = np.random.default_rng(seed)
    hidden = random.standard_normal((n, width)) / np.arange(1, width + 1)
    mixed = hidden @ random.standard_normal((width, width))
    return mixed * 10 ** random.uniform(-3, 3, width) + random.uniform(-5, 5, width)


def fitted(rows: Array, wanted: Wanted) -> Solution:
    """Fit rows by their moments."""
    mean = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
    centred = rows - mean
    return covariance(len(rows), mean, centred.T @ centred, wanted)


class TestCovariance:
    """The exact solver."""

    @pytest.mark.parametrize(("n", "width"), [(300, 40), (40, 60), (500, 100)])
    @pytest.mark.parametrize("k", [2, 11, 30])
    def test_it_equals_scikit_learn(self, n: int, width: int, k: int) -> None:
        """Scale, eigenvalues, ratios and axes, signs included, are those of StandardScaler and PCA."""
        rows = drawn(n, width)
        scaler = StandardScaler().fit(rows)
        expected = PCA(k, svd_solver="full").fit(scaler.transform(rows))
        found = fitted(rows, Wanted(k))
        np.testing.assert_allclose(found.scale, scaler.scale_, rtol=1e-12)
        np.testing.assert_allclose(found.explained_variance, expected.explained_variance_, rtol=1e-9)
        np.testing.assert_allclose(found.explained_variance_ratio, expected.explained_variance_ratio_, rtol=1e-9)
        np.testing.assert_allclose(found.basis, expected.components_, atol=1e-8)
        assert found.solver == "covariance"
        assert found.notes == ()

    @pytest.mark.parametrize(("n", "width"), [(300, 40), (40, 60), (1, 3), (0, 3)])
    def test_what_every_axis_explains(self, n: int, width: int) -> None:
        """The same numbers as of the axes that are asked for, of all that there are, and the scatter is left alone."""
        rows = drawn(n, width)
        mean = rows.mean(axis=0) if n else np.zeros(width)
        scatter = (rows - mean).T @ (rows - mean)
        before = scatter.copy()
        variances, shares = solvers.eigenvalues(n, mean, scatter)
        found = covariance(n, mean, scatter, Wanted(width))
        np.testing.assert_allclose(variances, found.explained_variance, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(shares, found.explained_variance_ratio, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(scatter, before)

    def test_the_leading_axes_do_not_depend_on_how_many_are_wanted(self) -> None:
        """LAPACK's routine for a few and its routine for all give the same."""
        rows = drawn(400, 80)
        few, all_ = fitted(rows, Wanted(10)), fitted(rows, Wanted(80))
        np.testing.assert_allclose(few.basis, all_.basis[:10], atol=1e-10)
        np.testing.assert_allclose(few.explained_variance, all_.explained_variance[:10], rtol=1e-12)

    @pytest.mark.parametrize("target", [0.3, 0.9, 0.999])
    def test_a_target_takes_the_fewest_that_reach_it(self, target: float) -> None:
        """The components explain the target, and one fewer would not."""
        ratios = fitted(drawn(200, 30), Wanted(variance=target)).explained_variance_ratio
        assert ratios.sum() >= target > ratios[:-1].sum()

    def test_all_variance_is_reached_in_spite_of_round_off(self) -> None:
        """A target of 1.0 takes every axis and reports no shortfall."""
        found = fitted(drawn(200, 30), Wanted(variance=1.0))
        assert len(found.basis) == 30
        assert found.notes == ()

    def test_constant_columns_take_no_part(self) -> None:
        """They have scale 1 and zeros in the basis, ghosts of a subtraction, too; the others are as without them."""
        rows = drawn(100, 12)
        with_constants = np.insert(rows, [0, 5, 12], [0.0, 7.5, -1e9], axis=1)
        constant = [0, 6, 14]
        mean = with_constants.mean(axis=0)
        scatter = (with_constants - mean).T @ (with_constants - mean)
        scatter[6, 6], scatter[14, 14] = 1e-11, -1e-3
        found, expected = covariance(100, mean, scatter, Wanted(4)), fitted(rows, Wanted(4))
        assert np.all(found.scale[constant] == 1.0)
        assert np.all(found.basis[:, constant] == 0.0)
        np.testing.assert_allclose(np.delete(found.basis, constant, axis=1), expected.basis, atol=1e-12)
        np.testing.assert_allclose(found.explained_variance_ratio, expected.explained_variance_ratio, rtol=1e-12)
        assert found.notes == ("3 of 15 columns are constant and take no part",)

    @pytest.mark.parametrize("wanted", [Wanted(50), Wanted(variance=1.0)])
    def test_there_are_fewer_components_than_rows(self, wanted: Wanted) -> None:
        """Centred rows span one dimension less than they are; no zero eigenvalue is taken for a component."""
        found = fitted(drawn(13, 60), wanted)
        assert found.basis.shape == (12, 60)
        np.testing.assert_allclose(found.explained_variance_ratio.sum(), 1.0, rtol=1e-12)
        assert found.notes == (("50 components were asked for, there are 12",) if wanted.components else ())

    def test_columns_that_repeat_others_add_no_component(self) -> None:
        """Eigenvalues that are zero but for round-off are not returned."""
        rows = np.tile(drawn(200, 8), 5)
        assert fitted(rows, Wanted(20)).basis.shape == (8, 40)

    def test_two_rows_have_one_axis(self) -> None:
        """It is their difference, and explains everything."""
        found = fitted(np.array([[0.0, 1.0, 5.0], [2.0, 0.0, 5.0]]), Wanted(2))
        np.testing.assert_allclose(found.basis, [[np.sqrt(0.5), -np.sqrt(0.5), 0.0]], atol=1e-12)
        np.testing.assert_allclose(found.explained_variance, [4.0])

    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            (np.zeros((0, 3)), "there is no picture"),
            (np.ones((1, 3)), "a single picture does not vary"),
            (np.full((9, 3), 0.1), "no column varies"),
        ],
    )
    def test_what_does_not_vary_has_no_component(self, rows: Array, reason: str) -> None:
        """No row, one row and equal rows give an empty basis, scales of 1 and a note."""
        found = fitted(rows, Wanted(2))
        assert found.basis.shape == (0, 3)
        assert found.explained_variance.shape == found.explained_variance_ratio.shape == (0,)
        assert np.all(found.scale == 1.0)
        assert found.notes == (f"no components: {reason}",)

    def test_uncorrelated_columns_are_their_own_axes(self) -> None:
        """An identity, whose eigenvalues are all equal, still gives orthonormal rows."""
        for k in (3, 40):
            basis = covariance(100, np.zeros(40), 100 * np.eye(40), Wanted(k)).basis
            np.testing.assert_allclose(basis @ basis.T, np.eye(k), atol=1e-12)

    @pytest.mark.parametrize("k", [5, 200])
    def test_memory_is_what_is_said(self, k: int) -> None:
        """The scatter is left as it is, and no more is taken than `memory_bytes` says."""
        rows = drawn(900, 400)
        mean = rows.mean(axis=0)
        scatter = (rows - mean).T @ (rows - mean)
        before = scatter.copy()
        tracemalloc.start()
        covariance(900, mean, scatter, Wanted(k))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.array_equal(scatter, before)
        assert peak < 1.05 * solvers.memory_bytes(400)

    @settings(max_examples=60)
    @given(
        hnp.arrays(
            np.float32,
            hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
            elements=st.integers(-50, 50).map(lambda each: each / 8),
        ),
        st.integers(1, 12),
    )
    def test_any_table_gives_a_sound_basis(self, rows: Array, k: int) -> None:
        """Rows are orthonormal, variances descend, and components of the rows have these variances."""
        rows = rows.astype(np.float64)
        found = fitted(rows, Wanted(k))
        count = len(found.basis)
        np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(count), atol=1e-9)
        assert np.all(np.diff(found.explained_variance) <= 0)
        if count:
            components = (rows - rows.mean(axis=0)) / found.scale @ found.basis.T
            np.testing.assert_allclose(components.var(axis=0, ddof=1), found.explained_variance, rtol=1e-6)


class TestSigns:
    """Which of an axis' two directions is returned."""

    def test_the_greatest_entry_is_positive(self) -> None:
        """It is scikit-learn's rule."""
        basis = np.random.default_rng(1).standard_normal((20, 15))
        expected = svd_flip(None, basis.copy(), u_based_decision=False)[1]
        assert np.array_equal(solvers.signed(basis), expected)

    @pytest.mark.parametrize("error", [-1e-12, 0.0, 1e-12])
    def test_round_off_does_not_decide(self, error: float) -> None:
        """Of entries that are equally great the first is positive, whichever is greater in the last digits."""
        row = np.array([[0.0, -0.6, 0.6 + error, 0.5]])
        assert np.array_equal(solvers.signed(row), -row)

    def test_no_rows_have_no_signs(self) -> None:
        """An empty basis stays one."""
        assert solvers.signed(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("auto", 1280, "covariance"),
        ("auto", 4096, "covariance"),
        ("auto", 4097, "randomized"),
        ("covariance", 9000, "covariance"),
        ("randomized", 8, "randomized"),
    ],
)
def test_auto_goes_by_the_width(name: str, width: int, expected: str) -> None:
    """Narrow rows are solved exactly, wide ones by products; who names a solver gets it. It is said aloud."""
    chosen, why = solvers.choose(name, width)
    assert chosen == expected
    assert f"solver {expected}" in why


@pytest.mark.parametrize(("variance", "varies"), [(0.0, False), (-1e-9, False), (2e-8, True), (0.5e-8, False)])
def test_a_column_is_constant_relative_to_its_magnitude(variance: float, varies: bool) -> None:
    """At a mean of 100 a variance of 1e-8 is round-off."""
    mean, variances = np.array([100.0]), np.array([variance])
    assert solvers.varying_columns(mean, variances).tolist() == [varies]
    assert solvers.scale_of(mean, variances).tolist() == [np.sqrt(variance) if varies else 1.0]
