"""Stable axes: what a refit may change about an axis that is still the same, and how far two subspaces are apart."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.algebra import alignment
from batch.algebra.alignment import aligned
from batch.algebra.solvers import Array, Solution, signed

WIDTH = 9
EQUAL, APART = [1.0, 1.0, 1.0], [4.0, 2.0, 1.0]


def solution(basis: Array, explained_variance: list[float]) -> Solution:
    """Give a solution of some axes."""
    variances = np.array(explained_variance)
    return Solution(np.ones(basis.shape[1]), variances, variances / basis.shape[1], basis, "covariance")


def orthonormal(k: int, seed: int, width: int = WIDTH) -> Array:
    """Draw orthonormal rows."""
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((width, k)))[0].T)


def tilted(basis: Array, angle: float, seed: int) -> Array:
    """Turn the space that the rows are in by a random rotation of about an angle."""
    raw = np.random.default_rng(seed).standard_normal((basis.shape[1], basis.shape[1]))
    rotation, triangle = np.linalg.qr(np.eye(basis.shape[1]) + angle * (raw - raw.T) / np.linalg.norm(raw))
    return np.asarray(basis @ (rotation * np.sign(np.diag(triangle))))


@st.composite
def refits(draw: st.DrawFn) -> tuple[Solution, Array, int]:
    """Give a solution, the previous axes, and the rows, few of them making groups of many axes."""
    k, k0 = draw(st.integers(0, WIDTH)), draw(st.integers(0, WIDTH))
    variances = sorted(draw(st.lists(st.floats(0.01, 10), min_size=k, max_size=k)), reverse=True)
    basis = signed(orthonormal(k, draw(st.integers(0, 1000))))
    previous = orthonormal(k0, draw(st.integers(0, 1000)))
    if draw(st.booleans()):
        every = np.vstack([basis, previous])
        previous = tilted(basis, draw(st.floats(0, 2)), 0)[draw(st.permutations(range(k)))][:k0] if k else every[:k0]
    return solution(basis, variances), previous, draw(st.sampled_from([2, 10, 100, 10_000]))


class TestProperties:
    """What holds for any two refits."""

    @given(refits())
    def test_axes_are_only_turned_round_and_moved(self, refit: tuple[Solution, Array, int]) -> None:
        """Each row is a row of the solution or its negative, with its own explained variance."""
        before, previous, n = refit
        after = aligned(before, previous, n)
        order = [int(np.flatnonzero(np.all(np.abs(before.basis) == np.abs(row), axis=1))[0]) for row in after.basis]
        assert sorted(order) == list(range(len(before.basis)))
        assert np.array_equal(after.explained_variance, before.explained_variance[order])
        assert np.array_equal(after.explained_variance_ratio, before.explained_variance_ratio[order])
        for row, place in zip(after.basis, order, strict=True):
            assert np.array_equal(row, before.basis[place]) or np.array_equal(row, -before.basis[place])

    @given(refits())
    def test_aligning_again_changes_nothing(self, refit: tuple[Solution, Array, int]) -> None:
        """An aligned solution is aligned."""
        before, previous, n = refit
        once = aligned(before, previous, n)
        twice = aligned(once, previous, n)
        assert np.array_equal(once.basis, twice.basis)
        assert np.array_equal(once.explained_variance, twice.explained_variance)

    @given(refits())
    def test_no_axis_leaves_its_group(self, refit: tuple[Solution, Array, int]) -> None:
        """Explained variances that sampling can tell apart stay in descending order."""
        before, previous, n = refit
        after = aligned(before, previous, n).explained_variance
        for group in alignment.groups(before.explained_variance, n):
            assert sorted(after[group], reverse=True) == before.explained_variance[group].tolist()

    @given(st.permutations(range(6)), st.lists(st.booleans(), min_size=6, max_size=6), st.floats(0, 0.2))
    def test_flips_and_swaps_are_undone(self, swaps: list[int], flips: list[bool], angle: float) -> None:
        """Axes of about equal variance come back to their places and directions, though they have moved a little."""
        previous = orthonormal(6, 1)
        moved = tilted(previous, angle, 2)
        given_ = moved[swaps] * np.where(flips, -1.0, 1.0)[:, None]
        assert np.array_equal(aligned(solution(given_, [1.0] * 6), previous, 100).basis, moved)


class TestSigns:
    """Which way an axis points."""

    def test_it_points_as_before(self) -> None:
        """An axis that leans towards a previous one has its direction, wherever that one's place was."""
        axes = orthonormal(3, 0)
        previous = -tilted(axes, 0.3, 1)[[2, 0, 1]]
        assert np.array_equal(aligned(solution(axes, APART), previous, 10_000).basis, -axes)

    def test_a_new_axis_has_the_deterministic_sign(self) -> None:
        """One that leans towards no previous axis by more than 45 degrees points by its greatest entry."""
        axes = np.eye(3)
        previous = np.array([[0.0, -1.0, 0.0]])
        found = aligned(solution(-axes, APART), previous, 10_000).basis
        assert np.array_equal(found, np.diag([1.0, -1.0, 1.0]))

    @pytest.mark.parametrize(("degrees", "expected"), [(44.0, -1.0), (46.0, 1.0), (90.0, 1.0)])
    def test_45_degrees_decide(self, degrees: float, expected: float) -> None:
        """Beyond that more than half of the axis is new."""
        angle = np.radians(degrees)
        previous = np.array([[-np.cos(angle), 0.0, np.sin(angle)]])
        assert aligned(solution(np.eye(3)[:1], [1.0]), previous, 100).basis[0, 0] == expected


