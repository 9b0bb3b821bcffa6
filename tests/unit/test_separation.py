"""How well vectors tell pictures apart."""

import numpy as np
import pytest
from numpy.typing import NDArray

from batch.algebra.moments import Moments
from batch.algebra.separation import components_for, purity
from batch.algebra.solvers import Wanted, covariance


def found(vectors: NDArray[np.float32], labels: list[str | None]) -> list[float]:
    """Return purity and chance, which are there."""
    pair = purity(vectors, labels)
    assert pair is not None
    return [*pair]


class TestPurity:
    """Whether the nearest other picture has the same label."""

    def test_it_is_the_share_of_those_whose_nearest_is_of_their_label(self) -> None:
        """By the angle, whatever the lengths; a picture is not its own neighbour."""
        angles = np.radians([0, 10, 25, 90, 100, 112, 45])
        lengths = np.array([1, 50, 1, 2, 0.1, 1, 1])[:, None]
        vectors = (np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths).astype(np.float32)
        assert found(vectors, [*"aaabbb", "b"]) == pytest.approx([6 / 7, (3 * 2 + 4 * 3) / (7 * 6)])

    def test_pictures_without_a_label_take_no_part(self) -> None:
        """Neither as neighbours nor in the count."""
        vectors = np.array([[1, 0], [1, 0.1], [1, 0.05], [0, 1], [0.1, 1]], np.float32)
        assert found(vectors, ["a", "a", None, "b", "b"]) == pytest.approx([1, 1 / 3])

    @pytest.mark.parametrize("labels", [["a"] * 3, [None] * 3, [None, "a", "a"]])
    def test_fewer_than_two_labels_say_nothing(self, labels: list[str | None]) -> None:
        """There is nothing to tell apart."""
        assert purity(np.eye(3, dtype=np.float32), labels) is None

    def test_chance_gives_what_chance_is_said_to_give(self) -> None:
        """Of vectors that know nothing of labels."""
        random = np.random.default_rng(0)
        labels = random.choice(list("aaabbc"), 2000)
        share, chance = found(random.normal(size=(2000, 20)).astype(np.float32), labels.tolist())
        assert share == pytest.approx(chance, abs=0.04)
        assert chance == pytest.approx(14 / 36, abs=0.03)

    def test_a_vector_of_zeros_has_no_neighbour_of_its_own(self) -> None:
        """It divides nothing by zero."""
        vectors = np.array([[1, 0], [1, 0], [0, 0], [0, 1], [0, 1]], np.float32)
        assert found(vectors, [*"aabcc"]) == pytest.approx([4 / 5, 4 / 20])


class TestComponents:
    """How many axes it takes."""

    @pytest.mark.parametrize(("n", "width"), [(30, 80), (80, 30), (40, 40), (3, 200)])
    def test_they_are_as_many_as_a_refit_would_keep(self, n: int, width: int) -> None:
        """Of the same vectors, whichever is greater, their number or their width."""
        random = np.random.default_rng(n)
        vectors = (random.normal(size=(n, width)) @ random.normal(size=(width, width)) + 5).astype(np.float32)
        vectors[:, 3] = 7
        moments = Moments.of(vectors)
        for share in (0.5, 0.9, 1.0):
            fitted = covariance(n, moments.mean, moments.scatter, Wanted(variance=share))
            assert components_for(vectors, share) == len(fitted.basis)

    @pytest.mark.parametrize("vectors", [np.ones((1, 4)), np.ones((5, 4)), np.ones((0, 4))])
    def test_what_does_not_vary_has_none(self, vectors: NDArray[np.float64]) -> None:
        """A single picture, or equal ones."""
        assert components_for(vectors.astype(np.float32)) == 0
