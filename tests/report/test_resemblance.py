"""Pictures that look the same."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from batch.report import resemblance
from batch.report.resemblance import differences, near, reduced, same


def flat(level: int, side: int = 32) -> NDArray[np.uint8]:
    """Return a thumbnail of one colour."""
    return np.full((side, side, 3), level, np.uint8)


class TestNear:
    """Pairs that lie near to one another."""

    @settings(max_examples=40)
    @given(st.integers(2, 60), st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(1, 500))
    def test_against_all_distances(self, count: int, width: int, seed: int, at_once: int) -> None:
        """Each pair once, with its distance, the nearest first, however many are held at a time."""
        values = np.random.default_rng(seed).normal(5, 1, (count, width)).astype(np.float32)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resemblance, "_AT_ONCE", at_once)
            patch.setattr(resemblance, "_EACH", count)
            found = near(values)
        apart = np.linalg.norm(values[:, None].astype(float) - values, axis=2)
        wanted = {(i, j) for i, j in np.argwhere(apart <= 0.4 * found.usual).tolist() if i < j}
        assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == wanted
        assert len(found.first) == len(wanted)
        np.testing.assert_allclose(found.distance, apart[found.first, found.second], rtol=1e-12)
        assert (np.diff(found.distance) >= 0).all()

    def test_the_usual_distance(self) -> None:
        """The median between two different pictures."""
        values = np.random.default_rng(0).normal(0, 1, (300, 5)).astype(np.float32)
        apart = np.linalg.norm(values[:, None] - values, axis=2)[np.triu_indices(300, 1)]
        assert near(values).usual == pytest.approx(np.median(apart), rel=0.02)

    def test_far_from_the_origin(self) -> None:
        """Rounding hides no pair and makes none up."""
        values = np.random.default_rng(0).normal(0, 1, (50, 3)).astype(np.float32)
        values[7] = values[3] + np.float32(1e-3)
        there, away = near(values), near(values + np.float32(3000))
        assert (there.first[0], there.second[0]) == (away.first[0], away.second[0]) == (3, 7)

    def test_where_all_are_the_same(self) -> None:
        """Every pair is near: of each picture a few are told, so that the pairs are not more than can be held."""
        found = near(np.ones((100, 4), np.float32))
        assert found.usual == 0
        assert found.sure.all()
        assert np.bincount(found.first).tolist() == [8] * 92 + [7, 6, 5, 4, 3, 2, 1]
        assert (found.first < found.second).all()

    @pytest.mark.parametrize("count", [0, 1])
    def test_where_there_is_no_pair(self, count: int) -> None:
        """Nothing is near."""
        assert not len(near(np.zeros((count, 3), np.float32)).first)


class TestThumbnails:
    """How much two differ."""

    def test_root_mean_square(self) -> None:
        """In levels; nothing where one is missing."""
        thumbnails = {"a": flat(10), "b": flat(14), "c": flat(10)}
        thumbnails["c"][:16] = 20
        found = differences([("a", "b"), ("a", "c"), ("b", "z"), ("z", "a")], thumbnails)
        assert found == [4.0, pytest.approx(np.sqrt(50)), None, None]

    @pytest.mark.parametrize("side", [33, 64, 100])
    def test_larger_ones_are_averaged_down(self, side: int) -> None:
        """Each of the 32 x 32 is the mean of its pixels, and all of these are in one."""
        thumbnail = np.random.default_rng(side).integers(0, 256, (side, side, 3)).astype(np.uint8)
        starts = [place * side // 32 for place in range(33)]
        wanted = [
            [thumbnail[top:bottom, left:right].mean(axis=(0, 1)) for left, right in pairwise(starts)]
            for top, bottom in pairwise(starts)
        ]
        np.testing.assert_allclose(reduced(thumbnail), wanted, rtol=1e-5)

    def test_smaller_ones_are_as_they_are(self) -> None:
        """And two sizes cannot be compared."""
        assert reduced(flat(9, side=16)).shape == (16, 16, 3)
        assert differences([("a", "b")], {"a": flat(9, side=16), "b": flat(9)}) == [None]

    @pytest.mark.parametrize(
        ("difference", "sure", "said"),
        [(4.0, False, True), (4.1, True, False), (None, True, True), (None, False, False)],
    )
    def test_thumbnails_decide(self, difference: float | None, sure: bool, said: bool) -> None:
        """Where they cannot, only what lies very near counts."""
        assert same(difference, sure) is said