class TestOrder:
    """Which place an axis has."""

    def test_axes_that_can_be_told_apart_stay_in_order(self) -> None:
        """Though the previous model had them the other way round: their variances have really changed."""
        axes = np.eye(3)
        assert np.array_equal(aligned(solution(axes, APART), axes[::-1], 10_000).basis, axes)

    def test_axes_that_cannot_keep_their_places(self) -> None:
        """At 50 rows, 1.1 and 1.0 are the same, and the previous order decides."""
        axes = np.eye(3)
        found = aligned(solution(axes, [4.0, 1.1, 1.0]), axes[[0, 2, 1]], 50)
        assert np.array_equal(found.basis, axes[[0, 2, 1]])
        assert found.explained_variance.tolist() == [4.0, 1.0, 1.1]

    def test_new_axes_take_the_places_that_are_left(self) -> None:
        """In descending order, where the previous model had fewer axes, or others."""
        axes = np.eye(4)
        found = aligned(solution(axes[:3], [1.2, 1.1, 1.0]), axes[[2, 3]], 10)
        assert np.array_equal(found.basis, axes[[2, 0, 1]])

    def test_without_a_previous_model_nothing_moves(self) -> None:
        """A solver's own signs and order stay."""
        first = solution(signed(orthonormal(3, 5)), EQUAL)
        assert np.array_equal(aligned(first, np.zeros((0, WIDTH)), 10).basis, first.basis)

    def test_neighbours_chain_into_groups(self) -> None:
        """By an eigenvalue's sampling error sqrt(2 / n): 10 % at 200 rows."""
        variances = np.array([4.0, 3.0, 2.8, 2.6, 1.0, 0.95])
        assert alignment.groups(variances, 200) == [slice(0, 1), slice(1, 4), slice(4, 6)]
        assert alignment.groups(variances, 200_000) == [slice(place, place + 1) for place in range(6)]
        assert alignment.groups(np.zeros(0), 200) == []


class TestUnits:
    """Previous axes in the coordinates of a refit."""

    def test_equal_scales_change_nothing(self) -> None:
        """Unit rows stay what they are."""
        axes, scale = orthonormal(4, 0), np.linspace(1, 3, WIDTH)
        np.testing.assert_allclose(alignment.in_new_units(axes, scale, scale, np.full(WIDTH, True)), axes, atol=1e-15)

    def test_an_axis_stays_the_same_function_of_features(self) -> None:
        """Its gradient over the features keeps its direction, in either standardisation."""
        random = np.random.default_rng(0)
        axes, old, new = orthonormal(4, 0), random.uniform(0.5, 2, WIDTH), random.uniform(0.5, 2, WIDTH)
        before = axes / old
        after = alignment.in_new_units(axes, old, new, np.full(WIDTH, True)) / new
        cosines = np.sum(before * after, axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
        np.testing.assert_allclose(cosines, 1.0)

    def test_columns_that_no_longer_vary_fall_out(self) -> None:
        """Their scale of 1 is a convention: an axis in such columns only is gone, others keep what they have beside."""
        axes = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])
        old, new = np.array([1e-9, 1e-9, 2.0]), np.array([1.0, 1.0, 2.0])
        found = alignment.in_new_units(axes, old, new, np.array([False, False, True]))
        assert np.array_equal(found, [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


class TestPrincipalAngles:
    """How far two subspaces are apart."""

    @pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 0.3, np.pi / 2])
    def test_known_angles_are_found(self, angle: float) -> None:
        """Small ones, too, which a cosine cannot tell from zero; ascending, and whatever the axes' order is."""
        basis = np.eye(4)[:2]
        other = np.array([[0.0, np.cos(angle), 0.0, np.sin(angle)], [1.0, 0.0, 0.0, 0.0]])
        np.testing.assert_allclose(alignment.principal_angles(basis, other), [0.0, angle], rtol=1e-9, atol=1e-15)

    def test_the_smaller_subspace_says_how_many(self) -> None:
        """Its axes may be of any length; none have no angle."""
        basis = orthonormal(5, 0)
        np.testing.assert_allclose(alignment.principal_angles(basis, 3 * basis[1:3]), [0, 0], atol=1e-15)
        assert alignment.principal_angles(basis, np.zeros((0, WIDTH))).shape == (0,)
        assert alignment.principal_angles(basis, np.zeros((2, WIDTH))).shape == (0,)


def test_the_rest_of_a_solution_is_kept() -> None:
    """Scale, solver and notes are not the axes' business."""
    before = replace(solution(np.eye(3), APART), notes=("a note",))
    after = aligned(before, np.eye(3), 100)
    assert after.scale is before.scale
    assert (after.solver, after.notes) == (before.solver, before.notes)
